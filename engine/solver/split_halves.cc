#include "engine/solver/split_halves.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/scan/optics.h"
#include "engine/schedule/schedule.h"

namespace ptychoserve {
namespace {

constexpr const char* kNames[] = {"even", "odd"};

// All points of a half are there from its first iteration on.
RunStatus StatusOf(const RunPosition& run) {
  RunStatus status;
  status.iteration = run.iteration;
  status.iteration_at_end_of_data = 0;
  status.stage = run.stage;
  status.stage_iterations = run.stage_iterations;
  status.clock_iterations = run.clock_iterations;
  status.stage_r = run.stage_r;
  return status;
}

std::int64_t IterationsOfAHalf(const RunConfig& run) {
  return run.max_iterations > 0 ? std::min(run.it_ends_after, run.max_iterations)
                                : run.it_ends_after;
}

}  // namespace

SplitHalves::SplitHalves(const ReconstructionConfig& config, Solver& solver,
                         RunBeside run_at_leisure, std::function<void()> on_work)
    : config_(config),
      iterations_(IterationsOfAHalf(config.run)),
      solver_(solver),
      run_at_leisure_(std::move(run_at_leisure)),
      on_work_(std::move(on_work)) {
  status_.iterations_planned = 2 * iterations_;
  if (iterations_ == 0) GiveUp("run.it_ends_after is 0, so that there is no iteration to repeat");
}

absl::StatusOr<bool> SplitHalves::Advance() {
  if (done_) return false;
  if (comparison_.valid()) {
    if (comparison_.wait_for(std::chrono::seconds(0)) != std::future_status::ready) return false;
    absl::StatusOr<RingCorrelation> compared = comparison_.get();
    if (compared.ok()) {
      status_.ring_correlation = *std::move(compared);
      done_ = true;
    } else {
      GiveUp(std::string(compared.status().message()));
    }
    return true;
  }
  PS_RETURN_IF_ERROR(Iterate());
  return true;
}

absl::Status SplitHalves::Iterate() {
  if (run_.iteration == 0) PS_RETURN_IF_ERROR(solver_.StartAnewWithHalf(half_));
  if (const int next = NextStage(config_, StatusOf(run_)); next != run_.stage) {
    EnterStage(next, run_);
  }
  const StageConfig& stage = config_.schedule[static_cast<std::size_t>(run_.stage)];
  PS_ASSIGN_OR_RETURN(const IterationMetrics metrics,
                      solver_.Iterate(stage, /*step_scale=*/1, run_.iteration));
  ++run_.iteration;
  ++status_.iterations;
  if (!metrics.finite || !std::isfinite(metrics.r_factor)) {
    GiveUp(absl::StrCat("the ", kNames[half_], " points diverged in iteration ", run_.iteration));
    return absl::OkStatus();
  }
  CountStageIteration(metrics.r_factor, RFactorsNeeded(config_), run_);
  return run_.iteration == iterations_ ? FinishHalf() : absl::OkStatus();
}

absl::Status SplitHalves::FinishHalf() {
  PS_ASSIGN_OR_RETURN(objects_[static_cast<std::size_t>(half_)], solver_.ReadObject());
  run_ = {};
  if (++half_ == 2) BeginToCompare();
  return absl::OkStatus();
}

void SplitHalves::BeginToCompare() {
  // Shared, as a std::function must be copyable.
  const auto task = std::make_shared<std::packaged_task<absl::StatusOr<RingCorrelation>()>>(
      [objects = std::move(objects_),
       pixel_size = ObjectPixelSize(config_.optics, config_.detector)] {
        return Compare(objects[0], objects[1], pixel_size);
      });
  comparison_ = task->get_future();
  run_at_leisure_([task, on_work = on_work_] {
    (*task)();
    on_work();
  });
}

void SplitHalves::GiveUp(std::string why) {
  failure_ = std::move(why);
  done_ = true;
}

}  // namespace ptychoserve
