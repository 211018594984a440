#include "engine/simulation/simulation.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <limits>
#include <numbers>

#include "absl/strings/str_cat.h"
#include "engine/config.h"
#include "engine/simulation/extended_source.h"
#include "engine/simulation/random.h"
#include "engine/simulation/sample.h"
#include "engine/simulation/scan_pattern.h"

namespace ptychoserve {
namespace {

using Complex = std::complex<double>;

// The beam's diameter is a third of the frame, in the near field two thirds.
constexpr double kBeamsPerFrame = 3, kNearFieldBeamsPerFrame = 1.5;
constexpr double kPhotonsWithoutNoise = 1e7;
constexpr int kMarginPx = 8;       // Object beyond the outermost windows.
constexpr int kSideMultiple = 16;  // Sizes whose transforms are quick.
constexpr std::uint16_t kLargestCount = std::numeric_limits<std::uint16_t>::max();
// Intensities are rounded to this before counts are drawn, so that the last bits, in which FFT
// libraries differ, do not show.
constexpr double kIntensitySteps = 4096;

constexpr std::uint64_t kDeadPixelStream = 0x300;
constexpr std::uint64_t kPositionErrorStream = 0x400;
constexpr std::uint64_t kIntensityStream = 0x500;
constexpr std::uint64_t kVariationStream = 0x600;

// Between the seeds of the sample's states.
constexpr std::uint64_t kNextState = 0x9e3779b97f4a7c15;

constexpr double kLeastIntensity = 0.1;

// A wide spot on a level ground, each half of the counts.
std::vector<double> Background(int n, double mean_counts) {
  std::vector<double> background;
  double total = 0;
  for (int y = 0; y < n; ++y) {
    for (int x = 0; x < n; ++x) {
      const double r2 = std::pow(y - n / 2, 2) + std::pow(x - n / 2, 2);
      background.push_back(std::exp(-r2 / (2 * std::pow(n / 6.0, 2))));
      total += background.back();
    }
  }
  const double spot_mean = total / static_cast<double>(background.size());
  for (double& b : background) b = mean_counts * 0.5 * (1 + b / spot_mean);
  return background;
}
// Of mean 0 and variance 1 in the intensity.
void Normalise(const std::vector<double>& intensity, std::vector<double>& values) {
  double total = 0, mean = 0, variance = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    total += intensity[i];
    mean += intensity[i] * values[i];
  }
  mean /= total;
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] -= mean;
    variance += intensity[i] * values[i] * values[i] / total;
  }
  for (double& value : values) value /= std::sqrt(variance);
}
constexpr std::uint64_t kFrameStream = std::uint64_t{1} << 32;  // Plus the frame's number.

// A texture for each state; they share the time, and so the intensity.
ComplexStack MakeStates(Shape shape, int states, std::uint64_t seed) {
  ComplexStack object(0, shape);
  for (; object.modes < states; ++object.modes) {
    ComplexStack state = MakeObject(shape, seed);
    seed += kNextState;
    if (states > 1) {
      const auto amplitude = static_cast<float>(1 / std::sqrt(states));
      for (Complex64& value : state.data) value *= amplitude;
    }
    object.data.insert(object.data.end(), state.data.begin(), state.data.end());
  }
  return object;
}

// What a user may believe of this zone plate before having measured it.
constexpr ZonePlate kBelievedZonePlate = {
    .pupil_radius = 0.155, .stop_fraction = 0.25, .defocus = 1.1};

// Object pixels before the window of each point, and how many there are, along one axis.
struct Extent {
  int first = 0;
  int size = 0;
};
Extent ExtentOf(const std::vector<double>& centres_px, int frame_side) {
  const auto [low, high] = std::minmax_element(centres_px.begin(), centres_px.end());
  const int first = static_cast<int>(std::floor(*low)) - frame_side / 2 - kMarginPx;
  const int end = static_cast<int>(std::ceil(*high)) + frame_side / 2 + kMarginPx;
  const int size = (end - first + kSideMultiple - 1) / kSideMultiple * kSideMultiple;
  return {first, size};
}

