#include "engine/frames/preprocess.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
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
  float trusted = std::nextafter(kMax, 0.0f);  // The largest value of a type marks bad pixels.
  if (detector.saturation_counts) {
    trusted = std::min(trusted, largest_float(*detector.saturation_counts, false));
  }
  if (detector.hot_pixel_counts) {
    trusted = std::min(trusted, largest_float(*detector.hot_pixel_counts, true));
  }
  return trusted;
}

// Floats are handled as their bits: those of numbers >= 0 are ordered like the numbers, and integer
// comparisons and reductions become vector code where those of floats must heed NaN.
template <typename In>
using Word = std::conditional_t<std::is_same_v<In, float>, std::uint32_t, In>;
constexpr std::uint32_t kNegativeZero = std::bit_cast<std::uint32_t>(-0.0f);
// Above it are infinity, NaN and all negative numbers.
constexpr std::uint32_t kLargestFinite =
    std::bit_cast<std::uint32_t>(std::numeric_limits<float>::max());

bool IsCount(float value) {
  return value >= 0.0f && value <= std::numeric_limits<float>::max();  // False for NaN.
}

// What the runs so far have seen.
template <typename In>
struct Seen {
  std::uint32_t untrusted = 0;
  Word<In> any = 0;  // Not 0: a trusted pixel has a count.
  Word<In> invalid = 0;
};

// Copies `count` pixels from src[0], src[step], ... to out[0], out[1], .... `bad` is null or has 0
// or 1 for each. Without branches, so that constant steps become vector code.
template <typename In, typename Out, int kStep, bool kMasked>
inline void CopyRun(const std::byte* src, std::int64_t step, const std::uint8_t* bad,
                    std::byte* out, int count, Word<In> limit, Seen<In>* seen) {
  constexpr Out kUnmeasured = std::is_same_v<Out, float> ? static_cast<Out>(kUnmeasuredF32)
                                                         : static_cast<Out>(kUnmeasuredU16);
  std::uint32_t untrusted = 0;
  Word<In> any = 0;
  Word<In> invalid = 0;
  for (int i = 0; i < count; ++i) {
    auto value = Load<Word<In>>(src, kStep != 0 ? static_cast<std::int64_t>(i * kStep) : i * step);
    const Word<In> unmasked = kMasked ? bad[i] ^ 1 : 1;
    if constexpr (std::is_same_v<In, float>) {
      value = value == kNegativeZero ? 0 : value;
      invalid |= static_cast<Word<In>>(value > kLargestFinite) & unmasked;
    }
    const auto over = static_cast<Word<In>>(value > limit);
    const bool use = (unmasked & (over ^ 1)) != 0;
    untrusted += static_cast<std::uint32_t>(over & unmasked);
    any = static_cast<Word<In>>(any | (use ? value : Word<In>{0}));
    if constexpr (std::is_same_v<In, float>) {
      Store(out, i, use ? value : std::bit_cast<std::uint32_t>(kUnmeasured));
    } else {
      Store(out, i, use ? static_cast<Out>(value) : kUnmeasured);
    }
  }
  seen->untrusted += untrusted;
  seen->any = static_cast<Word<In>>(seen->any | any);
  seen->invalid = static_cast<Word<In>>(seen->invalid | invalid);
}

