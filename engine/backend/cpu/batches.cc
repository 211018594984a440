#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/algorithms/update.h"
#include "engine/backend/cpu/cpu_backend.h"
#include "engine/backend/cpu/forward_model.h"

// What algorithms that take batch after batch of points have in common. A chunk's waves are in its
// order.

namespace ptychoserve {

template <typename Real>
Region CpuBackend<Real>::BatchArea(std::span<const int> batch) const {
  const auto row_of = [&](int i) { return points_[i].row - canvas_.row; };
  const auto col_of = [&](int i) { return points_[i].col - canvas_.col; };
  const auto [top, bottom] = std::ranges::minmax(batch, {}, row_of);
  const auto [left, right] = std::ranges::minmax(batch, {}, col_of);
  return {row_of(top),
          col_of(left),
          {row_of(bottom) - row_of(top) + config_.frame_shape.rows + 1,
           col_of(right) - col_of(left) + config_.frame_shape.cols + 1}};
}

template <typename Real>
void CpuBackend<Real>::ForEachPixelIn(const Region& area,
                                      absl::FunctionRef<void(std::int64_t)> fn) {
  pool_.ParallelFor(BandCount(area.shape.rows), [&](std::int64_t index, int) {
    const RowBand band = BandOf(index, area.row, area.shape.rows);
    for (int y = band.begin; y < band.end; ++y) {
      const std::int64_t first = std::int64_t{y} * canvas_.shape.cols + area.col;
      for (std::int64_t i = first; i < first + area.shape.cols; ++i) fn(i);
    }
  });
}

// All points see object and probe as they are before the batch, so nothing moves before all sums
// are there.
template <typename Real>
void CpuBackend<Real>::SumBatch(std::span<const int> batch, const Region& area,
                                const IterationOptions& options, BatchWaves make_waves) {
  for (int y = area.row; options.update_object && y < area.row + area.shape.rows; ++y) {
    const std::int64_t first = std::int64_t{y} * canvas_.shape.cols + area.col;
    for (int l = 0; l < object_modes(); ++l) {
      std::fill_n(&object_num_[l * canvas_.shape.pixels() + first], area.shape.cols, Complex128{});
    }
    std::fill_n(&object_den_[first], area.shape.cols, 0.0);
  }
  ClearSums(/*object=*/false, options.update_probe);
  while (!batch.empty()) {
    const auto count = std::min(batch.size(), static_cast<std::size_t>(frames_per_chunk_));
    const std::span<const int> chunk = batch.first(count);
    pool_.ParallelFor(std::ssize(chunk), [&](std::int64_t k, int worker) {
      make_waves(chunk[k], workspace(worker), chunk_waves_of(static_cast<int>(k)));
    });
    if (options.update_object) AddChunkToObjectSums(chunk, area);
    if (options.update_probe) AddChunkToProbeSums(chunk);
    batch = batch.subspan(count);
  }
}

template <typename Real>
void CpuBackend<Real>::AddChunkToObjectSums(std::span<const int> chunk, const Region& area) {
  const Shape frame = config_.frame_shape;
  auto* const sums = reinterpret_cast<double*>(object_num_.data());
  pool_.ParallelFor(BandCount(area.shape.rows), [&](std::int64_t index, int) {
    const RowBand band = BandOf(index, area.row, area.shape.rows);
    std::vector<Complex> scratch(frame.cols);
    for (std::size_t k = 0; k < chunk.size(); ++k) {
      const PointWindow& point = points_[chunk[k]];
      const ModeWaves waves = chunk_waves_of(static_cast<int>(k));
      const auto intensity_row = [&](int y, Real* out) {
        IntensityRow(point, y, scratch.data(), out);
      };
      const int row = point.row - canvas_.row, col = point.col - canvas_.col;
      for (int l = 0; l < object_modes(); ++l) {
        const auto product_row = [&](int y, Real* out) {
          ProductRow(point, l, y, {waves.data, waves.stride}, scratch.data(),
                     reinterpret_cast<Complex*>(out));
        };
        AddAdjointWindow<2, Real>(point, frame, row, col, band, product_row,
                                  sums + 2 * l * canvas_.shape.pixels(), canvas_.shape.cols);
      }
      AddAdjointWindow<1, Real>(point, frame, row, col, band, intensity_row, object_den_.data(),
                                canvas_.shape.cols);
    }
  });
}

template <typename Real>
void CpuBackend<Real>::AddChunkToProbeSums(std::span<const int> chunk) {
  const Shape frame = config_.frame_shape;
  pool_.ParallelFor(BandCount(frame.rows), [&](std::int64_t index, int) {
    const RowBand band = BandOf(index, 0, frame.rows);
    std::vector<Complex> window(frame.cols);
    for (std::size_t k = 0; k < chunk.size(); ++k) {
      const PointWindow& point = points_[chunk[k]];
      const ModeWaves waves = chunk_waves_of(static_cast<int>(k));
      for (int l = 0; l < object_modes(); ++l) {
        const Complex* upper =
            WindowCorner(point, l) + std::int64_t{band.begin} * canvas_.shape.cols;
        for (int y = band.begin; y < band.end; ++y, upper += canvas_.shape.cols) {
          InterpolateRow(upper, upper + canvas_.shape.cols, point, frame.cols, window.data());
          const std::int64_t first = std::int64_t{y} * frame.cols;
          for (int mode = 0; mode < modes(); ++mode) {
            const Complex* const w = waves[WaveOf(l, mode)] + first;
            Complex128* const sums = &probe_num_[mode * frame_pixels_ + first];
            for (int x = 0; x < frame.cols; ++x) sums[x] += Complex128(std::conj(window[x]) * w[x]);
          }
          double* const weights = &probe_den_[first];
          for (int x = 0; x < frame.cols; ++x) weights[x] += double(std::norm(window[x]));
        }
      }
    }
  });
}

template <typename Real>
IterationMetrics CpuBackend<Real>::MeasureSample() {
  MeasureFit(fit_stride());
  IterationMetrics metrics;
  metrics.r_factor = RFactor(fit_stride());
  metrics.fourier_error = FourierError(fit_stride());
  return metrics;
}

template <typename Real>
void CpuBackend<Real>::EndBatches(const IterationOptions& options, IterationMetrics& metrics) {
  if (options.update_object) {
    SumCoverage();  // Tells which pixels are covered.
    const auto limits = MakeObjectLimits<Real>(options.amplitude_limits, options.phase_limits);
    Change change;
    for (std::int64_t i = 0; i < object_pixels(); ++i) {
      if (object_den_[i % canvas_.shape.pixels()] == 0) continue;
      Real re = object_[i].real();
      Real im = object_[i].imag();
      ApplyLimits(limits, re, im);
      object_[i] = Complex(re, im);
      change.difference += std::norm(Complex128(object_[i]) - Complex128(other_object_[i]));
      change.norm += std::norm(Complex128(object_[i]));
    }
    metrics.object_change = change.Relative();
  }
  if (options.update_probe) {
    Change change;
    for (std::int64_t i = 0; i < probe_pixels_; ++i) {
      change.difference += std::norm(Complex128(probe_[i]) - Complex128(other_probe_[i]));
      change.norm += std::norm(Complex128(probe_[i]));
    }
    metrics.probe_change = change.Relative();
  }
}

#define PS_INSTANTIATE_(Real)                                                            \
  template Region CpuBackend<Real>::BatchArea(std::span<const int>) const;               \
  template void CpuBackend<Real>::ForEachPixelIn(const Region&,                          \
                                                 absl::FunctionRef<void(std::int64_t)>); \
  template void CpuBackend<Real>::SumBatch(std::span<const int>, const Region&,          \
                                           const IterationOptions&, BatchWaves);         \
  template IterationMetrics CpuBackend<Real>::MeasureSample();                           \
  template void CpuBackend<Real>::EndBatches(const IterationOptions&, IterationMetrics&);
PS_INSTANTIATE_(float)
PS_INSTANTIATE_(double)
#undef PS_INSTANTIATE_

}  // namespace ptychoserve
