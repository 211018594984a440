#ifndef PTYCHOSERVE_ENGINE_SOLVER_TRIAL_H_
#define PTYCHOSERVE_ENGINE_SOLVER_TRIAL_H_

#include <cstddef>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/base/array.h"

namespace ptychoserve {

// A question to a few frames: how well does a short reconstruction from a supposed probe, and with
// supposed positions, explain them?

// Of `points`, at most `count` that are nearest to the middle of all, the nearest first.
std::vector<PointWindow> CentralPoints(std::span<const PointWindow> points, std::size_t count);

// The R-factor that `iterations` of LSQ-ML from `probe` come to, infinite when they diverge. Sets
// canvas, probe, object and active points of the backend. Errors: those of Backend.
absl::StatusOr<double> TrialRFactor(const ComplexStack& probe, std::span<const PointWindow> points,
                                    int iterations, Backend& backend);

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_SOLVER_TRIAL_H_
