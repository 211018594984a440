#include <array>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <span>
#include <vector>

#include "engine/algorithms/measurement.h"
#include "engine/backend/cpu/cpu_backend.h"
#include "engine/backend/cpu/lane_sums.h"
#include "engine/backend/input_checks.h"
#include "engine/base/status_macros.h"

// How well object and probe explain the data.

namespace ptychoserve {
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
FrameFit CpuBackend<Real>::FitOfFrame(const Real* intensity, const Real* counts) const {
  FrameFit fit;
  for (std::int64_t i = 0; i < frame_pixels_; ++i) {
    if (!IsTrusted(counts[i])) continue;
    const double measured = counts[i], expected = intensity[i];
    const double error = AmplitudeError(measured, std::sqrt(expected));
    fit.abs_deviation += error;
    fit.amplitude += std::sqrt(measured);
    fit.squared_deviation += error * error;
    fit.counts += measured;
    fit.trusted += 1;
    fit.non_zero += measured > 0 ? 1 : 0;
    fit.excess += PoissonExcess(measured, expected);
  }
  return fit;
}

template <typename Real>
absl::StatusOr<std::vector<FrameFit>> CpuBackend<Real>::Evaluate(
    std::span<const PointWindow> points) {
  PS_RETURN_IF_ERROR(CheckToEvaluate(points, config_, canvas_));
  for (const PointWindow& point : points) PS_RETURN_IF_ERROR(CheckLoaded(point.slot));
  std::vector<FrameFit> fits(points.size());
  pool_.ParallelFor(std::ssize(points), [&](std::int64_t index, int worker) {
    const auto j = static_cast<std::size_t>(index);
    const Workspace work = workspace(worker);
    LoadCounts(points[j].slot, work.counts);
    ModelWaves(points[j], work.first);
    Transform(points[j], work.first, work.intensity);
    fits[j] = FitOfFrame(work.intensity, work.counts);
  });
  return fits;
}

#define PS_INSTANTIATE_(Real)                                                                   \
  template auto CpuBackend<Real>::AmplitudeErrors(const Real*, const Real*) const->FrameErrors; \
  template void CpuBackend<Real>::MeasureFit(int);                                              \
  template double CpuBackend<Real>::RFactor(int) const;                                         \
  template double CpuBackend<Real>::FourierError(int) const;                                    \
  template FrameFit CpuBackend<Real>::FitOfFrame(const Real*, const Real*) const;               \
  template absl::StatusOr<std::vector<FrameFit>> CpuBackend<Real>::Evaluate(                    \
      std::span<const PointWindow>);
PS_INSTANTIATE_(float)
PS_INSTANTIATE_(double)
#undef PS_INSTANTIATE_

}  // namespace ptychoserve
