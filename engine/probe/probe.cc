#include "engine/probe/probe.h"

#include <cmath>
#include <complex>
#include <cstddef>
#include <vector>

#include "absl/strings/str_format.h"
#include "engine/base/constants.h"
#include "engine/fft/fft.h"
#include "engine/propagation/free_space.h"

namespace ptychoserve {
namespace {

using Complex128 = std::complex<double>;

// Offset that brings `centre`, a place on a circle of `n` pixels, to n / 2: the short way round.
int ShortestOffset(double centre, int n) {
  double offset = MiddlePixel(n) - centre;
  offset -= n * std::floor(offset / n + 0.5);
  return static_cast<int>(std::lround(offset));
}

}  // namespace

ComplexStack ProbeFromMeanAmplitude(const FloatImage& mean_amplitude) {
  const Shape shape = mean_amplitude.shape;
  std::vector<Complex128> wave(mean_amplitude.data.begin(), mean_amplitude.data.end());
  Fft2D<double>(shape).Inverse(wave.data());  // Unitary: ifft2 times √N.

  ComplexStack probe(1, shape);
  for (int y = 0; y < shape.rows; ++y) {
    const int to_row = (y + MiddlePixel(shape.rows)) % shape.rows;
    for (int x = 0; x < shape.cols; ++x) {
      const int to_col = (x + MiddlePixel(shape.cols)) % shape.cols;
      probe.data[static_cast<std::size_t>(to_row) * shape.cols + to_col] =
          Complex64(wave[static_cast<std::size_t>(y) * shape.cols + x]);
    }
  }
  return probe;
}

ComplexStack ProbeFromNearField(const FloatImage& mean_amplitude, const FreeSpace& space) {
  ComplexStack wave(1, mean_amplitude.shape);
  wave.data.assign(mean_amplitude.data.begin(), mean_amplitude.data.end());
  return PropagateAngularSpectrum(wave, -space.distance_m, space.wavelength_m, space.pixel_size);
}

ComplexStack PropagateAngularSpectrum(const ComplexStack& probe, double distance_m,
                                      double wavelength_m, PixelSize pixel_size) {
  if (distance_m == 0) return probe;
  const Shape shape = probe.shape;
  const auto pixels = static_cast<std::size_t>(shape.pixels());
  const std::vector<Complex128> transfer =
      TransferFunction({wavelength_m, distance_m, pixel_size}, shape);
  const Fft2D<double> fft(shape);
  ComplexStack result(probe.modes, shape);
  std::vector<Complex128> wave(pixels);
  for (int mode = 0; mode < probe.modes; ++mode) {
    const std::size_t first = mode * pixels;
    for (std::size_t i = 0; i < pixels; ++i) wave[i] = Complex128(probe.data[first + i]);
    fft.Forward(wave.data());
    for (std::size_t i = 0; i < pixels; ++i) wave[i] *= transfer[i];
    fft.Inverse(wave.data());
    for (std::size_t i = 0; i < pixels; ++i) result.data[first + i] = Complex64(wave[i]);
  }
  return result;
}

CentreOffset OffsetToCentre(const ComplexStack& probe) {
  const Shape shape = probe.shape;
  // Σ I exp(2πi y / n): its argument is the centre on the circle, without a seam.
  Complex128 row_moment = 0;
  Complex128 col_moment = 0;
  std::size_t i = 0;
  for (int mode = 0; mode < probe.modes; ++mode) {
    for (int y = 0; y < shape.rows; ++y) {
      const Complex128 row_phase = std::polar(1.0, kTwoPi * y / shape.rows);
      for (int x = 0; x < shape.cols; ++x, ++i) {
        const double intensity = std::norm(Complex128(probe.data[i]));
        row_moment += intensity * row_phase;
        col_moment += intensity * std::polar(1.0, kTwoPi * x / shape.cols);
      }
    }
  }
  CentreOffset offset;
  if (row_moment != 0.0) {
    offset.rows = ShortestOffset(std::arg(row_moment) / kTwoPi * shape.rows, shape.rows);
  }
  if (col_moment != 0.0) {
    offset.cols = ShortestOffset(std::arg(col_moment) / kTwoPi * shape.cols, shape.cols);
  }
  return offset;
}

absl::Status CheckProbe(const ComplexStack& probe, Shape frame_shape) {
  if (probe.modes != 1) {
    return absl::InvalidArgumentError(
        absl::StrFormat("probe has %d modes; exactly 1 is supported", probe.modes));
  }
  if (probe.shape != frame_shape) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "probe is %d x %d; it must have the shape of the frames after orientation and crop, "
        "%d x %d",
        probe.shape.rows, probe.shape.cols, frame_shape.rows, frame_shape.cols));
  }
  if (static_cast<std::int64_t>(probe.data.size()) != frame_shape.pixels()) {
    return absl::InvalidArgumentError(absl::StrFormat("probe has %d values; %d x %d needs %d",
                                                      probe.data.size(), frame_shape.rows,
                                                      frame_shape.cols, frame_shape.pixels()));
  }
  bool any = false;
  for (std::size_t i = 0; i < probe.data.size(); ++i) {
    const Complex64 value = probe.data[i];
    if (!std::isfinite(value.real()) || !std::isfinite(value.imag())) {
      return absl::InvalidArgumentError(
          absl::StrFormat("probe value at row %d, column %d is (%g, %g); it must be finite",
                          i / frame_shape.cols, i % frame_shape.cols, value.real(), value.imag()));
    }
    any = any || value != Complex64{};
  }
  if (!any) return absl::InvalidArgumentError("probe is zero everywhere");
  return absl::OkStatus();
}

}  // namespace ptychoserve
