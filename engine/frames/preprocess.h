#ifndef PTYCHOSERVE_ENGINE_FRAMES_PREPROCESS_H_
#define PTYCHOSERVE_ENGINE_FRAMES_PREPROCESS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "engine/base/array.h"
#include "engine/base/byte_chain.h"
#include "engine/config.h"
#include "engine/scan/orientation.h"

namespace ptychoserve {

// Turns one frame as the detector sent it into one as the engine holds it: orientation of the
// whole frame, crop, untrusted pixels marked, zero frequency moved to [0, 0] (not in the near
// field, where a frame is an image), stored as StorageFor(detector). Immutable, so thread-safe.
class FramePreprocessor {
 public:
  // `crop` is in the oriented frame; its shape is EngineFrameShape(detector).
  FramePreprocessor(const DetectorConfig& detector, Region crop, bool near_field = false);

  struct Result {
    // False: a float pixel inside the crop that is not masked is NaN, infinite or negative. Then
    // `out` and the counts below mean nothing.
    bool finite = true;
    int bad_row = 0, bad_col = 0;       // That pixel, in the frame as sent.
    std::int64_t untrusted_pixels = 0;  // Saturated or hot; bad_pixels are not counted.
    bool empty = false;                 // No trusted pixel has a count.
  };
  // `raw` holds raw_bytes() bytes, frame_shape pixels of detector.dtype, at any alignment and in
  // any pieces; `out` has room for engine_bytes(), EngineFrameShape pixels, and does not overlap
  // it.
  Result Run(const ByteChain& raw, std::span<std::byte> out) const;

  std::int64_t raw_bytes() const { return raw_bytes_; }
  std::int64_t engine_bytes() const { return engine_bytes_; }

 private:
  // A row of the engine's frame is read from one or two runs of pixels at equal distances.
  struct Run1d {
    std::int64_t source = 0;  // Index of the first pixel in the raw frame.
    int out_col = 0;
    int count = 0;
  };
  template <typename In, typename Out>
  Result RunTyped(const ByteChain& raw, std::byte* out) const;
  Result RunAs(const ByteChain& raw, std::byte* out) const;
  std::array<Run1d, 2> RunsOfRow(int row) const;
  void LocateBadPixel(const ByteChain& raw, Result* result) const;

  DataType dtype_;
  Shape raw_shape_;
  Shape out_shape_;
  FrameStorage storage_;
  std::uint32_t largest_trusted_ = 0;  // Integer dtypes.
  float largest_trusted_f32_ = 0;      // Float dtype.
  std::int64_t raw_bytes_ = 0;
  std::int64_t engine_bytes_ = 0;
  OrientedIndex index_;                  // Of the crop's pixel [0, 0].
  int shift_rows_ = 0, shift_cols_ = 0;  // Engine pixel [0, 0] is this pixel of the crop.
  std::vector<std::uint8_t> bad_;        // For each engine pixel, 0 or 1; empty when none is bad.
};

// Where the beam is, from the mean of the first frames: pixels at the dtype's largest value, hot
// and bad pixels and floats that are not counts count as 0; the largest 4-connected component
// above threshold * peak; the centre of its bounding box. The crop is centred on it (that point
// becomes pixel [rows/2, cols/2]) and moved inside the frame. nullopt when there is no light: then
// use the centre of the frame.
struct BeamCentre {
  Region crop;         // In the oriented frame.
  bool moved = false;  // The crop had to be moved inside the frame.
};
class AutoCentre {
 public:
  explicit AutoCentre(const DetectorConfig& detector);
  // Adds one raw frame to the mean; see FramePreprocessor::Run.
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
