#ifndef PTYCHOSERVE_SERVER_SERVICE_SERVICE_H_
#define PTYCHOSERVE_SERVER_SERVICE_SERVICE_H_

#include "ptychoserve/v1/service.grpc.pb.h"
#include "server/ingest/frame_stream.h"
#include "server/ingest/import_state.h"
#include "server/ingest/position_stream.h"
#include "server/publish/export_state.h"
#include "server/publish/get_snapshot.h"
#include "server/publish/watch_session.h"
#include "server/publish/watch_snapshots.h"
#include "server/service/handlers.h"

namespace ptychoserve::server {

// The generated service with all methods as callbacks, of which the input streams get their
// messages as bytes, to take pixels from where they are.
// clang-format off
using ServiceBase =
    v1::Ptychoserve::WithCallbackMethod_CreateSession<
    v1::Ptychoserve::WithCallbackMethod_GetSession<
    v1::Ptychoserve::WithCallbackMethod_ListSessions<
    v1::Ptychoserve::WithCallbackMethod_UpdateSession<
    v1::Ptychoserve::WithCallbackMethod_DeleteSession<
    v1::Ptychoserve::WithCallbackMethod_FinishScan<
    v1::Ptychoserve::WithCallbackMethod_StopSession<
    v1::Ptychoserve::WithCallbackMethod_TestOrientation<
    v1::Ptychoserve::WithRawCallbackMethod_StreamFrames<
    v1::Ptychoserve::WithRawCallbackMethod_StreamPositions<
    v1::Ptychoserve::WithCallbackMethod_GetSnapshot<
    v1::Ptychoserve::WithCallbackMethod_WatchSnapshots<
    v1::Ptychoserve::WithCallbackMethod_WatchSession<
    v1::Ptychoserve::WithCallbackMethod_ExportState<
    v1::Ptychoserve::WithCallbackMethod_ImportState<
    v1::Ptychoserve::WithCallbackMethod_GetServerInfo<
    v1::Ptychoserve::Service>>>>>>>>>>>>>>>>;
// clang-format on

// The service: each call goes to its own handler. Thread-safe. `core` outlives the gRPC server.
class Service final : public ServiceBase {
 public:
  explicit Service(Core& core) : core_(core) {}

  using Context = grpc::CallbackServerContext;
  using Unary = grpc::ServerUnaryReactor;

  Unary* CreateSession(Context* context, const v1::CreateSessionRequest* request,
                       v1::Session* response) override {
    return HandleCreateSession(core_, context, request, response);
  }
  Unary* GetSession(Context* context, const v1::GetSessionRequest* request,
                    v1::Session* response) override {
    return HandleGetSession(core_, context, request, response);
  }
  Unary* ListSessions(Context* context, const v1::ListSessionsRequest* request,
                      v1::ListSessionsResponse* response) override {
    return HandleListSessions(core_, context, request, response);
  }
  Unary* UpdateSession(Context* context, const v1::UpdateSessionRequest* request,
                       v1::Session* response) override {
    return HandleUpdateSession(core_, context, request, response);
  }
  Unary* DeleteSession(Context* context, const v1::DeleteSessionRequest* request,
                       v1::DeleteSessionResponse* response) override {
    return HandleDeleteSession(core_, context, request, response);
  }
  Unary* FinishScan(Context* context, const v1::FinishScanRequest* request,
                    v1::Session* response) override {
    return HandleFinishScan(core_, context, request, response);
  }
  Unary* StopSession(Context* context, const v1::StopSessionRequest* request,
                     v1::Session* response) override {
    return HandleStopSession(core_, context, request, response);
  }
  Unary* TestOrientation(Context* context, const v1::TestOrientationRequest* request,
                         v1::OrientationTest* response) override {
    return HandleTestOrientation(core_, context, request, response);
  }
  Unary* GetServerInfo(Context* context, const v1::GetServerInfoRequest* request,
                       v1::ServerInfo* response) override {
    return HandleGetServerInfo(core_, context, request, response);
  }
  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* StreamFrames(
      Context* context) override {
    return FrameStream::Start(core_, context);
  }
  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* StreamPositions(
      Context* context) override {
    return PositionStream::Start(core_, context);
  }
  grpc::ServerWriteReactor<v1::SnapshotChunk>* GetSnapshot(
      Context* context, const v1::GetSnapshotRequest* request) override {
    return GetSnapshotStream::Start(core_, context, *request);
  }
  grpc::ServerWriteReactor<v1::SnapshotChunk>* WatchSnapshots(
      Context* context, const v1::WatchSnapshotsRequest* request) override {
    return WatchSnapshotsStream::Start(core_, context, *request);
  }
  grpc::ServerWriteReactor<v1::SessionEvent>* WatchSession(
      Context* context, const v1::WatchSessionRequest* request) override {
    return WatchSessionStream::Start(core_, context, *request);
  }

  grpc::ServerWriteReactor<v1::ExportStateResponse>* ExportState(
      Context* context, const v1::ExportStateRequest* request) override {
    return ExportStateStream::Start(core_, context, *request);
  }
  grpc::ServerReadReactor<v1::ImportStateRequest>* ImportState(Context* /*context*/,
                                                               v1::Session* response) override {
    return ImportStateStream::Start(core_, response);
  }

 private:
  Core& core_;
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_SERVICE_SERVICE_H_
