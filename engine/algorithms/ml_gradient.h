#ifndef PTYCHOSERVE_ENGINE_ALGORITHMS_ML_GRADIENT_H_
#define PTYCHOSERVE_ENGINE_ALGORITHMS_ML_GRADIENT_H_

#include <cmath>

#include "engine/algorithms/measurement.h"
#include "engine/base/host_device.h"
#include "engine/config.h"

// Gradient of the likelihood. Per point Ψ = F(P O_j), M = |Ψ|², and with a relative gradient g
//
//   v_j = F⁻¹(g Ψ),  O <- O + α Σ P* v / (..),  P <- P + α Σ O_j* v / (..)
//
// with one α for all points: the Newton step of the likelihood of (1 + s g) Ψ at s = 0. It is
// linear in the v_j, so that α can be applied after they have been added up. With several modes of
// the probe M = Σ|Ψ_m|², and g, which is one number for all of them, multiplies each Ψ_m.
// Thibault and Guizar-Sicairos, New J. Phys. 14, 063004 (2012).

namespace ptychoserve {

// One pixel: its relative gradient, and what it adds to numerator and denominator of the step.
template <typename Real>
struct GradientTerm {
  Real gradient;
  Real step_numerator;
  Real step_denominator;
};

// g = (I - M) / (M + ε); L(s) = Σ (1 + s g)² M - I ln((1 + s g)² M).
template <typename Real>
PS_HOST_DEVICE inline GradientTerm<Real> PoissonGradient(Real counts, Real intensity, Real epsilon,
                                                         Real max_gradient) {
  Real g = (counts - intensity) / (intensity + epsilon);
  g = g < max_gradient ? g : max_gradient;
  g = IsTrusted(counts) ? g : Real(0);
  const Real measured = IsTrusted(counts) ? counts : Real(0);
  return {g, g * g * intensity, g * g * (intensity + measured)};
}

// g = (d - a) / (a + ε) with d = √I, a = |Ψ|; L(s) = Σ ((1 + s g) a - d)².
template <typename Real>
PS_HOST_DEVICE inline GradientTerm<Real> GaussianGradient(Real counts, Real intensity, Real epsilon,
                                                          Real max_gradient) {
  using std::sqrt;
  const Real measured = sqrt(IsTrusted(counts) ? counts : Real(0));
  const Real amplitude = sqrt(intensity);
  Real g = (measured - amplitude) / (amplitude + epsilon);
  g = g < max_gradient ? g : max_gradient;
  g = IsTrusted(counts) ? g : Real(0);
  return {g, g * amplitude * (measured - amplitude), g * g * intensity};
}

// α from the sums over all pixels of all active points; 0 when there is no curvature. The step
// is for the exit waves: the Poisson one tends to 1/2 at the solution and so leaves room for
// object and probe to move together, the Gaussian one to 1, which has to be shared.
inline double NewtonStep(const MlGradientConfig& config, double numerator, double denominator,
                         bool updates_object_and_probe) {
  if (denominator == 0) return 0;
  const bool share = config.likelihood == Likelihood::kGaussian && updates_object_and_probe;
  return config.step * numerator / denominator * (share ? 0.5 : 1.0);
}

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_ALGORITHMS_ML_GRADIENT_H_
