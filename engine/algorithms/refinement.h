#ifndef PTYCHOSERVE_ENGINE_ALGORITHMS_REFINEMENT_H_
#define PTYCHOSERVE_ENGINE_ALGORITHMS_REFINEMENT_H_

#include "engine/algorithms/measurement.h"
#include "engine/base/host_device.h"

// What is refined beside object and probe. A frame j at position r_j, with the light w_j and the
// background b, is expected to hold
//
//   M = w_j Σ_m |Ψ_m|² + b,  Ψ_m = F(P_m O(r - r_j)),
//
// w_j = 1 and b = 0 unless refined. One pass over the points adds up, for each of them, gradient
// and Fisher information of the Poisson likelihood by row, column and ln w_j:
//
//   G_a = Σ g ∂_a M,  F_ab = Σ ∂_a M ∂_b M / (M + ε),  g = (I - M) / (M + ε),
//   ∂_row M = 2 w_j Re Σ_m Ψ_m* F(P_m ∂_row O_j),  ∂_ln w M = w_j Σ_m |Ψ_m|²
//
// and F⁻¹ G is the step of all three together, whatever of the misfit each of them could explain
// alone. Gradient by position: Guizar-Sicairos and Fienup, Opt. Express 16, 7264 (2008);
// likelihood: Thibault and Guizar-Sicairos, New J. Phys. 14, 063004 (2012). The background
// is in background.h.

namespace ptychoserve {

inline constexpr int kRefinedPerPoint = 3;  // Row, column, ln w.
inline constexpr int kFisherElements = 6;   // Of a symmetric matrix of as many rows, by rows.

// Of one point, by shifts of the window by +1 pixel and by ln w.
struct RefinementSums {
  double gradient[kRefinedPerPoint] = {};
  double fisher[kFisherElements] = {};
};

// Counts below which a pixel's noise falls no further.
inline constexpr double kRefinementEpsilon = 0.5;
// Cap of g, for pixels that the model leaves dark.
inline constexpr double kMaxRefinementGradient = 5;

// g and 1 / (M + ε) of one pixel, both 0 where untrusted.
template <typename Real>
struct RefinementWeights {
  Real gradient;
  Real information;
};
template <typename Real>
PS_HOST_DEVICE inline RefinementWeights<Real> WeightsOfPixel(Real counts, Real expected) {
  if (!IsTrusted(counts)) return {Real(0), Real(0)};
  const Real information = 1 / (expected + Real(kRefinementEpsilon));
  const Real g = (counts - expected) * information;
  const Real most = Real(kMaxRefinementGradient);
  return {g < most ? g : most, information};
}

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_ALGORITHMS_REFINEMENT_H_
