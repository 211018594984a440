#ifndef PTYCHOSERVE_ENGINE_ALGORITHMS_RAAR_H_
#define PTYCHOSERVE_ENGINE_ALGORITHMS_RAAR_H_

#include "engine/algorithms/projection_update.h"

// Relaxed averaged alternating reflections, Luke, Inverse Problems 21, 37 (2005):
//
//   ψ <- β/2 (R_F R_O + 1) ψ + (1 - β) Π_O ψ = β (ψ + F⁻¹[m] - p) + (1 - β) p
//
// with Π_O ψ = p = P O_j, R_O = 2 Π_O - 1, T = F(2p - ψ) and m its relaxed modulus, as the
// difference map has them; the reflection at the overlap comes before that at the moduli, as there.
// β = 1 is the difference map of β = 1. With smaller ones, ψ is drawn towards the model, and so
// stays close to it where data are noisy.

namespace ptychoserve {

inline ProjectionUpdate RaarUpdate(double beta) {
  return {.reflects = true, .modulus = beta, .trial = -beta, .model = 1};
}

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_ALGORITHMS_RAAR_H_
