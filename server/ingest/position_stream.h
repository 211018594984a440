#ifndef PTYCHOSERVE_SERVER_INGEST_POSITION_STREAM_H_
#define PTYCHOSERVE_SERVER_INGEST_POSITION_STREAM_H_

#include "server/ingest/ingest_stream.h"

namespace ptychoserve::server {

// One StreamPositions call.
class PositionStream final : public IngestStream<v1::StreamPositionsRequest> {
 public:
  static grpc::ServerBidiReactor<v1::StreamPositionsRequest, v1::IngestAck>* Start(
      Core& core, grpc::CallbackServerContext* context);

 private:
  using IngestStream::IngestStream;

  absl::StatusOr<bool> Feed(Reconstruction& reconstruction,
                            const v1::StreamPositionsRequest& request) override;
  std::int64_t PayloadBytes(const v1::StreamPositionsRequest& request) const override;
  const IngestCounters& Counters(const Progress& progress) const override;
  bool uses_staging() const override { return false; }
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_INGEST_POSITION_STREAM_H_
