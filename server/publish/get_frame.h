#ifndef PTYCHOSERVE_SERVER_PUBLISH_GET_FRAME_H_
#define PTYCHOSERVE_SERVER_PUBLISH_GET_FRAME_H_

#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "engine/solver/frame_view.h"
#include "ptychoserve/v1/frame.pb.h"
#include "server/publish/arrays.h"
#include "server/publish/push_stream.h"
#include "server/publish/snapshot_meter.h"

namespace ptychoserve::server {

// One GetFrame call: waits, without a thread, until the session has read the frame from its device,
// sends it, ends.
class GetFrameStream final : public PushStream<v1::FrameChunk> {
 public:
  static grpc::ServerWriteReactor<v1::FrameChunk>* Start(const Call& call,
                                                         const v1::GetFrameRequest& request);

 private:
  GetFrameStream(const Call& call, const v1::GetFrameRequest& request,
                 std::shared_ptr<Session> session);

  Step Next(v1::FrameChunk& chunk) override;
  void Ask();
  void Prepare(const MeasuredFrame& measured, v1::FrameHeader& header);

  const std::shared_ptr<Session> session_;
  const std::optional<std::int64_t> frame_id_;
  const bool expected_;
  const int downsample_;

  enum class Stage { kCreated, kAsked, kSending } stage_ = Stage::kCreated;
  SnapshotMeter meter_;
  ArrayCursor cursor_;

  Mutex answer_mu_;
  std::optional<absl::StatusOr<MeasuredFrame>> answer_ ABSL_GUARDED_BY(answer_mu_);
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_PUBLISH_GET_FRAME_H_
