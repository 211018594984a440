#ifndef PTYCHOSERVE_ENGINE_QUALITY_FRAME_FIT_H_
#define PTYCHOSERVE_ENGINE_QUALITY_FRAME_FIT_H_

#include <cmath>
#include <span>

#include "engine/base/host_device.h"

// How well object and probe explain frames. |Ψ| is the root of the expected counts M, all sums are
// over trusted pixels.

namespace ptychoserve {

// The sums of one frame.
struct FrameFit {
  double abs_deviation = 0;      // Σ ||Ψ| - √I|
  double amplitude = 0;          // Σ √I
  double squared_deviation = 0;  // Σ (|Ψ| - √I)²
  double counts = 0;             // Σ I
  double trusted = 0;            // Pixels,
  double non_zero = 0;           // and those of them with counts.
  double excess = 0;             // Σ PoissonExcess(I, M)

  PS_HOST_DEVICE FrameFit& operator+=(const FrameFit& other) {
    abs_deviation += other.abs_deviation;
    amplitude += other.amplitude;
    squared_deviation += other.squared_deviation;
    counts += other.counts;
    trusted += other.trusted;
    non_zero += other.non_zero;
    excess += other.excess;
    return *this;
  }
};

// Figures of one frame, or of many together.
struct FitMetrics {
  double r_factor = 0;       // Σ ||Ψ| - √I| / Σ √I
  double fourier_error = 0;  // Root of the mean over frames with counts of Σ (|Ψ| - √I)² / Σ I.
  double gaussian = 0;       // Mean of (√I - |Ψ|)² per pixel.
  // (NLL(model) - NLL(data)) / (pixels with counts / 2): about 1 when noise alone is left.
  double poisson_nll = 0;
};

// Keeps the logarithm finite where the model is dark.
inline constexpr double kDarkCounts = 1e-6;

// Poisson negative log-likelihood of `counts` when `expected` are, above its smallest possible
// value.
PS_HOST_DEVICE inline double PoissonExcess(double counts, double expected) {
  using std::log;
  const double model = expected + kDarkCounts;
  return model - counts + (counts > 0 ? counts * log(counts / model) : 0);
}

// Of all frames together; figures without data are 0.
FitMetrics FitOf(std::span<const FrameFit> frames);

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_QUALITY_FRAME_FIT_H_
