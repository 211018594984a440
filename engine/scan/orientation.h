#ifndef PTYCHOSERVE_ENGINE_SCAN_ORIENTATION_H_
#define PTYCHOSERVE_ENGINE_SCAN_ORIENTATION_H_

#include <array>
#include <cstdint>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/base/array.h"
#include "engine/config.h"

namespace ptychoserve {

inline constexpr std::array<Orientation, 8> kAllOrientations = {
    Orientation::kIdentity, Orientation::kFlipLr,       Orientation::kFlipUd,
    Orientation::kRot180,   Orientation::kTranspose,    Orientation::kRot90Ccw,
    Orientation::kRot90Cw,  Orientation::kAntiTranspose};

// "identity", "flip_lr", ... as in the API without the prefix.
absl::string_view OrientationName(Orientation o);
// Errors: kInvalidArgument listing the known names.
absl::StatusOr<Orientation> OrientationFromName(absl::string_view name);

// The single element that has the effect of `first`, then `second`.
Orientation Compose(Orientation first, Orientation second);
Orientation Inverse(Orientation o);
// True for the elements that exchange rows and columns.
bool SwapsAxes(Orientation o);
Shape OrientedShape(Shape shape, Orientation o);
// Where a step of (row, col) in an image leads in the oriented image.
std::pair<double, double> OrientedStep(double row, double col, Orientation o);

// Where pixel (0, 0) of the oriented image is read from in the source image, and how far the
// source index moves per oriented row and column: source = start + row * row_step + col * col_step.
struct OrientedIndex {
  std::int64_t start = 0;
  std::int64_t row_step = 0;
  std::int64_t col_step = 0;
};
// For a row-major source image of `source_shape`.
OrientedIndex IndexFor(Shape source_shape, Orientation o);

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_SCAN_ORIENTATION_H_
