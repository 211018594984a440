#ifndef PTYCHOSERVE_SERVER_TELEMETRY_CALL_OBSERVER_H_
#define PTYCHOSERVE_SERVER_TELEMETRY_CALL_OBSERVER_H_

#include <grpcpp/support/server_interceptor.h>

#include "server/security/access.h"
#include "server/telemetry/audit_log.h"
#include "server/telemetry/metrics.h"

namespace ptychoserve::server {

// Looks at each call as it ends: how long it took and with which code, for the metrics; and of one
// that could change something, who made it and to which session, for the audit log. All that it
// uses outlives the gRPC server.
class CallObserver final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  CallObserver(Metrics& metrics, const Access& access, AuditLog& audit)
      : metrics_(metrics), access_(access), audit_(audit) {}

  // Null for methods that are not ours.
  grpc::experimental::Interceptor* CreateServerInterceptor(
      grpc::experimental::ServerRpcInfo* info) override;

 private:
  Metrics& metrics_;
  const Access& access_;
  AuditLog& audit_;
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_TELEMETRY_CALL_OBSERVER_H_
