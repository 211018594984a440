#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

#include "engine/algorithms/measurement.h"
#include "engine/backend/cpu/cpu_backend.h"
#include "engine/backend/cpu/lane_sums.h"

// How well object and probe explain the data.

namespace ptychoserve {
namespace {

// Keeps the logarithm finite where the model is dark.
constexpr double kDarkCounts = 1e-6;

// Poisson negative log-likelihood of `counts` above its smallest possible value.
double PoissonExcess(double counts, double intensity) {
  const double model = intensity + kDarkCounts;
  const double fit = counts > 0 ? counts * std::log(counts / model) : 0;
  return model - counts + fit;
}

}  // namespace

template <typename Real>
auto CpuBackend<Real>::AmplitudeErrors(const Real* intensity, const Real* counts) const
    -> FrameErrors {
  const auto [absolute, squared] =
      LaneSums<2, Real>(frame_pixels_, [&](std::int64_t i) -> std::array<Real, 2> {
        const Real error = AmplitudeError(counts[i], std::sqrt(intensity[i]));
        return {error, error * error};
      });
  FrameErrors errors;
  errors.absolute = absolute;
  errors.squared = squared;
  return errors;
}

template <typename Real>
void CpuBackend<Real>::MeasureFit(int stride) {
  const int count = (point_count() + stride - 1) / stride;
  pool_.ParallelFor(count, [&](std::int64_t index, int worker) {
    const std::int64_t i = index * stride;
    const Workspace work = workspace(worker);
    LoadCounts(points_[i].slot, work.counts);
    ModelWaves(points_[i], work.first);
    Transform(points_[i], work.first, work.intensity);
    errors_[i] = AmplitudeErrors(work.intensity, work.counts);
  });
}

template <typename Real>
double CpuBackend<Real>::RFactor(int stride) const {
  double errors = 0;
  double amplitudes = 0;
  for (int i = 0; i < point_count(); i += stride) {
    errors += errors_[i].absolute;
    amplitudes += slots_[points_[i].slot].sum_amplitude;
  }
  return amplitudes > 0 ? errors / amplitudes : 0;
}

// Frames without a count have no relative error and are left out.
template <typename Real>
double CpuBackend<Real>::FourierError(int stride) const {
  double sum = 0;
  int frames = 0;
  for (int i = 0; i < point_count(); i += stride) {
    const double counts = slots_[points_[i].slot].sum_counts;
    if (counts <= 0) continue;
    sum += errors_[i].squared / counts;
    ++frames;
  }
  return frames > 0 ? std::sqrt(sum / frames) : 0;
}

template <typename Real>
absl::StatusOr<FitMetrics> CpuBackend<Real>::Evaluate() {
  struct FrameFit {
    double poisson = 0;
    std::int64_t trusted = 0;
    std::int64_t nonzero = 0;
  };
  std::vector<FrameFit> fits(points_.size());
  pool_.ParallelFor(point_count(), [&](std::int64_t index, int worker) {
    const Workspace work = workspace(worker);
    LoadCounts(points_[index].slot, work.counts);
    ModelWaves(points_[index], work.first);
    Transform(points_[index], work.first, work.intensity);
    errors_[index] = AmplitudeErrors(work.intensity, work.counts);
    FrameFit fit;
    for (std::int64_t i = 0; i < frame_pixels_; ++i) {
      if (!IsTrusted(work.counts[i])) continue;
      fit.poisson += PoissonExcess(work.counts[i], work.intensity[i]);
      fit.trusted += 1;
      fit.nonzero += work.counts[i] > 0 ? 1 : 0;
    }
    fits[index] = fit;
  });

  FrameFit total;
  double squared = 0;
  for (int i = 0; i < point_count(); ++i) {
    total.poisson += fits[i].poisson;
    total.trusted += fits[i].trusted;
    total.nonzero += fits[i].nonzero;
    squared += errors_[i].squared;
  }
  FitMetrics metrics;
  metrics.r_factor = RFactor(/*stride=*/1);
  metrics.fourier_error = FourierError(/*stride=*/1);
  if (total.trusted > 0) metrics.gaussian = squared / static_cast<double>(total.trusted);
  if (total.nonzero > 0) {
    metrics.poisson_nll = total.poisson / (0.5 * static_cast<double>(total.nonzero));
  }
  return metrics;
}

#define PS_INSTANTIATE_(Real)                                                                   \
  template auto CpuBackend<Real>::AmplitudeErrors(const Real*, const Real*) const->FrameErrors; \
  template void CpuBackend<Real>::MeasureFit(int);                                              \
  template double CpuBackend<Real>::RFactor(int) const;                                         \
  template double CpuBackend<Real>::FourierError(int) const;                                    \
  template absl::StatusOr<FitMetrics> CpuBackend<Real>::Evaluate();
PS_INSTANTIATE_(float)
PS_INSTANTIATE_(double)
#undef PS_INSTANTIATE_

}  // namespace ptychoserve
