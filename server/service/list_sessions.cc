#include "engine/base/status_macros.h"
#include "server/service/errors.h"
#include "server/service/handlers.h"

namespace ptychoserve::server {
namespace {

absl::Status List(Core& core, const v1::ListSessionsRequest& request,
                  v1::ListSessionsResponse& response) {
  PS_ASSIGN_OR_RETURN(const SessionRegistry::Page page,
                      core.sessions.List(request.page_size(), request.page_token()));
  for (const auto& session : page.sessions) *response.add_sessions() = session->ToProto();
  response.set_next_page_token(page.next_page_token);
  return absl::OkStatus();
}

}  // namespace

grpc::ServerUnaryReactor* HandleListSessions(Core& core, grpc::CallbackServerContext* context,
                                             const v1::ListSessionsRequest* request,
                                             v1::ListSessionsResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(ToGrpcStatus(List(core, *request, *response)));
  return reactor;
}

}  // namespace ptychoserve::server
