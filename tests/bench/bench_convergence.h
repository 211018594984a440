#ifndef PTYCHOSERVE_TESTS_BENCH_BENCH_CONVERGENCE_H_
#define PTYCHOSERVE_TESTS_BENCH_BENCH_CONVERGENCE_H_

#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/backend/backend.h"
#include "engine/base/thread_pool.h"
#include "engine/simulation/simulation.h"
#include "tests/bench/bench_algorithm.h"

namespace ptychoserve {

struct BenchStage {
  BenchAlgorithm algorithm;
  int iterations = 0;
};

// "dm:50,ml_grad:50".
absl::StatusOr<std::vector<BenchStage>> ParseSchedule(absl::string_view text);

struct Checkpoint {
  int iteration = 0;   // 0: before the first.
  double seconds = 0;  // In iterations, without set-up and without what is read back.
  ObjectError error;
  double r_factor = 0;  // Of the object and probe that the iteration started from.
};

struct Convergence {
  int points = 0;
  double simulation_s = 0;  // Making the frames.
  std::vector<Checkpoint> checkpoints;
};

// Reconstructs the scan of `config` from a flat object and a wrong probe, and compares the object
// with the truth at every iteration up to the tenth, then ever more rarely. The probe is updated
// from the iteration on that is the server's default.
absl::StatusOr<Convergence> RunConvergence(Device& device, const SimulationConfig& config,
                                           const std::vector<BenchStage>& schedule, bool half_waves,
                                           ThreadPool& pool);

// When the complex error first was `level`, the logarithm of the error interpolated linearly
// between checkpoints. nullopt when it never was.
std::optional<double> SecondsTo(double level, const std::vector<Checkpoint>& checkpoints);

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_TESTS_BENCH_BENCH_CONVERGENCE_H_
