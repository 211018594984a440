#ifndef PTYCHOSERVE_ENGINE_SOLVER_RUN_POSITION_H_
#define PTYCHOSERVE_ENGINE_SOLVER_RUN_POSITION_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "engine/solver/progress.h"

namespace ptychoserve {

// Where a run is: all that the rules of the schedule know of its past. With the snapshot that
// carries it, a run can go on in another process. Iterations are those done so far.
struct RunPosition {
  std::int64_t iteration = 0;
  int stage = 0;                                 // Index into the schedule.
  std::int64_t stage_iterations = 0;             // Counted by the schedule's clock in this stage.
  std::int64_t clock_iterations = 0;             // Counted by the schedule's clock in all.
  std::optional<std::int64_t> iteration_at_end;  // Done at the end of data; unset before.
  EndOfData end_of_data = EndOfData::kNone;      // What iteration_at_end is due to.
  // R-factors of the counted iterations of this stage, the last ones; the first value stands for
  // all that came before it and is the smallest of them. At most RFactorsNeeded(config).
  std::vector<double> stage_r;
  int rollbacks = 0;      // Times that the run has diverged and gone back to a snapshot.
  double step_scale = 1;  // Of the steps of this stage, halved by each.
  // Where a cold start has found the beam's focus; see DefocusSearch. Unset: it was not looked for.
  std::optional<double> probe_defocus_m;
  double elapsed_s = 0;  // Since the first iteration began, without what lay between processes.

  bool operator==(const RunPosition&) const = default;
};

// `position` goes on to another stage.
void EnterStage(int stage, RunPosition& position);
// `position` has done one more iteration that the schedule's clock counts, and keeps at most
// `most_r` R-factors.
void CountStageIteration(double r_factor, std::size_t most_r, RunPosition& position);

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_SOLVER_RUN_POSITION_H_
