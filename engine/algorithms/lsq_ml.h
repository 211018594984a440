#ifndef PTYCHOSERVE_ENGINE_ALGORITHMS_LSQ_ML_H_
#define PTYCHOSERVE_ENGINE_ALGORITHMS_LSQ_ML_H_

#include <cstdint>

#include "engine/base/host_device.h"
#include "engine/config.h"

// LSQ-ML, the iterative least-squares solver of Odstrcil, Menzel and Guizar-Sicairos, Opt. Express
// 26, 3108 (2018), batch after batch of points. What the likelihood calls for at point j of a batch
// is χ_j = ξ F⁻¹(g Ψ_j), with g of ml_gradient.h and ξ its Newton step over the batch. Object and
// probe have a direction each, their own weighted mean of what the points call for,
//
//   ΔO = Σ_j B_jᵀ(P* χ_j) / (Σ_j B_jᵀ|P|² + δ_O),  ΔP = Σ_j O_j* χ_j / (Σ_j |O_j|² + δ_P)
//
// with B_j the window at point j and δ of update.h over the batch, and take the steps along both
// that explain most of χ together,
//
//   min Σ_j ‖χ_j - α_O P ΔO_j - α_P O_j ΔP‖²,
//   O <- O + object_step α_O ΔO,  P <- P + probe_step α_P ΔP.
//
// Of P, O_j, and the directions two sums over the points follow, Σ‖P ΔO_j‖² and Re Σ<P ΔO_j, O_j
// ΔP>; the others follow from the sums that the directions are made of, so that no χ_j is kept. The
// paper finds steps for each point by itself and moves by their mean, weighted like the directions;
// one pair for a batch comes to the same.
//
// With several modes of the probe each has its own χ and ΔP, and the steps are those of all. Of a
// probe that varies from point to point, directions are of each point's own, steps of their mean.

namespace ptychoserve {

// What steps are multiplied by that are left open. A pixel of the object is seen by few frames of a
// batch, so that each step carries their noise into it. Half of a step carries less, and momentum
// makes up for that. Small scans have few batches, and with them few steps in an iteration: when
// their frames have photons enough, whole steps get nearer to the solution.
inline constexpr double kCautiousStep = 0.5;
inline constexpr double kWholeStepPhotons = 1e6;      // That many at least,
inline constexpr std::int64_t kWholeStepPoints = 80;  // and fewer points.

// The gradient that χ is made of: the defaults of ml_gradient.h.
inline MlGradientConfig GradientOf(const LsqMlConfig& config) {
  MlGradientConfig gradient;
  gradient.likelihood = config.likelihood;
  return gradient;
}

// Sums over a batch, with v_j = F⁻¹(g Ψ_j) for χ_j: ξ is a common factor.
struct StepSums {
  double object_gain = 0;  // Re Σ<P ΔO_j, v_j> = Re Σ conj(ΔO) Σ B_jᵀ(P* v_j)
  double object_norm = 0;  // Σ‖P ΔO_j‖²
  double probe_gain = 0;   // Re Σ<O_j ΔP, v_j> = Re Σ conj(ΔP) Σ O_j* v_j
  double probe_norm = 0;   // Σ‖O_j ΔP‖² = Σ |ΔP|² Σ|O_j|²
  double overlap = 0;      // Re Σ<P ΔO_j, O_j ΔP>
};

struct LsqSteps {
  double object = 0;
  double probe = 0;
};

// α_O and α_P, neither below 0, for it is downhill along either direction. What is not updated has
// sums of 0 and the step 0.
PS_HOST_DEVICE inline LsqSteps SolveSteps(const StepSums& sums) {
  // Object and probe that call for the same would leave their shares open.
  constexpr double kRidge = 1e-3;
  const double object_norm = (1 + kRidge) * sums.object_norm;
  const double probe_norm = (1 + kRidge) * sums.probe_norm;
  const double object_alone = object_norm > 0 ? sums.object_gain / object_norm : 0.0;
  const double probe_alone = probe_norm > 0 ? sums.probe_gain / probe_norm : 0.0;
  const double determinant = object_norm * probe_norm - sums.overlap * sums.overlap;
  if (!(determinant > 0)) return {object_alone, probe_alone};
  const double object = sums.object_gain * probe_norm - sums.probe_gain * sums.overlap;
  const double probe = sums.probe_gain * object_norm - sums.object_gain * sums.overlap;
  if (object < 0) return {0, probe_alone};
  if (probe < 0) return {object_alone, 0};
  return {object / determinant, probe / determinant};
}

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_ALGORITHMS_LSQ_ML_H_
