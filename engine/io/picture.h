#ifndef PTYCHOSERVE_ENGINE_IO_PICTURE_H_
#define PTYCHOSERVE_ENGINE_IO_PICTURE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "engine/base/array.h"

namespace ptychoserve {

// An 8-bit RGB picture, rows from the top.
struct Picture {
  Shape shape;
  std::vector<std::uint8_t> rgb;  // [rows, cols, 3]
};

// |image| in grey between its 0.5 and 99.5 percentiles. Non-finite pixels are drawn dark blue.
Picture AmplitudePicture(const Complex64* image, Shape shape);
// arg(image) on a perceptually even cyclic colour map, without what no frame tells: the mean
// direction, and the linear ramp by which it advances from pixel to pixel in the mean.
Picture PhasePicture(const Complex64* image, Shape shape);
// Phase as hue, amplitude as brightness (to the 99.5 percentile).
Picture ComplexPicture(const Complex64* image, Shape shape);
// Pictures side by side, with a gap of `gap_px` white pixels; heights may differ.
Picture SideBySide(const std::vector<Picture>& pictures, int gap_px = 8);

// Errors: kInternal with the path and the reason.
absl::Status WritePng(const std::string& path, const Picture& picture);

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_IO_PICTURE_H_
