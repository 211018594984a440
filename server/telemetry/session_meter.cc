#include "server/telemetry/session_meter.h"

#include <algorithm>
#include <string>
#include <utility>

#include "engine/algorithms/algorithm_name.h"

namespace ptychoserve::server {
namespace {

// What is new; less than before, after a run has gone back, is nothing.
double Since(std::int64_t now, std::int64_t& noted) {
  return static_cast<double>(std::max<std::int64_t>(0, now - std::exchange(noted, now)));
}

}  // namespace

SessionMeter::Input SessionMeter::Sort(const IngestCounters& counters) {
  const std::int64_t duplicates = counters.rejected[static_cast<int>(Reject::kDuplicate)];
  return {counters.accepted, duplicates, counters.total_rejected() - duplicates};
}

void SessionMeter::Add(const Input& now, Input& noted,
                       prometheus::Family<prometheus::Counter>& family) {
  family.Add({{"result", "accepted"}}).Increment(Since(now.accepted, noted.accepted));
  family.Add({{"result", "duplicate"}}).Increment(Since(now.duplicates, noted.duplicates));
  family.Add({{"result", "rejected"}}).Increment(Since(now.rejected, noted.rejected));
}

void SessionMeter::Begin(const Progress& progress) {
  MutexLock lock(mu_);
  frames_ = Sort(progress.frames);
  positions_ = Sort(progress.positions);
  iteration_ = progress.iteration;
  rollbacks_ = progress.rollbacks;
}

void SessionMeter::Note(const ReconstructionConfig& config, const Progress& progress,
                        Metrics& metrics) {
  MutexLock lock(mu_);
  Add(Sort(progress.frames), frames_, metrics.frames);
  Add(Sort(progress.positions), positions_, metrics.positions);
  const double iterations = Since(progress.iteration, iteration_);
  if (iterations > 0 && progress.last) {
    const auto stage = static_cast<std::size_t>(progress.last->stage);
    const std::string algorithm = AlgorithmName(config.schedule.at(stage).algorithm);
    metrics.iterations.Add({{"algorithm", algorithm}}).Increment(iterations);
    metrics.ObserveIteration(algorithm, progress.last->seconds);
  }
  metrics.rollbacks.Increment(std::max(0, progress.rollbacks - rollbacks_));
  rollbacks_ = progress.rollbacks;
}

}  // namespace ptychoserve::server
