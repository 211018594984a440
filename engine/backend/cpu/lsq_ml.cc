#include "engine/algorithms/lsq_ml.h"

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/algorithms/ml_gradient.h"
#include "engine/algorithms/momentum.h"
#include "engine/algorithms/update.h"
#include "engine/backend/cpu/cpu_backend.h"
#include "engine/backend/cpu/forward_model.h"
#include "engine/backend/point_batches.h"

namespace ptychoserve {
namespace {

// Re(conj(a) b)
double Along(const std::complex<double>& a, const std::complex<double>& b) {
  return a.real() * b.real() + a.imag() * b.imag();
}

}  // namespace

template <typename Real>
IterationMetrics CpuBackend<Real>::LsqMl(const LsqMlConfig& config,
                                         const IterationOptions& options) {
  IterationMetrics metrics = MeasureSample();
  const bool accelerated = config.momentum > 0;
  if (accelerated) EnsureVelocities();
  const Real factor =
      accelerated ? static_cast<Real>(MomentumFactor(config.momentum, (*momentum_iterations_)++))
                  : Real(0);
  BeginMove(factor, options.update_object, object_pixels(), object_.data(), other_object_.data());
  BeginMove(factor, options.update_probe, probe_pixels_, probe_.data(), other_probe_.data());

  const PointBatches batches = MakeBatches(*BatchRuleOf(config), points_, config_.frame_shape);
  for (int b = 0; b < batches.count(); ++b) {
    metrics.step += LsqBatch(batches.Batch(b), config, options) / batches.count();
  }

  EndBatches(options, metrics);
  if (accelerated) {
    EndMove(object_pixels(), object_.data(), other_object_.data());
    EndMove(probe_pixels_, probe_.data(), other_probe_.data());
  }
  return metrics;
}

template <typename Real>
void CpuBackend<Real>::BeginMove(Real factor, bool moves, std::int64_t count, Complex* values,
                                 Complex* velocities) {
  for (std::int64_t i = 0; i < count; ++i) {
    const Complex start = values[i];
    if (moves && factor != 0) values[i] = start + factor * velocities[i];
    velocities[i] = start;
  }
}

template <typename Real>
void CpuBackend<Real>::EndMove(std::int64_t count, const Complex* values, Complex* starts) {
  for (std::int64_t i = 0; i < count; ++i) starts[i] = values[i] - starts[i];
}

template <typename Real>
double CpuBackend<Real>::LsqBatch(std::span<const int> batch, const LsqMlConfig& config,
                                  const IterationOptions& options) {
  const Region area = BatchArea(batch);
  const MlGradientConfig gradient = GradientOf(config);
  SumBatch(batch, area, options, [&](int i, Workspace work, ModeWaves waves) {
    errors_[i] = LikelihoodGradient(points_[i], gradient, work, waves);
  });
  double numerator = 0, denominator = 0;
  for (const int i : batch) {
    numerator += errors_[i].step_numerator;
    denominator += errors_[i].step_denominator;
  }
  const double newton =
      NewtonStep(gradient, numerator, denominator, /*updates_object_and_probe=*/false);

  StepSums sums;
  if (options.update_object) MakeObjectDirection(config.regularisation, area, sums);
  if (options.update_probe) MakeProbeDirection(config.regularisation, sums);
  if (options.update_object) AddDirectionProducts(batch, options.update_probe, sums);
  const LsqSteps steps = SolveSteps(sums);
  if (options.update_object) {
    const double step = config.object_step.value_or(kCautiousStep) * newton * steps.object;
    ForEachPixelIn(area, [&](std::int64_t i) {
      for (std::int64_t k = i; k < object_pixels(); k += canvas_.shape.pixels()) {
        object_[k] += Complex(step * object_num_[k]);
      }
    });
  }
  if (options.update_probe) {
    const double step = config.probe_step.value_or(kCautiousStep) * newton * steps.probe;
    for (std::int64_t i = 0; i < probe_pixels_; ++i) probe_[i] += Complex(step * probe_num_[i]);
  }
  return steps.object;
}

template <typename Real>
void CpuBackend<Real>::MakeObjectDirection(const Regularisation& regularisation, const Region& area,
                                           StepSums& sums) {
  double largest = 0;
  for (int y = area.row; y < area.row + area.shape.rows; ++y) {
    const double* const row = &object_den_[std::int64_t{y} * canvas_.shape.cols + area.col];
    largest = std::max(largest, *std::max_element(row, row + area.shape.cols));
  }
  const double delta = MakeRegulariser(regularisation, largest).delta;
  for (std::int64_t plane = 0; plane < object_pixels(); plane += canvas_.shape.pixels()) {
    for (int y = area.row; y < area.row + area.shape.rows; ++y) {
      const std::int64_t first = std::int64_t{y} * canvas_.shape.cols + area.col;
      for (std::int64_t i = first; i < first + area.shape.cols; ++i) {
        sums.object_gain += ToDirection(object_num_[plane + i], object_den_[i], delta);
      }
    }
  }
}

template <typename Real>
void CpuBackend<Real>::MakeProbeDirection(const Regularisation& regularisation, StepSums& sums) {
  const double delta = MakeRegulariser(regularisation, MaxProbeDenominator()).delta;
  for (std::int64_t i = 0; i < probe_pixels_; ++i) {
    const double weight = probe_den_[i % frame_pixels_];
    sums.probe_gain += ToDirection(probe_num_[i], weight, delta);
    sums.probe_norm += std::norm(probe_num_[i]) * weight;
  }
}

template <typename Real>
double CpuBackend<Real>::ToDirection(Complex128& sum, double weight, double delta) {
  const Complex128 direction{SteppedValue(0.0, sum.real(), weight, delta, 1.0),
                             SteppedValue(0.0, sum.imag(), weight, delta, 1.0)};
  const double gain = Along(direction, sum);
  sum = direction;
  return gain;
}

template <typename Real>
void CpuBackend<Real>::AddDirectionProducts(std::span<const int> batch, bool with_probe,
                                            StepSums& sums) {
  // Σ_m |P_m|² and Σ_m conj(P_m) ΔP_m: all that the modes of the probe have to do with it.
  std::vector<double> light(static_cast<std::size_t>(frame_pixels_));
  std::vector<Complex128> coupling(static_cast<std::size_t>(frame_pixels_));
  for (std::int64_t i = 0; i < probe_pixels_; ++i) {
    const auto pixel = static_cast<std::size_t>(i % frame_pixels_);
    const Complex128 probe(probe_[i]);
    light[pixel] += std::norm(probe);
    if (with_probe) coupling[pixel] += std::conj(probe) * probe_num_[i];
  }
  const int rows = config_.frame_shape.rows, cols = config_.frame_shape.cols;
  std::vector<StepSums> products(batch.size());
  pool_.ParallelFor(std::ssize(batch), [&](std::int64_t k, int) {
    const PointWindow& point = points_[batch[k]];
    std::vector<Complex> window(static_cast<std::size_t>(cols));
    std::vector<Complex128> moved(static_cast<std::size_t>(cols));
    StepSums& own = products[static_cast<std::size_t>(k)];
    for (int l = 0; l < object_modes(); ++l) {
      const Complex* const object = WindowCorner(point, l);
      const Complex128* const direction = &object_num_[object - object_.data()];
      for (int y = 0; y < rows; ++y) {
        const std::int64_t row = std::int64_t{y} * canvas_.shape.cols;
        InterpolateRow(object + row, object + row + canvas_.shape.cols, point, cols, window.data());
        InterpolateRow(direction + row, direction + row + canvas_.shape.cols, point, cols,
                       moved.data());
        for (int x = 0; x < cols; ++x) {
          const std::size_t pixel = static_cast<std::size_t>(y) * cols + x;
          own.object_norm += light[pixel] * std::norm(moved[x]);
          own.overlap += Along(moved[x], Complex128(window[x]) * coupling[pixel]);
        }
      }
    }
  });
  for (const StepSums& own : products) {
    sums.object_norm += own.object_norm;
    sums.overlap += own.overlap;
  }
}

template IterationMetrics CpuBackend<float>::LsqMl(const LsqMlConfig&, const IterationOptions&);
template IterationMetrics CpuBackend<double>::LsqMl(const LsqMlConfig&, const IterationOptions&);

}  // namespace ptychoserve
