#ifndef PTYCHOSERVE_SERVER_SERVICE_HANDLERS_H_
#define PTYCHOSERVE_SERVER_SERVICE_HANDLERS_H_

#include <grpcpp/support/server_callback.h>

#include "ptychoserve/v1/service.pb.h"
#include "server/service/call.h"

namespace ptychoserve::server {

// The unary calls, one file each: they translate, check and delegate. Each returns a reactor that
// gRPC owns and that is finished here, on this thread or later.

grpc::ServerUnaryReactor* HandleCreateSession(const Call& call,
                                              const v1::CreateSessionRequest* request,
                                              v1::Session* response);
// The session that `start` (checked) asks for, on the device with the most room, with files where
// the server keeps some. Errors: those of DeviceSet::Place and Session::Create, and
// kResourceExhausted when its tenant may not have so much.
absl::StatusOr<std::shared_ptr<Session>> MakeSession(Core& core, SessionStart start);
grpc::ServerUnaryReactor* HandleGetSession(const Call& call, const v1::GetSessionRequest* request,
                                           v1::Session* response);
grpc::ServerUnaryReactor* HandleListSessions(const Call& call,
                                             const v1::ListSessionsRequest* request,
                                             v1::ListSessionsResponse* response);
grpc::ServerUnaryReactor* HandleUpdateSession(const Call& call,
                                              const v1::UpdateSessionRequest* request,
                                              v1::Session* response);
// What UpdateSession asks for, when it comes and when it is read back from the journal.
absl::Status ApplyUpdate(Session& session, const v1::UpdateSessionRequest& request);
grpc::ServerUnaryReactor* HandleDeleteSession(const Call& call,
                                              const v1::DeleteSessionRequest* request,
                                              v1::DeleteSessionResponse* response);
grpc::ServerUnaryReactor* HandleFinishScan(const Call& call, const v1::FinishScanRequest* request,
                                           v1::Session* response);
grpc::ServerUnaryReactor* HandleStopSession(const Call& call, const v1::StopSessionRequest* request,
                                            v1::Session* response);
grpc::ServerUnaryReactor* HandleTestOrientation(const Call& call,
                                                const v1::TestOrientationRequest* request,
                                                v1::OrientationTest* response);
grpc::ServerUnaryReactor* HandleGetServerInfo(const Call& call,
                                              const v1::GetServerInfoRequest* request,
                                              v1::ServerInfo* response);

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_SERVICE_HANDLERS_H_
