#ifndef PTYCHOSERVE_SERVER_LISTEN_H_
#define PTYCHOSERVE_SERVER_LISTEN_H_

#include <grpcpp/grpcpp.h>
#include <grpcpp/support/server_interceptor.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/options.h"
#include "server/security/tls_watch.h"

namespace ptychoserve::server {

struct Listening {
  std::unique_ptr<TlsWatch> tls;  // Null: no address speaks TLS. Outlives the server.
  std::unique_ptr<grpc::Server> server;
  std::vector<std::string> addresses;  // As bound, in the order of the options.
};

// A gRPC server on all addresses of the options, with health checks, with reflection where it is
// asked for. `service` and what `observer` uses outlive it. Errors: kUnavailable, naming the
// address.
absl::StatusOr<Listening> Listen(
    const ServerOptions& options, grpc::Service* service,
    std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> observer);

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_LISTEN_H_
