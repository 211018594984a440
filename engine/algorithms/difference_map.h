#ifndef PTYCHOSERVE_ENGINE_ALGORITHMS_DIFFERENCE_MAP_H_
#define PTYCHOSERVE_ENGINE_ALGORITHMS_DIFFERENCE_MAP_H_

#include <cmath>

#include "engine/algorithms/measurement.h"
#include "engine/algorithms/projection_update.h"
#include "engine/base/host_device.h"

// Difference map, per point j with exit wave ψ and model p = P O_j:
//
//   T = F(2p - ψ),  ψ <- ψ + β (F⁻¹[m] - p)
//
// where m is T with its modulus relaxed towards the measured one, d = √I. With dev = |T| - d on
// trusted pixels and power = Σ dev² / N, the deviation is scaled down to the tolerated power
// sigma2, and left alone when it is below. Thibault et al., Ultramicroscopy 109, 338 (2009);
// Giewekemeyer et al., PNAS 107, 529 (2010).
//
// The power is that of the point's iteration before, so that one pass over T both measures and
// relaxes it; a point that has just become active keeps nothing of the deviation.
//
// With several modes of the probe each has its own wave ψ_m and T_m, and |T| is √Σ|T_m|²: all T_m
// of a pixel are multiplied by one factor. Thibault and Menzel, Nature 494, 68 (2013).

namespace ptychoserve {

// ψ + β (F⁻¹[m] - p) with ψ = 2p - t.
inline ProjectionUpdate DifferenceMapUpdate(double beta) {
  return {.reflects = true, .modulus = beta, .trial = -1, .model = 2 - beta};
}

// Part of the deviation that the next iteration keeps, [0, 1].
template <typename Real>
PS_HOST_DEVICE inline Real KeptDeviation(Real power, Real sigma2) {
  using std::sqrt;
  return power > sigma2 ? sqrt(sigma2 / power) : Real(1);
}

// m / T for a pixel with |T| = amplitude, of all modes. A vanishing wave has no phase to give a
// modulus to.
template <typename Real>
PS_HOST_DEVICE inline Real RelaxedModulusFactor(Real counts, Real amplitude, Real kept) {
  using std::sqrt;
  const Real measured = sqrt(IsTrusted(counts) ? counts : Real(0));
  const Real relaxed = measured + (amplitude - measured) * kept;
  const Real factor = amplitude > 0 ? relaxed / amplitude : Real(0);
  return IsTrusted(counts) ? factor : Real(1);
}

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_ALGORITHMS_DIFFERENCE_MAP_H_
