#ifndef PTYCHOSERVE_ENGINE_ALGORITHMS_ALTERNATING_PROJECTIONS_H_
#define PTYCHOSERVE_ENGINE_ALGORITHMS_ALTERNATING_PROJECTIONS_H_

#include "engine/algorithms/projection_update.h"

// Alternating projections between moduli and overlap, ψ <- F⁻¹[m] with m the relaxed modulus of
// T = F(P O_j): the error reduction of Gerchberg and Saxton, Optik 35, 237 (1972), and Fienup,
// Appl. Opt. 21, 2758 (1982), for many frames of one object. It never leaves a local minimum and
// descends without detours, so it is for the end of a run.

namespace ptychoserve {

inline ProjectionUpdate AlternatingProjectionsUpdate() {
  return {.reflects = false, .modulus = 1, .trial = 0, .model = 0};
}

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_ALGORITHMS_ALTERNATING_PROJECTIONS_H_
