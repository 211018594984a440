#ifndef PTYCHOSERVE_ENGINE_ALGORITHMS_EPIE_H_
#define PTYCHOSERVE_ENGINE_ALGORITHMS_EPIE_H_

#include <cmath>

#include "engine/algorithms/measurement.h"
#include "engine/base/host_device.h"

// ePIE, batch after batch: for all points j of a batch Ψ = F(P O_j), Δ_j = F⁻¹(√I Ψ/|Ψ| - Ψ), then
//
//   O <- O + object_step Σ_j B_jᵀ(P* Δ_j) / max(max|P|², Σ_j B_jᵀ|P|²)   pixel by pixel
//   P <- P + probe_step  Σ_j O_j* Δ_j     / max(Σ_j |O_j|²)
//
// with B_j the window at point j, and object and probe on the right as they were before the batch.
// A batch of one is Maiden and Rodenburg, Ultramicroscopy 109, 1256 (2009), eqs. 6 and 7; Maiden,
// Johnson and Li, Optica 4, 736 (2017) look at both steps as weighted means of the old value and
// the one that a frame calls for. The probe is moved by what the frames of a batch call for in the
// mean. So is the object where several beams meet; elsewhere one frame alone moves it. The divisors
// are those of rpie.h with α = 1.
//
// With several modes of the probe all Ψ_m of a pixel have the one factor √I / √Σ|Ψ_m|², the object
// takes Σ_m P_m* Δ_m with Σ_m |P_m|² for |P|², and each mode its own O_j* Δ_m.

namespace ptychoserve {

// (√I Ψ/|Ψ| - Ψ) / Ψ for a pixel with |Ψ| = amplitude; 0 where untrusted or without a phase.
template <typename Real>
PS_HOST_DEVICE inline Real ModulusCorrectionFactor(Real counts, Real amplitude) {
  using std::sqrt;
  const Real measured = sqrt(IsTrusted(counts) ? counts : Real(0));
  const Real factor = amplitude > 0 ? measured / amplitude - 1 : Real(0);
  return IsTrusted(counts) ? factor : Real(0);
}

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_ALGORITHMS_EPIE_H_
