#include "server/ingest/batch_check.h"

#include <limits>
#include <span>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "server/service/enums.h"
#include "server/service/errors.h"

namespace ptychoserve::server {
namespace {

absl::Status Violation(absl::string_view field, absl::string_view description) {
  return InvalidField(reason::kProtocolViolation, field, description);
}

absl::Status CheckIds(std::int64_t first, int ids, std::int64_t count) {
  if (ids != 0 && ids != count) {
    return Violation("batch.frame_ids",
                     absl::StrCat(ids, " ids for ", count, " entries; allowed: none, or one each"));
  }
  if (ids == 0 && first > std::numeric_limits<std::int64_t>::max() - count) {
    return Violation("batch.first_frame_id",
                     absl::StrCat(first, " with ", count, " entries exceeds the range of an id"));
  }
  return absl::OkStatus();
}

absl::Status CheckPairs(absl::string_view x, int x_size, absl::string_view y, int y_size) {
  if (x_size < 1 || x_size > kMaxPositionsPerBatch) {
    return Violation(x, absl::StrCat(x_size, " entries; allowed: 1..", kMaxPositionsPerBatch));
  }
  if (y_size != x_size) {
    return Violation(y, absl::StrCat(y_size, " entries; required: ", x_size, ", as many as ", x));
  }
  return absl::OkStatus();
}

template <typename Repeated>
auto SpanOf(const Repeated& field) {
  return std::span(field.data(), static_cast<std::size_t>(field.size()));
}

}  // namespace

absl::StatusOr<FrameBatch> CheckFrameBatch(const v1::FrameBatch& batch, const ByteChain& payload) {
  if (batch.count() < 1 || batch.count() > kMaxFramesPerBatch) {
    return Violation("batch.count",
                     absl::StrCat(batch.count(), "; allowed: 1..", kMaxFramesPerBatch));
  }
  PS_RETURN_IF_ERROR(CheckIds(batch.first_frame_id(), batch.frame_ids_size(), batch.count()));
  const auto dtype = FromProto(batch.dtype());
  if (!dtype.has_value()) {
    return Violation("batch.dtype",
                     absl::StrCat(static_cast<int>(batch.dtype()), "; allowed: U8, U16, U32, F32"));
  }
  const auto encoding = FromProto(batch.encoding());
  if (!encoding.has_value()) {
    return Violation("batch.encoding", absl::StrCat(static_cast<int>(batch.encoding()),
                                                    "; allowed: RAW, LZ4, BSLZ4"));
  }
  const std::uint32_t sizes = *encoding == Encoding::kRaw ? 0 : batch.count();
  if (static_cast<std::uint32_t>(batch.encoded_sizes_size()) != sizes) {
    return Violation("batch.encoded_sizes",
                     absl::StrCat(batch.encoded_sizes_size(), " entries; required: ", sizes,
                                  ", one for each frame unless the encoding is RAW"));
  }
  constexpr std::uint32_t kMaxSide = std::numeric_limits<int>::max();
  if (batch.rows() > kMaxSide || batch.cols() > kMaxSide) {
    return Violation("batch.rows", absl::StrCat(batch.rows(), " x ", batch.cols(),
                                                "; allowed: the session's frame_shape"));
  }
  FrameBatch out;
  out.first_frame_id = batch.first_frame_id();
  out.ids = SpanOf(batch.frame_ids());
  out.frames = static_cast<int>(batch.count());
  out.dtype = *dtype;
  out.shape = {static_cast<int>(batch.rows()), static_cast<int>(batch.cols())};
  out.encoding = *encoding;
  out.encoded_sizes = SpanOf(batch.encoded_sizes());
  out.data = payload;
  return out;
}

absl::StatusOr<PositionBatch> CheckPositionBatch(const v1::PositionBatch& batch) {
  PS_RETURN_IF_ERROR(CheckPairs("batch.x_m", batch.x_m_size(), "batch.y_m", batch.y_m_size()));
  PS_RETURN_IF_ERROR(CheckIds(batch.first_frame_id(), batch.frame_ids_size(), batch.x_m_size()));
  return PositionBatch{batch.first_frame_id(), SpanOf(batch.frame_ids()), SpanOf(batch.x_m()),
                       SpanOf(batch.y_m())};
}

absl::StatusOr<EncoderBatch> CheckEncoderSamples(const v1::EncoderSamples& batch) {
  PS_RETURN_IF_ERROR(CheckPairs("encoder_samples.x_counts", batch.x_counts_size(),
                                "encoder_samples.y_counts", batch.y_counts_size()));
  if (batch.first_sample() < 0 ||
      batch.first_sample() > std::numeric_limits<std::int64_t>::max() - batch.x_counts_size()) {
    return Violation("encoder_samples.first_sample",
                     absl::StrCat(batch.first_sample(), "; allowed: >= 0"));
  }
  return EncoderBatch{batch.first_sample(), SpanOf(batch.x_counts()), SpanOf(batch.y_counts())};
}

}  // namespace ptychoserve::server
