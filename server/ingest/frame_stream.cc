#include "server/ingest/frame_stream.h"

#include "engine/base/status_macros.h"
#include "server/ingest/batch_check.h"
#include "server/service/errors.h"

namespace ptychoserve::server {

grpc::ServerBidiReactor<v1::StreamFramesRequest, v1::IngestAck>* FrameStream::Start(
    Core& core, grpc::CallbackServerContext* context) {
  return Launch(std::shared_ptr<FrameStream>(new FrameStream(core, context)));
}

absl::StatusOr<bool> FrameStream::Feed(Reconstruction& reconstruction,
                                       const v1::StreamFramesRequest& request) {
  if (!request.has_batch()) {
    return InvalidField(reason::kProtocolViolation, "batch",
                        "not set; every message after the first must hold one");
  }
  PS_ASSIGN_OR_RETURN(const FrameBatch batch, CheckFrameBatch(request.batch()));
  PS_ASSIGN_OR_RETURN(next_frame_, reconstruction.AddFrames(batch, next_frame_));
  if (next_frame_ < batch.count()) return false;
  next_frame_ = 0;
  return true;
}

std::int64_t FrameStream::PayloadBytes(const v1::StreamFramesRequest& request) const {
  return static_cast<std::int64_t>(request.batch().data().size());
}

const IngestCounters& FrameStream::Counters(const Progress& progress) const {
  return progress.frames;
}

}  // namespace ptychoserve::server
