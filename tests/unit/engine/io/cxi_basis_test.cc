#include "engine/io/cxi_basis.h"

#include <cmath>
#include <vector>

#include "engine/scan/orientation.h"
#include "gtest/gtest.h"

namespace ptychoserve {
namespace {

// Where each pixel of the turned frame comes from says how its rows and columns run in space.
CxiVector StepAfter(Orientation orientation, bool down, const CxiVector& row_step,
                    const CxiVector& col_step) {
  const Shape shape{8, 8};
  const OrientedIndex index = IndexFor(shape, orientation);
  const std::int64_t step = down ? index.row_step : index.col_step;
  // A step by 8 pixels in memory is one down the stored rows, one by 1 along the columns.
  const bool stored_down = std::abs(step) == 8;
  const double sign = step < 0 ? -1 : 1;
  const CxiVector& stored = stored_down ? row_step : col_step;
  return {sign * stored[0], sign * stored[1], 0};
}

TEST(OrientationOfBasis, MakesRowsRunDownAndColumnsToTheRight) {
  for (const double y : {-75e-6, 75e-6}) {
    for (const double x : {-55e-6, 55e-6}) {
      for (const bool transposed : {false, true}) {
        const CxiVector along_y{1e-7, y, 0}, along_x{x, -2e-7, 0};  // A little askew.
        const CxiVector rows = transposed ? along_x : along_y;
        const CxiVector cols = transposed ? along_y : along_x;
        const std::optional<Orientation> found = OrientationOfBasis(rows, cols);
        ASSERT_TRUE(found.has_value());
        const CxiVector down = StepAfter(*found, true, rows, cols);
        const CxiVector right = StepAfter(*found, false, rows, cols);
        EXPECT_LT(down[1], -7e-5) << OrientationName(*found);
        EXPECT_LT(right[0], -5e-5) << OrientationName(*found);
      }
    }
  }
}

TEST(OrientationOfBasis, IsUnknownWhenVectorsAreNotAlongTheAxes) {
  EXPECT_FALSE(OrientationOfBasis({0, -1, 0}, {0, -1, 0}).has_value()) << "parallel";
  EXPECT_FALSE(OrientationOfBasis({-1, -1, 0}, {-1, 1, 0}).has_value()) << "45 degrees";
  EXPECT_FALSE(OrientationOfBasis({0, 0, 1}, {-1, 0, 0}).has_value()) << "along the beam";
  EXPECT_FALSE(OrientationOfBasis({0, 0, 0}, {0, 0, 0}).has_value());
  EXPECT_FALSE(OrientationOfBasis({NAN, -1, 0}, {-1, 0, 0}).has_value());
}

}  // namespace
}  // namespace ptychoserve
