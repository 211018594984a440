#include "engine/object/modes.h"

#include <cmath>
#include <complex>
#include <cstddef>
#include <set>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ptychoserve {
namespace {

using ::testing::ElementsAre;
using Complex128 = std::complex<double>;

constexpr Region kCanvas{-40, 25, {64, 80}};
// Of the amplitude 1, and with frames so small that each pixel is a block.
ObjectStart FineStart() { return MakeObjectStart({0.6f, -0.8f}, {8, 8}); }

TEST(WithObjectModesTest, KeepsWhatThereIsAndAddsWeakPatterns) {
  const ComplexStack one(1, kCanvas.shape, Complex64(2, 3));
  const ComplexStack four = WithObjectModes(one, kCanvas, FineStart(), 4);
  ASSERT_EQ(four.modes, 4);
  const auto pixels = static_cast<std::size_t>(kCanvas.shape.pixels());
  ASSERT_EQ(four.data.size(), 4 * pixels);
  EXPECT_EQ(std::vector(four.data.begin(), four.data.begin() + pixels), one.data);
  for (std::size_t a = 1; a < 4; ++a) {
    double power = 0;
    Complex128 mean = 0;
    for (std::size_t i = 0; i < pixels; ++i) {
      power += std::norm(Complex128(four.data[a * pixels + i]));
      mean += Complex128(four.data[a * pixels + i]);
    }
    const double rms = std::sqrt(power / static_cast<double>(pixels));
    EXPECT_NEAR(rms, 0.1, 0.002);
    EXPECT_LT(std::abs(mean) / static_cast<double>(pixels), 0.05 * 0.1);
    for (std::size_t b = 1; b < a; ++b) {
      Complex128 overlap = 0;
      for (std::size_t i = 0; i < pixels; ++i) {
        overlap += std::conj(Complex128(four.data[a * pixels + i])) *
                   Complex128(four.data[b * pixels + i]);
      }
      EXPECT_LT(std::abs(overlap), 0.05 * power);
    }
  }
}

// So that a canvas may grow in any steps.
TEST(WithObjectModesTest, ThePatternHangsOnTheLatticeAlone) {
  const Region part{kCanvas.row + 7, kCanvas.col + 11, {20, 30}};
  const ComplexStack all = WithObjectModes(ComplexStack(1, kCanvas.shape), kCanvas, FineStart(), 2);
  const ComplexStack some = WithObjectModes(ComplexStack(1, part.shape), part, FineStart(), 2);
  std::set<std::pair<float, float>> values;
  for (int y = 0; y < 20; ++y) {
    for (int x = 0; x < 30; ++x) {
      const Complex64 value = some.data[static_cast<std::size_t>(600 + y * 30 + x)];
      EXPECT_EQ(value, all.data[static_cast<std::size_t>(64 * 80 + (y + 7) * 80 + x + 11)]);
      values.emplace(value.real(), value.imag());
    }
  }
  EXPECT_EQ(values.size(), 600U);
}

// Eight along each side of a frame, on either side of the lattice's origin.
TEST(WithObjectModesTest, BlocksAreAFractionOfAFrame) {
  const ObjectStart start = MakeObjectStart({1, 0}, {16, 39});
  const auto same = [&](int row, int col, int other_row, int other_col) {
    const ObjectStart::Value a = start.At(1, row, col), b = start.At(1, other_row, other_col);
    return a.re == b.re && a.im == b.im;
  };
  for (const int row : {-4, -2, 0, 2}) {
    for (const int col : {-8, -4, 0, 4}) {
      EXPECT_TRUE(same(row, col, row + 1, col + 3));
      EXPECT_FALSE(same(row, col, row + 2, col));
      EXPECT_FALSE(same(row, col, row, col + 4));
      EXPECT_FALSE(same(row, col, row - 1, col));
      EXPECT_FALSE(same(row, col, row, col - 1));
    }
  }
}

// Values that every version and device must have.
TEST(WithObjectModesTest, ThePatternStaysWhatItIs) {
  const ObjectStart start = MakeObjectStart({1, 0}, {16, 32});
  const ComplexStack two = WithObjectModes(ComplexStack(1, {1, 2}), {-3, 7, {1, 2}}, start, 2);
  EXPECT_FLOAT_EQ(start.largest, 0.1f * std::sqrt(1.5f));
  EXPECT_FLOAT_EQ(two.data[2].real(), 0.2579763f * start.largest);
  EXPECT_FLOAT_EQ(two.data[2].imag(), 0.32249725f * start.largest);
  EXPECT_FLOAT_EQ(two.data[3].real(), -0.27818644f * start.largest);
}

// Modes a and b of four pixels, of which the last one is dark.
ComplexStack Object(const std::vector<Complex64>& a, const std::vector<Complex64>& b) {
  ComplexStack object(2, {2, 2});
  std::copy(a.begin(), a.end(), object.data.begin());
  std::copy(b.begin(), b.end(), object.data.begin() + 4);
  return object;
}
FloatImage Coverage() { return {{2, 2}, {1, 1, 2, 0}}; }

TEST(OrthogonaliseObjectTest, IsTheSameSampleInModesThatAreOrthogonalUnderTheLight) {
  const ComplexStack before =
      Object({{1, 1}, {0, 2}, {1, 0}, {9, 9}}, {{0, 1}, {2, 0}, {1, 1}, {0, 7}});
  ComplexStack after = before;
  const std::vector<double> powers = OrthogonaliseObject(after, Coverage());
  const std::vector<float> light = Coverage().data;
  Complex128 overlap = 0;
  double first = 0, second = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    const Complex128 a(after.data[i]), b(after.data[4 + i]);
    overlap += static_cast<double>(light[i]) * std::conj(a) * b;
    first += static_cast<double>(light[i]) * std::norm(a);
    second += static_cast<double>(light[i]) * std::norm(b);
    for (std::size_t k = 0; k < 4; ++k) {
      const auto coherence = [&](const ComplexStack& o) {
        return Complex128(o.data[i]) * std::conj(Complex128(o.data[k])) +
               Complex128(o.data[4 + i]) * std::conj(Complex128(o.data[4 + k]));
      };
      EXPECT_LT(std::abs(coherence(after) - coherence(before)), 1e-5);
    }
  }
  EXPECT_LT(std::abs(overlap), 1e-6);
  EXPECT_GT(first, second);
  EXPECT_NEAR(powers[0], first / (first + second), 1e-6);
  EXPECT_NEAR(powers[1], second / (first + second), 1e-6);
}

