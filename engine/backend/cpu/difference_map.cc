#include "engine/algorithms/difference_map.h"

#include <array>
#include <cstdint>

#include "engine/algorithms/update.h"
#include "engine/backend/cpu/cpu_backend.h"
#include "engine/backend/cpu/forward_model.h"
#include "engine/backend/cpu/lane_sums.h"

namespace ptychoserve {

template <typename Real>
IterationMetrics CpuBackend<Real>::DifferenceMap(const DifferenceMapConfig& config,
                                                 const IterationOptions& options) {
  MeasureFit(fit_stride());
  IterationMetrics metrics;
  metrics.r_factor = RFactor(fit_stride());
  metrics.fourier_error = FourierError(fit_stride());
  pool_.ParallelFor(point_count(), [&](std::int64_t i, int worker) {
    UpdateExitWave(points_[i], config, workspace(worker));
  });

  const auto wave_of = [&](int i) -> const Complex* { return exit_wave_data(points_[i].slot); };
  const auto rule = [&](double max_denominator) {
    return UpdateRule{MakeRegulariser(config.regularisation, max_denominator), std::nullopt};
  };
  ClearSums(options.update_object, options.update_probe);
  if (options.update_object) {
    SumCoverage();
    AddToObjectSums(0, point_count(), wave_of);
    metrics.object_change = UpdateObject(rule(MaxObjectDenominator()), options).Relative();
  }
  if (options.update_probe) {  // With the new object.
    const int stride = ProbeSampleStride(point_count());
    AddToProbeSums(0, point_count(), {stride, stride}, wave_of);
    metrics.probe_change = UpdateProbe(rule(MaxProbeDenominator())).Relative();
  }
  return metrics;
}

template <typename Real>
void CpuBackend<Real>::UpdateExitWave(const PointWindow& point, const DifferenceMapConfig& config,
                                      Workspace work) {
  const auto beta = static_cast<Real>(config.beta);
  Complex* const model = work.first;
  Complex* const trial = work.second;
  Complex* const wave = exit_wave_data(point.slot);
  LoadCounts(point.slot, work.counts);
  ModelWave(point, model);
  for (std::int64_t i = 0; i < frame_pixels_; ++i) {
    trial[i] = Real(2) * model[i] - wave[i];
    wave[i] -= beta * model[i];
  }

  fft_.Forward(trial);
  Slot& slot = slots_[point.slot];
  const auto kept = static_cast<Real>(slot.kept_deviation);
  const auto [squared] =
      LaneSums<1, Real>(frame_pixels_, [&](std::int64_t i) -> std::array<Real, 1> {
        const Real amplitude = Amplitude(trial[i]);
        const Real error = AmplitudeError(work.counts[i], amplitude);
        trial[i] *= RelaxedModulusFactor(work.counts[i], amplitude, kept);
        return {error * error};
      });
  const double power = squared / static_cast<double>(frame_pixels_);
  const double sigma2 = config.sigma2.value_or(config.relaxation * slot.shot_noise);
  slot.kept_deviation = KeptDeviation(power, sigma2);
  fft_.Inverse(trial);
  for (std::int64_t i = 0; i < frame_pixels_; ++i) wave[i] += beta * trial[i];
}

template IterationMetrics CpuBackend<float>::DifferenceMap(const DifferenceMapConfig&,
                                                           const IterationOptions&);
template IterationMetrics CpuBackend<double>::DifferenceMap(const DifferenceMapConfig&,
                                                            const IterationOptions&);

}  // namespace ptychoserve
