#ifndef PTYCHOSERVE_ENGINE_SOLVER_PLAUSIBILITY_H_
#define PTYCHOSERVE_ENGINE_SOLVER_PLAUSIBILITY_H_

#include <span>
#include <string>
#include <vector>

#include "engine/backend/backend.h"
#include "engine/base/array.h"
#include "engine/config.h"

namespace ptychoserve {

// What is allowed, but so unusual that a unit may be wrong or a figure in the wrong place. Each
// warning is a sentence with the setting, its value, what is usual, and what to do.

// Of the settings alone, valid and resolved.
std::vector<std::string> SettingsWarnings(const ReconstructionConfig& config);

// Of the points that a run starts with. `probe` is the one that it starts with, [modes, rows,
// cols]; whether its size means anything, `probe_is_given` tells: one made from the data is as
// small as a focus. `mean_amplitude` is that of the frames, mean of √counts, zero frequency at
// [0, 0]. In the near field the beam may fill the window.
std::vector<std::string> StartWarnings(const ComplexStack& probe, bool probe_is_given,
                                       const FloatImage& mean_amplitude,
                                       std::span<const PointWindow> points,
                                       bool near_field = false);

// Diameter in pixels of the circle as large as the fewest pixels that hold 90 % of the power of all
// modes together: noise and tails far out do not count. 0 when there is none.
double BeamDiameter_px(const ComplexStack& probe);

// Median distance in pixels of a point to its nearest neighbour, of the first `most` points. 0 with
// fewer than two.
double NeighbourStep_px(std::span<const PointWindow> points, int most = 1000);

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_SOLVER_PLAUSIBILITY_H_
