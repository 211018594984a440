#include "server/ingest/position_stream.h"

#include <grpcpp/impl/codegen/proto_utils.h>

#include "absl/strings/strip.h"
#include "engine/base/status_macros.h"
#include "server/ingest/batch_check.h"
#include "server/service/errors.h"

namespace ptychoserve::server {

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* PositionStream::Start(
    Core& core, grpc::CallbackServerContext* context) {
  return Launch(std::shared_ptr<PositionStream>(new PositionStream(core, context)));
}

bool PositionStream::Parse(grpc::ByteBuffer* bytes) {
  return grpc::SerializationTraits<v1::StreamPositionsRequest>::Deserialize(bytes, &request_).ok();
}

const v1::OpenStream* PositionStream::open() const {
  return request_.has_open() ? &request_.open() : nullptr;
}

absl::StatusOr<bool> PositionStream::Feed(Reconstruction& reconstruction) {
  switch (request_.message_case()) {
    case v1::StreamPositionsRequest::kBatch: {
      PS_ASSIGN_OR_RETURN(const PositionBatch batch, CheckPositionBatch(request_.batch()));
      PS_RETURN_IF_ERROR(reconstruction.AddPositions(batch));
      return true;
    }
    case v1::StreamPositionsRequest::kEncoderSamples: {
      PS_ASSIGN_OR_RETURN(const EncoderBatch batch,
                          CheckEncoderSamples(request_.encoder_samples()));
      const absl::Status added = reconstruction.AddEncoderSamples(batch);
      if (absl::IsInvalidArgument(added)) {
        return InvalidField(reason::kProtocolViolation, "encoder_samples",
                            absl::StripPrefix(added.message(), "encoder_samples: "));
      }
      PS_RETURN_IF_ERROR(added);
      return true;
    }
    default:
      return InvalidField(reason::kProtocolViolation, "batch",
                          "not set; every message after the first must hold a batch or "
                          "encoder_samples");
  }
}

std::int64_t PositionStream::PayloadBytes() const {
  constexpr std::int64_t kBytesPerPair = 2 * sizeof(double);
  return kBytesPerPair * (request_.batch().x_m_size() + request_.encoder_samples().x_counts_size());
}

const IngestCounters& PositionStream::Counters(const Progress& progress) const {
  return progress.positions;
}

}  // namespace ptychoserve::server
