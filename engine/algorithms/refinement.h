#ifndef PTYCHOSERVE_ENGINE_ALGORITHMS_REFINEMENT_H_
#define PTYCHOSERVE_ENGINE_ALGORITHMS_REFINEMENT_H_

#include <type_traits>

#include "engine/algorithms/measurement.h"
#include "engine/base/host_device.h"

// What is refined beside object and probe. A frame j at position r_j, with the light w_j and the
// background b, is expected to hold
//
//   M = w_j Σ_m |Ψ_m|² + b,  Ψ_m = F(P_jm O(r - r_j)),  P_jm = P_m + Σ_k c_jk V_km,
//
// w_j = 1, b = 0 and c_jk = 0 unless refined. One pass over the points adds up, for each of them,
// gradient and Fisher information of the Poisson likelihood by row, column, ln w_j and c_jk:
//
//   G_a = Σ g ∂_a M,  F_ab = Σ ∂_a M ∂_b M / (M + ε),  g = (I - M) / (M + ε),
//   ∂_row M = 2 w_j Re Σ_m Ψ_m* F(P_jm ∂_row O_j),  ∂_ln w M = w_j Σ_m |Ψ_m|²,
//   ∂_c_k M = 2 w_j Re Σ_m Ψ_m* F(V_km O_j)
//
// and F⁻¹ G is the step of all of them together, whatever of the misfit each could explain alone.
// Gradient by position: Guizar-Sicairos and Fienup, Opt. Express 16, 7264 (2008); likelihood:
// Thibault and Guizar-Sicairos, New J. Phys. 14, 063004 (2012); a probe that varies: Odstrcil et
// al., Opt. Express 24, 8360 (2016). The background is in background.h, the components V_k of the
// variation in engine/solver/probe_variation.h.

namespace ptychoserve {

// Most components V_k of the probe's variation.
inline constexpr int kMaxProbeComponents = 4;

// What is refined for each point, in this order: row, column, ln w, c_1, c_2, ..
inline constexpr int kRefinedBesideProbe = 3;
inline constexpr int kMaxRefinedPerPoint = kRefinedBesideProbe + kMaxProbeComponents;
// Elements of a symmetric matrix of `n` rows, and the place of element (i, j), i <= j, among them:
// the columns of the upper triangle, which are the first ones of any larger matrix.
PS_HOST_DEVICE constexpr int TriangleElements(int n) { return n * (n + 1) / 2; }
PS_HOST_DEVICE constexpr int TrianglePlace(int i, int j) { return j * (j + 1) / 2 + i; }

// Of one point, by shifts of the window by +1 pixel, by ln w and by c_k; 0 of what is not refined.
struct RefinementSums {
  double gradient[kMaxRefinedPerPoint] = {};
  double fisher[TriangleElements(kMaxRefinedPerPoint)] = {};
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

// How many sums there are for each point with `components` of the probe's variation.
PS_HOST_DEVICE constexpr int RefinementTermCount(int components) {
  return kRefinedBesideProbe + components + TriangleElements(kRefinedBesideProbe + components);
}
// What one pixel adds to them: G, then F, by its derivatives ∂_a M.
template <int kComponents, typename Real>
PS_HOST_DEVICE inline void RefinementTerms(
    const RefinementWeights<Real>& weights,
    const Real (&derivatives)[kRefinedBesideProbe + kComponents],
    Real (&terms)[RefinementTermCount(kComponents)]) {
  constexpr int kRefined = kRefinedBesideProbe + kComponents;
  for (int j = 0; j < kRefined; ++j) {
    terms[j] = weights.gradient * derivatives[j];
    const Real informed = weights.information * derivatives[j];
    for (int i = 0; i <= j; ++i) {
      terms[kRefined + TrianglePlace(i, j)] = informed * derivatives[i];
    }
  }
}
// Calls fn with std::integral_constant<int, components>, at most kMaxProbeComponents.
template <typename Fn>
decltype(auto) DispatchComponents(int components, Fn fn) {
  static_assert(kMaxProbeComponents == 4);
  switch (components) {
    case 0:
      return fn(std::integral_constant<int, 0>());
    case 1:
      return fn(std::integral_constant<int, 1>());
    case 2:
      return fn(std::integral_constant<int, 2>());
    case 3:
      return fn(std::integral_constant<int, 3>());
    default:
      return fn(std::integral_constant<int, 4>());
  }
}
// The totals of them all as RefinementSums.
inline RefinementSums RefinementSumsOf(int components, const double* totals) {
  const int refined = kRefinedBesideProbe + components;
  RefinementSums sums;
  for (int i = 0; i < refined; ++i) sums.gradient[i] = totals[i];
  for (int i = 0; i < TriangleElements(refined); ++i) sums.fisher[i] = totals[refined + i];
  return sums;
}

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_ALGORITHMS_REFINEMENT_H_
