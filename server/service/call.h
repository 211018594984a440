#ifndef PTYCHOSERVE_SERVER_SERVICE_CALL_H_
#define PTYCHOSERVE_SERVER_SERVICE_CALL_H_

#include <grpcpp/server_context.h>

#include "absl/strings/string_view.h"
#include "server/security/caller.h"
#include "server/service/core.h"

namespace ptychoserve::server {

// A call that has been let in. `context` is valid until the call has ended, `core` beyond.
struct Call {
  Core& core;
  grpc::CallbackServerContext* context;
  Caller caller;

  // The session of that name which the caller can see. Errors: those of SessionRegistry::Get.
  absl::StatusOr<std::shared_ptr<Session>> Find(absl::string_view name) const {
    return core.sessions.Get(caller.tenant, name);
  }
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_SERVICE_CALL_H_
