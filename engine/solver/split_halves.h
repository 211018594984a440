#ifndef PTYCHOSERVE_ENGINE_SOLVER_SPLIT_HALVES_H_
#define PTYCHOSERVE_ENGINE_SOLVER_SPLIT_HALVES_H_

#include <array>
#include <cstdint>
#include <functional>
#include <future>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/config.h"
#include "engine/quality/frc.h"
#include "engine/solver/progress.h"
#include "engine/solver/run_position.h"
#include "engine/solver/solver.h"

namespace ptychoserve {

// How well a result repeats: reconstructs from the even points and from the odd ones, in their
// order, as the schedule has it after the end of data, and compares the two. Whatever both halves
// have made up differs between them. On the session's own backend, whose object and probe are
// gone afterwards. For the device worker; does one piece of work at a time.
class SplitHalves {
 public:
  // `config` is resolved; `solver` outlives this and has no snapshot under way. The comparison is
  // run by `run_at_leisure`, and `on_work` called, on any thread, when it is there.
  SplitHalves(const ReconstructionConfig& config, Solver& solver, RunBeside run_at_leisure,
              std::function<void()> on_work);

  // At most one iteration. False when there is nothing to do but to wait for the comparison.
  // Errors: those of Backend.
  absl::StatusOr<bool> Advance();
  // Whether there is nothing left to do; then either the status has a correlation, or failure()
  // says why there is none.
  bool done() const { return done_; }
  const std::string& failure() const { return failure_; }
  const SplitHalvesStatus& status() const { return status_; }

 private:
  absl::Status Iterate();
  absl::Status FinishHalf();
  void BeginToCompare();
  void GiveUp(std::string why);

  const ReconstructionConfig config_;
  const std::int64_t iterations_;  // Of each half.
  Solver& solver_;
  const RunBeside run_at_leisure_;
  const std::function<void()> on_work_;
  int half_ = 0;     // 0: even, 1: odd, 2: both are done.
  RunPosition run_;  // Of this half.
  std::array<PlacedObject, 2> objects_;
  std::future<absl::StatusOr<RingCorrelation>> comparison_;  // Under way when valid.
  SplitHalvesStatus status_;
  bool done_ = false;
  std::string failure_;
};

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_SOLVER_SPLIT_HALVES_H_
