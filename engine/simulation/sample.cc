#include "engine/simulation/sample.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <numbers>
#include <vector>

#include "engine/fft/fft.h"
#include "engine/simulation/random.h"

namespace ptychoserve {
namespace {

using Complex = std::complex<double>;

constexpr double kSmallestLeafPx = 4;
constexpr double kLargestLeafPx = 60;
constexpr double kLayers = 6;  // Leaves over an average pixel: hardly any ground shows.
constexpr double kTextureAmplitude = 0.06;
constexpr double kBlurPx = 0.8;
constexpr double kPhaseFromAmplitude = 0.25;  // Share of the phase that follows the amplitude.
constexpr double kLowestAmplitude = 0.6;
constexpr double kPhaseRange = 2;  // rad, symmetric about 0.

constexpr double kBeamEdgePx = 3;
constexpr double kDiffuserGrainPx = 3;  // Standard deviation of its grains.
constexpr double kDiffuserPhase = 1.5;  // rad, rms.

// Streams of random numbers.
constexpr std::uint64_t kAmplitudeLeaves = 0x100, kAmplitudeTexture = 0x101;
constexpr std::uint64_t kPhaseLeaves = 0x102, kPhaseTexture = 0x103;
constexpr std::uint64_t kDiffuser = 0x104;

// Frequency of element `i` of `n`, cycles per pixel.
double Frequency(int i, int n) { return static_cast<double>(i < (n + 1) / 2 ? i : i - n) / n; }

// Multiplies the spectrum of a real, periodic image by filter(squared frequency).
template <typename Filter>
void FilterImage(Shape shape, std::vector<double>& image, const Filter& filter) {
  std::vector<Complex> spectrum(image.begin(), image.end());
  const Fft2D<double> fft(shape);
  fft.Forward(spectrum.data());
  std::size_t i = 0;
  for (int y = 0; y < shape.rows; ++y) {
    const double qy = Frequency(y, shape.rows);
    for (int x = 0; x < shape.cols; ++x, ++i) {
      const double qx = Frequency(x, shape.cols);
      spectrum[i] *= filter(qy * qy + qx * qx);
    }
  }
  fft.Inverse(spectrum.data());
  std::transform(spectrum.begin(), spectrum.end(), image.begin(),
                 [](const Complex& value) { return value.real(); });
}

std::vector<double> DeadLeaves(Shape shape, Random random) {
  std::vector<double> image(static_cast<std::size_t>(shape.pixels()), 0.5);
  constexpr double kInverseMin2 = 1 / (kSmallestLeafPx * kSmallestLeafPx);
  constexpr double kInverseMax2 = 1 / (kLargestLeafPx * kLargestLeafPx);
  const double mean_area = 2 * std::numbers::pi * kSmallestLeafPx * kSmallestLeafPx *
                           std::log(kLargestLeafPx / kSmallestLeafPx);
  const int leaves = static_cast<int>(kLayers * static_cast<double>(shape.pixels()) / mean_area);
  for (int leaf = 0; leaf < leaves; ++leaf) {
    const double radius =
        1 / std::sqrt(kInverseMin2 - random.Uniform() * (kInverseMin2 - kInverseMax2));
    const double cy = random.Uniform(0, shape.rows);
    const double cx = random.Uniform(0, shape.cols);
    const double value = random.Uniform();
    const double angle = random.Uniform(0, std::numbers::pi);
    const double other_side = radius * random.Uniform(0.35, 1);
    const bool disc = random.Uniform() < 0.5;
    const double s = std::sin(angle), c = std::cos(angle);
    const double reach = 1.5 * radius;  // Covers a square's corner, at sqrt(2).
    const int y_end = std::min(shape.rows, static_cast<int>(cy + reach) + 2);
    const int x_end = std::min(shape.cols, static_cast<int>(cx + reach) + 2);
    for (int y = std::max(0, static_cast<int>(cy - reach)); y < y_end; ++y) {
      for (int x = std::max(0, static_cast<int>(cx - reach)); x < x_end; ++x) {
        const double dy = y - cy, dx = x - cx;
        const bool inside =
            disc ? dy * dy + dx * dx <= radius * radius
                 : std::abs(c * dy + s * dx) <= radius && std::abs(c * dx - s * dy) <= other_side;
        if (inside)
          image[static_cast<std::size_t>(y) * static_cast<std::size_t>(shape.cols) +
                static_cast<std::size_t>(x)] = value;
      }
    }
  }
  return image;
}

// 1/f noise of zero mean and unit variance.
std::vector<double> Texture(Shape shape, Random random) {
  std::vector<double> image(static_cast<std::size_t>(shape.pixels()));
  for (double& value : image) value = random.Normal();
  FilterImage(shape, image, [](double q2) { return q2 > 0 ? 1 / std::sqrt(q2) : 0; });
  double power = 0;
  for (double value : image) power += value * value;
  const double scale = std::sqrt(static_cast<double>(image.size()) / power);
  for (double& value : image) value *= scale;
  return image;
}

std::vector<double> LeavesWithTexture(Shape shape, std::uint64_t seed, std::uint64_t leaves,
                                      std::uint64_t texture) {
  std::vector<double> image = DeadLeaves(shape, Random(seed, leaves));
  const std::vector<double> noise = Texture(shape, Random(seed, texture));
  for (std::size_t i = 0; i < image.size(); ++i) image[i] += kTextureAmplitude * noise[i];
  return image;
}

void Blur(Shape shape, std::vector<double>& image) {
  const double k = -2 * std::numbers::pi * std::numbers::pi * kBlurPx * kBlurPx;
  FilterImage(shape, image, [k](double q2) { return std::exp(k * q2); });
}

}  // namespace

ComplexStack MakeObject(Shape shape, std::uint64_t seed) {
  std::vector<double> amplitude =
      LeavesWithTexture(shape, seed, kAmplitudeLeaves, kAmplitudeTexture);
  std::vector<double> phase = LeavesWithTexture(shape, seed, kPhaseLeaves, kPhaseTexture);
  for (std::size_t i = 0; i < phase.size(); ++i) {
    phase[i] = (1 - kPhaseFromAmplitude) * phase[i] + kPhaseFromAmplitude * amplitude[i];
  }
  Blur(shape, amplitude);
  Blur(shape, phase);
  ComplexStack object(1, shape);
  for (std::size_t i = 0; i < object.data.size(); ++i) {
    const double a = kLowestAmplitude + (1 - kLowestAmplitude) * std::clamp(amplitude[i], 0.0, 1.0);
    const double p = kPhaseRange * (std::clamp(phase[i], 0.0, 1.0) - 0.5);
    object.data[i] = Complex64(std::polar(a, p));
  }
  return object;
}

ComplexStack MakeFlatBeam(int side, double photons, double diameter_px) {
  ComplexStack beam(1, {side, side});
  double power = 0;
  for (int y = 0; y < side; ++y) {
    for (int x = 0; x < side; ++x) {
      const double r = std::hypot(y - side / 2, x - side / 2);
      const double amplitude = (1 - std::tanh((r - diameter_px / 2) / kBeamEdgePx)) / 2;
      beam.data[static_cast<std::size_t>(y * side + x)] = static_cast<float>(amplitude);
      power += amplitude * amplitude;
    }
  }
  const auto scale = static_cast<float>(std::sqrt(photons / power));
  for (Complex64& value : beam.data) value *= scale;
  return beam;
}

ComplexStack MakeDiffusedBeam(int side, double photons, double diameter_px, std::uint64_t seed) {
  const ComplexStack flat = MakeFlatBeam(side, photons, diameter_px);
  Random random(seed, kDiffuser);
  std::vector<double> phase(flat.data.size());
  for (double& value : phase) value = random.Normal();
  const double k = -2 * std::numbers::pi * std::numbers::pi * kDiffuserGrainPx * kDiffuserGrainPx;
  FilterImage(flat.shape, phase, [k](double q2) { return q2 > 0 ? std::exp(k * q2) : 0; });
  double power = 0;
  for (double value : phase) power += value * value;
  const double scale = kDiffuserPhase / std::sqrt(power / static_cast<double>(phase.size()));

  std::vector<Complex> wave(flat.data.size());
  for (std::size_t i = 0; i < wave.size(); ++i) {
    wave[i] = Complex(flat.data[i]) * std::polar(1.0, scale * phase[i]);
  }
  // In units of the pixel, a phase of -π λz q².
  const double shift = -std::numbers::pi * kDiffuserGrainPx * kDiffuserGrainPx;
  const Fft2D<double> fft(flat.shape);
  fft.Forward(wave.data());
  std::size_t i = 0;
  for (int y = 0; y < side; ++y) {
    const double qy = Frequency(y, side);
    for (int x = 0; x < side; ++x, ++i) {
      const double qx = Frequency(x, side);
      wave[i] *= std::polar(1.0, shift * (qy * qy + qx * qx));
    }
  }
  fft.Inverse(wave.data());
  ComplexStack beam(1, flat.shape);
  for (std::size_t j = 0; j < wave.size(); ++j) beam.data[j] = Complex64(wave[j]);
  return beam;
}

ComplexStack MakeProbe(int side, double photons, const ZonePlate& zone_plate) {
  const Shape shape{side, side};
  std::vector<Complex> field(static_cast<std::size_t>(shape.pixels()));
  const double radius = zone_plate.pupil_radius * side;
  const double stop = zone_plate.stop_fraction * radius;
  // A phase of c rho^2 moves the rays through rho by c rho side / pi pixels; those of the pupil's
  // edge go to side / 6, half of the beam's width.
  const double c = zone_plate.defocus * std::numbers::pi / (6 * radius);
  double power = 0;
  std::size_t i = 0;
  for (int y = 0; y < side; ++y) {
    const double qy = Frequency(y, side) * side;
    for (int x = 0; x < side; ++x, ++i) {
      const double qx = Frequency(x, side) * side;
      const double rho2 = qy * qy + qx * qx;
      const double rho = std::sqrt(rho2);
      const double pupil = (1 - std::tanh((rho - radius) / zone_plate.edge_width_px)) / 2 *
                           (1 + std::tanh((rho - stop) / zone_plate.edge_width_px)) / 2;
      power += pupil * pupil;
      // (-1)^(y + x) moves the field's centre from the corner to [side / 2, side / 2].
      field[i] = std::polar((y + x) % 2 == 0 ? pupil : -pupil, c * rho2);
    }
  }
  Fft2D<double>(shape).Inverse(field.data());
  const double scale = std::sqrt(photons / power);
  ComplexStack probe(1, shape);
  for (std::size_t j = 0; j < field.size(); ++j) probe.data[j] = Complex64(scale * field[j]);
  return probe;
}

}  // namespace ptychoserve
