#include "engine/solver/frame_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <complex>
#include <limits>
#include <memory>
#include <numbers>
#include <random>
#include <vector>

namespace ptychoserve {
namespace {

using Complex = std::complex<double>;

constexpr Shape kFrame{6, 5};
constexpr Shape kCanvas{12, 11};
constexpr int kProbeModes = 2;
constexpr int kObjectModes = 2;
constexpr int kComponents = 2;
constexpr int kRow = 3, kCol = 2;  // Of the window's corner, and what is beyond.
constexpr double kFracRow = 0.25, kFracCol = 0.75;

ComplexStack Random(int modes, Shape shape, std::uint32_t seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  ComplexStack stack(modes, shape);
  for (Complex64& value : stack.data) value = {normal(generator), normal(generator)};
  return stack;
}

Snapshot MakeSnapshot() {
  Snapshot s;
  s.version = 3;
  s.canvas = {-4, 9, kCanvas};
  s.object = Random(kObjectModes, kCanvas, 1);
  s.probe = Random(kProbeModes, kFrame, 2);
  s.probe_components = std::make_shared<ComplexStack>(Random(kComponents * kProbeModes, kFrame, 3));
  FloatImage background{kFrame, {}};
  for (int i = 0; i < kFrame.pixels(); ++i) background.data.push_back(0.5f + static_cast<float>(i));
  s.background = std::make_shared<FloatImage>(background);
  s.points = {{7, kRow + kFracRow, kCol + kFracCol, {0, 0, 1.5f, {0.125f, -0.5f}}, {}, 0}};
  return s;
}

Complex At(const ComplexStack& stack, int mode, int row, int col) {
  return Complex(stack.data[static_cast<std::size_t>(
      (static_cast<std::int64_t>(mode) * stack.shape.rows + row) * stack.shape.cols + col)]);
}

// P_jm O_jl, pixel by pixel, after the definitions.
Complex ExitWave(const Snapshot& s, int m, int l, int y, int x) {
  Complex probe = At(s.probe, m, y, x);
  for (int k = 0; k < kComponents; ++k) {
    probe += double(s.points[0].refined.variation[static_cast<std::size_t>(k)]) *
             At(*s.probe_components, k * kProbeModes + m, y, x);
  }
  const auto object = [&](int dy, int dx) { return At(s.object, l, kRow + y + dy, kCol + x + dx); };
  return probe * ((1 - kFracRow) * ((1 - kFracCol) * object(0, 0) + kFracCol * object(0, 1)) +
                  kFracRow * ((1 - kFracCol) * object(1, 0) + kFracCol * object(1, 1)));
}

// Of the frequency (v, u), by the sum itself, unitary.
Complex Transformed(const Snapshot& s, int m, int l, int v, int u) {
  Complex sum = 0;
  for (int y = 0; y < kFrame.rows; ++y) {
    for (int x = 0; x < kFrame.cols; ++x) {
      const double turns = double(v) * y / kFrame.rows + double(u) * x / kFrame.cols;
      sum += ExitWave(s, m, l, y, x) * std::polar(1.0, -2 * std::numbers::pi * turns);
    }
  }
  return sum / std::sqrt(static_cast<double>(kFrame.pixels()));
}

TEST(ExpectedCounts, AreTheModelWithAllThatCanBeRefined) {
  const Snapshot s = MakeSnapshot();
  const auto found = ExpectedCounts(s, s.points[0], std::nullopt);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->shape, kFrame);
  for (int row = 0; row < kFrame.rows; ++row) {
    for (int col = 0; col < kFrame.cols; ++col) {
      // Zero frequency is in the middle of what is shown, and at [0, 0] of the background.
      const int v = (row - kFrame.rows / 2 + kFrame.rows) % kFrame.rows;
      const int u = (col - kFrame.cols / 2 + kFrame.cols) % kFrame.cols;
      double expected = 0;
      for (int m = 0; m < kProbeModes; ++m) {
        for (int l = 0; l < kObjectModes; ++l) expected += std::norm(Transformed(s, m, l, v, u));
      }
      expected = 1.5 * expected + s.background->data[static_cast<std::size_t>(v * kFrame.cols + u)];
      EXPECT_NEAR(found->data[static_cast<std::size_t>(row * kFrame.cols + col)], expected,
                  1e-5 * expected)
          << row << ", " << col;
    }
  }
}

TEST(ExpectedCounts, OfTheNearFieldKeepTheirLightAndTheirPlace) {
  Snapshot s = MakeSnapshot();
  s.probe_components = nullptr;
  s.background = nullptr;
  // Over no distance the detector sees the exit wave itself.
  const FreeSpace none{.wavelength_m = 1e-10, .distance_m = 0, .pixel_size = {1e-6, 1e-6}};
  const auto found = ExpectedCounts(s, s.points[0], none);
  ASSERT_TRUE(found.has_value());
  s.points[0].refined.variation = {};
  s.probe_components =
      std::make_shared<ComplexStack>(kComponents * kProbeModes, kFrame, Complex64(0));
  for (int y = 0; y < kFrame.rows; ++y) {
    for (int x = 0; x < kFrame.cols; ++x) {
      double expected = 0;
      for (int m = 0; m < kProbeModes; ++m) {
        for (int l = 0; l < kObjectModes; ++l) expected += std::norm(ExitWave(s, m, l, y, x));
      }
      EXPECT_NEAR(found->data[static_cast<std::size_t>(y * kFrame.cols + x)], 1.5 * expected,
                  1e-5 * expected);
    }
  }
}

TEST(ExpectedCounts, ThereAreNoneOfAWindowBesideTheCanvas) {
  const Snapshot s = MakeSnapshot();
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  const auto at = [&](double row, double col) {
    SnapshotPoint point = s.points[0];
    point.row = row;
    point.col = col;
    return ExpectedCounts(s, point, std::nullopt).has_value();
  };
  EXPECT_TRUE(at(0, 0));
  EXPECT_TRUE(at(kCanvas.rows - kFrame.rows - 0.5, kCanvas.cols - kFrame.cols - 0.5));
  EXPECT_FALSE(at(kCanvas.rows - kFrame.rows, 0)) << "interpolation needs one row more";
  EXPECT_FALSE(at(0, kCanvas.cols - kFrame.cols));
  EXPECT_FALSE(at(-0.5, 0));
  EXPECT_FALSE(at(0, 1e300));
  EXPECT_FALSE(at(kNan, 0));
}

TEST(ZeroFrequencyCentred, MovesPixelZeroToTheMiddle) {
  for (const Shape shape : {Shape{4, 6}, Shape{5, 3}, Shape{1, 2}}) {
    FloatImage image{shape, std::vector<float>(static_cast<std::size_t>(shape.pixels()))};
    image.data[0] = 1;
    image.data.back() = 2;
    const FloatImage centred = ZeroFrequencyCentred(image);
    const auto at = [&](int row, int col) {
      return centred.data[static_cast<std::size_t>(row * shape.cols + col)];
    };
    EXPECT_EQ(at(shape.rows / 2, shape.cols / 2), 1);
    EXPECT_EQ(at((shape.rows / 2 + shape.rows - 1) % shape.rows,
                 (shape.cols / 2 + shape.cols - 1) % shape.cols),
              2);
  }
}

}  // namespace
}  // namespace ptychoserve
