#include "engine/io/cxi_basis.h"

#include <cmath>

namespace ptychoserve {
namespace {

// Detectors stand a little askew; tangent of the angle that is allowed.
constexpr double kMostSkew = 0.2;

struct Direction {
  bool along_x = false;
  bool negative = false;
};

std::optional<Direction> DirectionOf(const CxiVector& step) {
  const double x = std::abs(step[0]), y = std::abs(step[1]);
  if (x > 0 && y <= kMostSkew * x) return Direction{true, step[0] < 0};
  if (y > 0 && x <= kMostSkew * y) return Direction{false, step[1] < 0};
  return std::nullopt;
}

}  // namespace

std::optional<Orientation> OrientationOfBasis(const CxiVector& row_step,
                                              const CxiVector& col_step) {
  const std::optional<Direction> rows = DirectionOf(row_step), cols = DirectionOf(col_step);
  if (!rows || !cols || rows->along_x == cols->along_x) return std::nullopt;
  if (cols->along_x) {
    if (rows->negative) return cols->negative ? Orientation::kIdentity : Orientation::kFlipLr;
    return cols->negative ? Orientation::kFlipUd : Orientation::kRot180;
  }
  // Transposed, the columns' steps lead along the rows.
  if (cols->negative) return rows->negative ? Orientation::kTranspose : Orientation::kRot90Cw;
  return rows->negative ? Orientation::kRot90Ccw : Orientation::kAntiTranspose;
}

}  // namespace ptychoserve
