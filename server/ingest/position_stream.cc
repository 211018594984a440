#include "server/ingest/position_stream.h"

#include <grpcpp/impl/codegen/proto_utils.h>

#include "engine/base/status_macros.h"
#include "server/ingest/feed.h"

namespace ptychoserve::server {

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* PositionStream::Start(
    const Call& call) {
  return Launch(std::shared_ptr<PositionStream>(new PositionStream(call)));
}

bool PositionStream::Parse(grpc::ByteBuffer* bytes) {
  return grpc::SerializationTraits<v1::StreamPositionsRequest>::Deserialize(bytes, &request_).ok();
}

const v1::OpenStream* PositionStream::open() const {
  return request_.has_open() ? &request_.open() : nullptr;
}

absl::StatusOr<bool> PositionStream::Feed(Reconstruction& reconstruction) {
  PS_RETURN_IF_ERROR(FeedPositions(request_, reconstruction));
  return true;
}

std::vector<ClosedRange> PositionStream::Ids() const { return IdsOf(request_); }

std::int64_t PositionStream::PayloadBytes() const {
  constexpr std::int64_t kBytesPerPair = 2 * sizeof(double);
  return kBytesPerPair * (request_.batch().x_m_size() + request_.encoder_samples().x_counts_size());
}

const IngestCounters& PositionStream::Counters(const Progress& progress) const {
  return progress.positions;
}

}  // namespace ptychoserve::server
