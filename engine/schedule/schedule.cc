#include "engine/schedule/schedule.h"

#include <algorithm>
#include <variant>

#include "engine/algorithms/lsq_ml.h"

namespace ptychoserve {
namespace {

// Iterations that the schedule's clock will have counted when the run ends; 0 when unknown.
std::int64_t CountedTotal(const RunConfig& run) {
  return run.schedule_clock == ScheduleClock::kAfterEndOfData ? run.it_ends_after
                                                              : run.max_iterations;
}

}  // namespace

std::size_t RFactorsNeeded(const ReconstructionConfig& config) {
  int window = kStalled.window;
  for (const StageConfig& stage : config.schedule) {
    if (stage.plateau) window = std::max(window, stage.plateau->window);
  }
  return static_cast<std::size_t>(window) + 1;
}

bool OnPlateau(const Plateau& plateau, std::span<const double> r) {
  const std::size_t window = static_cast<std::size_t>(plateau.window);
  if (r.size() <= window) return false;
  const auto split = r.end() - static_cast<std::ptrdiff_t>(window);
  const double before = *std::min_element(r.begin(), split);
  const double recent = *std::min_element(split, r.end());
  return recent > before * (1.0 - plateau.min_relative_change);
}

int NextStage(const ReconstructionConfig& config, const RunStatus& status) {
  const int last = static_cast<int>(config.schedule.size()) - 1;
  if (status.stage >= last) return last;
  const StageConfig& stage = config.schedule[static_cast<std::size_t>(status.stage)];
  bool ended = false;
  if (stage.iterations) {
    ended = status.stage_iterations >= *stage.iterations;
  } else if (stage.fraction) {
    // Fractions add up over the stages before, so that 0.2, 0.5 means 20 % and then 50 %.
    double until = 0;
    for (int i = 0; i <= status.stage; ++i) {
      until += config.schedule[static_cast<std::size_t>(i)].fraction.value_or(0);
    }
    const std::int64_t total = CountedTotal(config.run);
    ended = total > 0 && static_cast<double>(status.clock_iterations) >=
                             until * static_cast<double>(total) - 1e-9;
  } else if (stage.plateau) {
    ended = OnPlateau(*stage.plateau, status.stage_r);
  }
  return ended ? status.stage + 1 : status.stage;
}

AlgorithmConfig WithStepsFor(AlgorithmConfig algorithm, double photons, std::int64_t points) {
  if (auto* lsq = std::get_if<LsqMlConfig>(&algorithm)) {
    const bool whole = photons >= kWholeStepPhotons && points < kWholeStepPoints;
    const double step = whole ? 1 : kCautiousStep;
    lsq->object_step = lsq->object_step.value_or(step);
    lsq->probe_step = lsq->probe_step.value_or(step);
  }
  return algorithm;
}

AlgorithmConfig WithScaledStep(AlgorithmConfig algorithm, double scale) {
  if (auto* dm = std::get_if<DifferenceMapConfig>(&algorithm)) {
    dm->beta *= scale;
  } else if (auto* ml = std::get_if<MlGradientConfig>(&algorithm)) {
    ml->step *= scale;
    ml->momentum *= scale;
  } else if (auto* raar = std::get_if<RaarConfig>(&algorithm)) {
    raar->beta *= scale;
  } else if (auto* epie = std::get_if<EpieConfig>(&algorithm)) {
    epie->object_step *= scale;
    epie->probe_step *= scale;
  } else if (auto* lsq = std::get_if<LsqMlConfig>(&algorithm)) {
    lsq->object_step = scale * lsq->object_step.value_or(kCautiousStep);
    lsq->probe_step = scale * lsq->probe_step.value_or(kCautiousStep);
    lsq->momentum *= scale;
  }
  return algorithm;
}

Completion CheckCompletion(const RunConfig& run, const RunStatus& status) {
  if (status.iteration_at_end_of_data &&
      status.iteration - *status.iteration_at_end_of_data >= run.it_ends_after) {
    return Completion::kItEndsAfter;
  }
  if (run.max_iterations > 0 && status.iteration >= run.max_iterations) {
    return Completion::kMaxIterations;
  }
  return Completion::kNone;
}

EndOfData CheckEndOfData(const ReconstructionConfig& config, const InputStatus& input) {
  if (input.finish_asked) return EndOfData::kFinishScan;
  if (config.scan.expected_points > 0 &&
      input.joined_points + input.skipped_frames >= config.scan.expected_points) {
    return EndOfData::kExpectedPoints;
  }
  if (config.scan.over_capacity == OverCapacity::kEndScan && input.store_full) {
    return EndOfData::kCapacity;
  }
  if (input.any_input && config.run.idle_timeout_s > 0 &&
      input.idle_s >= config.run.idle_timeout_s) {
    return EndOfData::kIdleTimeout;
  }
  return EndOfData::kNone;
}

int StartThreshold(const RunConfig& run) { return run.min_points_to_start; }

}  // namespace ptychoserve
