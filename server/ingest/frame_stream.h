#ifndef PTYCHOSERVE_SERVER_INGEST_FRAME_STREAM_H_
#define PTYCHOSERVE_SERVER_INGEST_FRAME_STREAM_H_

#include <grpcpp/support/slice.h>

#include <vector>

#include "server/ingest/frame_message.h"
#include "server/ingest/ingest_stream.h"

namespace ptychoserve::server {

// One StreamFrames call. Pixels are read where gRPC has put them.
class FrameStream final : public IngestStream {
 public:
  static grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Start(const Call& call);

 private:
  using IngestStream::IngestStream;

  bool Parse(grpc::ByteBuffer* bytes) override;
  const v1::OpenStream* open() const override;
  absl::StatusOr<bool> Feed(Reconstruction& reconstruction) override;
  std::int64_t PayloadBytes() const override;
  void Release() override;
  RecordKind kind_of_input() const override { return RecordKind::kFrames; }
  std::vector<ClosedRange> Ids() const override;
  MissingIds Missing(const Reconstruction& reconstruction, std::size_t limit) const override {
    return reconstruction.MissingFrames(limit);
  }
  const IngestCounters& Counters(const Progress& progress) const override;
  bool uses_staging() const override { return true; }

  std::vector<grpc::Slice> slices_;  // Keep what message_ looks at.
  FrameMessage message_;
  int next_frame_ = 0;  // Of the batch that is being taken in.
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_INGEST_FRAME_STREAM_H_
