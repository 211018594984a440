#include "engine/algorithms/epie.h"

#include <algorithm>
#include <cstdint>

#include "engine/algorithms/update.h"
#include "engine/backend/cpu/cpu_backend.h"
#include "engine/backend/cpu/forward_model.h"

namespace ptychoserve {

// Sequential by definition: each point sees what the ones before it have changed.
template <typename Real>
IterationMetrics CpuBackend<Real>::Epie(const EpieConfig& config, const IterationOptions& options) {
  const std::int64_t object_pixels = canvas_.shape.pixels();
  SumCoverage();  // Tells which pixels are covered.
  std::copy_n(object_.data(), object_pixels, other_object_.data());
  std::copy_n(probe_.data(), frame_pixels_, other_probe_.data());
  for (int i = 0; i < point_count(); ++i) {
    errors_[i] = EpieStep(points_[i], config, options, workspace(0));
  }
  IterationMetrics metrics;
  metrics.r_factor = RFactor(fit_stride());
  metrics.fourier_error = FourierError(fit_stride());

  if (options.update_object) {
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
    for (std::int64_t i = 0; i < frame_pixels_; ++i) {
      change.difference += std::norm(Complex128(probe_[i]) - Complex128(other_probe_[i]));
      change.norm += std::norm(Complex128(probe_[i]));
    }
    metrics.probe_change = change.Relative();
  }
  return metrics;
}

template <typename Real>
auto CpuBackend<Real>::EpieStep(const PointWindow& point, const EpieConfig& config,
                                const IterationOptions& options, Workspace work) -> FrameErrors {
  const Shape frame = config_.frame_shape;
  const std::int64_t stride = canvas_.shape.cols;
  Complex* const window = work.first;
  Complex* const correction = work.second;
  Complex* const corner = &object_[WindowCorner(point) - object_.data()];
  LoadCounts(point.slot, work.counts);

  Real max_window = 0;
  Real max_probe = 0;
  for (int y = 0; y < frame.rows; ++y) {
    const Complex* const upper = corner + y * stride;
    InterpolateRow<Real>(upper, upper + stride, point, frame.cols,
                         window + std::int64_t{y} * frame.cols);
  }
  for (std::int64_t i = 0; i < frame_pixels_; ++i) {
    correction[i] = window[i] * probe_[i];
    max_window = std::max(max_window, std::norm(window[i]));
    max_probe = std::max(max_probe, std::norm(probe_[i]));
  }
  fft_.Forward(correction);
  const FrameErrors errors = AmplitudeErrors(correction, work.counts);
  for (std::int64_t i = 0; i < frame_pixels_; ++i) {
    correction[i] *= ModulusCorrectionFactor(work.counts[i], Amplitude(correction[i]));
  }
  fft_.Inverse(correction);

  if (options.update_object && max_probe > 0) {
    const Real step = static_cast<Real>(config.object_step) / max_probe;
    const auto fy = static_cast<Real>(point.frac_row);
    const auto fx = static_cast<Real>(point.frac_col);
    for (int y = 0; y < frame.rows; ++y) {
      Complex* const upper = corner + y * stride;
      Complex* const lower = upper + stride;
      const std::int64_t first = std::int64_t{y} * frame.cols;
      for (int x = 0; x < frame.cols; ++x) {
        const Complex change = step * std::conj(probe_[first + x]) * correction[first + x];
        upper[x] += (1 - fy) * (1 - fx) * change;
        upper[x + 1] += (1 - fy) * fx * change;
        lower[x] += fy * (1 - fx) * change;
        lower[x + 1] += fy * fx * change;
      }
    }
  }
  if (options.update_probe && max_window > 0) {
    const Real step = static_cast<Real>(config.probe_step) / max_window;
    for (std::int64_t i = 0; i < frame_pixels_; ++i) {
      probe_[i] += step * std::conj(window[i]) * correction[i];
    }
  }
  return errors;
}

template IterationMetrics CpuBackend<float>::Epie(const EpieConfig&, const IterationOptions&);
template IterationMetrics CpuBackend<double>::Epie(const EpieConfig&, const IterationOptions&);

}  // namespace ptychoserve
