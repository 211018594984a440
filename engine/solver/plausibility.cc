#include "engine/solver/plausibility.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <functional>
#include <limits>
#include <numbers>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/propagation/free_space.h"
#include "engine/scan/optics.h"

namespace ptychoserve {
namespace {

struct Usual {
  double low_m = 0, high_m = 0;
};
constexpr Usual kWavelength{1e-12, 1e-7};
constexpr Usual kDistance{1e-3, 100};
constexpr Usual kDetectorPixel{1e-6, 1e-3};
constexpr Usual kObjectPixel{1e-12, 1e-5};

constexpr double kPowerInBeam = 0.9;
// A speckle of the detector takes two pixels or more when the beam fills no more of the window,
constexpr double kSampledBeam = 0.5;
// and ptychography gets along with a little less.
constexpr double kMostOfWindow = 2.0 / 3;
constexpr double kLeastOverlap = 0.4;
// Half a window to the side, light meets that which went the other way.
constexpr double kMostOfNearWindow = 0.5;
constexpr double kSmallestFringe_px = 1;
// Of the frame's side. A beam beside zero frequency gives the object a ramp of its phase, and loses
// light over the frame's edge.
constexpr double kMostOffCentre = 1.0 / 16;
// Light that is spread evenly has no middle.
constexpr double kLeastConcentration = 0.1;
constexpr double kLeastCounts = 100;  // Electron microscopes make do with some hundred.

void CheckUsual(const char* field, double value_m, const Usual& usual, const char* advice,
                std::vector<std::string>* warnings) {
  if (value_m >= usual.low_m && value_m <= usual.high_m) return;
  warnings->push_back(absl::StrFormat("%s is %.4g m; usual are %.0e to %.0e m; %s", field, value_m,
                                      usual.low_m, usual.high_m, advice));
}

// How far the near field is off what it is good for: too far, and light crosses the window; too
// near, and it makes no fringes.
void CheckNearField(const FreeSpace& space, const Shape& frame,
                    std::vector<std::string>* warnings) {
  const double shift = std::max(LargestShift(space, space.pixel_size.y_m, frame.rows),
                                LargestShift(space, space.pixel_size.x_m, frame.cols));
  const double pixel_m = std::min(space.pixel_size.y_m, space.pixel_size.x_m);
  const double fringe_px = std::sqrt(space.wavelength_m * space.distance_m) / pixel_m;
  const std::string between = absl::StrFormat(
      "optics.near_field: %.4g m of free space, at a wavelength of %.4g m and with object pixels "
      "of "
      "%.4g m,",
      space.distance_m, space.wavelength_m, pixel_m);
  if (shift > kMostOfNearWindow) {
    warnings->push_back(absl::StrFormat(
        "%s carry light of the finest detail over %.3g of the window, which repeats beyond its "
        "edges; usual is up to %.1f; check the distances, or use a larger window, or the far field",
        between, shift, kMostOfNearWindow));
  } else if (fringe_px < kSmallestFringe_px) {
    warnings->push_back(absl::StrFormat(
        "%s make a first fringe of %.3g pixels, sqrt(wavelength * distance), so that hardly any "
        "phase is seen; usual are %.0f or more; check the distances and source_to_sample_m",
        between, fringe_px, kSmallestFringe_px));
  }
}

// Pixels from line 0 to the middle of `power`, the light of each line of a frame that repeats; 0
// where it has none.
double MiddleLine(std::span<const double> power) {
  const auto lines = static_cast<double>(power.size());
  std::complex<double> moment = 0;
  double sum = 0;
  for (std::size_t k = 0; k < power.size(); ++k) {
    moment += std::polar(power[k], 2 * std::numbers::pi * static_cast<double>(k) / lines);
    sum += power[k];
  }
  if (std::abs(moment) < kLeastConcentration * sum) return 0;
  return std::arg(moment) / (2 * std::numbers::pi) * lines;
}

std::string OffCentreWarning(const FloatImage& mean_amplitude) {
  const Shape shape = mean_amplitude.shape;
  std::vector<double> rows(static_cast<std::size_t>(shape.rows));
  std::vector<double> cols(static_cast<std::size_t>(shape.cols));
  std::size_t i = 0;
  for (double& row : rows) {
    for (double& col : cols) {
      const double a = mean_amplitude.data[i++];
      row += a * a;
      col += a * a;
    }
  }
  const double row = MiddleLine(rows), col = MiddleLine(cols);
  if (std::abs(row) <= kMostOffCentre * shape.rows &&
      std::abs(col) <= kMostOffCentre * shape.cols) {
    return {};
  }
  return absl::StrFormat(
      "the middle of the light is %d rows and %d columns from zero frequency in frames of "
      "%d x %d, so that the object will have a phase ramp; usual is less than a sixteenth; crop "
      "around the beam (detector.crop or auto_centre), and check detector.beam",
      std::lround(row), std::lround(col), shape.rows, shape.cols);
}

// Counts of a mean frame of which the mean of √counts is known. Where hardly a count falls, √counts
// is the count itself.
double Counts(const FloatImage& mean_amplitude) {
  double counts = 0;
  for (const float a : mean_amplitude.data) {
    counts += static_cast<double>(a) * std::max(1.0, static_cast<double>(a));
  }
  return counts;
}

}  // namespace

std::vector<std::string> SettingsWarnings(const ReconstructionConfig& config) {
  std::vector<std::string> warnings;
  const OpticsConfig& optics = config.optics;
  CheckUsual("optics.wavelength_m", optics.wavelength_m, kWavelength,
             "check the unit: wavelengths are in metres, energies in electronvolts", &warnings);
  CheckUsual("optics.distance_m", optics.distance_m, kDistance, "check that it is in metres",
             &warnings);
  CheckUsual("optics.detector_pixel_size_y_m", optics.detector_pixel_size_y_m, kDetectorPixel,
             "check that it is in metres", &warnings);
  if (optics.detector_pixel_size_x_m != optics.detector_pixel_size_y_m) {
    CheckUsual("optics.detector_pixel_size_x_m", optics.detector_pixel_size_x_m, kDetectorPixel,
               "check that it is in metres", &warnings);
  }
  // Object pixels of the near field are the detector's, which have been looked at.
  const std::optional<FreeSpace> near_field = SpaceToDetector(optics, config.detector);
  if (near_field) CheckNearField(*near_field, EngineFrameShape(config.detector), &warnings);
  const PixelSize pixel = ObjectPixelSize(optics, config.detector);
  const double smaller_m = std::min(pixel.y_m, pixel.x_m);
  const std::string from = absl::StrFormat(
      "wavelength %.4g m, distance %.4g m and %d x %d detector pixels of %.4g m make object pixels "
      "of %.4g x %.4g m",
      optics.wavelength_m, optics.distance_m, EngineFrameShape(config.detector).rows,
      EngineFrameShape(config.detector).cols, optics.detector_pixel_size_y_m, pixel.y_m, pixel.x_m);
  if (smaller_m < optics.wavelength_m / 2) {
    warnings.push_back(absl::StrCat(
        from, ", finer than half a wavelength, which no light resolves; check all three"));
  } else if (!near_field && (smaller_m < kObjectPixel.low_m ||
                             std::max(pixel.y_m, pixel.x_m) > kObjectPixel.high_m)) {
    warnings.push_back(absl::StrFormat("%s; usual are %.0e to %.0e m; check all three", from,
                                       kObjectPixel.low_m, kObjectPixel.high_m));
  }
  if (config.scan.bounds) {
    const ScanBounds& b = *config.scan.bounds;
    const double range_m = std::max(b.y_max_m - b.y_min_m, b.x_max_m - b.x_min_m);
    if (config.scan.expected_points > 1 && range_m < smaller_m) {
      warnings.push_back(absl::StrFormat(
          "scan.bounds span %.4g m, less than an object pixel of %.4g m, for %d points; check that "
          "positions are in metres",
          range_m, smaller_m, config.scan.expected_points));
    }
  }
  return warnings;
}

double BeamDiameter_px(const ComplexStack& probe) {
  std::vector<double> power(static_cast<std::size_t>(probe.shape.pixels()));
  for (std::size_t i = 0; i < probe.data.size(); ++i) {
    power[i % power.size()] += std::norm(std::complex<double>(probe.data[i]));
  }
  std::sort(power.begin(), power.end(), std::greater<>());
  const double enough = kPowerInBeam * std::accumulate(power.begin(), power.end(), 0.0);
  double sum = 0;
  std::size_t pixels = 0;
  while (pixels < power.size() && sum < enough) sum += power[pixels++];
  return 2 * std::sqrt(static_cast<double>(pixels) / std::numbers::pi);
}

double NeighbourStep_px(std::span<const PointWindow> points, int most) {
  const auto n = std::min(points.size(), static_cast<std::size_t>(most));
  if (n < 2) return 0;
  const auto distance = [](const PointWindow& a, const PointWindow& b) {
    return std::hypot(a.row - b.row + static_cast<double>(a.frac_row - b.frac_row),
                      a.col - b.col + static_cast<double>(a.frac_col - b.frac_col));
  };
  std::vector<double> nearest(n, std::numeric_limits<double>::infinity());
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      const double d = distance(points[i], points[j]);
      nearest[i] = std::min(nearest[i], d);
      nearest[j] = std::min(nearest[j], d);
    }
  }
  const auto middle = nearest.begin() + static_cast<std::ptrdiff_t>(n / 2);
  std::nth_element(nearest.begin(), middle, nearest.end());
  return *middle;
}