template <typename In, typename Out, bool kMasked>
inline void CopyRunAnyStep(const std::byte* src, std::int64_t step, const std::uint8_t* bad,
                           std::byte* out, int count, Word<In> limit, Seen<In>* seen) {
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

FramePreprocessor::FramePreprocessor(const DetectorConfig& detector, Region crop, bool near_field)
    : dtype_(detector.dtype),
      raw_shape_(detector.frame_shape),
      out_shape_(crop.shape),
      storage_(StorageFor(detector)),
      largest_trusted_(LargestTrustedCount(detector)),
      largest_trusted_f32_(LargestTrustedFloat(detector)),
      raw_bytes_(raw_shape_.pixels() * DataTypeBytes(dtype_)),
      engine_bytes_(out_shape_.pixels() * StorageBytes(storage_)),
      index_(IndexFor(raw_shape_, detector.orientation)),
      shift_rows_(near_field || detector.beam_at_corner ? 0 : MiddlePixel(crop.shape.rows)),
      shift_cols_(near_field || detector.beam_at_corner ? 0 : MiddlePixel(crop.shape.cols)) {
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

FramePreprocessor::Result FramePreprocessor::Run(const ByteChain& raw,
                                                 std::span<std::byte> out) const {
  if (std::abs(index_.col_step) == 1) return RunAs(raw, out.data());
  // Rows of the engine's frame are columns of this one: no run of pixels lies in one piece.
  ChainReader reader(raw);
  return RunAs(std::span(reader.Read(0, raw.size()), raw.size()), out.data());
}

FramePreprocessor::Result FramePreprocessor::RunAs(const ByteChain& raw, std::byte* out) const {
  const bool u16 = storage_ == FrameStorage::kU16;
  switch (dtype_) {
    case DataType::kU8:
      return RunTyped<std::uint8_t, std::uint16_t>(raw, out);
    case DataType::kU16:
      return u16 ? RunTyped<std::uint16_t, std::uint16_t>(raw, out)
                 : RunTyped<std::uint16_t, float>(raw, out);
    case DataType::kU32:
      return u16 ? RunTyped<std::uint32_t, std::uint16_t>(raw, out)
                 : RunTyped<std::uint32_t, float>(raw, out);
    case DataType::kF32:
      break;
  }
  return RunTyped<float, float>(raw, out);
}

template <typename In, typename Out>
FramePreprocessor::Result FramePreprocessor::RunTyped(const ByteChain& raw, std::byte* out) const {
  const auto limit = static_cast<Word<In>>(std::is_same_v<In, float>
                                               ? std::bit_cast<std::uint32_t>(largest_trusted_f32_)
                                               : largest_trusted_);
  Result result;
  Seen<In> seen;
  ChainReader reader(raw);
  for (int row = 0; row < out_shape_.rows; ++row) {
    const std::int64_t out_row = row * static_cast<std::int64_t>(out_shape_.cols);
    for (const Run1d& run : RunsOfRow(row)) {
      if (run.count == 0) continue;
      // From the pixel of the run that lies first in memory to the one that lies last.
      const std::int64_t reach = (run.count - 1) * index_.col_step;
      const std::byte* const first = reader.Read(
          static_cast<std::size_t>(run.source + std::min<std::int64_t>(reach, 0)) * sizeof(In),
          static_cast<std::size_t>(std::abs(reach) + 1) * sizeof(In));
      const std::byte* const src =
          first - std::min<std::int64_t>(reach, 0) * static_cast<std::int64_t>(sizeof(In));
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
  result.empty = seen.any == 0;
  if (seen.invalid != 0) LocateBadPixel(raw, &result);
  return result;
}

void FramePreprocessor::LocateBadPixel(const ByteChain& raw, Result* result) const {
  result->finite = false;
  ChainReader reader(raw);
  for (int row = 0; row < out_shape_.rows; ++row) {
    for (const Run1d& run : RunsOfRow(row)) {
      for (int i = 0; i < run.count; ++i) {
        const std::int64_t at = row * static_cast<std::int64_t>(out_shape_.cols) + run.out_col + i;
        if (!bad_.empty() && bad_[static_cast<std::size_t>(at)] != 0) continue;
        const std::int64_t source = run.source + i * index_.col_step;
        const std::size_t offset = static_cast<std::size_t>(source) * sizeof(float);
        if (IsCount(Load<float>(reader.Read(offset, sizeof(float)), 0))) continue;
        result->bad_row = static_cast<int>(source / raw_shape_.cols);
        result->bad_col = static_cast<int>(source % raw_shape_.cols);
        return;
      }
    }
  }
}

}  // namespace ptychoserve
