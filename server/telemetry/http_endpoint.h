#ifndef PTYCHOSERVE_SERVER_TELEMETRY_HTTP_ENDPOINT_H_
#define PTYCHOSERVE_SERVER_TELEMETRY_HTTP_ENDPOINT_H_

#include <prometheus/collectable.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ptychoserve::server {

// What operators' programs ask over HTTP, on a port of its own:
//   /metrics  for Prometheus
//   /healthz  200 as long as the process should not be started anew
//   /readyz   200 when it takes sessions, else 503 and why not
// GET and HEAD only; nothing that comes in has an effect.
class HttpEndpoint {
 public:
  struct Sources {
    std::vector<std::shared_ptr<prometheus::Collectable>> metrics;
    std::function<absl::Status()> healthy;
    std::function<absl::Status()> ready;
  };
  // `address`: HOST:PORT, port 0: a free one. Errors: kUnavailable, naming the address.
  static absl::StatusOr<std::unique_ptr<HttpEndpoint>> Start(const std::string& address,
                                                             Sources sources);
  ~HttpEndpoint();

  const std::string& address() const { return address_; }  // HOST:PORT.

 private:
  class Impl;
  explicit HttpEndpoint(std::unique_ptr<Impl> impl);

  std::unique_ptr<Impl> impl_;
  std::string address_;
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_TELEMETRY_HTTP_ENDPOINT_H_
