#include "tests/bench/bench_timing.h"

#include <algorithm>
#include <chrono>
#include <future>
#include <memory>
#include <numeric>
#include <vector>

#include "absl/strings/str_format.h"
#include "engine/base/status_macros.h"
#include "tests/bench/device_floor.h"

namespace ptychoserve {
namespace {

using SteadyClock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

constexpr int kWarmUp = 3;
constexpr Seconds kSnapshotInterval{0.1};
constexpr int kTurns = 3;
constexpr Seconds kTurn{1};

double Median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// Takes a snapshot every now and then, as a session that clients look at.
class Snapshots {
 public:
  explicit Snapshots(Backend& backend) : backend_(backend) {}

  // Between two iterations: fetches the snapshot that has arrived, starts one that is due.
  absl::Status AfterIteration() {
    if (arriving_.valid()) {
      if (arriving_.wait_for(Seconds(0)) != std::future_status::ready) return absl::OkStatus();
      PS_RETURN_IF_ERROR(Finish());
    }
    if (SteadyClock::now() - started_ < kSnapshotInterval) return absl::OkStatus();
    started_ = SteadyClock::now();
    PS_ASSIGN_OR_RETURN(Backend::CollectReadback collect, backend_.StartReadback());
    arriving_ =
        std::async(std::launch::async, [collect = std::move(collect)]() mutable -> absl::Status {
          return std::move(collect)().status();
        });
    return absl::OkStatus();
  }

  // Waits for the snapshot under way.
  absl::Status Finish() {
    if (!arriving_.valid()) return absl::OkStatus();
    ++count_;
    return arriving_.get();
  }

  int count() const { return count_; }

 private:
  Backend& backend_;
  SteadyClock::time_point started_;
  int count_ = 0;
  std::future<absl::Status> arriving_;
};

// Iterations per second over one turn, at least two iterations; takes snapshots unless null.
absl::StatusOr<double> IterationRate(Backend& backend, const AlgorithmConfig& algorithm,
                                     Snapshots* snapshots) {
  constexpr int kMinIterations = 2;
  const auto begin = SteadyClock::now();
  Seconds taken{0};
  int iterations = 0;
  while (iterations < kMinIterations || taken < kTurn) {
    PS_RETURN_IF_ERROR(backend.Iterate(algorithm, {}).status());
    if (snapshots != nullptr) PS_RETURN_IF_ERROR(snapshots->AfterIteration());
    taken = SteadyClock::now() - begin;
    ++iterations;
  }
  return iterations / taken.count();
}

absl::StatusOr<SnapshotCost> MeasureSnapshotCost(Backend& backend,
                                                 const AlgorithmConfig& algorithm) {
  // The first one allocates what it is copied to.
  PS_ASSIGN_OR_RETURN(Backend::CollectReadback first, backend.StartReadback());
  PS_RETURN_IF_ERROR(std::move(first)().status());
  Snapshots snapshots(backend);
  std::vector<double> alone, with, losses;
  for (int turn = 0; turn < kTurns; ++turn) {
    PS_ASSIGN_OR_RETURN(const double rate_alone, IterationRate(backend, algorithm, nullptr));
    PS_ASSIGN_OR_RETURN(const double rate_with, IterationRate(backend, algorithm, &snapshots));
    PS_RETURN_IF_ERROR(snapshots.Finish());
    alone.push_back(rate_alone);
    with.push_back(rate_with);
    losses.push_back(100 * (1 - rate_with / rate_alone));
  }
  return SnapshotCost{Median(alone), Median(with), Median(losses), snapshots.count()};
}

// Creates the backend and notes the memory that it takes.
absl::StatusOr<std::unique_ptr<Backend>> CreateMeasured(Device& device, std::optional<int> gpu,
                                                        const BackendConfig& config,
                                                        Timing& timing) {
  timing.estimated_bytes = device.EstimateBytes(config);
  timing.bytes_per_point = static_cast<double>(timing.estimated_bytes) / config.capacity;
  BackendConfig half = config;
  half.capacity = std::max(1, config.capacity / 2);
  if (half.capacity < config.capacity) {
    timing.marginal_bytes_per_point =
        static_cast<double>(timing.estimated_bytes - device.EstimateBytes(half)) /
        (config.capacity - half.capacity);
  }
  if (!gpu.has_value()) return CreateChecked(device, config);

  // The libraries load their code with the first backend, which is not the session's memory.
  half.capacity = 1;
  PS_RETURN_IF_ERROR(CreateChecked(device, half).status());
  PS_ASSIGN_OR_RETURN(const std::int64_t before, FreeDeviceMemory(*gpu));
  PS_ASSIGN_OR_RETURN(std::unique_ptr<Backend> backend, CreateChecked(device, config));
  PS_ASSIGN_OR_RETURN(const std::int64_t after, FreeDeviceMemory(*gpu));
  timing.measured_bytes = before - after;
  return backend;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Backend>> CreateChecked(Device& device,
                                                       const BackendConfig& config) {
  const std::int64_t needed = device.EstimateBytes(config);
  if (needed > device.usable_bytes()) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("%d frames need %.2f GB on %s, which has %.2f GB to give", config.capacity,
                        1e-9 * static_cast<double>(needed), device.name(),
                        1e-9 * static_cast<double>(device.usable_bytes())));
  }
  return device.CreateBackend(config);
}

absl::StatusOr<Timing> TimeIterations(Device& device, std::optional<int> gpu, const BenchScan& scan,
                                      const BenchAlgorithm& algorithm, int iterations,
                                      bool snapshots) {
  Timing timing;
  timing.points = scan.points();
  timing.iterations = iterations;
  const auto begin = SteadyClock::now();
  PS_ASSIGN_OR_RETURN(
      const std::unique_ptr<Backend> backend,
      CreateMeasured(device, gpu, scan.ConfigFor(algorithm.keeps_exit_waves()), timing));
  PS_RETURN_IF_ERROR(Load(scan, *backend));
  timing.setup_s = Seconds(SteadyClock::now() - begin).count();

  std::vector<double> us;
  for (int i = 0; i < kWarmUp + iterations; ++i) {
    const auto start = SteadyClock::now();
    PS_ASSIGN_OR_RETURN(const IterationMetrics metrics, backend->Iterate(algorithm.config, {}));
    const Seconds taken = SteadyClock::now() - start;
    timing.finite = timing.finite && metrics.finite;
    if (i >= kWarmUp) us.push_back(1e6 * taken.count() / timing.points);
  }
  timing.median_us = Median(us);
  timing.min_us = *std::min_element(us.begin(), us.end());
  timing.mean_us = std::accumulate(us.begin(), us.end(), 0.0) / static_cast<double>(us.size());
  if (snapshots) {
    PS_ASSIGN_OR_RETURN(timing.snapshots, MeasureSnapshotCost(*backend, algorithm.config));
  }
  return timing;
}

}  // namespace ptychoserve
