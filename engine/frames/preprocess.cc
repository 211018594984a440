#include "engine/frames/preprocess.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

namespace ptychoserve {
namespace {

// Pixels arrive at any alignment.
template <typename T>
T Load(const std::byte* base, std::int64_t index) {
  T value;
  std::memcpy(&value, base + index * static_cast<std::int64_t>(sizeof(T)), sizeof(T));
  return value;
}

template <typename T>
void Store(std::byte* base, std::int64_t index, T value) {
  std::memcpy(base + index * static_cast<std::int64_t>(sizeof(T)), &value, sizeof(T));
}

// The largest float that is below saturation and at most the hot-pixel threshold: one comparison
// in single precision decides as two in double precision would.
float LargestTrustedFloat(const DetectorConfig& detector) {
  constexpr float kMax = std::numeric_limits<float>::max();
  const auto largest_float = [](double limit, bool inclusive) {
    if (limit > kMax) return kMax;
    const auto f = static_cast<float>(limit);
    const bool too_large = inclusive ? f > limit : f >= limit;
    return too_large ? std::nextafter(f, -1.0f) : f;
  };
  float trusted = kMax;
  if (detector.saturation_counts) {
    trusted = std::min(trusted, largest_float(*detector.saturation_counts, false));
  }
  if (detector.hot_pixel_counts) {
    trusted = std::min(trusted, largest_float(*detector.hot_pixel_counts, true));
  }
  return trusted;
}

// What a run of pixels has seen. Counters are as wide as a run can be long.
template <typename In>
struct Seen {
  std::uint32_t untrusted = 0;
  In any = 0;  // Larger than 0: a trusted pixel has a count.
  bool valid = true;
};

// Copies `count` pixels from src[0], src[step], ... to out[0], out[1], .... `bad` is null or has a
// flag for each.
template <typename In, typename Out, int kStep, bool kMasked>
inline void CopyRun(const std::byte* src, std::int64_t step, const std::uint8_t* bad,
                    std::byte* out, int count, In limit, Seen<In>* seen) {
  constexpr Out kUnmeasured = std::is_same_v<Out, float> ? static_cast<Out>(kUnmeasuredF32)
                                                         : static_cast<Out>(kUnmeasuredU16);
  std::uint32_t untrusted = 0;
  In any = 0;
  int invalid = 0;
  for (int i = 0; i < count; ++i) {
    const In value = Load<In>(src, kStep != 0 ? i * kStep : i * step);
    const bool masked = kMasked && bad[i] != 0;
    const bool over = value > limit;
    const bool use = !over && !masked;
    if constexpr (std::is_same_v<In, float>) {
      // False for NaN, too.
      const bool is_count = value >= 0.0f && value <= std::numeric_limits<float>::max();
      invalid |= static_cast<int>(!is_count && !masked);
      any = use && value > any ? value : any;
    } else {
      any = static_cast<In>(any | (use ? value : In{0}));
    }
    untrusted += static_cast<std::uint32_t>(over && !masked);
    Store<Out>(out, i, use ? static_cast<Out>(value) : kUnmeasured);
  }
  seen->untrusted += untrusted;
  seen->any = std::max(seen->any, any);
  seen->valid = seen->valid && invalid == 0;
}

template <typename In, typename Out, bool kMasked>
inline void CopyRunAnyStep(const std::byte* src, std::int64_t step, const std::uint8_t* bad,
                           std::byte* out, int count, In limit, Seen<In>* seen) {
  // Constant steps let the compiler use vectors.
  switch (step) {
    case 1:
      return CopyRun<In, Out, 1, kMasked>(src, step, bad, out, count, limit, seen);
    case -1:
      return CopyRun<In, Out, -1, kMasked>(src, step, bad, out, count, limit, seen);
    default:
      return CopyRun<In, Out, 0, kMasked>(src, step, bad, out, count, limit, seen);
  }
}

}  // namespace

FramePreprocessor::FramePreprocessor(const DetectorConfig& detector, Region crop)
    : dtype_(detector.dtype),
      raw_shape_(detector.frame_shape),
      out_shape_(crop.shape),
      storage_(StorageFor(detector)),
      largest_trusted_(LargestTrustedCount(detector)),
      largest_trusted_f32_(LargestTrustedFloat(detector)),
      raw_bytes_(raw_shape_.pixels() * DataTypeBytes(dtype_)),
      engine_bytes_(out_shape_.pixels() * StorageBytes(storage_)),
      index_(IndexFor(raw_shape_, detector.orientation)),
      shift_rows_(detector.beam_at_corner ? 0 : crop.shape.rows / 2),
      shift_cols_(detector.beam_at_corner ? 0 : crop.shape.cols / 2) {
  index_.start += crop.row * index_.row_step + crop.col * index_.col_step;
  if (std::none_of(detector.bad_pixels.begin(), detector.bad_pixels.end(),
                   [](std::uint8_t b) { return b != 0; })) {
    return;
  }
  bad_.resize(static_cast<std::size_t>(out_shape_.pixels()));
  bool any = false;
  for (int row = 0; row < out_shape_.rows; ++row) {
    for (const Run1d& run : RunsOfRow(row)) {
      for (int i = 0; i < run.count; ++i) {
        const bool bad =
            detector.bad_pixels[static_cast<std::size_t>(run.source + i * index_.col_step)] != 0;
        bad_[static_cast<std::size_t>(row * static_cast<std::int64_t>(out_shape_.cols) +
                                      run.out_col + i)] = bad;
        any = any || bad;
      }
    }
  }
  if (!any) bad_.clear();
}

std::array<FramePreprocessor::Run1d, 2> FramePreprocessor::RunsOfRow(int row) const {
  const int crop_row = (row + shift_rows_) % out_shape_.rows;
  const std::int64_t start = index_.start + crop_row * index_.row_step;
  const int first = out_shape_.cols - shift_cols_;
  return {Run1d{start + shift_cols_ * index_.col_step, 0, first}, Run1d{start, first, shift_cols_}};
}

FramePreprocessor::Result FramePreprocessor::Run(std::span<const std::byte> raw,
                                                 std::span<std::byte> out) const {
  const bool u16 = storage_ == FrameStorage::kU16;
  switch (dtype_) {
    case DataType::kU8:
      return RunTyped<std::uint8_t, std::uint16_t>(raw.data(), out.data());
    case DataType::kU16:
      return u16 ? RunTyped<std::uint16_t, std::uint16_t>(raw.data(), out.data())
                 : RunTyped<std::uint16_t, float>(raw.data(), out.data());
    case DataType::kU32:
      return u16 ? RunTyped<std::uint32_t, std::uint16_t>(raw.data(), out.data())
                 : RunTyped<std::uint32_t, float>(raw.data(), out.data());
    case DataType::kF32:
      break;
  }
  return RunTyped<float, float>(raw.data(), out.data());
}

template <typename In, typename Out>
FramePreprocessor::Result FramePreprocessor::RunTyped(const std::byte* raw, std::byte* out) const {
  In limit;
  if constexpr (std::is_same_v<In, float>) {
    limit = largest_trusted_f32_;
  } else {
    limit = static_cast<In>(largest_trusted_);
  }
  Result result;
  Seen<In> seen;
  for (int row = 0; row < out_shape_.rows; ++row) {
    const std::int64_t out_row = row * static_cast<std::int64_t>(out_shape_.cols);
    for (const Run1d& run : RunsOfRow(row)) {
      const std::byte* src = raw + run.source * static_cast<std::int64_t>(sizeof(In));
      const std::int64_t at = out_row + run.out_col;
      std::byte* dst = out + at * static_cast<std::int64_t>(sizeof(Out));
      if (bad_.empty()) {
        CopyRunAnyStep<In, Out, false>(src, index_.col_step, nullptr, dst, run.count, limit, &seen);
      } else {
        CopyRunAnyStep<In, Out, true>(src, index_.col_step, bad_.data() + at, dst, run.count, limit,
                                      &seen);
      }
    }
  }
  result.untrusted_pixels = seen.untrusted;
  result.empty = !(seen.any > In{0});
  if (!seen.valid) LocateBadPixel(raw, &result);
  return result;
}

void FramePreprocessor::LocateBadPixel(const std::byte* raw, Result* result) const {
  result->finite = false;
  for (int row = 0; row < out_shape_.rows; ++row) {
    for (const Run1d& run : RunsOfRow(row)) {
      for (int i = 0; i < run.count; ++i) {
        const std::int64_t at = row * static_cast<std::int64_t>(out_shape_.cols) + run.out_col + i;
        if (!bad_.empty() && bad_[static_cast<std::size_t>(at)] != 0) continue;
        const std::int64_t source = run.source + i * index_.col_step;
        const float value = Load<float>(raw, source);
        if (value >= 0.0f && value <= std::numeric_limits<float>::max()) continue;
        result->bad_row = static_cast<int>(source / raw_shape_.cols);
        result->bad_col = static_cast<int>(source % raw_shape_.cols);
        return;
      }
    }
  }
}

}  // namespace ptychoserve
