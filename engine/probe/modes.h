#ifndef PTYCHOSERVE_ENGINE_PROBE_MODES_H_
#define PTYCHOSERVE_ENGINE_PROBE_MODES_H_

#include <vector>

#include "engine/base/array.h"

// Mutually incoherent modes of the probe: I = Σ_m |F(P_m O_j)|². Thibault and Menzel, Nature 494,
// 68 (2013).
//
// Intensities depend on the modes through Σ_m P_m(r) P_m*(r') alone, the mutual intensity of the
// beam. So any unitary mixture of the modes is the same beam, and one of all mixtures has modes
// that are orthogonal: the eigenvectors of the mutual intensity, with their powers as eigenvalues.

namespace ptychoserve {

// Power of a mode made by WithModes, of that of the one before.
inline constexpr double kNewModePower = 0.5;

// The probe with `modes` modes, at least as many as it has. The new ones are made from the first:
// times the coordinates about its centre of intensity, x, y, x², xy, y², ... in the order of their
// degree, orthogonal to the modes before; as Hermite modes follow from a Gaussian one. Each has
// kNewModePower of the power of the one before, the first of them of that of the faintest mode with
// light. The total power stays. A new mode is 0 when light in fewer pixels than there are modes
// leaves none that is orthogonal.
ComplexStack WithModes(const ComplexStack& probe, int modes);

// Replaces the modes by those orthogonal ones that are the same beam, by falling power. A mode
// keeps its phase as far as it remains the same. Returns the part of the power that each has, 0
// where there is no power at all. Does not touch a probe of one mode. All values are finite.
// `components`, any number of stacks of such modes, are mixed as the modes are.
std::vector<double> OrthogonaliseModes(ComplexStack& probe, ComplexStack& components);
inline std::vector<double> OrthogonaliseModes(ComplexStack& probe) {
  ComplexStack none;
  return OrthogonaliseModes(probe, none);
}

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_PROBE_MODES_H_
