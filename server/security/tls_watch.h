#ifndef PTYCHOSERVE_SERVER_SECURITY_TLS_WATCH_H_
#define PTYCHOSERVE_SERVER_SECURITY_TLS_WATCH_H_

#include <grpcpp/security/server_credentials.h>

#include <memory>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/base/mutex.h"
#include "server/security/tls_files.h"

namespace ptychoserve::server {

// A file in memory, under a path of this process.
class MemoryFile {
 public:
  explicit MemoryFile(const char* name);
  ~MemoryFile();
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  // Errors: kInternal, with the system's reason.
  absl::Status Replace(absl::string_view content);
  std::string path() const;

 private:
  int fd_;
};

// The credentials of addresses that speak TLS, from files that may change while the server runs.
// gRPC reads files again by itself, but also takes a certificate and a key that do not belong
// together, with which nobody can connect any more. Therefore it reads copies in memory, which are
// replaced only by files that can serve. Connections keep what they have begun with.
class TlsWatch {
 public:
  // Errors: those of ReadTlsFiles.
  static absl::StatusOr<std::unique_ptr<TlsWatch>> Start(const TlsFiles& files);
  ~TlsWatch();

  std::shared_ptr<grpc::ServerCredentials> credentials() const { return credentials_; }

 private:
  explicit TlsWatch(const TlsFiles& files) : files_(files) {}
  absl::Status Take(TlsContents contents);
  void Look();
  void Run();

  const TlsFiles files_;
  MemoryFile cert_{"tls-cert"}, key_{"tls-key"}, client_ca_{"tls-client-ca"};
  TlsContents taken_;
  std::string refused_;  // What was wrong at the last look; empty: nothing.
  std::shared_ptr<grpc::ServerCredentials> credentials_;

  Mutex mu_;
  CondVar wake_;
  bool stop_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_SECURITY_TLS_WATCH_H_
