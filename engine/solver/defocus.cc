#include "engine/solver/defocus.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <utility>
#include <vector>

#include "engine/base/status_macros.h"
#include "engine/probe/probe.h"
#include "engine/solver/trial.h"

namespace ptychoserve {
namespace {

// Enough to tell distances apart, on the frames of two lines of a scan as well.
constexpr std::size_t kTrialPoints = 32;
constexpr int kFocusTrialIterations = 5;
// Between distances, of the phase at the rim of the spectrum. Half of that off, and the iterations
// find the rest.
constexpr double kPhaseStep_rad = 4;
constexpr int kHalvings = 2;
constexpr double kPowerInRim = 0.9;
// How wide a point's blur gets, of the window. Speckles are sampled up to a half, and ptychography
// gets along with more.
constexpr double kLargestBlur = 0.8;
// What the R-factor has to fall by.
constexpr double kClearly = 0.02;

// The radius, 1/m, that holds most of the power of the mean frame.
double RimOf(const FloatImage& mean_amplitude, PixelSize pixel_size) {
  const Shape shape = mean_amplitude.shape;
  std::vector<std::pair<double, double>> radii_and_power;
  radii_and_power.reserve(mean_amplitude.data.size());
  double power = 0;
  std::size_t i = 0;
  for (int y = 0; y < shape.rows; ++y) {
    const int row = y < (shape.rows + 1) / 2 ? y : y - shape.rows;
    for (int x = 0; x < shape.cols; ++x, ++i) {
      const int col = x < (shape.cols + 1) / 2 ? x : x - shape.cols;
      const double a = mean_amplitude.data[i];
      radii_and_power.emplace_back(
          std::hypot(row / (shape.rows * pixel_size.y_m), col / (shape.cols * pixel_size.x_m)),
          a * a);
      power += a * a;
    }
  }
  std::sort(radii_and_power.begin(), radii_and_power.end());
  double inside = 0;
  for (const auto& [radius, part] : radii_and_power) {
    inside += part;
    if (inside >= kPowerInRim * power) return radius;
  }
  return 0;
}

}  // namespace

DefocusSearch::DefocusSearch(const FloatImage& mean_amplitude, int modes,
                             std::span<const PointWindow> points, double wavelength_m,
                             PixelSize pixel_size)
    : in_focus_(ProbeFromMeanAmplitude(mean_amplitude)),
      modes_(modes),
      wavelength_m_(wavelength_m),
      pixel_size_(pixel_size),
      points_(CentralPoints(points, kTrialPoints)),
      distances_m_({0.0}) {
  const double rim = RimOf(mean_amplitude, pixel_size);
  if (rim <= 0) return;
  // Free space turns the phase at frequency f by π λ z f², and carries its light aside by λ z f.
  step_m_ = kPhaseStep_rad / (std::numbers::pi * wavelength_m * rim * rim);
  const Shape frame = mean_amplitude.shape;
  const double window_m = std::min(frame.rows * pixel_size.y_m, frame.cols * pixel_size.x_m);
  const double furthest_m = kLargestBlur * window_m / (2 * wavelength_m * rim);
  for (int k = 1; k * step_m_ <= furthest_m; ++k) {
    distances_m_.push_back(k * step_m_);
    distances_m_.push_back(-k * step_m_);
  }
}

int DefocusSearch::iterations() const {
  const int trials = static_cast<int>(distances_m_.size()) + (step_m_ > 0 ? 2 * kHalvings : 0);
  return trials * kFocusTrialIterations;
}

absl::StatusOr<double> DefocusSearch::RFactorAt(double distance_m, Backend& backend) const {
  ComplexStack trial(modes_, in_focus_.shape);
  std::ranges::copy(
      PropagateAngularSpectrum(in_focus_, distance_m, wavelength_m_, pixel_size_).data,
      trial.data.begin());
  return TrialRFactor(trial, points_, kFocusTrialIterations, backend);
}

absl::Status DefocusSearch::Try(Backend& backend) {
  const double distance_m = distances_m_[next_++];
  PS_ASSIGN_OR_RETURN(const double r, RFactorAt(distance_m, backend));
  // The focus comes first; what follows has to beat it clearly, or the best so far.
  if (r < best_r_ * (best_m_ == 0 && distance_m != 0 ? 1 - kClearly : 1.0)) {
    best_r_ = r;
    best_m_ = distance_m;
  }
  if (done() && step_m_ > 0 && halvings_ < kHalvings) {
    ++halvings_;
    step_m_ /= 2;
    distances_m_.push_back(best_m_ + step_m_);
    distances_m_.push_back(best_m_ - step_m_);
  }
  return absl::OkStatus();
}

}  // namespace ptychoserve
