#ifndef PTYCHOSERVE_ENGINE_SCAN_ENCODER_ASSEMBLER_H_
#define PTYCHOSERVE_ENGINE_SCAN_ENCODER_ASSEMBLER_H_

#include <cstdint>
#include <unordered_map>
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
  EncoderAssembler(const EncoderConfig& config, std::int64_t first_frame_id);

  struct Position {
    std::int64_t frame_id = 0;
    double y_m = 0;
    double x_m = 0;
  };
  struct Added {
    std::vector<Position> complete;   // Frames that have all their samples now.
    std::int64_t duplicate_samples = 0;
    std::int64_t non_finite_samples = 0;  // Left out: their frame stays incomplete.
    std::int64_t first_bad_frame = 0;     // Of the first non-finite one.
  };
  Added Add(const EncoderBatch& batch);
  // Frames of which some samples have arrived, but not all.
  std::int64_t incomplete_frames() const { return static_cast<std::int64_t>(partial_.size()); }

 private:
  struct Partial {
    std::vector<double> x, y;        // samples_per_frame each.
    std::vector<bool> have;
    int count = 0;
  };
  EncoderConfig config_;
  std::int64_t first_frame_id_;
  double angle_factor_ = 1;
  std::unordered_map<std::int64_t, Partial> partial_;
  IdRanges done_;
};

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_SCAN_ENCODER_ASSEMBLER_H_
