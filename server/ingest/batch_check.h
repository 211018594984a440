#ifndef PTYCHOSERVE_SERVER_INGEST_BATCH_CHECK_H_
#define PTYCHOSERVE_SERVER_INGEST_BATCH_CHECK_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/frames/frame_batch.h"
#include "engine/scan/position_batch.h"
#include "ptychoserve/v1/ingest.pb.h"

namespace ptychoserve::server {

namespace v1 = ::ptychoserve::v1;

inline constexpr std::uint32_t kMaxFramesPerBatch = 65536;
inline constexpr int kMaxPositionsPerBatch = 1 << 20;

// What a batch must be for the stream to go on, whatever the session is: counts that agree and
// lie within the limits of ingest.proto, values of known enumerations. What contradicts the session
// or its own payload is for the engine to refuse and count.
//
// The results are views of the message; `payload` is what batch.data holds. Errors:
// kInvalidArgument naming field, value and what is allowed.
absl::StatusOr<FrameBatch> CheckFrameBatch(const v1::FrameBatch& batch, const ByteChain& payload);
absl::StatusOr<PositionBatch> CheckPositionBatch(const v1::PositionBatch& batch);
absl::StatusOr<EncoderBatch> CheckEncoderSamples(const v1::EncoderSamples& batch);

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_INGEST_BATCH_CHECK_H_
