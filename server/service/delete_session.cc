#include "server/service/errors.h"
#include "server/service/handlers.h"
#include "server/telemetry/log.h"

namespace ptychoserve::server {

grpc::ServerUnaryReactor* HandleDeleteSession(Core& core, grpc::CallbackServerContext* context,
                                              const v1::DeleteSessionRequest* request,
                                              v1::DeleteSessionResponse*) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  auto removed = core.sessions.Remove(request->name(), request->force());
  if (!removed.ok()) {
    reactor->Finish(ToGrpcStatus(removed.status()));
    return reactor;
  }
  const std::shared_ptr<Session> session = *std::move(removed);
  Log(LogLevel::kInfo, "session deleted", {{"session", session->id()}});
  session->MarkDeleted();  // First, so that watchers are told why it ends.
  session->reconstruction().Stop(/*abort=*/true).IgnoreError();  // It may have ended already.
  // Answered when the device's memory is free again, so that the next session can have it, and its
  // files are gone, so that it does not come back.
  session->WhenRetired([reactor, weak = std::weak_ptr<Session>(session)] {
    const auto retired = weak.lock();
    if (retired == nullptr) return reactor->Finish(grpc::Status::OK);
    retired->RemoveFiles([reactor] { reactor->Finish(grpc::Status::OK); });
  });
  return reactor;
}

}  // namespace ptychoserve::server
