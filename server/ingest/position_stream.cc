#include "server/ingest/position_stream.h"

#include "absl/strings/strip.h"
#include "engine/base/status_macros.h"
#include "server/ingest/batch_check.h"
#include "server/service/errors.h"

namespace ptychoserve::server {

grpc::ServerBidiReactor<v1::StreamPositionsRequest, v1::IngestAck>* PositionStream::Start(
    Core& core, grpc::CallbackServerContext* context) {
  return Launch(std::shared_ptr<PositionStream>(new PositionStream(core, context)));
}

absl::StatusOr<bool> PositionStream::Feed(Reconstruction& reconstruction,
                                          const v1::StreamPositionsRequest& request) {
  switch (request.message_case()) {
    case v1::StreamPositionsRequest::kBatch: {
      PS_ASSIGN_OR_RETURN(const PositionBatch batch, CheckPositionBatch(request.batch()));
      PS_RETURN_IF_ERROR(reconstruction.AddPositions(batch));
      return true;
    }
    case v1::StreamPositionsRequest::kEncoderSamples: {
      PS_ASSIGN_OR_RETURN(const EncoderBatch batch, CheckEncoderSamples(request.encoder_samples()));
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

std::int64_t PositionStream::PayloadBytes(const v1::StreamPositionsRequest& request) const {
  constexpr std::int64_t kBytesPerPair = 2 * sizeof(double);
  return kBytesPerPair * (request.batch().x_m_size() + request.encoder_samples().x_counts_size());
}

const IngestCounters& PositionStream::Counters(const Progress& progress) const {
  return progress.positions;
}

}  // namespace ptychoserve::server
