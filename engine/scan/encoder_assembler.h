#ifndef PTYCHOSERVE_ENGINE_SCAN_ENCODER_ASSEMBLER_H_
#define PTYCHOSERVE_ENGINE_SCAN_ENCODER_ASSEMBLER_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/config.h"
#include "engine/scan/id_ranges.h"
#include "engine/scan/position_batch.h"

namespace ptychoserve {

// Turns encoder samples into positions: the position of a frame is the mean of its samples, scaled.
// Blocks may come in any order, repeatedly and with gaps; the result does not depend on it. A
// missing block leaves only its own frames without a position. Not thread-safe.
class EncoderAssembler {
 public:
  // Incomplete frames that are kept by default; a gap-free stream has at most one per stream.
  static constexpr std::size_t kMaxIncompleteFrames = 65536;

  EncoderAssembler(const EncoderConfig& config, std::int64_t first_frame_id,
                   std::size_t max_incomplete_frames = kMaxIncompleteFrames);

  struct Position {
    std::int64_t frame_id = 0;
    double y_m = 0;
    double x_m = 0;
  };
  struct Added {
    std::vector<Position> complete;  // Frames that have all their samples now.
    std::int64_t duplicate_samples = 0;
    std::int64_t non_finite_samples = 0;  // Left out: their frame stays incomplete.
    std::int64_t first_bad_frame = 0;     // Of the first non-finite one.
    // Left out: a negative index, an index beyond all frame ids, or a sample that would begin one
    // incomplete frame too many. They may be sent again.
    std::int64_t refused_samples = 0;
  };
  Added Add(const EncoderBatch& batch);
  // The frame of the sample with that index; the largest id for samples beyond all ids.
  std::int64_t FrameOf(std::int64_t sample) const;
  // Frames of which some samples have arrived, but not all.
  std::int64_t incomplete_frames() const { return static_cast<std::int64_t>(partial_.size()); }

 private:
  // The samples of one frame so far, by their index in it: (x, y). Memory follows what has
  // arrived, not samples_per_frame.
  using Partial = std::map<std::int32_t, std::pair<double, double>>;

  Position ToPosition(std::int64_t id, const Partial& samples) const;

  EncoderConfig config_;
  std::int64_t first_frame_id_;
  std::size_t max_incomplete_frames_;
  double angle_factor_ = 1;
  std::unordered_map<std::int64_t, Partial> partial_;
  IdRanges done_;
};

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_SCAN_ENCODER_ASSEMBLER_H_