// Moves an image of `n` pixels a side by a fraction of a pixel, in its Fourier transform.
void ShiftSpectrum(int n, double shift_y, double shift_x, std::vector<Complex>& spectrum) {
  const auto ramp = [n](double shift) {
    std::vector<Complex> factors(static_cast<std::size_t>(n));
    for (int i = 0; i < n; ++i) {
      const int q = i < n / 2 ? i : i - n;
      factors[static_cast<std::size_t>(i)] = std::polar(1.0, -2 * std::numbers::pi * q * shift / n);
    }
    return factors;
  };
  const std::vector<Complex> ramp_y = ramp(shift_y), ramp_x = ramp(shift_x);
  std::size_t i = 0;
  for (const Complex& fy : ramp_y) {
    for (const Complex& fx : ramp_x) {
      spectrum[i] = spectrum[i] * fy * fx;
      ++i;
    }
  }
}

absl::Status OutOfRange(const char* field, double value, const char* allowed) {
  return absl::InvalidArgumentError(
      absl::StrCat("simulation.", field, ": ", value, "; must be ", allowed));
}

}  // namespace

absl::Status ValidateSimulation(const SimulationConfig& config) {
  const auto positive = [](double v) { return std::isfinite(v) && v > 0; };
  if (config.points < 1 || config.points > kMaxSimulatedPoints) {
    return OutOfRange("points", config.points, "in 1..1000000");
  }
  if (config.frame_side < 16 || config.frame_side > 4096 || config.frame_side % 2 != 0) {
    return OutOfRange("frame_side", config.frame_side, "even, in 16..4096");
  }
  if (!(config.overlap >= 0 && config.overlap <= 0.95)) {
    return OutOfRange("overlap", config.overlap, "in [0, 0.95]");
  }
  if (!(config.photons > 0)) return OutOfRange("photons", config.photons, "above 0");
  if (config.modes < 1 || config.modes > kMaxProbeModes) {
    return OutOfRange("modes", config.modes, "in 1..16");
  }
  if (config.modes > 1 && !(config.coherence * config.modes > 1 && config.coherence < 1)) {
    return OutOfRange("coherence", config.coherence, "in (1 / modes, 1)");
  }
  if (config.object_modes < 1 || config.object_modes > kMaxObjectModes) {
    return OutOfRange("object_modes", config.object_modes, "in 1..4");
  }
  if (!(config.dead_pixel_fraction >= 0 && config.dead_pixel_fraction < 1)) {
    return OutOfRange("dead_pixel_fraction", config.dead_pixel_fraction, "in [0, 1)");
  }
  if (!(config.position_error_px >= 0 && config.position_error_px <= 16)) {
    return OutOfRange("position_error_px", config.position_error_px, "in [0, 16]");
  }
  if (!(config.intensity_rms >= 0 && config.intensity_rms <= 0.3)) {
    return OutOfRange("intensity_rms", config.intensity_rms, "in [0, 0.3]");
  }
  if (!(config.background_counts >= 0 && config.background_counts <= kLargestCount)) {
    return OutOfRange("background_counts", config.background_counts, "in [0, 65535]");
  }
  if (!(config.probe_variation >= 0 && config.probe_variation <= 0.5)) {
    return OutOfRange("probe_variation", config.probe_variation, "in [0, 0.5]");
  }
  if (!positive(config.wavelength_m)) {
    return OutOfRange("wavelength_m", config.wavelength_m, "finite and above 0");
  }
  if (!positive(config.distance_m)) {
    return OutOfRange("distance_m", config.distance_m, "finite and above 0");
  }
  if (!positive(config.detector_pixel_size_m)) {
    return OutOfRange("detector_pixel_size_m", config.detector_pixel_size_m, "finite and above 0");
  }
  if (config.near_field && !positive(config.near_field->source_to_sample_m.value_or(1))) {
    return OutOfRange("near_field.source_to_sample_m", *config.near_field->source_to_sample_m,
                      "finite and above 0");
  }
  return absl::OkStatus();
}