std::vector<std::string> StartWarnings(const ComplexStack& probe, bool probe_is_given,
                                       const FloatImage& mean_amplitude,
                                       std::span<const PointWindow> points, bool near_field) {
  std::vector<std::string> warnings;
  const int window_px = std::min(probe.shape.rows, probe.shape.cols);
  const double diameter_px = BeamDiameter_px(probe);
  if (!near_field && probe_is_given && diameter_px > kMostOfWindow * window_px) {
    warnings.push_back(absl::StrFormat(
        "the initial probe is %.3g pixels wide (90 %% of its power) in a window of %d, an "
        "oversampling of %.2g; usual is 2 or more; check the wavelength and the distances, or use "
        "a smaller beam or a detector farther away",
        diameter_px, window_px, window_px / diameter_px));
  }
  // A beam that is not known fills half of the window at most, or its far field would not be
  // sampled.
  const double largest_px = (near_field ? 1.0 : kSampledBeam) * window_px;
  const double beam_px = probe_is_given ? diameter_px : largest_px;
  const double step_px = NeighbourStep_px(points);
  if (step_px > (1 - kLeastOverlap) * beam_px) {
    warnings.push_back(absl::StrFormat(
        "neighbouring positions are %.3g object pixels apart and the beam is %s%.3g wide, a linear "
        "overlap of %s%.2g; usual are 0.6 to 0.8; check that positions are in metres, and the "
        "wavelength, or measure with smaller steps",
        step_px, probe_is_given ? "" : "at most ", beam_px, probe_is_given ? "" : "at most ",
        std::max(0.0, 1 - step_px / beam_px)));
  } else if (points.size() > 1 && step_px == 0) {
    warnings.push_back(absl::StrFormat(
        "most of the first %d points lie where another one does; usual are steps of a third of the "
        "beam; check that positions are in metres",
        points.size()));
  }
  if (std::string off = near_field ? "" : OffCentreWarning(mean_amplitude); !off.empty()) {
    warnings.push_back(std::move(off));
  }
  if (const double counts = Counts(mean_amplitude); counts < kLeastCounts) {
    warnings.push_back(absl::StrFormat(
        "frames have about %.3g trusted counts each; usual are 1e3 or more; check the scale of the "
        "frames and saturation_counts, or expose longer",
        counts));
  }
  return warnings;
}

}  // namespace ptychoserve
