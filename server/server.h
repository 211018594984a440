#ifndef PTYCHOSERVE_SERVER_SERVER_H_
#define PTYCHOSERVE_SERVER_SERVER_H_

#include <grpcpp/server.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "engine/base/mutex.h"
#include "server/base/timer.h"
#include "server/options.h"
#include "server/security/tls_watch.h"
#include "server/service/core.h"
#include "server/service/service.h"
#include "server/telemetry/audit_log.h"
#include "server/telemetry/http_endpoint.h"

namespace ptychoserve::server {

// The whole server in one process: devices, sessions, the gRPC service with health and
// reflection. Start and Shutdown are for one thread; everything between is not its concern.
class Server {
 public:
  // Listens and serves when it returns. `on_device_lost` is called, on any thread, when there is
  // nothing left to do but to shut down and be started again: no call to a lost GPU succeeds in
  // this process any more. Errors: kInvalidArgument for options, kUnavailable when the address
  // cannot be bound, and those of the devices.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerOptions& options,
                                                       std::function<void()> on_device_lost);
  // As Shutdown().
  ~Server();

  // Reads the access file again, and goes on in a new audit log, if the old one has been moved
  // away. Errors: kInvalidArgument; what could not be read stays as it was. For any thread.
  absl::Status Reload();
  // An error, in words, when the process should be started anew, or takes no sessions now. For any
  // thread.
  absl::Status Healthy() const;
  absl::Status Ready() const;

  // Ends in order: no longer healthy, no new work, input streams get their last acknowledgement,
  // sessions that are kept on disk are saved and the others stop with their results, watchers are
  // sent the end. What has not ended after the options' time-out is cancelled. Idempotent.
  void Shutdown();

 private:
  Server(const ServerOptions& options, std::vector<std::unique_ptr<Device>> devices,
         std::unique_ptr<StateDirectory> state, std::unique_ptr<Access> access,
         std::unique_ptr<AuditLog> audit, const std::function<void()>& on_device_lost);
  absl::Status ServeGrpc();
  absl::Status ServeHttp();
  // Stops the sessions that would not survive; returns when they have left their devices, or at
  // `deadline`.
  void StopSessions(std::chrono::steady_clock::time_point deadline);
  // Brings what the others need to go on to disk.
  void SaveSessions(std::chrono::steady_clock::time_point deadline);
  // Deletes sessions that have ended long ago, now and again every hour.
  void DeleteExpired();

  const ServerOptions options_;
  const std::unique_ptr<AuditLog> audit_;
  Core core_;
  Service service_;
  std::unique_ptr<HttpEndpoint> http_;
  std::unique_ptr<TlsWatch> tls_;
  std::unique_ptr<grpc::Server> grpc_;
  std::atomic<bool> listening_ = false;
  Mutex expiry_mu_;
  Timer expiry_ ABSL_GUARDED_BY(expiry_mu_);
  bool ending_ ABSL_GUARDED_BY(expiry_mu_) = false;
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_SERVER_H_