TEST(OrthogonaliseObjectTest, WhatIsDarkHasNoSay) {
  ComplexStack dark_differs =
      Object({{1, 0}, {1, 0}, {1, 0}, {0, 0}}, {{0, 0}, {0, 0}, {0, 0}, {5, 5}});
  const ComplexStack before = dark_differs;
  EXPECT_THAT(OrthogonaliseObject(dark_differs, Coverage()), ElementsAre(1, 0));
  EXPECT_EQ(dark_differs.data, before.data);
  ComplexStack none(3, {2, 2});
  EXPECT_THAT(OrthogonaliseObject(none, Coverage()), ElementsAre(0, 0, 0));
}

TEST(OrthogonaliseObjectTest, LeavesOneModeAlone) {
  ComplexStack one(1, {2, 2}, Complex64(0.5f, 0.25f));
  const std::vector<Complex64> before = one.data;
  EXPECT_THAT(OrthogonaliseObject(one, Coverage()), ElementsAre(1));
  EXPECT_EQ(one.data, before);
}

TEST(StrongestModeTest, IsTheFirstOfTheOrthogonalOnes) {
  const ComplexStack object =
      Object({{1, 1}, {0, 2}, {1, 0}, {9, 9}}, {{0, 1}, {2, 0}, {1, 1}, {0, 7}});
  ComplexStack orthogonal = object;
  OrthogonaliseObject(orthogonal, Coverage());
  const ComplexStack strongest = StrongestMode(object, Coverage());
  EXPECT_EQ(strongest.modes, 1);
  EXPECT_EQ(strongest.data, std::vector(orthogonal.data.begin(), orthogonal.data.begin() + 4));
}

}  // namespace
}  // namespace ptychoserve
