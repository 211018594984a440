// What is compared, and when nothing is. The numbers are tested against NumPy, in
// tests/reference/quality_test.py.
#include "engine/quality/frc.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>

namespace ptychoserve {
namespace {

constexpr PixelSize kPixel{1e-8, 2e-8};

// `region` of one and the same object, with as much light everywhere.
PlacedObject Part(const Region& region) {
  PlacedObject out;
  out.canvas = out.scanned = region;
  out.object = ComplexStack(1, region.shape);
  out.coverage = {region.shape, std::vector<float>(out.object.data.size(), 10)};
  std::size_t i = 0;
  for (int y = region.row; y < region.row + region.shape.rows; ++y) {
    for (int x = region.col; x < region.col + region.shape.cols; ++x) {
      // Any function of the place that repeats nowhere.
      const double phase = std::fmod(12.9898 * y * y + 78.233 * x + 0.37 * x * y, 6.0);
      out.object.data[i++] = Complex64(std::polar(1.0, phase));
    }
  }
  return out;
}

// Takes the light from all pixels outside `lit`, which is relative to the canvas.
void Darken(const Region& lit, PlacedObject* image) {
  for (int y = 0; y < image->canvas.shape.rows; ++y) {
    for (int x = 0; x < image->canvas.shape.cols; ++x) {
      const bool inside = y >= lit.row && y < lit.row + lit.shape.rows && x >= lit.col &&
                          x < lit.col + lit.shape.cols;
      if (inside) continue;
      image->coverage.data[static_cast<std::size_t>(y * image->canvas.shape.cols + x)] = 0;
    }
  }
}

TEST(Frc, IsOneWithoutNoiseAndTheResolutionAPixel) {
  const auto rings = Compare(Part({0, 0, {64, 64}}), Part({0, 0, {64, 64}}), kPixel);
  ASSERT_TRUE(rings.ok()) << rings.status();
  EXPECT_EQ(rings->side_px, 64);
  ASSERT_EQ(rings->correlation.size(), 32u);
  for (const double c : rings->correlation) EXPECT_NEAR(c, 1, 1e-6);
  EXPECT_EQ(rings->half_bit_of_nyquist, 1);
  EXPECT_EQ(rings->one_bit_of_nyquist, 1);
  EXPECT_EQ(rings->half_bit_resolution_m, 2e-8) << "of the longer side";
  EXPECT_NEAR(rings->mean_to_nyquist, 1, 1e-6);
}

TEST(Frc, ComparesTheMiddleOfWhatBothHaveScanned) {
  // They overlap in 60 x 70 pixels, whatever the canvases that they lie on.
  PlacedObject a = Part({-30, -20, {100, 100}});
  PlacedObject b = Part({0, -10, {90, 120}});
  a.scanned = {-10, 0, {70, 80}};
  b.scanned = {0, 10, {80, 90}};
  const auto rings = Compare(a, b, kPixel);
  ASSERT_TRUE(rings.ok()) << rings.status();
  EXPECT_EQ(rings->side_px, 60);
  EXPECT_NEAR(rings->mean_to_nyquist, 1, 1e-6) << "the same part of both";
  EXPECT_EQ(Compare(a, b, kPixel, 41)->side_px, 40) << "even, and no more than asked for";
}

TEST(Frc, LeavesOutWhatHasNoLight) {
  PlacedObject a = Part({0, 0, {80, 80}});
  Darken({10, 10, {60, 60}}, &a);
  const auto rings = Compare(a, Part({0, 0, {80, 80}}), kPixel);
  ASSERT_TRUE(rings.ok()) << rings.status();
  EXPECT_EQ(rings->side_px, 60);
}

TEST(Frc, SaysWhenThereIsTooLittleToCompare) {
  const auto rings = Compare(Part({0, 0, {64, 64}}), Part({40, 0, {64, 64}}), kPixel);
  EXPECT_EQ(rings.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(rings.status().message()), ::testing::HasSubstr("24 x 64 pixels"));
  PlacedObject dark = Part({0, 0, {64, 64}});
  Darken({0, 0, {0, 0}}, &dark);
  EXPECT_FALSE(Compare(dark, dark, kPixel).ok());
}

TEST(Frc, ThresholdsAreThoseOfTheRingsPixels) {
  const RingThresholds thresholds = ThresholdsOf(64);
  ASSERT_EQ(thresholds.half_bit.size(), 32u);
  // Ring 0 is one pixel, ring 1 the eight around it.
  EXPECT_NEAR(thresholds.half_bit[0], 2.1173 / 2.1173, 1e-4);
  EXPECT_NEAR(thresholds.half_bit[1],
              (0.2071 + 1.9102 / std::sqrt(8)) / (1.2071 + 0.9102 / std::sqrt(8)), 1e-12);
  EXPECT_NEAR(thresholds.one_bit[1], (0.5 + 2.4142 / std::sqrt(8)) / (1.5 + 1.4142 / std::sqrt(8)),
              1e-12);
  for (std::size_t k = 1; k < 32; ++k) EXPECT_LT(thresholds.half_bit[k], thresholds.one_bit[k]);
}

}  // namespace
}  // namespace ptychoserve