Simulation::Simulation(const SimulationConfig& config) : config_(config) {
  const int n = config.frame_side;
  DetectorConfig detector;
  detector.frame_shape = {n, n};
  pixel_size_ = ObjectPixelSize(optics(), detector);
  const double pixel = pixel_size_.x_m;

  const ScanPoints scan = config.pattern == ScanPattern::kFermatSpiral
                              ? FermatSpiral(config.points)
                              : JitteredRaster(config.points, config.seed);
  fast_axis_points_ = scan.fast_axis_points;
  const double beams_per_frame = config.near_field ? kNearFieldBeamsPerFrame : kBeamsPerFrame;
  const double step_px = (1 - config.overlap) * n / beams_per_frame;
  const auto in_pixels = [&](double steps) {
    return config.whole_pixels ? std::round(steps * step_px) : steps * step_px;
  };
  std::vector<double> y_px, x_px;
  for (std::size_t j = 0; j < scan.y.size(); ++j) {
    y_px.push_back(in_pixels(scan.y[j]));
    x_px.push_back(in_pixels(scan.x[j]));
    true_y_m_.push_back(y_px.back() * pixel);
    true_x_m_.push_back(x_px.back() * pixel);
  }
  y_m_ = true_y_m_;
  x_m_ = true_x_m_;
  Random errors(config.seed, kPositionErrorStream);
  for (std::size_t j = 0; config.position_error_px > 0 && j < y_m_.size(); ++j) {
    y_m_[j] += config.position_error_px * pixel * errors.Normal();
    x_m_[j] += config.position_error_px * pixel * errors.Normal();
  }
  Random light(config.seed, kIntensityStream);
  for (std::size_t j = 0; j < y_m_.size(); ++j) {
    intensities_.push_back(std::max(1 + config.intensity_rms * light.Normal(), kLeastIntensity));
  }
  if (config.background_counts > 0) background_ = Background(n, config.background_counts);
  const Extent rows = ExtentOf(y_px, n), cols = ExtentOf(x_px, n);
  object_row_ = rows.first;
  object_col_ = cols.first;
  object_ = MakeStates({rows.size, cols.size}, config.object_modes, config.seed);

  const double photons = std::isinf(config.photons) ? kPhotonsWithoutNoise : config.photons;
  ComplexStack beam = MakeProbe(n, photons, ZonePlate());
  initial_probe_ = MakeProbe(n, photons, kBelievedZonePlate);
  if (const auto space = SpaceToDetector(optics(), detector)) {
    transfer_ = TransferFunction(*space, {n, n});
    beam = MakeDiffusedBeam(n, photons, n / kNearFieldBeamsPerFrame, config.seed);
    initial_probe_ = MakeFlatBeam(n, photons, n / kNearFieldBeamsPerFrame);
  }
  probe_ = ExtendedSource(beam, config.modes, config.coherence);
  fft_ = std::make_shared<const Fft2D<double>>(Shape{n, n});
  probe_spectra_.assign(probe_.data.begin(), probe_.data.end());
  for (int m = 0; m < config.modes; ++m) {
    fft_->Forward(probe_spectra_.data() + m * probe_.shape.pixels());
  }

  if (config.probe_variation > 0) {
    std::vector<double> intensity;
    for (std::int64_t i = 0; i < probe_.shape.pixels(); ++i) {
      intensity.push_back(std::norm(Complex(probe_.data[static_cast<std::size_t>(i)])));
      direction_.push_back(static_cast<double>(i % n));
    }
    Normalise(intensity, direction_);
    std::vector<double> y;
    for (std::int64_t i = 0; i < probe_.shape.pixels(); ++i)
      y.push_back(static_cast<double>(i / n));
    Normalise(intensity, y);
    for (std::size_t i = 0; i < y.size(); ++i) {
      focus_.push_back(direction_[i] * direction_[i] + y[i] * y[i]);
    }
    Normalise(intensity, focus_);
    Random random(config.seed, kVariationStream);
    for (std::size_t k = 0; k < 2 * y_m_.size(); ++k) {
      variation_.push_back(config.probe_variation * random.Normal());
    }
  }

  if (config.dead_pixel_fraction > 0) {
    Random random(config.seed, kDeadPixelStream);
    bad_pixels_.resize(static_cast<std::size_t>(n) * static_cast<std::size_t>(n));
    stuck_at_.resize(bad_pixels_.size());
    for (std::size_t i = 0; i < bad_pixels_.size(); ++i) {
      bad_pixels_[i] = random.Uniform() < config.dead_pixel_fraction ? 1 : 0;
      stuck_at_[i] = random.Uniform() < 0.5 ? 0 : kLargestCount;
    }
  }
}

