#ifndef PTYCHOSERVE_ENGINE_ALGORITHMS_MEASUREMENT_H_
#define PTYCHOSERVE_ENGINE_ALGORITHMS_MEASUREMENT_H_

#include <cmath>

#include "engine/base/host_device.h"

// What one measured pixel says. Shared by all algorithms and backends; `counts` is the value in
// the store as a floating-point number, negative where the pixel is not to be trusted.

namespace ptychoserve {

template <typename Real>
PS_HOST_DEVICE inline bool IsTrusted(Real counts) {
  return counts >= 0;  // False for NaN.
}

// Expected squared error of √counts: 1/4 for Poisson counts, less where hardly any are expected.
template <typename Real>
PS_HOST_DEVICE inline Real ShotNoisePower(Real counts) {
  const Real limit = Real(0.25);
  return counts < limit ? counts : limit;
}

// |√I - |Ψ||, 0 on untrusted pixels; its sum over Σ√I is the R-factor, the sum of its squares
// over ΣI the squared Fourier error of a frame.
template <typename Real>
PS_HOST_DEVICE inline Real AmplitudeError(Real counts, Real amplitude) {
  using std::abs;
  using std::sqrt;
  return IsTrusted(counts) ? abs(sqrt(counts) - amplitude) : Real(0);
}

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_ALGORITHMS_MEASUREMENT_H_
