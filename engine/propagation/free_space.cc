#include "engine/propagation/free_space.h"

#include <cmath>
#include <cstddef>

#include "engine/base/constants.h"

namespace ptychoserve {
namespace {

// Frequency of index `k` of `n`, in cycles per sample, as numpy.fft.fftfreq.
double FftFrequency(int k, int n) { return static_cast<double>(k < (n + 1) / 2 ? k : k - n) / n; }

}  // namespace

std::optional<FreeSpace> SpaceToDetector(const OpticsConfig& optics,
                                         const DetectorConfig& detector) {
  if (!optics.near_field.has_value()) return std::nullopt;
  return FreeSpace{optics.wavelength_m, optics.distance_m / Magnification(optics),
                   ObjectPixelSize(optics, detector)};
}

std::vector<std::complex<double>> TransferFunction(const FreeSpace& space, Shape shape) {
  // Of the many thousand million waves between the planes, the whole ones are left out, and those
  // that an oblique wave has less are not made by subtraction: doubles have 16 digits.
  const double waves = space.distance_m / space.wavelength_m;
  const double carrier = kTwoPi * (waves - std::floor(waves));
  std::vector<std::complex<double>> transfer(static_cast<std::size_t>(shape.pixels()));
  for (int y = 0; y < shape.rows; ++y) {
    const double sin_y = space.wavelength_m * FftFrequency(y, shape.rows) / space.pixel_size.y_m;
    for (int x = 0; x < shape.cols; ++x) {
      const double sin_x = space.wavelength_m * FftFrequency(x, shape.cols) / space.pixel_size.x_m;
      const double sin2 = sin_y * sin_y + sin_x * sin_x;
      if (sin2 > 1) continue;                                   // Evanescent.
      const double missing = sin2 / (1 + std::sqrt(1 - sin2));  // 1 - cos.
      transfer[static_cast<std::size_t>(y) * shape.cols + x] =
          std::polar(1.0, carrier - kTwoPi * waves * missing);
    }
  }
  return transfer;
}

double LargestShift(const FreeSpace& space, double pixel_m, int pixels) {
  return space.wavelength_m * std::abs(space.distance_m) / (2 * pixel_m * pixel_m * pixels);
}

}  // namespace ptychoserve
