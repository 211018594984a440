#ifndef PTYCHOSERVE_ENGINE_SCAN_POSITION_BATCH_H_
#define PTYCHOSERVE_ENGINE_SCAN_POSITION_BATCH_H_

#include <cstddef>
#include <cstdint>
#include <span>

namespace ptychoserve {

// Positions as they came over the wire; views into memory of the caller.
struct PositionBatch {
  std::int64_t first_frame_id = 0;    // Ids are first_frame_id, +1, ... unless `ids` is set.
  std::span<const std::int64_t> ids;  // Empty, or as many as x_m.
  std::span<const double> x_m;        // Stage coordinates, before sign and swap.
  std::span<const double> y_m;        // As many as x_m.

  int count() const { return static_cast<int>(x_m.size()); }
  std::int64_t id(int i) const {
    return ids.empty() ? first_frame_id + i : ids[static_cast<std::size_t>(i)];
  }
};

// Raw encoder samples. Sample s belongs to frame first_frame_id + s / samples_per_frame.
struct EncoderBatch {
  std::int64_t first_sample = 0;
  std::span<const double> x_counts;
  std::span<const double> y_counts;  // As many as x_counts.
};

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_SCAN_POSITION_BATCH_H_
