#include "engine/base/status_macros.h"
#include "server/service/errors.h"
#include "server/service/handlers.h"

namespace ptychoserve::server {
namespace {

absl::Status Get(Core& core, const v1::GetSessionRequest& request, v1::Session& response) {
  PS_ASSIGN_OR_RETURN(const auto session, core.sessions.Get(request.name()));
  response = session->ToProto();
  return absl::OkStatus();
}

}  // namespace

grpc::ServerUnaryReactor* HandleGetSession(Core& core, grpc::CallbackServerContext* context,
                                           const v1::GetSessionRequest* request,
                                           v1::Session* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(ToGrpcStatus(Get(core, *request, *response)));
  return reactor;
}

}  // namespace ptychoserve::server
