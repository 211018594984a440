#include "engine/propagation/free_space.h"

#include <cmath>
#include <complex>
#include <numbers>
#include <vector>

#include "engine/fft/fft.h"
#include "gtest/gtest.h"

namespace ptychoserve {
namespace {

using Complex = std::complex<double>;

std::vector<Complex> Propagate(std::vector<Complex> wave, const FreeSpace& space, Shape shape) {
  const Fft2D<double> fft(shape);
  const std::vector<Complex> transfer = TransferFunction(space, shape);
  fft.Forward(wave.data());
  for (std::size_t i = 0; i < wave.size(); ++i) wave[i] *= transfer[i];
  fft.Inverse(wave.data());
  return wave;
}

// The waist of a Gaussian beam, along each axis as many metres wide as along the other.
std::vector<Complex> GaussianWaist(const FreeSpace& space, Shape shape, double radius_m) {
  std::vector<Complex> wave(static_cast<std::size_t>(shape.pixels()));
  for (int y = 0; y < shape.rows; ++y) {
    for (int x = 0; x < shape.cols; ++x) {
      const double r2 = std::pow((y - shape.rows / 2) * space.pixel_size.y_m, 2) +
                        std::pow((x - shape.cols / 2) * space.pixel_size.x_m, 2);
      wave[static_cast<std::size_t>(y * shape.cols + x)] = std::exp(-r2 / (radius_m * radius_m));
    }
  }
  return wave;
}

// sqrt(2 <y²>), sqrt(2 <x²>) of the intensity about the centre: 1/√2 of the 1/e² radius.
struct Widths {
  double y_m = 0, x_m = 0;
};
Widths WidthsOf(const std::vector<Complex>& wave, const FreeSpace& space, Shape shape) {
  double sum = 0, y2 = 0, x2 = 0;
  for (int y = 0; y < shape.rows; ++y) {
    for (int x = 0; x < shape.cols; ++x) {
      const double i = std::norm(wave[static_cast<std::size_t>(y * shape.cols + x)]);
      sum += i;
      y2 += i * std::pow((y - shape.rows / 2) * space.pixel_size.y_m, 2);
      x2 += i * std::pow((x - shape.cols / 2) * space.pixel_size.x_m, 2);
    }
  }
  return {std::sqrt(2 * y2 / sum), std::sqrt(2 * x2 / sum)};
}

TEST(TransferFunction, WidensAGaussianBeamAsTheTextbookSays) {
  const Shape shape{192, 96};
  FreeSpace space{1e-10, 0, {50e-9, 100e-9}};
  const double radius_m = 0.4e-6;
  const std::vector<Complex> waist = GaussianWaist(space, shape, radius_m);
  const double rayleigh_m = std::numbers::pi * radius_m * radius_m / space.wavelength_m;
  for (const double distance_m : {0.5 * rayleigh_m, -1.0 * rayleigh_m, 1.5 * rayleigh_m}) {
    space.distance_m = distance_m;
    const std::vector<Complex> wave = Propagate(waist, space, shape);
    const double expected =
        radius_m / std::numbers::sqrt2 * std::sqrt(1 + std::pow(distance_m / rayleigh_m, 2));
    const Widths widths = WidthsOf(wave, space, shape);
    EXPECT_NEAR(widths.y_m, expected, 1e-3 * expected) << distance_m;
    EXPECT_NEAR(widths.x_m, expected, 1e-3 * expected) << distance_m;
    // Converging upstream of the waist, diverging downstream: the phase of the edge is ahead.
    const std::size_t centre =
        static_cast<std::size_t>(shape.rows / 2 * shape.cols + shape.cols / 2);
    EXPECT_GT(std::arg(wave[centre + 4] / wave[centre]) * distance_m, 0) << distance_m;
  }
}

// Talbot: a grating of period p is its own image at 2 p²/λ, and halfway shifted by half a period.
TEST(TransferFunction, ImagesAGratingAtTheTalbotDistance) {
  const Shape shape{8, 64};
  const int period_px = 16;
  FreeSpace space{1e-10, 0, {1e-6, 20e-9}};
  std::vector<Complex> grating(static_cast<std::size_t>(shape.pixels()));
  for (std::size_t i = 0; i < grating.size(); ++i) {
    grating[i] = (i % period_px) < 5 ? Complex(0.2, 0.3) : Complex(1, 0);
  }
  const double period_m = period_px * space.pixel_size.x_m;
  const double talbot_m = 2 * period_m * period_m / space.wavelength_m;
  const auto intensity_error = [&](double distance_m, std::size_t shift) {
    space.distance_m = distance_m;
    const std::vector<Complex> wave = Propagate(grating, space, shape);
    double worst = 0;
    for (std::size_t i = 0; i < wave.size(); ++i) {
      const std::size_t row = i / 64 * 64, from = row + (i - row + shift) % 64;
      worst = std::max(worst, std::abs(std::norm(wave[i]) - std::norm(grating[from])));
    }
    return worst;
  };
  EXPECT_LT(intensity_error(talbot_m, 0), 1e-3);
  EXPECT_LT(intensity_error(talbot_m / 2, period_px / 2), 1e-3);
  EXPECT_GT(intensity_error(talbot_m / 2, 0), 0.1);
}

TEST(TransferFunction, RemovesWhatIsEvanescent) {
  // Half a wavelength a pixel: the diagonal frequencies are beyond 1/λ.
  const std::vector<Complex> transfer = TransferFunction({1e-9, 1e-6, {0.5e-9, 0.5e-9}}, {8, 8});
  EXPECT_EQ(transfer[4 * 8 + 4], 0.0);
  EXPECT_NEAR(std::abs(transfer[0]), 1, 1e-12);
  EXPECT_NEAR(std::abs(transfer[4]), 1, 1e-12);
}

TEST(SpaceToDetector, IsThatOfAParallelBeamInMagnifiedPixels) {
  OpticsConfig optics{.wavelength_m = 1e-10,
                      .distance_m = 1.2,
                      .detector_pixel_size_y_m = 6e-6,
                      .detector_pixel_size_x_m = 9e-6,
                      .near_field = {}};
  DetectorConfig detector;
  detector.frame_shape = {64, 32};
  EXPECT_FALSE(SpaceToDetector(optics, detector).has_value()) << "far field";

  optics.near_field.emplace();
  auto space = SpaceToDetector(optics, detector);
  ASSERT_TRUE(space.has_value());
  EXPECT_DOUBLE_EQ(space->distance_m, 1.2);
  EXPECT_DOUBLE_EQ(space->pixel_size.y_m, 6e-6);
  EXPECT_DOUBLE_EQ(space->pixel_size.x_m, 9e-6);

  optics.near_field->source_to_sample_m = 0.3;  // Magnifies by 5.
  detector.orientation = Orientation::kRot90Cw;
  space = SpaceToDetector(optics, detector);
  EXPECT_DOUBLE_EQ(space->distance_m, 0.24);
  EXPECT_DOUBLE_EQ(space->pixel_size.y_m, 1.8e-6);
  EXPECT_DOUBLE_EQ(space->pixel_size.x_m, 1.2e-6);
}

TEST(LargestShift, IsOneHalfWhereTheTransferFunctionBeginsToAlias) {
  // z = N Δ² / λ: there the phase of H changes by π from the last frequency but one to the last.
  const int n = 256;
  const double pixel_m = 50e-9, wavelength_m = 1e-10;
  const FreeSpace space{wavelength_m, n * pixel_m * pixel_m / wavelength_m, {pixel_m, pixel_m}};
  EXPECT_DOUBLE_EQ(LargestShift(space, pixel_m, n), 0.5);
  const std::vector<Complex> transfer = TransferFunction(space, {8, n});
  EXPECT_NEAR(std::abs(std::arg(transfer[n / 2] / transfer[n / 2 - 1])), std::numbers::pi, 0.05);
}

}  // namespace
}  // namespace ptychoserve
