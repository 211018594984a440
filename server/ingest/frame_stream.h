#ifndef PTYCHOSERVE_SERVER_INGEST_FRAME_STREAM_H_
#define PTYCHOSERVE_SERVER_INGEST_FRAME_STREAM_H_

#include "server/ingest/ingest_stream.h"

namespace ptychoserve::server {

// One StreamFrames call.
class FrameStream final : public IngestStream<v1::StreamFramesRequest> {
 public:
  static grpc::ServerBidiReactor<v1::StreamFramesRequest, v1::IngestAck>* Start(
      Core& core, grpc::CallbackServerContext* context);

 private:
  using IngestStream::IngestStream;

  absl::StatusOr<bool> Feed(Reconstruction& reconstruction,
                            const v1::StreamFramesRequest& request) override;
  std::int64_t PayloadBytes(const v1::StreamFramesRequest& request) const override;
  const IngestCounters& Counters(const Progress& progress) const override;
  bool uses_staging() const override { return true; }

  int next_frame_ = 0;  // Of the batch that is being taken in.
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_INGEST_FRAME_STREAM_H_
