#ifndef PTYCHOSERVE_ENGINE_SIMULATION_EXTENDED_SOURCE_H_
#define PTYCHOSERVE_ENGINE_SIMULATION_EXTENDED_SOURCE_H_

#include "engine/base/array.h"

namespace ptychoserve {

// The beam of a source that is not a point: `modes` points of equal brightness, mutually
// incoherent, each of which sees the same optics and so makes the same `beam` [1, n, n] at another
// place, off the centre by a fraction of a speckle. The points lie on a spiral, so far apart that
// the brightest of the orthogonal modes has `first_power` of the power, in (1 / modes, 1].
// Returns the orthogonal modes by falling power, [modes, n, n], of the power of `beam` in all.
ComplexStack ExtendedSource(const ComplexStack& beam, int modes, double first_power);

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_SIMULATION_EXTENDED_SOURCE_H_
