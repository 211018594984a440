#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "server/service/enums.h"
#include "server/service/errors.h"
#include "server/service/handlers.h"
#include "server/telemetry/log.h"

namespace ptychoserve::server {
namespace {

absl::StatusOr<std::shared_ptr<Session>> FinishScan(const Call& call,
                                                    const v1::FinishScanRequest& request) {
  PS_ASSIGN_OR_RETURN(std::shared_ptr<Session> session, call.Find(request.name()));
  std::optional<std::int64_t> expected;
  if (request.has_expected_frames()) {
    expected = request.expected_frames();
    if (*expected < 0) {
      return InvalidField(reason::kInvalidRequest, "expected_frames",
                          absl::StrCat(*expected, "; allowed: >= 0"));
    }
  }
  const absl::Status finished = session->reconstruction().FinishScan(expected);
  if (absl::IsFailedPrecondition(finished)) {
    return SessionEnded(session->name(), StateName(session->state()));
  }
  PS_RETURN_IF_ERROR(finished);
  Log(LogLevel::kInfo, "scan finished", {{"session", session->id()}});
  return session;
}

}  // namespace

grpc::ServerUnaryReactor* HandleFinishScan(const Call& call, const v1::FinishScanRequest* request,
                                           v1::Session* response) {
  grpc::ServerUnaryReactor* reactor = call.context->DefaultReactor();
  const auto session = FinishScan(call, *request);
  if (!session.ok()) {
    reactor->Finish(ToGrpcStatus(session.status()));
    return reactor;
  }
  // Answered when it cannot be forgotten any more.
  state::v1::Event event;
  *event.mutable_finish_scan() = *request;
  (*session)->Record(event, [reactor, response, session = *session] {
    *response = session->ToProto();
    reactor->Finish(grpc::Status::OK);
  });
  return reactor;
}

}  // namespace ptychoserve::server
