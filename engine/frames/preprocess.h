#ifndef PTYCHOSERVE_ENGINE_FRAMES_PREPROCESS_H_
#define PTYCHOSERVE_ENGINE_FRAMES_PREPROCESS_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "engine/base/array.h"
#include "engine/config.h"

namespace ptychoserve {

// Turns one frame as the detector sent it into one as the engine holds it: orientation of the
// whole frame, crop, untrusted pixels marked, zero frequency moved to [0, 0], stored as
// StorageFor(detector). Immutable, so thread-safe.
class FramePreprocessor {
 public:
  // `crop` is in the oriented frame; its shape is EngineFrameShape(detector).
  FramePreprocessor(const DetectorConfig& detector, Region crop);

  struct Result {
    bool finite = true;                  // False: a float pixel is NaN, infinite or negative.
    int bad_row = 0, bad_col = 0;        // That pixel, in the frame as sent.
    std::int64_t untrusted_pixels = 0;   // Saturated or hot; bad_pixels are not counted.
    bool empty = false;                  // No trusted pixel has a count.
  };
  // `raw` holds frame_shape pixels of detector.dtype; `out` EngineFrameShape pixels.
  Result Run(std::span<const std::byte> raw, std::span<std::byte> out) const;

  std::int64_t raw_bytes() const { return raw_bytes_; }
  std::int64_t engine_bytes() const { return engine_bytes_; }

 private:
  DetectorConfig detector_;
  Region crop_;
  Shape out_shape_;
  FrameStorage storage_;
  std::int64_t raw_bytes_ = 0;
  std::int64_t engine_bytes_ = 0;
  std::vector<std::int64_t> source_;      // For each engine pixel, the index in the raw frame.
  std::vector<std::uint8_t> bad_;         // For each engine pixel; empty when none is bad.
};

// Where the beam is, from the mean of the first frames: pixels at the dtype's largest value and
// bad pixels count as 0; the largest 4-connected component above threshold * peak; the centre of
// its bounding box. The crop is centred on it (that point becomes pixel [rows/2, cols/2]) and
// moved inside the frame. nullopt when there is no light: then use the centre of the frame.
struct BeamCentre {
  Region crop;        // In the oriented frame.
  bool moved = false; // The crop had to be moved inside the frame.
};
class AutoCentre {
 public:
  explicit AutoCentre(const DetectorConfig& detector);
  // Adds one raw frame to the mean.
  void Add(std::span<const std::byte> raw);
  int frames() const { return frames_; }
  std::optional<BeamCentre> Find() const;
  // The crop centred in the oriented frame.
  Region CentralCrop() const;

 private:
  DetectorConfig detector_;
  std::vector<double> sum_;  // Oriented frame.
  int frames_ = 0;
};

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_FRAMES_PREPROCESS_H_
