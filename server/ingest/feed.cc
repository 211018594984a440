#include "server/ingest/feed.h"

#include <google/protobuf/repeated_field.h>

#include <cstdint>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "engine/base/status_macros.h"
#include "server/ingest/batch_check.h"
#include "server/service/errors.h"

namespace ptychoserve::server {
namespace {

std::vector<ClosedRange> Ranges(std::int64_t first, std::int64_t count,
                                const google::protobuf::RepeatedField<std::int64_t>& ids) {
  if (ids.empty()) {
    constexpr std::int64_t kLargest = std::numeric_limits<std::int64_t>::max();
    return {{first, first > kLargest - count ? kLargest : first + count - 1}};
  }
  std::vector<ClosedRange> ranges;
  for (const std::int64_t id : ids) {
    // The smallest id follows none: there is no number before it.
    if (!ranges.empty() && ranges.back().second < id && ranges.back().second == id - 1) {
      ranges.back().second = id;
    } else {
      ranges.emplace_back(id, id);
    }
  }
  return ranges;
}

// What the engine says of a field that cannot be, "FIELD: ...", is a violation of the protocol.
absl::Status AsViolation(absl::Status status, absl::string_view field) {
  if (!absl::IsInvalidArgument(status)) return status;
  return InvalidField(reason::kProtocolViolation, field,
                      absl::StripPrefix(status.message(), absl::StrCat(field, ": ")));
}

}  // namespace

absl::StatusOr<bool> FeedFrames(const FrameMessage& message, Reconstruction& reconstruction,
                                int* next_frame) {
  if (message.request.has_skipped()) {
    const v1::SkippedFrames& skipped = message.request.skipped();
    PS_RETURN_IF_ERROR(AsViolation(
        reconstruction.SkipFrames(skipped.first_frame_id(), skipped.count()), "skipped.count"));
    return true;
  }
  if (!message.request.has_batch()) {
    return InvalidField(reason::kProtocolViolation, "batch",
                        "not set; every message after the first must hold a batch or skipped");
  }
  PS_ASSIGN_OR_RETURN(const FrameBatch batch,
                      CheckFrameBatch(message.request.batch(), message.payload));
  PS_ASSIGN_OR_RETURN(*next_frame, reconstruction.AddFrames(batch, *next_frame));
  if (*next_frame < batch.count()) return false;
  *next_frame = 0;
  return true;
}

absl::Status FeedPositions(const v1::StreamPositionsRequest& message,
                           Reconstruction& reconstruction) {
  switch (message.message_case()) {
    case v1::StreamPositionsRequest::kBatch: {
      PS_ASSIGN_OR_RETURN(const PositionBatch batch, CheckPositionBatch(message.batch()));
      return reconstruction.AddPositions(batch);
    }
    case v1::StreamPositionsRequest::kEncoderSamples: {
      PS_ASSIGN_OR_RETURN(const EncoderBatch batch, CheckEncoderSamples(message.encoder_samples()));
      return AsViolation(reconstruction.AddEncoderSamples(batch), "encoder_samples");
    }
    default:
      return InvalidField(reason::kProtocolViolation, "batch",
                          "not set; every message after the first must hold a batch or "
                          "encoder_samples");
  }
}

std::vector<ClosedRange> IdsOf(const v1::StreamFramesRequest& message) {
  if (message.has_skipped()) {
    return Ranges(message.skipped().first_frame_id(), message.skipped().count(), {});
  }
  return Ranges(message.batch().first_frame_id(), message.batch().count(),
                message.batch().frame_ids());
}

std::vector<ClosedRange> IdsOf(const v1::StreamPositionsRequest& message) {
  if (!message.has_batch()) return {};
  return Ranges(message.batch().first_frame_id(), message.batch().x_m_size(),
                message.batch().frame_ids());
}

}  // namespace ptychoserve::server
