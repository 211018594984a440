#ifndef PTYCHOSERVE_ENGINE_SOLVER_PROBE_VARIATION_H_
#define PTYCHOSERVE_ENGINE_SOLVER_PROBE_VARIATION_H_

#include <span>

#include "engine/backend/backend.h"
#include "engine/base/array.h"
#include "engine/config.h"
#include "engine/solver/refinement.h"

// The components V_k of a probe that differs from frame to frame, P_jm = P_m + Σ_k c_jk V_km, c_jk
// real: orthogonal probe relaxation, Odstrcil et al., Opt. Express 24, 8360 (2016). A component has
// an image for each mode of the probe, so that modes may be mixed with it as without it (see
// engine/probe/modes.h). Inner products are Re Σ_m ⟨a_m, b_m⟩.
//
// V of c and c of V is an alternating least-squares fit of the frames' own probes by a matrix of
// low rank, a power iteration: each refinement takes a step of both.

namespace ptychoserve {

// Gives the points coefficients of those components that are 0 everywhere, by a hash of their frame
// ids: what the misfit of a random mixture of the frames has in common is where the component
// begins. Intensities do not depend on the coefficients of such a component. False when there is
// none.
bool SeedVariation(const ComplexStack& components, int modes, std::span<ActivePoint> points);

// `components` after `step` of the step that minimises the misfit for the present coefficients. It
// leads out of the space of the components, in which the coefficients take steps.
ComplexStack SteppedComponents(const ComplexStack& components, int modes,
                               const Refinement& refinement, double step);

// Makes `components` the principal ones: orthogonal, of the power of `probe`, by falling
// Σ_j c_jk². The coefficients follow, so that no P_jm changes, except for what `which` refines
// besides: the light of a frame, P itself, and its place, the probe's derivatives, are taken out. A
// component of which nothing is left becomes 0 with its coefficients.
void MakePrincipal(const ComplexStack& probe, const StageRefinement& which,
                   ComplexStack& components, std::span<ActivePoint> points);

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_SOLVER_PROBE_VARIATION_H_
