#include "engine/solver/refinement.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>
#include <vector>

namespace ptychoserve {
namespace {

// The longest step of a position at a time: the gradient is that of the place where it is taken.
constexpr double kMaxStepPx = 0.5;
constexpr double kMaxLogIntensityStep = 0.2;
constexpr double kMaxVariationStep = 0.25;
// The largest √Σ_k c_k² of a point: as much variation as there is probe.
constexpr double kMaxVariation = 1;
// A prior's standard deviation, of the limit.
constexpr double kPriorOfLimit = 0.5;
// Shifts this close to the limit are at it.
constexpr double kAtLimit = 0.999;

constexpr std::size_t kRefined = kMaxRefinedPerPoint;
constexpr std::size_t kFirstComponent = kRefinedBesideProbe;
using Vector = std::array<double, kRefined>;
using Matrix = std::array<Vector, kRefined>;

std::size_t PlaceOf(std::size_t i, std::size_t j) {
  return static_cast<std::size_t>(TrianglePlace(static_cast<int>(i), static_cast<int>(j)));
}

// x of F x = g, by Cholesky's decomposition; F is positive definite.
Vector Solve(Matrix f, Vector g) {
  for (std::size_t j = 0; j < kRefined; ++j) {
    for (std::size_t k = 0; k < j; ++k) f[j][j] -= f[j][k] * f[j][k];
    f[j][j] = std::sqrt(f[j][j]);
    for (std::size_t i = j + 1; i < kRefined; ++i) {
      for (std::size_t k = 0; k < j; ++k) f[i][j] -= f[i][k] * f[j][k];
      f[i][j] /= f[j][j];
    }
  }
  for (std::size_t i = 0; i < kRefined; ++i) {
    for (std::size_t k = 0; k < i; ++k) g[i] -= f[i][k] * g[k];
    g[i] /= f[i][i];
  }
  for (std::size_t i = kRefined; i-- > 0;) {
    for (std::size_t k = i + 1; k < kRefined; ++k) g[i] -= f[k][i] * g[k];
    g[i] /= f[i][i];
  }
  return g;
}

// The full step of one point; 0 of what is not refined.
Vector FullStep(const RefinementSums& sums, const PointRefinement& now,
                const RefinementConfig& config, const StageRefinement& which) {
  const double shift_prior = 1 / std::pow(kPriorOfLimit * config.max_shift_px, 2);
  const double light_prior = 1 / std::pow(kPriorOfLimit * std::log(config.max_intensity), 2);
  Vector value = {now.shift_row, now.shift_col, std::log(now.intensity)};
  Vector prior = {shift_prior, shift_prior, light_prior};
  std::array<bool, kRefined> refines = {which.positions, which.positions, which.intensities};
  for (std::size_t i = kFirstComponent; i < kRefined; ++i) {
    value[i] = now.variation[i - kFirstComponent];
    prior[i] = 1 / std::pow(kPriorOfLimit * kMaxVariation, 2);
    // A component that is not there yet keeps its coefficients.
    refines[i] = which.variation && sums.fisher[PlaceOf(i, i)] > 0;
  }
  Matrix fisher{};
  Vector gradient{};
  for (std::size_t i = 0; i < kRefined; ++i) {
    fisher[i][i] = 1;
    if (!refines[i]) continue;
    gradient[i] = sums.gradient[i] - prior[i] * value[i];
    for (std::size_t j = i; j < kRefined; ++j) {
      if (refines[j]) fisher[i][j] = fisher[j][i] = sums.fisher[PlaceOf(i, j)];
    }
    fisher[i][i] += prior[i];
  }
  const Vector step = Solve(fisher, gradient);
  return std::ranges::all_of(step, [](double x) { return std::isfinite(x); }) ? step : Vector{};
}

template <typename Coefficients>
double VariationOf(const Coefficients& coefficients) {
  double squares = 0;
  for (const auto c : coefficients) squares += static_cast<double>(c) * static_cast<double>(c);
  return std::sqrt(squares);
}

// `shift` of at most `limit` a length, that keeps `corner` within [first, last].
float Limited(double shift, double corner, double first, double last) {
  return static_cast<float>(std::clamp(shift, first - corner, std::max(last, first) - corner));
}

void MoveWithin(const Region& canvas, const Shape& frame, double limit, double row, double col,
                ActivePoint& point) {
  const double length = std::hypot(row, col);
  const double scale = length > limit ? limit / length : 1;
  const Window& w = point.window;
  point.refined.shift_row = Limited(scale * row, w.row + double{w.frac_row}, canvas.row,
                                    canvas.row + canvas.shape.rows - frame.rows - 1);
  point.refined.shift_col = Limited(scale * col, w.col + double{w.frac_col}, canvas.col,
                                    canvas.col + canvas.shape.cols - frame.cols - 1);
}

}  // namespace

Window Shifted(const Window& window, const PointRefinement& refined) {
  const auto place = [](std::int32_t corner, float fraction, float shift) {
    const double within = double{fraction} + shift;
    const double whole = std::floor(within);
    const auto rest = static_cast<float>(within - whole);
    // Rounded up to 1 by the conversion.
    return rest < 1 ? std::pair(corner + static_cast<std::int32_t>(whole), rest)
                    : std::pair(corner + static_cast<std::int32_t>(whole) + 1, 0.0f);
  };
  const auto [row, frac_row] = place(window.row, window.frac_row, refined.shift_row);
  const auto [col, frac_col] = place(window.col, window.frac_col, refined.shift_col);
  return {row, col, frac_row, frac_col};
}

void KeepOnCanvas(const Region& canvas, const Shape& frame, std::span<ActivePoint> points) {
  for (ActivePoint& p : points) {
    if (p.refined.shift_row == 0 && p.refined.shift_col == 0) continue;
    MoveWithin(canvas, frame, std::numeric_limits<double>::infinity(), p.refined.shift_row,
               p.refined.shift_col, p);
  }
}

void TakeRefinementSteps(const RefinementConfig& config, const StageRefinement& which, double step,
                         std::span<const RefinementSums> sums, const Region& canvas,
                         const Shape& frame, std::span<ActivePoint> points) {
  if (points.empty() || !which.points()) return;
  std::vector<Vector> values(points.size());
  Vector mean{};
  for (std::size_t k = 0; k < points.size(); ++k) {
    const PointRefinement& now = points[k].refined;
    Vector full = FullStep(sums[k], now, config, which);
    for (double& x : full) x *= step;
    const double length = std::hypot(full[0], full[1]);
    const double shorter = length > kMaxStepPx ? kMaxStepPx / length : 1;
    values[k] = {
        now.shift_row + shorter * full[0], now.shift_col + shorter * full[1],
        std::log(now.intensity) + std::clamp(full[2], -kMaxLogIntensityStep, kMaxLogIntensityStep)};
    const double varied = VariationOf(std::span(full).subspan<kFirstComponent>());
    const double less = varied > kMaxVariationStep ? kMaxVariationStep / varied : 1;
    for (std::size_t i = kFirstComponent; i < kRefined; ++i) {
      values[k][i] = now.variation[i - kFirstComponent] + less * full[i];
    }
    for (std::size_t i = 0; i < kRefined; ++i) {
      mean[i] += values[k][i] / static_cast<double>(points.size());
    }
  }
  const double most = std::log(config.max_intensity);
  for (std::size_t k = 0; k < points.size(); ++k) {
    if (which.positions) {
      MoveWithin(canvas, frame, config.max_shift_px, values[k][0] - mean[0], values[k][1] - mean[1],
                 points[k]);
    }
    if (which.intensities) {
      points[k].refined.intensity =
          static_cast<float>(std::exp(std::clamp(values[k][2] - mean[2], -most, most)));
    }
    if (which.variation) {
      for (std::size_t i = kFirstComponent; i < kRefined; ++i) values[k][i] -= mean[i];
      const double length = VariationOf(std::span(values[k]).subspan<kFirstComponent>());
      const double shorter = length > kMaxVariation ? kMaxVariation / length : 1;
      for (std::size_t i = kFirstComponent; i < kRefined; ++i) {
        points[k].refined.variation[i - kFirstComponent] =
            static_cast<float>(shorter * values[k][i]);
      }
    }
  }
}

RefinementFigures FiguresOf(const RefinementConfig& config, std::span<const ActivePoint> points,
                            const FloatImage& background) {
  RefinementFigures figures;
  for (const float b : background.data) figures.background_counts += double{b};
  if (points.empty()) return figures;
  const auto count = static_cast<double>(points.size());
  // The mean of the measured places, and sums about it of their products with each other and the
  // shifts.
  double mean_row = 0, mean_col = 0, mean_intensity = 0;
  for (const ActivePoint& p : points) {
    mean_row += (p.window.row + double{p.window.frac_row}) / count;
    mean_col += (p.window.col + double{p.window.frac_col}) / count;
    mean_intensity += double{p.refined.intensity} / count;
  }
  std::array<double, kMaxProbeComponents> powers = {};
  double squares = 0, spread = 0;
  double rr = 0, rc = 0, cc = 0, row_r = 0, row_c = 0, col_r = 0, col_c = 0;
  for (const ActivePoint& p : points) {
    const double r = p.window.row + double{p.window.frac_row} - mean_row;
    const double c = p.window.col + double{p.window.frac_col} - mean_col;
    const double shift_row = p.refined.shift_row, shift_col = p.refined.shift_col;
    squares += shift_row * shift_row + shift_col * shift_col;
    spread += std::pow(p.refined.intensity - mean_intensity, 2);
    rr += r * r;
    rc += r * c;
    cc += c * c;
    row_r += shift_row * r;
    row_c += shift_row * c;
    col_r += shift_col * r;
    col_c += shift_col * c;
    const double limit = kAtLimit * config.max_shift_px;
    figures.positions_at_limit += std::hypot(shift_row, shift_col) >= limit ? 1 : 0;
    const double variation = VariationOf(p.refined.variation);
    figures.variations_at_limit += variation >= kAtLimit * kMaxVariation ? 1 : 0;
    for (std::size_t k = 0; k < powers.size(); ++k) {
      powers[k] += std::pow(double{p.refined.variation[k]}, 2) / count;
    }
  }
  for (const double power : powers) {
    if (power > 0) figures.variation_powers.push_back(power);
  }
  figures.shift_rms_px = std::sqrt(squares / count);
  figures.intensity_rms = std::sqrt(spread / count);
  const double determinant = rr * cc - rc * rc;
  // Of points on a line, or a single one, there is no such map.
  if (!(determinant > 1e-9 * (rr + cc) * (rr + cc))) return figures;
  const double a_rr = (row_r * cc - row_c * rc) / determinant;
  const double a_rc = (row_c * rr - row_r * rc) / determinant;
  const double a_cr = (col_r * cc - col_c * rc) / determinant;
  const double a_cc = (col_c * rr - col_r * rc) / determinant;
  figures.scale_row = a_rr;
  figures.scale_col = a_cc;
  figures.rotation_rad = (a_cr - a_rc) / 2;
  figures.shear_rad = (a_cr + a_rc) / 2;
  return figures;
}

}  // namespace ptychoserve
