#include "server/service/errors.h"
#include "server/service/handlers.h"
#include "server/telemetry/log.h"

namespace ptychoserve::server {

grpc::ServerUnaryReactor* HandleDeleteSession(const Call& call,
                                              const v1::DeleteSessionRequest* request,
                                              v1::DeleteSessionResponse*) {
  grpc::ServerUnaryReactor* reactor = call.context->DefaultReactor();
  auto removed = call.core.sessions.Remove(call.caller.tenant, request->name(), request->force());
  if (!removed.ok()) {
    reactor->Finish(ToGrpcStatus(removed.status()));
    return reactor;
  }
  const std::shared_ptr<Session> session = *std::move(removed);
  Log(LogLevel::kInfo, "session deleted", {{"session", session->id()}});
  // Answered when the device's memory is free again, so that the next session can have it, and its
  // files are gone.
  session->Discard([reactor] { reactor->Finish(grpc::Status::OK); });
  return reactor;
}

}  // namespace ptychoserve::server