OpticsConfig Simulation::optics() const {
  OpticsConfig optics;
  optics.wavelength_m = config_.wavelength_m;
  optics.distance_m = config_.distance_m;
  optics.detector_pixel_size_y_m = config_.detector_pixel_size_m;
  optics.detector_pixel_size_x_m = config_.detector_pixel_size_m;
  optics.near_field = config_.near_field;
  return optics;
}

std::vector<Complex> Simulation::ShiftedProbe(int j, int mode, double shift_y,
                                              double shift_x) const {
  const auto pixels = probe_.shape.pixels();
  const Complex* const spectrum = probe_spectra_.data() + mode * pixels;
  std::vector<Complex> probe(spectrum, spectrum + pixels);
  if (!variation_.empty()) {
    const double a = variation_[2 * static_cast<std::size_t>(j)];
    const double b = variation_[2 * static_cast<std::size_t>(j) + 1];
    for (std::size_t i = 0; i < probe.size(); ++i) {
      probe[i] = Complex(probe_.data[static_cast<std::size_t>(mode * pixels) + i]) *
                 std::polar(1.0, a * direction_[i] + b * focus_[i]);
    }
    fft_->Forward(probe.data());
  }
  ShiftSpectrum(config_.frame_side, shift_y, shift_x, probe);
  fft_->Inverse(probe.data());
  return probe;
}

std::vector<std::uint16_t> Simulation::Frame(int j) const {
  const int n = config_.frame_side;
  const std::size_t side = static_cast<std::size_t>(n);
  // Corner of the window in pixels of object(): nearest integer, and how far the probe is off it.
  const std::size_t index = static_cast<std::size_t>(j);
  const double corner_y = true_y_m_[index] / pixel_size_.y_m - MiddlePixel(n) - object_row_;
  const double corner_x = true_x_m_[index] / pixel_size_.x_m - MiddlePixel(n) - object_col_;
  const double row = std::floor(corner_y + 0.5), col = std::floor(corner_x + 0.5);
  const std::size_t pitch = static_cast<std::size_t>(object_.shape.cols);
  std::vector<double> intensities(side * side);
  for (int mode = 0; mode < config_.modes; ++mode) {
    const std::vector<Complex> probe = ShiftedProbe(j, mode, corner_y - row, corner_x - col);
    for (int state = 0; state < config_.object_modes; ++state) {
      std::vector<Complex> wave = probe;
      const Complex64* o = object_.data.data() + state * object_.shape.pixels() +
                           static_cast<std::size_t>(row) * pitch + static_cast<std::size_t>(col);
      for (std::size_t y = 0; y < side; ++y, o += pitch) {
        for (std::size_t x = 0; x < side; ++x) wave[y * side + x] *= Complex(o[x]);
      }
      fft_->Forward(wave.data());
      if (!transfer_.empty()) {
        for (std::size_t i = 0; i < wave.size(); ++i) wave[i] *= transfer_[i];
        // The beam stands still before the detector, the sample moves.
        ShiftSpectrum(n, row - corner_y, col - corner_x, wave);
        fft_->Inverse(wave.data());
      }
      for (std::size_t i = 0; i < wave.size(); ++i) intensities[i] += std::norm(wave[i]);
    }
  }

  std::vector<std::uint16_t> counts(intensities.size());
  const bool noise = std::isfinite(config_.photons);
  Random random(config_.seed, kFrameStream + index);
  // The far field has zero frequency in the middle of the detector; the near field is as it is.
  const std::size_t shift = transfer_.empty() ? side / 2 : 0;
  for (std::size_t y = 0; y < side; ++y) {
    for (std::size_t x = 0; x < side; ++x) {
      const double light = intensities[(y + shift) % side * side + (x + shift) % side];
      const double exact =
          intensities_[index] * light + (background_.empty() ? 0 : background_[y * side + x]);
      const double intensity = std::round(exact * kIntensitySteps) / kIntensitySteps;
      const double count =
          noise ? static_cast<double>(random.Poisson(intensity)) : std::round(intensity);
      counts[y * side + x] = static_cast<std::uint16_t>(std::min<double>(count, kLargestCount));
    }
  }
  for (std::size_t i = 0; i < bad_pixels_.size(); ++i) {
    if (bad_pixels_[i] != 0) counts[i] = stuck_at_[i];
  }
  return counts;
}

}  // namespace ptychoserve
