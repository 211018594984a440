#include "engine/solver/plausibility.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "tests/unit/engine/test_config.h"

namespace ptychoserve {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

TEST(SettingsWarnings, UsualSettingsHaveNone) {
  EXPECT_THAT(SettingsWarnings(SmallConfig()), IsEmpty());
  // 300 keV electrons, an effective distance, atomic resolution.
  ReconstructionConfig electrons = SmallConfig(256);
  electrons.optics = {1.97e-12, 1.0, 50e-6, 50e-6};
  EXPECT_THAT(SettingsWarnings(electrons), IsEmpty());
  // Visible light on a bench.
  ReconstructionConfig light = SmallConfig(1024);
  light.optics = {6.33e-7 / 7, 0.06, 5e-6, 5e-6};
  EXPECT_THAT(SettingsWarnings(light), IsEmpty());
}

TEST(SettingsWarnings, AWavelengthInNanometres) {
  ReconstructionConfig config = SmallConfig();
  config.optics.wavelength_m = 0.1;
  EXPECT_THAT(SettingsWarnings(config),
              ElementsAre(AllOf(HasSubstr("optics.wavelength_m is 0.1 m"),
                                HasSubstr("usual are 1e-12 to 1e-07 m"), HasSubstr("unit")),
                          HasSubstr("object pixels of 10 x 10 m")));
}

TEST(SettingsWarnings, DistancesAndPixelsInMillimetres) {
  ReconstructionConfig config = SmallConfig();
  config.optics.distance_m = 2050;
  EXPECT_THAT(SettingsWarnings(config),
              UnorderedElementsAre(HasSubstr("distance_m is 2050 m"), HasSubstr("object pixels")));
  config = SmallConfig();
  config.optics.detector_pixel_size_y_m = config.optics.detector_pixel_size_x_m = 0.75;
  const auto warnings = SettingsWarnings(config);
  ASSERT_EQ(warnings.size(), 2u);
  EXPECT_THAT(warnings[0], HasSubstr("detector_pixel_size_y_m is 0.75 m"));
  EXPECT_THAT(warnings[1], HasSubstr("finer than half a wavelength"));
  config = SmallConfig();
  config.optics.detector_pixel_size_x_m = 0.1;
  EXPECT_THAT(SettingsWarnings(config), ::testing::Contains(HasSubstr("size_x_m is 0.1 m")));
}

// 13 µm over 21 make object pixels of 619 nm; the light goes on for 48 mm.
ReconstructionConfig NearFieldSettings() {
  ReconstructionConfig config = SmallConfig(64);
  config.optics = {1.37e-10, 1, 13e-6, 13e-6, NearFieldConfig{.source_to_sample_m = 0.05}};
  return config;
}

TEST(SettingsWarnings, ANearFieldThatIsUsual) {
  EXPECT_THAT(SettingsWarnings(NearFieldSettings()), IsEmpty());
}

TEST(SettingsWarnings, ANearFieldSoFarThatLightCrossesTheWindow) {
  ReconstructionConfig config = NearFieldSettings();
  config.optics.near_field->source_to_sample_m = 0.01;
  EXPECT_THAT(SettingsWarnings(config),
              ElementsAre(AllOf(HasSubstr("optics.near_field"), HasSubstr("0.009901 m"),
                                HasSubstr("over 0.64 of the window"))));
}

TEST(SettingsWarnings, ANearFieldSoNearThatThereAreNoFringes) {
  ReconstructionConfig config = NearFieldSettings();
  config.optics.near_field.emplace();
  config.optics.distance_m = 0.1;
  EXPECT_THAT(SettingsWarnings(config), ElementsAre(AllOf(HasSubstr("first fringe of 0.285 pixels"),
                                                          HasSubstr("source_to_sample_m"))));
}

TEST(SettingsWarnings, BoundsThatAreLessThanAPixel) {
  ReconstructionConfig config = SmallConfig();
  config.scan.bounds = ScanBounds{0, 4e-9, 0, 2e-9};
  config.scan.expected_points = 1;
  EXPECT_THAT(SettingsWarnings(config), IsEmpty());
  config.scan.expected_points = 400;
  EXPECT_THAT(SettingsWarnings(config),
              ElementsAre(AllOf(HasSubstr("span 4e-09 m"), HasSubstr("400 points"))));
}

// A disc of light in a window of 64.
ComplexStack Disc(double diameter_px, int modes = 1) {
  ComplexStack probe(modes, {64, 64});
  for (std::size_t i = 0; i < probe.data.size(); ++i) {
    const std::size_t pixel = i % (64 * 64);
    const double y = static_cast<double>(pixel / 64) - 32, x = static_cast<double>(pixel % 64) - 32;
    if (std::hypot(y, x) <= diameter_px / 2) probe.data[i] = 30;
  }
  return probe;
}
FloatImage Amplitude(float mean) { return {{64, 64}, std::vector<float>(64 * 64, mean)}; }
// 6 x 6 points, `step_px` apart.
std::vector<PointWindow> Raster(double step_px) {
  std::vector<PointWindow> points;
  for (int k = 0; k < 36; ++k) {
    const double row = k / 6 * step_px, col = k % 6 * step_px;
    points.push_back({.slot = k,
                      .row = static_cast<int>(row),
                      .col = static_cast<int>(col),
                      .frac_row = static_cast<float>(row - std::floor(row)),
                      .frac_col = static_cast<float>(col - std::floor(col))});
  }
  return points;
}

TEST(BeamDiameter, HoldsNineTenthsOfThePower) {
  EXPECT_NEAR(BeamDiameter_px(Disc(30)), 30 * std::sqrt(0.9), 0.5);
  EXPECT_NEAR(BeamDiameter_px(Disc(30, 3)), 30 * std::sqrt(0.9), 0.5) << "of all modes together";
  EXPECT_EQ(BeamDiameter_px(ComplexStack(1, {8, 8})), 0);
  // Of a Gaussian beam 90 % lie within 1.073 of its 1/e^2 radius.
  ComplexStack gauss(1, {64, 64});
  for (int i = 0; i < 64 * 64; ++i) {
    const double r2 = std::pow(i / 64 - 32, 2) + std::pow(i % 64 - 32, 2);
    gauss.data[static_cast<std::size_t>(i)] = static_cast<float>(std::exp(-r2 / (10 * 10)));
  }
  EXPECT_NEAR(BeamDiameter_px(gauss), 2 * 1.073 * 10, 0.3);
}

TEST(NeighbourStep, IsTheMedianToTheNearest) {
  EXPECT_NEAR(NeighbourStep_px(Raster(4.25)), 4.25, 1e-6);
  EXPECT_EQ(NeighbourStep_px({}), 0);
  std::vector<PointWindow> line = {{.col = 0}, {.col = 5}, {.col = 10}, {.col = 1000}};
  EXPECT_EQ(NeighbourStep_px(line), 5);
  EXPECT_EQ(NeighbourStep_px(line, 1), 0);
}

TEST(StartWarnings, AUsualScanHasNone) {
  EXPECT_THAT(StartWarnings(Disc(22), true, Amplitude(2), Raster(6.6)), IsEmpty());
  EXPECT_THAT(StartWarnings(Disc(3), false, Amplitude(2), Raster(6.6)), IsEmpty())
      << "the beam is wider than what is made of its mean spectrum";
}

TEST(StartWarnings, ABeamTooWideForItsWindow) {
  EXPECT_THAT(StartWarnings(Disc(50), true, Amplitude(2), Raster(10)),
              ElementsAre(AllOf(HasSubstr("in a window of 64"), HasSubstr("oversampling of 1.4"))));
}

TEST(StartWarnings, StepsTooWideForTheBeam) {
  EXPECT_THAT(StartWarnings(Disc(20), true, Amplitude(2), Raster(15)),
              ElementsAre(AllOf(HasSubstr("15 object pixels apart"), HasSubstr("overlap of 0.2"),
                                HasSubstr("0.6 to 0.8"))));
  EXPECT_THAT(StartWarnings(Disc(3), false, Amplitude(2), Raster(30)),
              ElementsAre(HasSubstr("at most 32 wide, a linear overlap of at most 0.0")));
}

TEST(StartWarnings, ANearFieldMayFillItsWindow) {
  EXPECT_THAT(StartWarnings(Disc(60), true, Amplitude(2), Raster(10), /*near_field=*/true),
              IsEmpty());
  EXPECT_THAT(StartWarnings(Disc(3), false, Amplitude(2), Raster(30), true), IsEmpty());
  EXPECT_THAT(StartWarnings(Disc(3), false, Amplitude(2), Raster(50), true),
              ElementsAre(HasSubstr("at most 64 wide")));
}

TEST(StartWarnings, PointsInOnePlace) {
  EXPECT_THAT(StartWarnings(Disc(20), true, Amplitude(2), Raster(0)),
              ElementsAre(HasSubstr("36 points lie where another one does")));
}

TEST(StartWarnings, ABeamBesideZeroFrequency) {
  const auto spot = [](int row, int col) {
    FloatImage frame = Amplitude(0.5f);
    frame.data[static_cast<std::size_t>(row) * 64 + col] = 100;
    return frame;
  };
  EXPECT_THAT(StartWarnings(Disc(22), true, spot(3, 61), Raster(6.6)), IsEmpty());
  EXPECT_THAT(StartWarnings(Disc(22), true, spot(5, 0), Raster(6.6)),
              ElementsAre(AllOf(HasSubstr("5 rows and 0 columns from zero frequency"),
                                HasSubstr("auto_centre"))));
  EXPECT_THAT(StartWarnings(Disc(22), true, spot(0, 40), Raster(6.6)),
              ElementsAre(HasSubstr("0 rows and -24 columns")));
  EXPECT_THAT(StartWarnings(Disc(22), true, spot(5, 0), Raster(6.6), /*near_field=*/true),
              IsEmpty());
}

TEST(StartWarnings, HardlyACount) {
  EXPECT_THAT(StartWarnings(Disc(22), true, Amplitude(0.02f), Raster(6.6)),
              ElementsAre(HasSubstr("about 81.9 trusted counts each")));
}

}  // namespace
}  // namespace ptychoserve
