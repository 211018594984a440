#include "engine/scan/optics.h"

#include "gtest/gtest.h"

namespace ptychoserve {
namespace {

// A hard X-ray scan whose object pixel is published as 14.643 nm.
constexpr double kWavelengthM = 0.137146014993e-9;
constexpr double kDistanceM = 2.0500008;
constexpr double kDetectorPixelM = 75e-6;

struct Beamline {
  OpticsConfig optics{kWavelengthM, kDistanceM, kDetectorPixelM, kDetectorPixelM};
  DetectorConfig detector;
  Beamline() { detector.frame_shape = {256, 256}; }
};

TEST(OpticsTest, ObjectPixelOfAKnownScan) {
  const Beamline s;
  const PixelSize pixel = ObjectPixelSize(s.optics, s.detector);
  EXPECT_NEAR(pixel.x_m * 1e9, 14.6432, 1e-4);
  EXPECT_EQ(pixel.x_m, pixel.y_m);
}

TEST(OpticsTest, PixelSizeIsPerAxisOfTheCroppedFrame) {
  Beamline s;
  s.detector.crop = Region{10, 20, {64, 128}};
  s.optics.detector_pixel_size_y_m = 2 * kDetectorPixelM;
  const PixelSize pixel = ObjectPixelSize(s.optics, s.detector);
  EXPECT_DOUBLE_EQ(pixel.y_m, kWavelengthM * kDistanceM / (64 * 2 * kDetectorPixelM));
  EXPECT_DOUBLE_EQ(pixel.x_m, kWavelengthM * kDistanceM / (128 * kDetectorPixelM));
}

TEST(OpticsTest, TransposingOrientationsExchangeTheDetectorPitches) {
  Beamline s;
  s.detector.frame_shape = {64, 128};
  s.optics.detector_pixel_size_y_m = 2 * kDetectorPixelM;
  s.detector.orientation = Orientation::kRot90Cw;  // The frame becomes 128 x 64.
  const PixelSize pixel = ObjectPixelSize(s.optics, s.detector);
  EXPECT_DOUBLE_EQ(pixel.y_m, kWavelengthM * kDistanceM / (128 * kDetectorPixelM));
  EXPECT_DOUBLE_EQ(pixel.x_m, kWavelengthM * kDistanceM / (64 * 2 * kDetectorPixelM));
}

TEST(OpticsTest, PhotonWavelength) {
  EXPECT_NEAR(WavelengthFromPhotonEnergy(12398.4198), 1e-10, 1e-18);
}

TEST(OpticsTest, ElectronWavelengthIsRelativistic) {
  // Tabulated for electron microscopes: 2.5079 pm at 200 kV, 1.9687 pm at 300 kV.
  EXPECT_NEAR(WavelengthFromElectronEnergy(200e3) * 1e12, 2.5079, 1e-4);
  EXPECT_NEAR(WavelengthFromElectronEnergy(300e3) * 1e12, 1.9687, 1e-4);
}

}  // namespace
}  // namespace ptychoserve
