#include "engine/base/status_macros.h"
#include "server/service/errors.h"
#include "server/service/handlers.h"

namespace ptychoserve::server {
namespace {

absl::Status Get(const Call& call, const v1::GetSessionRequest& request, v1::Session& response) {
  PS_ASSIGN_OR_RETURN(const auto session, call.Find(request.name()));
  response = session->ToProto();
  return absl::OkStatus();
}

}  // namespace

grpc::ServerUnaryReactor* HandleGetSession(const Call& call, const v1::GetSessionRequest* request,
                                           v1::Session* response) {
  grpc::ServerUnaryReactor* reactor = call.context->DefaultReactor();
  reactor->Finish(ToGrpcStatus(Get(call, *request, *response)));
  return reactor;
}

}  // namespace ptychoserve::server
