#include <algorithm>
#include <array>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/algorithms/background.h"
#include "engine/algorithms/refinement.h"
#include "engine/backend/cpu/cpu_backend.h"
#include "engine/backend/cpu/lane_sums.h"
#include "engine/backend/input_checks.h"
#include "engine/base/status_macros.h"

namespace ptychoserve {
namespace {

// Pixels of the background that have one owner at a time.
constexpr std::int64_t kPixelsPerBand = 4096;

}  // namespace

template <typename Real>
absl::StatusOr<std::vector<RefinementSums>> CpuBackend<Real>::Refine(double background_step) {
  std::vector<RefinementSums> sums(points_.size());
  if (background_step > 0) std::fill_n(background_sums_.data(), frame_pixels_, BackgroundSums{});
  for (int begin = 0; begin < point_count(); begin += frames_per_chunk_) {
    const int end = std::min(begin + frames_per_chunk_, point_count());
    pool_.ParallelFor(end - begin, [&](std::int64_t i, int worker) {
      sums[begin + i] =
          RefinementOf(points_[begin + i], workspace(worker), chunk_waves_of(static_cast<int>(i)));
    });
    if (background_step > 0) AddToBackgroundSums(begin, end);
  }
  if (background_step > 0) MoveBackground(background_step);
  return sums;
}

template <typename Real>
void CpuBackend<Real>::DerivativeWaves(const PointWindow& point, ModeWaves by_row,
                                       ModeWaves by_col) const {
  const Shape frame = config_.frame_shape;
  const auto fy = static_cast<Real>(point.frac_row);
  const auto fx = static_cast<Real>(point.frac_col);
  const Complex* upper = WindowCorner(point);
  for (int y = 0; y < frame.rows; ++y, upper += canvas_.shape.cols) {
    const Complex* const lower = upper + canvas_.shape.cols;
    const std::int64_t first = std::int64_t{y} * frame.cols;
    for (int x = 0; x < frame.cols; ++x) {
      const Complex down = (1 - fx) * (lower[x] - upper[x]) + fx * (lower[x + 1] - upper[x + 1]);
      const Complex right = (1 - fy) * (upper[x + 1] - upper[x]) + fy * (lower[x + 1] - lower[x]);
      for (int mode = 0; mode < modes(); ++mode) {
        const Complex probe = probe_[mode * frame_pixels_ + first + x];
        by_row[mode][first + x] = probe * down;
        by_col[mode][first + x] = probe * right;
      }
    }
  }
}

template <typename Real>
RefinementSums CpuBackend<Real>::RefinementOf(const PointWindow& point, Workspace work,
                                              ModeWaves waves) {
  LoadCounts(point.slot, work.counts);
  ModelWaves(point, waves);
  Transform(point, waves, work.intensity);
  const ModeWaves by_row = work.first;
  const ModeWaves by_col = work.second;
  DerivativeWaves(point, by_row, by_col);
  for (int mode = 0; mode < modes(); ++mode) {
    ToDetector(by_row[mode]);
    ToDetector(by_col[mode]);
  }
  const auto light = static_cast<Real>(point.intensity);
  const auto along = [](const Complex& wave, const Complex& derivative) {
    return wave.real() * derivative.real() + wave.imag() * derivative.imag();
  };
  const auto totals = LaneSums<kRefinedPerPoint + kFisherElements, Real>(
      frame_pixels_, [&](std::int64_t i) -> std::array<Real, kRefinedPerPoint + kFisherElements> {
        const auto [g, information] = WeightsOfPixel(work.counts[i], work.intensity[i]);
        Real row = 0, col = 0;
        for (int mode = 0; mode < modes(); ++mode) {
          row += along(waves[mode][i], by_row[mode][i]);
          col += along(waves[mode][i], by_col[mode][i]);
        }
        row *= 2 * light;
        col *= 2 * light;
        const Real brighter = work.intensity[i] - background_[i];
        return {g * row,
                g * col,
                g * brighter,
                information * row * row,
                information * row * col,
                information * row * brighter,
                information * col * col,
                information * col * brighter,
                information * brighter * brighter};
      });
  RefinementSums sums;
  std::copy_n(totals.begin(), kRefinedPerPoint, sums.gradient);
  std::copy_n(totals.begin() + kRefinedPerPoint, kFisherElements, sums.fisher);
  return sums;
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
  template absl::StatusOr<std::vector<RefinementSums>> CpuBackend<Real>::Refine(double);           \
  template void CpuBackend<Real>::DerivativeWaves(const PointWindow&, ModeWaves, ModeWaves) const; \
  template RefinementSums CpuBackend<Real>::RefinementOf(const PointWindow&, Workspace,            \
                                                         ModeWaves);                               \
  template void CpuBackend<Real>::MoveBackground(double);                                          \
  template void CpuBackend<Real>::AddToBackgroundSums(int, int);                                   \
  template absl::StatusOr<FloatImage> CpuBackend<Real>::ReadBackground();                          \
  template absl::Status CpuBackend<Real>::SetBackground(const FloatImage&);
PS_INSTANTIATE_(float)
PS_INSTANTIATE_(double)
#undef PS_INSTANTIATE_

}  // namespace ptychoserve
