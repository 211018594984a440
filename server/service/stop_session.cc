#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "server/service/enums.h"
#include "server/service/errors.h"
#include "server/service/handlers.h"

namespace ptychoserve::server {
namespace {

absl::StatusOr<std::shared_ptr<Session>> Stop(const Call& call,
                                              const v1::StopSessionRequest& request) {
  PS_ASSIGN_OR_RETURN(std::shared_ptr<Session> session, call.Find(request.name()));
  if (!v1::StopSessionRequest::Mode_IsValid(request.mode())) {
    return InvalidField(
        reason::kInvalidRequest, "mode",
        absl::StrCat(static_cast<int>(request.mode()), "; allowed: AFTER_ITERATION, ABORT"));
  }
  const absl::Status stopped =
      session->reconstruction().Stop(request.mode() == v1::StopSessionRequest::MODE_ABORT);
  if (absl::IsFailedPrecondition(stopped)) {
    return SessionEnded(session->name(), StateName(session->state()));
  }
  PS_RETURN_IF_ERROR(stopped);
  return session;
}

}  // namespace

grpc::ServerUnaryReactor* HandleStopSession(const Call& call, const v1::StopSessionRequest* request,
                                            v1::Session* response) {
  grpc::ServerUnaryReactor* reactor = call.context->DefaultReactor();
  const auto stopped = Stop(call, *request);
  if (!stopped.ok()) {
    reactor->Finish(ToGrpcStatus(stopped.status()));
    return reactor;
  }
  // Answered when that cannot be forgotten any more, the session has stopped and its result can be
  // fetched.
  state::v1::Event event;
  *event.mutable_stop() = *request;
  (*stopped)->Record(event, [reactor, response, session = *stopped] {
    session->WhenRetired([reactor, response, weak = std::weak_ptr<Session>(session)] {
      if (const auto retired = weak.lock()) *response = retired->ToProto();
      reactor->Finish(grpc::Status::OK);
    });
  });
  return reactor;
}

}  // namespace ptychoserve::server
