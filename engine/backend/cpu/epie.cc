#include "engine/algorithms/epie.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/algorithms/rpie.h"
#include "engine/algorithms/update.h"
#include "engine/backend/cpu/cpu_backend.h"
#include "engine/backend/cpu/forward_model.h"
#include "engine/backend/pie_batches.h"

namespace ptychoserve {
namespace {

constexpr int kRowsPerBand = 16;

int BandCount(int rows) { return (rows + kRowsPerBand - 1) / kRowsPerBand; }

RowBand BandOf(std::int64_t index, int first, int rows) {
  const int begin = static_cast<int>(index) * kRowsPerBand;
  return {first + begin, first + std::min(begin + kRowsPerBand, rows)};
}

}  // namespace

template <typename Real>
IterationMetrics CpuBackend<Real>::Epie(const EpieConfig& config, const IterationOptions& options) {
  MeasureFit(fit_stride());
  IterationMetrics metrics;
  metrics.r_factor = RFactor(fit_stride());
  metrics.fourier_error = FourierError(fit_stride());

  const std::int64_t object_pixels = canvas_.shape.pixels();
  std::copy_n(object_.data(), object_pixels, other_object_.data());
  std::copy_n(probe_.data(), probe_pixels_, other_probe_.data());
  const PieBatches batches = MakePieBatches(points_, config_.frame_shape, config.max_batch);
  for (int b = 0; b < batches.count(); ++b) EpieBatch(batches.Batch(b), config, options);

  if (options.update_object) {
    SumCoverage();  // Tells which pixels are covered.
    const auto limits = MakeObjectLimits<Real>(options.amplitude_limits, options.phase_limits);
    Change change;
    for (std::int64_t i = 0; i < object_pixels; ++i) {
      if (object_den_[i] == 0) continue;
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
  return metrics;
}

// All points see object and probe as they are before the batch, so nothing moves before all sums
// are there.
template <typename Real>
void CpuBackend<Real>::EpieBatch(std::span<const int> batch, const EpieConfig& config,
                                 const IterationOptions& options) {
  const Region area = EpieArea(batch);
  for (int y = area.row; options.update_object && y < area.row + area.shape.rows; ++y) {
    const std::int64_t first = std::int64_t{y} * canvas_.shape.cols + area.col;
    std::fill_n(&object_num_[first], area.shape.cols, Complex128{});
    std::fill_n(&object_den_[first], area.shape.cols, 0.0);
  }
  ClearSums(/*object=*/false, options.update_probe);
  while (!batch.empty()) {
    const auto count = std::min(batch.size(), static_cast<std::size_t>(frames_per_chunk_));
    const std::span<const int> chunk = batch.first(count);
    pool_.ParallelFor(std::ssize(chunk), [&](std::int64_t k, int worker) {
      EpieCorrection(points_[chunk[k]], workspace(worker), chunk_waves_of(static_cast<int>(k)));
    });
    if (options.update_object) AddToEpieObjectSums(chunk, area);
    if (options.update_probe) AddToEpieProbeSums(chunk);
    batch = batch.subspan(count);
  }
  if (options.update_object) MoveEpieObject(config, area);
  if (options.update_probe) {
    const double largest = MaxProbeDenominator();
    for (std::int64_t i = 0; i < probe_pixels_; ++i) {
      const double step =
          BatchStep(config.probe_step, largest, probe_den_[i % frame_pixels_], config.probe_alpha);
      probe_[i] += Complex(step * probe_num_[i]);
    }
  }
}

// The part of the canvas that the windows of the batch touch, relative to the canvas.
template <typename Real>
Region CpuBackend<Real>::EpieArea(std::span<const int> batch) const {
  const auto row_of = [&](int i) { return points_[i].row - canvas_.row; };
  const auto col_of = [&](int i) { return points_[i].col - canvas_.col; };
  const auto [top, bottom] = std::ranges::minmax(batch, {}, row_of);
  const auto [left, right] = std::ranges::minmax(batch, {}, col_of);
  return {row_of(top),
          col_of(left),
          {row_of(bottom) - row_of(top) + config_.frame_shape.rows + 1,
           col_of(right) - col_of(left) + config_.frame_shape.cols + 1}};
}

// Δ of one point.
template <typename Real>
void CpuBackend<Real>::EpieCorrection(const PointWindow& point, Workspace work,
                                      ModeWaves corrections) const {
  LoadCounts(point.slot, work.counts);
  ModelWaves(point, corrections);
  Transform(point, corrections, work.intensity);
  Real* const factors = work.intensity;  // In place.
  for (std::int64_t i = 0; i < frame_pixels_; ++i) {
    factors[i] = ModulusCorrectionFactor(work.counts[i], std::sqrt(work.intensity[i]));
  }
  ScaleAndTransformBack(factors, corrections);
}

// Adds Σ P_jm* Δ_m to object_num_ and Σ |P_jm|² to object_den_; the corrections are the chunk's
// waves.
template <typename Real>
void CpuBackend<Real>::AddToEpieObjectSums(std::span<const int> chunk, const Region& area) {
  const Shape frame = config_.frame_shape;
  auto* const sums = reinterpret_cast<double*>(object_num_.data());
  pool_.ParallelFor(BandCount(area.shape.rows), [&](std::int64_t index, int) {
    const RowBand band = BandOf(index, area.row, area.shape.rows);
    std::vector<Complex> scratch(frame.cols);
    for (std::size_t k = 0; k < chunk.size(); ++k) {
      const PointWindow& point = points_[chunk[k]];
      const ModeWaves corrections = chunk_waves_of(static_cast<int>(k));
      const auto product_row = [&](int y, Real* out) {
        ProductRow(point, y, {corrections.data, corrections.stride}, scratch.data(),
                   reinterpret_cast<Complex*>(out));
      };
      const auto intensity_row = [&](int y, Real* out) {
        IntensityRow(point, y, scratch.data(), out);
      };
      const int row = point.row - canvas_.row, col = point.col - canvas_.col;
      AddAdjointWindow<2, Real>(point, frame, row, col, band, product_row, sums,
                                canvas_.shape.cols);
      AddAdjointWindow<1, Real>(point, frame, row, col, band, intensity_row, object_den_.data(),
                                canvas_.shape.cols);
    }
  });
}

// Adds Σ O_j* Δ_m to probe_num_ and Σ |O_j|² to probe_den_.
template <typename Real>
void CpuBackend<Real>::AddToEpieProbeSums(std::span<const int> chunk) {
  const Shape frame = config_.frame_shape;
  pool_.ParallelFor(BandCount(frame.rows), [&](std::int64_t index, int) {
    const RowBand band = BandOf(index, 0, frame.rows);
    std::vector<Complex> window(frame.cols);
    for (std::size_t k = 0; k < chunk.size(); ++k) {
      const PointWindow& point = points_[chunk[k]];
      const ModeWaves corrections = chunk_waves_of(static_cast<int>(k));
      for (int y = band.begin; y < band.end; ++y) {
        const Complex* const upper = WindowCorner(point) + std::int64_t{y} * canvas_.shape.cols;
        InterpolateRow(upper, upper + canvas_.shape.cols, point, frame.cols, window.data());
        const std::int64_t first = std::int64_t{y} * frame.cols;
        for (int mode = 0; mode < modes(); ++mode) {
          const Complex* const d = corrections[mode] + first;
          Complex128* const sums = &probe_num_[mode * frame_pixels_ + first];
          for (int x = 0; x < frame.cols; ++x) sums[x] += Complex128(std::conj(window[x]) * d[x]);
        }
        for (int x = 0; x < frame.cols; ++x) probe_den_[first + x] += double(std::norm(window[x]));
      }
    }
  });
}

template <typename Real>
void CpuBackend<Real>::MoveEpieObject(const EpieConfig& config, const Region& area) {
  double largest = 0;
  std::vector<Real> intensity(config_.frame_shape.cols);
  for (int y = 0; y < config_.frame_shape.rows; ++y) {
    IntensityRow(/*point=*/{}, y, /*scratch=*/nullptr, intensity.data());  // Of the mean probe.
    for (const Real value : intensity) largest = std::max(largest, double(value));
  }
  pool_.ParallelFor(BandCount(area.shape.rows), [&](std::int64_t index, int) {
    const RowBand band = BandOf(index, area.row, area.shape.rows);
    for (int y = band.begin; y < band.end; ++y) {
      const std::int64_t first = std::int64_t{y} * canvas_.shape.cols + area.col;
      for (std::int64_t i = first; i < first + area.shape.cols; ++i) {
        const double step =
            BatchStep(config.object_step, largest, object_den_[i], config.object_alpha);
        object_[i] += Complex(step * object_num_[i]);
      }
    }
  });
}

template IterationMetrics CpuBackend<float>::Epie(const EpieConfig&, const IterationOptions&);
template IterationMetrics CpuBackend<double>::Epie(const EpieConfig&, const IterationOptions&);

}  // namespace ptychoserve
