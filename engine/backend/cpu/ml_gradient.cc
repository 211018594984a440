#include "engine/algorithms/ml_gradient.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "engine/algorithms/momentum.h"
#include "engine/algorithms/update.h"
#include "engine/backend/cpu/cpu_backend.h"
#include "engine/backend/cpu/lane_sums.h"

namespace ptychoserve {

template <typename Real>
IterationMetrics CpuBackend<Real>::MlGradient(const MlGradientConfig& config,
                                              const IterationOptions& options) {
  ClearSums(options.update_object, options.update_probe);
  for (int begin = 0; begin < point_count(); begin += frames_per_chunk_) {
    const int end = std::min(begin + frames_per_chunk_, point_count());
    pool_.ParallelFor(end - begin, [&](std::int64_t i, int worker) {
      errors_[begin + i] = LikelihoodGradient(points_[begin + i], config, workspace(worker),
                                              chunk_waves_of(static_cast<int>(i)));
    });
    const auto waves_of = [&](int i) -> ConstModeWaves {
      const ModeWaves waves = chunk_waves_of(i - begin);
      return {waves.data, waves.stride};
    };
    if (options.update_object) AddToObjectSums(begin, end, waves_of);
    if (options.update_probe) {
      AddToProbeSums(begin, end, {1, fit_stride()}, /*exit_waves=*/false, waves_of);
    }
  }
  IterationMetrics metrics;
  metrics.r_factor = RFactor(fit_stride());
  metrics.fourier_error = FourierError(fit_stride());

  double numerator = 0;
  double denominator = 0;
  for (int i = 0; i < point_count(); ++i) {
    numerator += errors_[i].step_numerator;
    denominator += errors_[i].step_denominator;
  }
  metrics.step =
      NewtonStep(config, numerator, denominator, options.update_object && options.update_probe);

  const bool accelerated = config.momentum > 0;
  const double factor = accelerated ? BeginMomentum(config.momentum, options) : 0.0;
  const auto rule = [&](double max_denominator) {
    return UpdateRule{MakeRegulariser(config.regularisation, max_denominator), metrics.step,
                      factor};
  };
  if (options.update_object) {
    SumCoverage();
    metrics.object_change = UpdateObject(rule(MaxObjectDenominator()), options,
                                         accelerated ? other_object_.data() : nullptr)
                                .Relative();
  }
  if (options.update_probe) {
    // The numerators are those of all points, and so are to be the denominators.
    const double share = SampleShare(point_count(), fit_stride());
    for (std::int64_t i = 0; i < frame_pixels_; ++i) probe_den_[i] /= share;
    metrics.probe_change =
        UpdateProbe(rule(MaxProbeDenominator()), accelerated ? other_probe_.data() : nullptr)
            .Relative();
  }
  return metrics;
}

template <typename Real>
bool CpuBackend<Real>::VelocitiesPointUphill(const IterationOptions& options) const {
  const auto along = [](const Complex128* sums, const Complex* velocities, std::int64_t count) {
    double total = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      total += sums[i].real() * velocities[i].real() + sums[i].imag() * velocities[i].imag();
    }
    return total;
  };
  double total = 0;
  if (options.update_object) {
    total += along(object_num_.data(), other_object_.data(), object_pixels());
  }
  if (options.update_probe) total += along(probe_num_.data(), other_probe_.data(), probe_pixels_);
  return total < 0;
}

template <typename Real>
double CpuBackend<Real>::BeginMomentum(double momentum, const IterationOptions& options) {
  if (momentum_iterations_.has_value() && VelocitiesPointUphill(options)) {
    momentum_iterations_.reset();
  }
  EnsureVelocities();
  return MomentumFactor(momentum, (*momentum_iterations_)++);
}

template <typename Real>
void CpuBackend<Real>::EnsureVelocities() {
  if (momentum_iterations_.has_value()) return;
  std::fill_n(other_object_.data(), object_pixels(), Complex{});
  std::fill_n(other_probe_.data(), probe_pixels_, Complex{});
  momentum_iterations_ = 0;
}

template <typename Real>
auto CpuBackend<Real>::LikelihoodGradient(const PointWindow& point, const MlGradientConfig& config,
                                          Workspace work, ModeWaves gradients) -> FrameErrors {
  const auto epsilon = static_cast<Real>(config.epsilon);
  const auto max_gradient = static_cast<Real>(config.max_gradient);
  const Real* const counts = work.counts;
  LoadCounts(point.slot, work.counts);
  ModelWaves(point, gradients);
  Transform(point, gradients, work.intensity);
  FrameErrors errors = AmplitudeErrors(work.intensity, counts);

  Real* const factors = work.intensity;  // In place.

  const auto scale_by = [&](auto gradient_of) {
    const auto [numerator, denominator] =
        LaneSums<2, Real>(frame_pixels_, [&](std::int64_t i) -> std::array<Real, 2> {
          const GradientTerm<Real> term =
              gradient_of(counts[i], work.intensity[i], epsilon, max_gradient);
          factors[i] = term.gradient;
          return {term.step_numerator, term.step_denominator};
        });
    errors.step_numerator = numerator;
    errors.step_denominator = denominator;
  };
  if (config.likelihood == Likelihood::kPoisson) {
    scale_by([](auto... arguments) { return PoissonGradient<Real>(arguments...); });
  } else {
    scale_by([](auto... arguments) { return GaussianGradient<Real>(arguments...); });
  }
  ScaleAndTransformBack(factors, gradients);
  return errors;
}

#define PS_INSTANTIATE_(Real)                                                                     \
  template IterationMetrics CpuBackend<Real>::MlGradient(const MlGradientConfig&,                 \
                                                         const IterationOptions&);                \
  template auto CpuBackend<Real>::LikelihoodGradient(const PointWindow&, const MlGradientConfig&, \
                                                     Workspace, ModeWaves)                        \
      ->FrameErrors;                                                                              \
  template void CpuBackend<Real>::EnsureVelocities();
PS_INSTANTIATE_(float)
PS_INSTANTIATE_(double)
#undef PS_INSTANTIATE_

}  // namespace ptychoserve
