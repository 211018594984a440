#include "engine/base/status_macros.h"
#include "server/service/errors.h"
#include "server/service/handlers.h"

namespace ptychoserve::server {
namespace {

absl::Status List(const Call& call, const v1::ListSessionsRequest& request,
                  v1::ListSessionsResponse& response) {
  const Caller& caller = call.caller;
  const bool all = caller.all_tenants && !caller.chose_tenant;
  const auto tenant = all ? std::nullopt : std::make_optional(caller.tenant);
  PS_ASSIGN_OR_RETURN(const SessionRegistry::Page page,
                      call.core.sessions.List(tenant, request.page_size(), request.page_token()));
  for (const auto& session : page.sessions) *response.add_sessions() = session->ToProto();
  response.set_next_page_token(page.next_page_token);
  return absl::OkStatus();
}

}  // namespace

grpc::ServerUnaryReactor* HandleListSessions(const Call& call,
                                             const v1::ListSessionsRequest* request,
                                             v1::ListSessionsResponse* response) {
  grpc::ServerUnaryReactor* reactor = call.context->DefaultReactor();
  reactor->Finish(ToGrpcStatus(List(call, *request, *response)));
  return reactor;
}

}  // namespace ptychoserve::server
