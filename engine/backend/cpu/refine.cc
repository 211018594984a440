#include <algorithm>
#include <array>
#include <cmath>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/algorithms/background.h"
#include "engine/algorithms/epie.h"
#include "engine/algorithms/refinement.h"
#include "engine/backend/cpu/cpu_backend.h"
#include "engine/backend/cpu/forward_model.h"
#include "engine/backend/cpu/lane_sums.h"
#include "engine/backend/input_checks.h"
#include "engine/base/status_macros.h"

namespace ptychoserve {
namespace {

// Pixels of the background that have one owner at a time.
constexpr std::int64_t kPixelsPerBand = 4096;

}  // namespace

template <typename Real>
absl::StatusOr<Refinement> CpuBackend<Real>::Refine(const StageRefinement& which, double step) {
  Refinement result;
  const int components = which.variation ? config_.probe_components : 0;
  if (which.points()) result.points.resize(points_.size());
  if (which.background) std::fill_n(background_sums_.data(), frame_pixels_, BackgroundSums{});
  if (which.variation) {
    std::fill_n(component_sums_.data(), component_sums_.size(), Complex128{});
    std::fill_n(component_weights_.data(), component_weights_.size(), 0.0);
  }
  for (int begin = 0; begin < point_count(); begin += frames_per_chunk_) {
    const int end = std::min(begin + frames_per_chunk_, point_count());
    pool_.ParallelFor(end - begin, [&](std::int64_t i, int worker) {
      const PointWindow& point = points_[begin + i];
      const Workspace work = workspace(worker);
      const ModeWaves waves = chunk_waves_of(static_cast<int>(i));
      LoadCounts(point.slot, work.counts);
      ModelWaves(point, waves);
      Transform(point, waves, work.intensity);
      if (!which.points()) return;
      result.points[begin + i] = DispatchComponents(components, [&](auto count) {
        return RefinementOf<count()>(point, which, work, {waves.data, waves.stride});
      });
    });
    if (which.background) AddToBackgroundSums(begin, end);
    if (which.variation) AddToComponentSums(begin, end);
  }
  if (which.background) MoveBackground(step);
  if (!which.variation) return result;
  result.component_sums = ComplexStack(components * modes(), config_.frame_shape);
  std::copy_n(component_sums_.data(), component_sums_.size(), result.component_sums.data.begin());
  result.component_weights.assign(component_weights_.data(),
                                  component_weights_.data() + component_weights_.size());
  return result;
}

template <typename Real>
void CpuBackend<Real>::DerivativeWaves(const PointWindow& point, ModeWaves by_row,
                                       ModeWaves by_col) const {
  const Shape frame = config_.frame_shape;
  const auto fy = static_cast<Real>(point.frac_row);
  const auto fx = static_cast<Real>(point.frac_col);
  std::vector<Complex> down(frame.cols), right(frame.cols), scratch(frame.cols);
  for (int l = 0; l < object_modes(); ++l) {
    const Complex* upper = WindowCorner(point, l);
    for (int y = 0; y < frame.rows; ++y, upper += canvas_.shape.cols) {
      const Complex* const lower = upper + canvas_.shape.cols;
      for (int x = 0; x < frame.cols; ++x) {
        down[x] = (1 - fx) * (lower[x] - upper[x]) + fx * (lower[x + 1] - upper[x + 1]);
        right[x] = (1 - fy) * (upper[x + 1] - upper[x]) + fy * (lower[x + 1] - lower[x]);
      }
      const std::int64_t first = std::int64_t{y} * frame.cols;
      for (int mode = 0; mode < modes(); ++mode) {
        const Complex* const probe = ProbeRow(point, mode, y, scratch.data());
        const int wave = WaveOf(l, mode);
        for (int x = 0; x < frame.cols; ++x) {
          by_row[wave][first + x] = probe[x] * down[x];
          by_col[wave][first + x] = probe[x] * right[x];
        }
      }
    }
  }
}

template <typename Real>
void CpuBackend<Real>::DerivativeAlong(const PointWindow& point, ConstModeWaves waves,
                                       ModeWaves along, Real* derivatives) const {
  std::fill_n(derivatives, frame_pixels_, Real(0));
  const Real factor = 2 * static_cast<Real>(point.intensity);
  for (int e = 0; e < wave_count(); ++e) {
    Complex* const change = along[e];
    ToDetector(change);
    const Complex* const wave = waves[e];
    for (std::int64_t i = 0; i < frame_pixels_; ++i) {
      derivatives[i] +=
          factor * (wave[i].real() * change[i].real() + wave[i].imag() * change[i].imag());
    }
  }
}

template <typename Real>
template <int kComponents>
RefinementSums CpuBackend<Real>::RefinementOf(const PointWindow& point,
                                              const StageRefinement& which, Workspace work,
                                              ConstModeWaves waves) const {
  Real* const by_row = work.derivatives;
  Real* const by_col = by_row + frame_pixels_;
  Real* const by_component = by_col + frame_pixels_;
  if (which.positions) {
    DerivativeWaves(point, work.first, work.second);
    DerivativeAlong(point, waves, work.first, by_row);
    DerivativeAlong(point, waves, work.second, by_col);
  } else {
    std::fill_n(by_row, 2 * frame_pixels_, Real(0));
  }
  for (int k = 0; k < kComponents; ++k) {
    const auto component_row = [&](int mode, int y) -> const Complex* {
      return &components_[k * probe_pixels_ + mode * frame_pixels_ +
                          std::int64_t{y} * config_.frame_shape.cols];
    };
    WindowProducts(point, component_row, work.first);
    DerivativeAlong(point, waves, work.first, by_component + k * frame_pixels_);
  }
  constexpr std::size_t kTerms = RefinementTermCount(kComponents);
  const auto totals = LaneSums<kTerms, Real>(frame_pixels_, [&](std::int64_t i) {
    Real derivatives[kRefinedBesideProbe + kComponents] = {
        by_row[i], by_col[i], which.intensities ? work.intensity[i] - background_[i] : Real(0)};
    for (int k = 0; k < kComponents; ++k) {
      derivatives[kRefinedBesideProbe + k] = by_component[k * frame_pixels_ + i];
    }
    Real terms[kTerms];
    RefinementTerms<kComponents>(WeightsOfPixel(work.counts[i], work.intensity[i]), derivatives,
                                 terms);
    return std::to_array(terms);
  });
  return RefinementSumsOf(kComponents, totals.data());
}

template <typename Real>
void CpuBackend<Real>::AddToComponentSums(int begin, int end) {
  pool_.ParallelFor(end - begin, [&](std::int64_t i, int worker) {
    const PointWindow& point = points_[begin + i];
    const Workspace work = workspace(worker);
    const ModeWaves waves = chunk_waves_of(static_cast<int>(i));
    LoadCounts(point.slot, work.counts);
    ExpectedCounts(point, {waves.data, waves.stride}, 0, frame_pixels_, work.intensity);
    Real* const factors = work.intensity;  // In place.
    for (std::int64_t p = 0; p < frame_pixels_; ++p) {
      factors[p] = ModulusCorrectionFactor(work.counts[p], std::sqrt(work.intensity[p]));
    }
    ScaleAndTransformBack(factors, waves);
  });
  const Shape frame = config_.frame_shape;
  pool_.ParallelFor(frame.rows, [&](std::int64_t y, int) {
    std::vector<Complex> window(frame.cols);
    const std::int64_t first = y * frame.cols;
    for (int j = begin; j < end; ++j) {
      const PointWindow& point = points_[j];
      const ModeWaves waves = chunk_waves_of(j - begin);
      for (int l = 0; l < object_modes(); ++l) {
        const Complex* const upper = WindowCorner(point, l) + y * canvas_.shape.cols;
        InterpolateRow(upper, upper + canvas_.shape.cols, point, frame.cols, window.data());
        for (int k = 0; k < config_.probe_components; ++k) {
          const auto c = static_cast<double>(point.variation[k]);
          for (int mode = 0; mode < modes(); ++mode) {
            const Complex* const wave = waves[WaveOf(l, mode)] + first;
            Complex128* const sums =
                &component_sums_[k * probe_pixels_ + mode * frame_pixels_ + first];
            for (int x = 0; x < frame.cols; ++x) {
              sums[x] += c * Complex128(std::conj(window[x]) * wave[x]);
            }
          }
          double* const weights = &component_weights_[k * frame_pixels_ + first];
          for (int x = 0; x < frame.cols; ++x) weights[x] += c * c * double(std::norm(window[x]));
        }
      }
    }
  });
}

template <typename Real>
void CpuBackend<Real>::AddToBackgroundSums(int begin, int end) {
  const std::int64_t bands = (frame_pixels_ + kPixelsPerBand - 1) / kPixelsPerBand;
  pool_.ParallelFor(bands, [&](std::int64_t band, int worker) {
    const std::int64_t first = band * kPixelsPerBand;
    const std::int64_t last = std::min(first + kPixelsPerBand, frame_pixels_);
    const Workspace work = workspace(worker);
    for (int j = begin; j < end; ++j) {
      const ModeWaves waves = chunk_waves_of(j - begin);
      LoadCounts(points_[j].slot, first, last, work.counts);
      ExpectedCounts(points_[j], {waves.data, waves.stride}, first, last, work.intensity);
      for (std::int64_t i = first; i < last; ++i) {
        const auto [g, information] =
            BackgroundWeights(work.counts[i - first], work.intensity[i - first]);
        background_sums_[i].gradient += static_cast<double>(g);
        background_sums_[i].information += static_cast<double>(information);
      }
    }
  });
}

template <typename Real>
void CpuBackend<Real>::MoveBackground(double step) {
  const Shape frame = config_.frame_shape;
  std::vector<Real> moved(static_cast<std::size_t>(frame_pixels_));
  pool_.ParallelFor(frame.rows, [&](std::int64_t row, int) {
    for (int col = 0; col < frame.cols; ++col) {
      moved[static_cast<std::size_t>(row * frame.cols + col)] = static_cast<Real>(
          RefinedBackground(background_.data(), background_sums_.data(), frame.rows, frame.cols,
                            static_cast<int>(row), col, step));
    }
  });
  std::ranges::copy(moved, background_.data());
}

template <typename Real>
absl::StatusOr<FloatImage> CpuBackend<Real>::ReadBackground() {
  FloatImage background;
  background.shape = config_.frame_shape;
  background.data.assign(background_.data(), background_.data() + frame_pixels_);
  return background;
}

template <typename Real>
absl::Status CpuBackend<Real>::SetBackground(const FloatImage& background) {
  PS_RETURN_IF_ERROR(CheckBackgroundFits(background, config_));
  std::copy(background.data.begin(), background.data.end(), background_.data());
  return absl::OkStatus();
}

#define PS_INSTANTIATE_(Real)                                                                      \
  template absl::StatusOr<Refinement> CpuBackend<Real>::Refine(const StageRefinement&, double);    \
  template void CpuBackend<Real>::DerivativeWaves(const PointWindow&, ModeWaves, ModeWaves) const; \
  template void CpuBackend<Real>::DerivativeAlong(const PointWindow&, ConstModeWaves, ModeWaves,   \
                                                  Real*) const;                                    \
  template void CpuBackend<Real>::AddToComponentSums(int, int);                                    \
  template void CpuBackend<Real>::MoveBackground(double);                                          \
  template void CpuBackend<Real>::AddToBackgroundSums(int, int);                                   \
  template absl::StatusOr<FloatImage> CpuBackend<Real>::ReadBackground();                          \
  template absl::Status CpuBackend<Real>::SetBackground(const FloatImage&);
PS_INSTANTIATE_(float)
PS_INSTANTIATE_(double)
#undef PS_INSTANTIATE_

}  // namespace ptychoserve
