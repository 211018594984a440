#ifndef PTYCHOSERVE_ENGINE_SCHEDULE_SCHEDULE_H_
#define PTYCHOSERVE_ENGINE_SCHEDULE_SCHEDULE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "engine/config.h"
#include "engine/solver/progress.h"

namespace ptychoserve {

// What the rules look at. Iterations are those done so far.
struct RunStatus {
  std::int64_t iteration = 0;
  std::optional<std::int64_t> iteration_at_end_of_data;  // Unset while data arrive.
  int stage = 0;                                         // Present stage.
  std::int64_t stage_iterations = 0;  // Counted by the schedule's clock in the present stage.
  std::int64_t clock_iterations = 0;  // Counted by the schedule's clock in all.
  std::span<const double> stage_r;    // R-factors of the counted iterations of this stage.
};

// A run whose R has stopped falling like this, well above the noise, is not going to get there.
inline constexpr Plateau kStalled{.window = 20, .min_relative_change = 0.01};

// R-factors that tell all rules of `config` as much as all of a stage would, if the first one is
// the smallest of those it stands for: the longest window, and one more.
std::size_t RFactorsNeeded(const ReconstructionConfig& config);

// True when R has stopped falling: the best of the last `window` values is hardly below the best
// of those before.
bool OnPlateau(const Plateau& plateau, std::span<const double> r);

// The stage of the next iteration: `status.stage`, or the one after it when that has ended.
int NextStage(const ReconstructionConfig& config, const RunStatus& status);

// `algorithm` with the steps that it leaves open, for so many points and photons in a frame; see
// lsq_ml.h.
AlgorithmConfig WithStepsFor(AlgorithmConfig algorithm, double photons, std::int64_t points);

// `algorithm` with `scale` times its step: beta of the difference map and of RAAR, the factor of
// the gradient's Newton step and its momentum, both steps of ePIE, both of LSQ-ML and its momentum.
// Alternating projections have none.
AlgorithmConfig WithScaledStep(AlgorithmConfig algorithm, double scale);

// The rule that ends the run before the next iteration; kNone: go on.
Completion CheckCompletion(const RunConfig& run, const RunStatus& status);

// What the end-of-data rules look at.
struct InputStatus {
  bool finish_asked = false;
  std::int64_t joined_points = 0;
  std::int64_t skipped_frames = 0;  // Declared lost.
  bool store_full = false;          // And each of its frames has its position.
  double idle_s = 0;                // Since the last input was accepted or the session began.
  bool any_input = false;
};
// The rule by which the data have ended; kNone: not yet. An idle time-out needs some input.
EndOfData CheckEndOfData(const ReconstructionConfig& config, const InputStatus& input);

// Points that must be active before iterations start while data arrive.
int StartThreshold(const RunConfig& run);

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_SCHEDULE_SCHEDULE_H_
