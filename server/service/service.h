#ifndef PTYCHOSERVE_SERVER_SERVICE_SERVICE_H_
#define PTYCHOSERVE_SERVER_SERVICE_SERVICE_H_

#include <utility>

#include "ptychoserve/v1/service.grpc.pb.h"
#include "server/ingest/frame_stream.h"
#include "server/ingest/import_state.h"
#include "server/ingest/position_stream.h"
#include "server/publish/export_state.h"
#include "server/publish/get_frame.h"
#include "server/publish/get_snapshot.h"
#include "server/publish/watch_session.h"
#include "server/publish/watch_snapshots.h"
#include "server/security/method.h"
#include "server/service/handlers.h"
#include "server/service/refused.h"

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
    v1::Ptychoserve::WithCallbackMethod_GetFrame<
    v1::Ptychoserve::WithCallbackMethod_WatchSession<
    v1::Ptychoserve::WithCallbackMethod_ExportState<
    v1::Ptychoserve::WithCallbackMethod_ImportState<
    v1::Ptychoserve::WithCallbackMethod_GetServerInfo<
    v1::Ptychoserve::Service>>>>>>>>>>>>>>>>>;
// clang-format on

// The service: each call goes to its own handler, if its caller is let in. Thread-safe. `core`
// outlives the gRPC server.
class Service final : public ServiceBase {
 public:
  explicit Service(Core& core) : core_(core) {}

  using Context = grpc::CallbackServerContext;
  using Unary = grpc::ServerUnaryReactor;
  using Input = grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>;
  template <class Message>
  using Output = grpc::ServerWriteReactor<Message>;

  Unary* CreateSession(Context* context, const v1::CreateSessionRequest* request,
                       v1::Session* response) override {
    return Admit<Unary>(context, Method::kCreateSession, [&](const Call& call) {
      return HandleCreateSession(call, request, response);
    });
  }
  Unary* GetSession(Context* context, const v1::GetSessionRequest* request,
                    v1::Session* response) override {
    return Admit<Unary>(context, Method::kGetSession, [&](const Call& call) {
      return HandleGetSession(call, request, response);
    });
  }
  Unary* ListSessions(Context* context, const v1::ListSessionsRequest* request,
                      v1::ListSessionsResponse* response) override {
    return Admit<Unary>(context, Method::kListSessions, [&](const Call& call) {
      return HandleListSessions(call, request, response);
    });
  }
  Unary* UpdateSession(Context* context, const v1::UpdateSessionRequest* request,
                       v1::Session* response) override {
    return Admit<Unary>(context, Method::kUpdateSession, [&](const Call& call) {
      return HandleUpdateSession(call, request, response);
    });
  }
  Unary* DeleteSession(Context* context, const v1::DeleteSessionRequest* request,
                       v1::DeleteSessionResponse* response) override {
    return Admit<Unary>(context, Method::kDeleteSession, [&](const Call& call) {
      return HandleDeleteSession(call, request, response);
    });
  }
  Unary* FinishScan(Context* context, const v1::FinishScanRequest* request,
                    v1::Session* response) override {
    return Admit<Unary>(context, Method::kFinishScan, [&](const Call& call) {
      return HandleFinishScan(call, request, response);
    });
  }
  Unary* StopSession(Context* context, const v1::StopSessionRequest* request,
                     v1::Session* response) override {
    return Admit<Unary>(context, Method::kStopSession, [&](const Call& call) {
      return HandleStopSession(call, request, response);
    });
  }
  Unary* TestOrientation(Context* context, const v1::TestOrientationRequest* request,
                         v1::OrientationTest* response) override {
    return Admit<Unary>(context, Method::kTestOrientation, [&](const Call& call) {
      return HandleTestOrientation(call, request, response);
    });
  }
  Unary* GetServerInfo(Context* context, const v1::GetServerInfoRequest* request,
                       v1::ServerInfo* response) override {
    return Admit<Unary>(context, Method::kGetServerInfo, [&](const Call& call) {
      return HandleGetServerInfo(call, request, response);
    });
  }
  Input* StreamFrames(Context* context) override {
    return Admit<Input>(context, Method::kStreamFrames, &FrameStream::Start);
  }
  Input* StreamPositions(Context* context) override {
    return Admit<Input>(context, Method::kStreamPositions, &PositionStream::Start);
  }
  Output<v1::SnapshotChunk>* GetSnapshot(Context* context,
                                         const v1::GetSnapshotRequest* request) override {
    return Admit<Output<v1::SnapshotChunk>>(context, Method::kGetSnapshot, [&](const Call& call) {
      return GetSnapshotStream::Start(call, *request);
    });
  }
  Output<v1::SnapshotChunk>* WatchSnapshots(Context* context,
                                            const v1::WatchSnapshotsRequest* request) override {
    return Admit<Output<v1::SnapshotChunk>>(
        context, Method::kWatchSnapshots,
        [&](const Call& call) { return WatchSnapshotsStream::Start(call, *request); });
  }
  Output<v1::FrameChunk>* GetFrame(Context* context, const v1::GetFrameRequest* request) override {
    return Admit<Output<v1::FrameChunk>>(context, Method::kGetFrame, [&](const Call& call) {
      return GetFrameStream::Start(call, *request);
    });
  }
  Output<v1::SessionEvent>* WatchSession(Context* context,
                                         const v1::WatchSessionRequest* request) override {
    return Admit<Output<v1::SessionEvent>>(context, Method::kWatchSession, [&](const Call& call) {
      return WatchSessionStream::Start(call, *request);
    });
  }
  Output<v1::ExportStateResponse>* ExportState(Context* context,
                                               const v1::ExportStateRequest* request) override {
    return Admit<Output<v1::ExportStateResponse>>(
        context, Method::kExportState,
        [&](const Call& call) { return ExportStateStream::Start(call, *request); });
  }
  grpc::ServerReadReactor<v1::ImportStateRequest>* ImportState(Context* context,
                                                               v1::Session* response) override {
    return Admit<grpc::ServerReadReactor<v1::ImportStateRequest>>(
        context, Method::kImportState,
        [&](const Call& call) { return ImportStateStream::Start(call, response); });
  }

 private:
  // What `handle` makes of the call, if its caller may make it.
  template <class Reactor, class Handle>
  Reactor* Admit(Context* context, Method method, Handle handle) {
    auto caller = core_.access->Admit(*context, method);
    if (!caller.ok()) return new Refused<Reactor>(caller.status());
    return handle(Call{core_, context, *std::move(caller)});
  }

  Core& core_;
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_SERVICE_SERVICE_H_
