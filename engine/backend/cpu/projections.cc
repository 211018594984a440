#include "engine/algorithms/projections.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

#include "engine/algorithms/update.h"
#include "engine/backend/cpu/cpu_backend.h"
#include "engine/backend/cpu/lane_sums.h"

namespace ptychoserve {

template <typename Real>
IterationMetrics CpuBackend<Real>::Project(const Projection& projection,
                                           const IterationOptions& options) {
  MeasureFit(fit_stride());
  IterationMetrics metrics;
  metrics.r_factor = RFactor(fit_stride());
  metrics.fourier_error = FourierError(fit_stride());
  pool_.ParallelFor(point_count(), [&](std::int64_t i, int worker) {
    UpdateExitWave(points_[i], projection, workspace(worker));
  });

  const auto waves_of = [&](int i) -> ConstModeWaves {
    return {&exit_waves_[points_[i].slot * wave_pixels_], frame_pixels_};
  };
  const auto rule = [&](double max_denominator) {
    return UpdateRule{MakeRegulariser(projection.regularisation, max_denominator), std::nullopt};
  };
  ClearSums(options.update_object, options.update_probe);
  if (options.update_object) {
    SumCoverage();
    AddToObjectSums(0, point_count(), waves_of);
    metrics.object_change = UpdateObject(rule(MaxObjectDenominator()), options, nullptr).Relative();
  }
  if (options.update_probe) {  // With the new object.
    const int stride = ProbeSampleStride(point_count());
    AddToProbeSums(0, point_count(), {stride, stride}, /*exit_waves=*/true, waves_of);
    metrics.probe_change = UpdateProbe(rule(MaxProbeDenominator()), nullptr).Relative();
  }
  return metrics;
}

template <typename Real>
void CpuBackend<Real>::UpdateExitWave(const PointWindow& point, const Projection& projection,
                                      Workspace work) {
  const ProjectionUpdate& update = projection.update;
  const auto modulus = static_cast<Real>(update.modulus);
  const auto trial_weight = static_cast<Real>(update.trial);
  const auto model_weight = static_cast<Real>(update.model);
  const ModeWaves models = work.first;
  const ModeWaves trials = work.second;
  const ModeWaves waves = exit_waves_of(point.slot);
  LoadCounts(point.slot, work.counts);
  ModelWaves(point, models);
  for (int e = 0; e < wave_count(); ++e) {
    const Complex* const model = models[e];
    Complex* const trial = trials[e];
    if (update.reflects) {
      const Complex* const wave = waves[e];
      for (std::int64_t i = 0; i < frame_pixels_; ++i) trial[i] = Real(2) * model[i] - wave[i];
    } else {
      std::copy_n(model, frame_pixels_, trial);
    }
  }

  Transform(point, trials, work.intensity);
  Slot& slot = slots_[point.slot];
  const auto kept = static_cast<Real>(slot.kept_deviation);
  Real* const factors = work.intensity;  // In place.
  const auto [squared] =
      LaneSums<1, Real>(frame_pixels_, [&](std::int64_t i) -> std::array<Real, 1> {
        const Real amplitude = std::sqrt(work.intensity[i]);
        const Real error = AmplitudeError(work.counts[i], amplitude);
        factors[i] = modulus * RelaxedModulusFactor(work.counts[i], amplitude, kept) + trial_weight;
        return {error * error};
      });
  const double power = squared / static_cast<double>(frame_pixels_);
  const double sigma2 = projection.sigma2.value_or(projection.relaxation * slot.shot_noise);
  slot.kept_deviation = KeptDeviation(power, sigma2);
  ScaleAndTransformBack(factors, trials);
  for (int e = 0; e < wave_count(); ++e) {
    const Complex* const model = models[e];
    const Complex* const trial = trials[e];
    Complex* const wave = waves[e];
    for (std::int64_t i = 0; i < frame_pixels_; ++i) wave[i] = model_weight * model[i] + trial[i];
  }
}

template IterationMetrics CpuBackend<float>::Project(const Projection&, const IterationOptions&);
template IterationMetrics CpuBackend<double>::Project(const Projection&, const IterationOptions&);

}  // namespace ptychoserve
