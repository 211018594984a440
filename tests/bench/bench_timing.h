#ifndef PTYCHOSERVE_TESTS_BENCH_BENCH_TIMING_H_
#define PTYCHOSERVE_TESTS_BENCH_BENCH_TIMING_H_

#include <cstdint>
#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "tests/bench/bench_algorithm.h"
#include "tests/bench/bench_scan.h"

namespace ptychoserve {

// What snapshots cost the iterations.
struct SnapshotCost {
  double rate_alone = 0;  // Iterations per second.
  double rate_with = 0;
  double loss_percent = 0;  // Of the rate, median over the turns; noise may make it negative.
  int snapshots = 0;
};

struct Timing {
  int points = 0;
  int iterations = 0;
  // Of one iteration, divided by the points.
  double median_us = 0;
  double min_us = 0;
  double mean_us = 0;
  double setup_s = 0;  // From creating the backend to the first iteration.
  // What the device says that the session holds, in all, per point, and for one point more.
  std::int64_t estimated_bytes = 0;
  double bytes_per_point = 0;
  double marginal_bytes_per_point = 0;
  // Device memory that went when the backend was created; GPUs only.
  std::optional<std::int64_t> measured_bytes;
  bool finite = true;
  std::optional<SnapshotCost> snapshots;
};

// Times `iterations` iterations one by one, as the host sees them, after a warm-up. Object and
// probe are both updated. `gpu` is the number of the device if it is a GPU. With `snapshots`,
// measures their cost, too.
absl::StatusOr<Timing> TimeIterations(Device& device, std::optional<int> gpu, const BenchScan& scan,
                                      const BenchAlgorithm& algorithm, int iterations,
                                      bool snapshots);

// A backend for `config`, or in words how much memory is missing.
absl::StatusOr<std::unique_ptr<Backend>> CreateChecked(Device& device, const BackendConfig& config);

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_TESTS_BENCH_BENCH_TIMING_H_
