#ifndef PTYCHOSERVE_SERVER_INGEST_POSITION_STREAM_H_
#define PTYCHOSERVE_SERVER_INGEST_POSITION_STREAM_H_

#include "server/ingest/ingest_stream.h"

namespace ptychoserve::server {

// One StreamPositions call.
class PositionStream final : public IngestStream {
 public:
  static grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Start(const Call& call);

 private:
  using IngestStream::IngestStream;

  bool Parse(grpc::ByteBuffer* bytes) override;
  const v1::OpenStream* open() const override;
  absl::StatusOr<bool> Feed(Reconstruction& reconstruction) override;
  std::int64_t PayloadBytes() const override;
  void Release() override { request_.Clear(); }
  RecordKind kind_of_input() const override { return RecordKind::kPositions; }
  std::vector<ClosedRange> Ids() const override;
  MissingIds Missing(const Reconstruction& reconstruction, std::size_t limit) const override {
    return reconstruction.MissingPositions(limit);
  }
  const IngestCounters& Counters(const Progress& progress) const override;
  bool uses_staging() const override { return false; }

  v1::StreamPositionsRequest request_;
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_INGEST_POSITION_STREAM_H_
