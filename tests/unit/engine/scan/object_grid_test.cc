#include "engine/scan/object_grid.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ptychoserve {
namespace {

constexpr int kSide = 64;

// An object pixel of `pixel_m` for square frames of kSide.
ReconstructionConfig Config(double pixel_m = 10e-9) {
  ReconstructionConfig config;
  config.detector.frame_shape = {kSide, kSide};
  config.optics.distance_m = 1;
  config.optics.detector_pixel_size_y_m = 50e-6;
  config.optics.detector_pixel_size_x_m = 50e-6;
  config.optics.wavelength_m = pixel_m * kSide * 50e-6;
  return config;
}

ObjectGrid::Placed PlaceOrFail(ObjectGrid* grid, double y_m, double x_m) {
  auto placed = grid->Place(y_m, x_m);
  if (auto* reason = std::get_if<std::string>(&placed)) {
    ADD_FAILURE() << "(" << y_m << ", " << x_m << "): " << *reason;
    return {};
  }
  return std::get<ObjectGrid::Placed>(placed);
}

bool Refused(ObjectGrid* grid, double y_m, double x_m) {
  return std::holds_alternative<std::string>(grid->Place(y_m, x_m));
}

// The window and the pixel beyond its far edges lie on the canvas.
bool Inside(const Window& w, const Region& canvas, Shape frame) {
  return w.row >= canvas.row && w.col >= canvas.col &&
         w.row + frame.rows + 1 <= canvas.row + canvas.shape.rows &&
         w.col + frame.cols + 1 <= canvas.col + canvas.shape.cols && w.frac_row >= 0 &&
         w.frac_row < 1 && w.frac_col >= 0 && w.frac_col < 1;
}

struct Point {
  double y = 0, x = 0;
};

// Lines of a raster with random jitter within [0, range].
std::vector<Point> Raster(double range_m, int lines, bool descending, bool serpentine,
                          std::mt19937* random) {
  std::uniform_real_distribution<double> jitter(-0.4, 0.4);
  const double step = range_m / (lines - 1);
  std::vector<Point> points;
  for (int i = 0; i < lines; ++i) {
    for (int j = 0; j < lines; ++j) {
      const int line = descending ? lines - 1 - i : i;
      const int column = serpentine && i % 2 == 1 ? lines - 1 - j : j;
      points.push_back({std::clamp((line + jitter(*random)) * step, 0.0, range_m),
                        std::clamp((column + jitter(*random)) * step, 0.0, range_m)});
    }
  }
  return points;
}

TEST(AnnouncedSideTest, KnownScans) {
  constexpr double kPixel = 14.6432e-9;
  EXPECT_EQ(ObjectGrid::AnnouncedSide(256, 8e-6, kPixel, 4), 808);
  EXPECT_EQ(ObjectGrid::AnnouncedSide(256, 13e-6, kPixel, 4), 1148);
}

TEST(AnnouncedSideTest, EvenAndLargeEnough) {
  std::mt19937 random(3);
  std::uniform_real_distribution<double> range(0, 3000);
  for (const int frame_side : {8, 62, 256}) {
    for (const int padding : {2, 3, 4, 7, 30}) {
      for (int i = 0; i < 50; ++i) {
        const double r = i == 0 ? 0 : i == 1 ? 100 : range(random);
        const int side = ObjectGrid::AnnouncedSide(frame_side, r, 1.0, padding);
        EXPECT_EQ(side % 2, 0);
        EXPECT_GE(side, frame_side + std::ceil(r) + padding);
        EXPECT_LE(side, frame_side + std::ceil(r) + padding + 1);
      }
    }
  }
}

TEST(AnnouncedSideTest, EndlessRangeDoesNotOverflow) {
  EXPECT_GT(ObjectGrid::AnnouncedSide(256, 1e300, 1e-9, 4), 1 << 29);
}

TEST(ObjectGridTest, WindowIsCentredOnThePosition) {
  ObjectGrid grid(Config(10e-9));
  const Window w = PlaceOrFail(&grid, 102.25 * 10e-9, -7.5 * 10e-9).window;
  EXPECT_EQ(w.row, 102 - kSide / 2);
  EXPECT_NEAR(w.frac_row, 0.25, 1e-5);
  EXPECT_EQ(w.col, -8 - kSide / 2);
  EXPECT_NEAR(w.frac_col, 0.5, 1e-5);
}

TEST(ObjectGridTest, SwapComesBeforeSigns) {
  ReconstructionConfig config = Config(10e-9);
  config.scan.swap_axes = true;
  config.scan.y_sign = -1;
  ObjectGrid grid(config);
  // The sent x becomes the sample's y, and runs backwards.
  const Window w = PlaceOrFail(&grid, 5.5 * 10e-9, 20.25 * 10e-9).window;
  EXPECT_EQ(w.row, -21 - kSide / 2);
  EXPECT_NEAR(w.frac_row, 0.75, 1e-5);
  EXPECT_EQ(w.col, 5 - kSide / 2);
  EXPECT_NEAR(w.frac_col, 0.5, 1e-5);
}

TEST(ObjectGridTest, RemainderIsBelowOneEvenAfterRounding) {
  ObjectGrid grid(Config(1.0));
  const Window w = PlaceOrFail(&grid, std::nextafter(5.0, 0.0), -1e-30).window;
  EXPECT_EQ(w.row, 5 - kSide / 2);
  EXPECT_EQ(w.frac_row, 0);
  EXPECT_GE(w.frac_col, 0);
  EXPECT_LT(w.frac_col, 1);
}

// Announced bounds, for all signs, frames that are not square, odd paddings and empty ranges.
TEST(AnnouncedCanvasTest, EveryPositionWithinTheBoundsFits) {
  std::mt19937 random(11);
  std::uniform_real_distribution<double> uniform(0, 1);
  for (int round = 0; round < 300; ++round) {
    ReconstructionConfig config = Config();
    config.detector.frame_shape = {8 + 2 * (round % 30), 8 + 2 * (round % 23)};
    config.object.padding_px = 2 + round % 5;
    config.scan.y_sign = round % 2 == 0 ? 1 : -1;
    config.scan.x_sign = round % 3 == 0 ? 1 : -1;
    config.scan.swap_axes = round % 5 == 0;
    const PixelSize pixel = ObjectPixelSize(config.optics, config.detector);
    // Whole and other numbers of pixels, 0 included, far from the origin.
    const double origin = (uniform(random) - 0.5) * 1e5 * pixel.y_m;
    const double range_y = round % 7 == 0   ? 0
                           : round % 7 == 1 ? 100 * pixel.y_m
                                            : uniform(random) * 500 * pixel.y_m;
    const double range_x = round % 11 == 0 ? 0 : uniform(random) * 500 * pixel.x_m;
    const ScanBounds bounds{origin, origin + range_y, -origin, -origin + range_x};
    config.scan.bounds = bounds;
    ObjectGrid grid(config);
    const Region canvas = grid.canvas();
    EXPECT_EQ(canvas.shape.rows % 2, 0);
    EXPECT_EQ(canvas.shape.cols % 2, 0);

    const auto expect_fits = [&](double y, double x) {
      const Window w = PlaceOrFail(&grid, y, x).window;
      EXPECT_TRUE(Inside(w, canvas, config.detector.frame_shape))
          << "round " << round << " at " << w.row << ", " << w.col;
    };
    for (const double y : {bounds.y_min_m, bounds.y_max_m}) {
      for (const double x : {bounds.x_min_m, bounds.x_max_m}) expect_fits(y, x);
    }
    for (int i = 0; i < 30; ++i) {
      const double y = bounds.y_min_m + uniform(random) * range_y;
      const double x = bounds.x_min_m + uniform(random) * range_x;
      expect_fits(std::clamp(y, bounds.y_min_m, bounds.y_max_m),
                  std::clamp(x, bounds.x_min_m, bounds.x_max_m));
    }
    EXPECT_EQ(grid.canvas(), canvas);
  }
}

// A fixed canvas takes windows up to its last pixel but one, which interpolation reads.
TEST(AnnouncedCanvasTest, EndsOnePixelBeyondTheLastWindow) {
  ReconstructionConfig config = Config(10e-9);
  config.scan.bounds = ScanBounds{0, 1e-6, 0, 1e-6};
  ObjectGrid grid(config);
  const int last = grid.canvas().row + grid.canvas().shape.rows - 64 - 1;
  EXPECT_FALSE(Refused(&grid, (last + 32) * 10e-9, 0));
  EXPECT_TRUE(Refused(&grid, (last + 1 + 32) * 10e-9, 0));
}

TEST(AnnouncedCanvasTest, SizeAndScannedArea) {
  ReconstructionConfig config = Config(10e-9);
  config.scan.bounds = ScanBounds{0, 1.005e-6, 0, 2.004e-6};  // 100.5 x 200.4 pixels.
  const ObjectGrid grid(config);
  EXPECT_EQ(grid.canvas().shape, (Shape{170, 270}));  // 64 + 101 + 4, made even; 64 + 201 + 4.
  // (frame + padding) / 2 lies outside the scanned area at each side, the even pixel excepted.
  EXPECT_EQ(grid.scanned(), (Region{34, 34, {102, 202}}));
  // The scanned area begins where the window of the first position has its centre.
  EXPECT_EQ(grid.canvas().row + grid.scanned().row, 0);
  EXPECT_EQ(grid.canvas().col + grid.scanned().col, 0);
}

TEST(AnnouncedCanvasTest, PointRangeHasOnePixelOfScannedArea) {
  ReconstructionConfig config = Config();
  config.scan.bounds = ScanBounds{};
  EXPECT_EQ(ObjectGrid(config).scanned().shape, (Shape{1, 1}));
}

// Overshoot by three times the announced range: refused, not moved, and nothing else changes.
TEST(AnnouncedCanvasTest, PositionsFarOutsideAreRefusedAndInsideStaysUsable) {
  constexpr double kRange = 2e-6;
  std::mt19937 random(5);
  ReconstructionConfig config = Config();
  config.scan.bounds = ScanBounds{0, kRange, 0, kRange};
  ObjectGrid grid(config);
  const Region canvas = grid.canvas();
  std::uniform_real_distribution<double> overshoot(-kRange, 2 * kRange);
  int refused = 0;
  for (const Point& p : Raster(kRange, 12, true, true, &random)) {
    const double y = overshoot(random);
    const double x = overshoot(random);
    const auto result = grid.Place(y, x);
    const bool outside = std::min(y, x) < -4 * 10e-9 || std::max(y, x) > kRange + 4 * 10e-9;
    if (const auto* placed = std::get_if<ObjectGrid::Placed>(&result)) {
      EXPECT_FALSE(outside) << y << ", " << x;
      EXPECT_FALSE(placed->clamped);
      EXPECT_TRUE(Inside(placed->window, canvas, {kSide, kSide}));
    } else {
      ++refused;
    }
    EXPECT_TRUE(Inside(PlaceOrFail(&grid, p.y, p.x).window, canvas, {kSide, kSide}));
  }
  EXPECT_GT(refused, 50);
  EXPECT_EQ(grid.canvas(), canvas);
}

TEST(AnnouncedCanvasTest, RefusalSaysWhereAndWhat) {
  ReconstructionConfig config = Config();
  config.scan.bounds = ScanBounds{0, 1e-6, 0, 1e-6};
  ObjectGrid grid(config);
  const auto result = grid.Place(0, 5e-6);
  ASSERT_TRUE(std::holds_alternative<std::string>(result));
  EXPECT_THAT(std::get<std::string>(result), testing::AllOf(testing::HasSubstr("column 468.0"),
                                                            testing::HasSubstr("columns [-34,"),
                                                            testing::HasSubstr("scan.bounds")));
}

TEST(ClampTest, OutsideWindowMovesToTheNearestPlaceAndIsMarked) {
  ReconstructionConfig config = Config(10e-9);
  config.scan.bounds = ScanBounds{0, 1e-6, 0, 1e-6};
  config.scan.out_of_canvas = OutOfCanvas::kClamp;
  ObjectGrid grid(config);
  const Region canvas = grid.canvas();

  const ObjectGrid::Placed inside = PlaceOrFail(&grid, 0.5e-6, 0.5e-6);
  EXPECT_FALSE(inside.clamped);

  // Out in x alone: y keeps its place, remainder included.
  const ObjectGrid::Placed right = PlaceOrFail(&grid, 20.25 * 10e-9, 3e-6);
  EXPECT_TRUE(right.clamped);
  EXPECT_EQ(right.window.row, 20 - kSide / 2);
  EXPECT_NEAR(right.window.frac_row, 0.25, 1e-5);
  EXPECT_EQ(right.window.col, canvas.col + canvas.shape.cols - kSide - 1);
  EXPECT_TRUE(Inside(right.window, canvas, {kSide, kSide}));

  const ObjectGrid::Placed corner = PlaceOrFail(&grid, -1e300, -1e300);
  EXPECT_TRUE(corner.clamped);
  EXPECT_EQ(corner.window.row, canvas.row);
  EXPECT_EQ(corner.window.col, canvas.col);
}

class GrowingCanvasTest : public testing::TestWithParam<std::pair<bool, bool>> {};

TEST_P(GrowingCanvasTest, HoldsEveryWindowAndMovesNone) {
  const auto [descending, serpentine] = GetParam();
  std::mt19937 random(23);
  ObjectGrid grid(Config());
  std::vector<std::pair<Point, Window>> placed;
  int changes = 0;
  Region canvas = grid.canvas();
  for (const Point& p : Raster(6e-6, 40, descending, serpentine, &random)) {
    placed.emplace_back(p, PlaceOrFail(&grid, p.y, p.x).window);
    changes += grid.canvas() != canvas;
    canvas = grid.canvas();
    EXPECT_EQ(canvas.shape.rows % 2, 0);
    EXPECT_EQ(canvas.shape.cols % 2, 0);
    for (const auto& [point, window] : placed) {
      ASSERT_TRUE(Inside(window, canvas, {kSide, kSide}));
    }
  }
  // The same positions have the same windows, whatever the canvas was when they came.
  for (const auto& [point, window] : placed) {
    const Window again = PlaceOrFail(&grid, point.y, point.x).window;
    EXPECT_EQ(again.row, window.row);
    EXPECT_EQ(again.col, window.col);
    EXPECT_EQ(again.frac_row, window.frac_row);
    EXPECT_EQ(again.frac_col, window.frac_col);
  }
  EXPECT_LE(changes, 24);  // Each adds a quarter or more; 40 lines add 80 extremes.
}
INSTANTIATE_TEST_SUITE_P(Rasters, GrowingCanvasTest,
                         testing::Values(std::pair(false, false), std::pair(true, false),
                                         std::pair(false, true), std::pair(true, true)));

TEST(GrowingCanvasTest, LaterPositionBelowTheFirstMovesNothing) {
  ObjectGrid grid(Config());
  const Window first = PlaceOrFail(&grid, 1e-6, 1e-6).window;
  const Window below = PlaceOrFail(&grid, -3e-6, -2e-6).window;
  const Window again = PlaceOrFail(&grid, 1e-6, 1e-6).window;
  EXPECT_EQ(again.row, first.row);
  EXPECT_EQ(again.col, first.col);
  EXPECT_EQ(first.row - below.row, 400);
  EXPECT_EQ(first.col - below.col, 300);
  EXPECT_TRUE(Inside(first, grid.canvas(), {kSide, kSide}));
  EXPECT_TRUE(Inside(below, grid.canvas(), {kSide, kSide}));
}

TEST(GrowingCanvasTest, ScannedAreaSpansTheCentres) {
  ObjectGrid grid(Config(10e-9));
  PlaceOrFail(&grid, 0, 0);
  PlaceOrFail(&grid, 50 * 10e-9, 20 * 10e-9);
  const Region scanned = grid.scanned();
  EXPECT_EQ(scanned.row + grid.canvas().row, 0);
  EXPECT_EQ(scanned.col + grid.canvas().col, 0);
  EXPECT_NEAR(scanned.shape.rows, 51, 1);
  EXPECT_NEAR(scanned.shape.cols, 21, 1);
}

TEST(GrowingCanvasTest, NeverExceedsMaxPixelsAndRefusesWhatNeedsMore) {
  ReconstructionConfig config = Config(10e-9);
  config.object.max_pixels = 200 * 200;
  ObjectGrid grid(config);
  PlaceOrFail(&grid, 0, 0);
  // 200 pixels hold a frame of 64, the interpolation pixel and a range of 135.
  PlaceOrFail(&grid, 134.5 * 10e-9, 0);
  PlaceOrFail(&grid, 0, 134.5 * 10e-9);
  const Region canvas = grid.canvas();
  EXPECT_LE(canvas.shape.pixels(), config.object.max_pixels);
  EXPECT_TRUE(Refused(&grid, 150 * 10e-9, 0));
  EXPECT_TRUE(Refused(&grid, 0, -20 * 10e-9));
  EXPECT_EQ(grid.canvas(), canvas);
  PlaceOrFail(&grid, 100 * 10e-9, 100 * 10e-9);  // Still healthy.
}

TEST(GrowingCanvasTest, PositionsBeyondTheLatticeAreRefused) {
  ObjectGrid grid(Config());
  for (const double far : {1e300, -1e300, std::numeric_limits<double>::max(), 1e3}) {
    EXPECT_TRUE(Refused(&grid, far, 0)) << far;
    EXPECT_TRUE(Refused(&grid, 0, far)) << far;
  }
  EXPECT_TRUE(Refused(&grid, std::numeric_limits<double>::quiet_NaN(), 0));
  PlaceOrFail(&grid, 0, 0);
}

}  // namespace
}  // namespace ptychoserve
