#ifndef PTYCHOSERVE_ENGINE_OBJECT_MODES_H_
#define PTYCHOSERVE_ENGINE_OBJECT_MODES_H_

#include <vector>

#include "engine/algorithms/object_start.h"
#include "engine/base/array.h"

// Mutually incoherent modes of the object: I = Σ_l Σ_m |F(P_m O_lj)|². Thibault and Menzel, Nature
// 494, 68 (2013). As with those of the probe (see engine/probe/modes.h), any unitary mixture of
// them is the same sample, and one has modes that are orthogonal.

namespace ptychoserve {

// `object`, which fills `canvas`, with `modes` modes, at least as many as it has. The new ones are
// as at the start of a run.
ComplexStack WithObjectModes(const ComplexStack& object, const Region& canvas,
                             const ObjectStart& start, int modes);

// Replaces the modes by those of the same sample that are orthogonal under the light of `coverage`,
// as the detector weighs them, by falling power: what is dark or dim at the fringe of the scan has
// no say in it. Returns the part of the scattered power that each has, 0 where there is none. Does
// not touch an object of one mode. All values are finite.
std::vector<double> OrthogonaliseObject(ComplexStack& object, const FloatImage& coverage);

// The strongest of the modes that OrthogonaliseObject would make.
ComplexStack StrongestMode(ComplexStack object, const FloatImage& coverage);

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_OBJECT_MODES_H_
