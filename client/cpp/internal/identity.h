#ifndef PTYCHOSERVE_CLIENT_CPP_INTERNAL_IDENTITY_H_
#define PTYCHOSERVE_CLIENT_CPP_INTERNAL_IDENTITY_H_

#include <grpcpp/client_context.h>
#include <grpcpp/security/credentials.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "client/cpp/security.h"

namespace ptychoserve::client::internal {

// What the calls of one client carry besides their messages. Thread-safe.
class Identity {
 public:
  // Errors: kInvalidArgument when a file cannot be read, or a token would go unencrypted to another
  // machine than this one.
  static absl::StatusOr<std::shared_ptr<const Identity>> Create(const std::string& address,
                                                                Security security);

  // Of a channel to the server.
  const std::shared_ptr<grpc::ChannelCredentials>& credentials() const { return credentials_; }
  const std::string& server_name() const { return security_.server_name; }

  // Adds who calls, and which session it is about ("sessions/{id}", or empty), by which proxies can
  // send all calls of a session to one server.
  void AddTo(grpc::ClientContext& context, const std::string& session) const;

 private:
  Identity(Security security, std::shared_ptr<grpc::ChannelCredentials> credentials)
      : security_(std::move(security)), credentials_(std::move(credentials)) {}

  const Security security_;
  const std::shared_ptr<grpc::ChannelCredentials> credentials_;
};

}  // namespace ptychoserve::client::internal

#endif  // PTYCHOSERVE_CLIENT_CPP_INTERNAL_IDENTITY_H_
