#include "engine/algorithms/epie.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/algorithms/rpie.h"
#include "engine/backend/cpu/cpu_backend.h"
#include "engine/backend/point_batches.h"

namespace ptychoserve {

template <typename Real>
IterationMetrics CpuBackend<Real>::Epie(const EpieConfig& config, const IterationOptions& options) {
  IterationMetrics metrics = MeasureSample();
  std::copy_n(object_.data(), object_pixels(), other_object_.data());
  std::copy_n(probe_.data(), probe_pixels_, other_probe_.data());
  const PointBatches batches = MakeBatches(*BatchRuleOf(config), points_, config_.frame_shape);
  for (int b = 0; b < batches.count(); ++b) EpieBatch(batches.Batch(b), config, options);
  EndBatches(options, metrics);
  return metrics;
}

template <typename Real>
void CpuBackend<Real>::EpieBatch(std::span<const int> batch, const EpieConfig& config,
                                 const IterationOptions& options) {
  const Region area = BatchArea(batch);
  SumBatch(batch, area, options, [&](int i, Workspace work, ModeWaves corrections) {
    EpieCorrection(points_[i], work, corrections);
  });
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

template <typename Real>
void CpuBackend<Real>::MoveEpieObject(const EpieConfig& config, const Region& area) {
  double largest = 0;
  std::vector<Real> intensity(config_.frame_shape.cols);
  for (int y = 0; y < config_.frame_shape.rows; ++y) {
    IntensityRow(/*point=*/{}, y, /*scratch=*/nullptr, intensity.data());  // Of the mean probe.
    for (const Real value : intensity) largest = std::max(largest, double(value));
  }
  ForEachPixelIn(area, [&](std::int64_t i) {
    const double step = BatchStep(config.object_step, largest, object_den_[i], config.object_alpha);
    for (std::int64_t k = i; k < object_pixels(); k += canvas_.shape.pixels()) {
      object_[k] += Complex(step * object_num_[k]);
    }
  });
}

template IterationMetrics CpuBackend<float>::Epie(const EpieConfig&, const IterationOptions&);
template IterationMetrics CpuBackend<double>::Epie(const EpieConfig&, const IterationOptions&);

}  // namespace ptychoserve
