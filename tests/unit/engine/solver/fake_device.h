#ifndef PTYCHOSERVE_TESTS_UNIT_ENGINE_SOLVER_FAKE_DEVICE_H_
#define PTYCHOSERVE_TESTS_UNIT_ENGINE_SOLVER_FAKE_DEVICE_H_

#include <algorithm>
#include <complex>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/backend/backend.h"

namespace ptychoserve {

// What a FakeBackend saw, and what it is to answer. Outlives the backend.
struct FakeRecord {
  std::vector<std::int32_t> loaded_slots;
  std::vector<std::size_t> active_counts;   // Of each SetActivePoints.
  std::vector<PointWindow> active;          // Of the last one.
  std::vector<AlgorithmConfig> algorithms;  // Of each iteration.
  std::vector<IterationOptions> options;    // Of each iteration.
  std::vector<Region> cleared;
  Region canvas;
  std::vector<std::string> calls;  // Of SetCanvas, SetProbe, SetObject, SetActivePoints.
  ComplexStack object;             // The last one set.
  int probes_set = 0;
  ComplexStack probe;                                          // The last one.
  std::vector<double> rescaled;                                // By which factors.
  std::function<float(int)> coverage = [](int) { return 1; };  // Of the canvas's pixels.
  std::function<double(int)> probe_power = [](int) { return 0.0; };
  int evaluations = 0;
  std::vector<PointWindow> evaluated;         // In the last of them.
  std::function<void()> on_evaluate = [] {};  // During each of them.
  int destroyed = 0;
  std::function<bool(int)> is_nan = [](int) { return false; };  // After that iteration, 0-based.
  std::optional<int> fail_at_iteration;
  absl::Status failure = absl::InternalError("device lost");
  int probes_read = 0;
  int refinements = 0;
  RefinementSums refined;  // Of every other point.
  FloatImage background;
  ComplexStack components;
  bool loads_beside = false;
  bool hold_copies = false;  // Frames are copied only when somebody waits for it.
  bool fail_to_load = false;
  std::function<void()> on_load = [] {};  // After frames have been given to LoadFrames.
  std::int64_t being_copied = 0;
  std::function<double(int)> r_factor = [](int) { return 0.5; };
  std::function<double(int)> evaluated_r = [](int) { return 0.25; };  // Of each Evaluate.
};

// A Backend without arithmetic. The object's pixels hold the number of iterations done, so that
// a snapshot can be matched with its iteration.
class FakeBackend final : public Backend {
 public:
  FakeBackend(const BackendConfig& config, FakeRecord& record) : config_(config), record_(record) {}
  ~FakeBackend() override { ++record_.destroyed; }

  absl::Status SetCanvas(const Region& canvas) override {
    record_.calls.push_back("canvas");
    record_.canvas = canvas;
    return absl::OkStatus();
  }
  absl::Status LoadFrames(std::span<const FrameToLoad> frames) override {
    if (record_.fail_to_load) return absl::InternalError("no copy");
    for (const FrameToLoad& f : frames) record_.loaded_slots.push_back(f.slot);
    record_.being_copied += static_cast<std::int64_t>(frames.size());
    record_.on_load();
    return absl::OkStatus();
  }
  absl::StatusOr<std::int64_t> FramesBeingCopied(std::int64_t at_most) override {
    if (!record_.hold_copies) at_most = 0;
    return record_.being_copied = std::min(record_.being_copied, at_most);
  }
  bool LoadsBeside() const override { return record_.loads_beside; }
  absl::StatusOr<FloatImage> MeanAmplitude(std::span<const std::int32_t>) override {
    return FloatImage{
        config_.frame_shape,
        std::vector<float>(static_cast<std::size_t>(config_.frame_shape.pixels()), 1)};
  }
  // Each pixel holds the slot's number.
  absl::StatusOr<FloatImage> ReadFrame(std::int32_t slot) override {
    return FloatImage{config_.frame_shape,
                      std::vector<float>(static_cast<std::size_t>(config_.frame_shape.pixels()),
                                         static_cast<float>(slot))};
  }
  absl::Status SetProbe(const ComplexStack& probe) override {
    record_.calls.push_back("probe");
    ++record_.probes_set;
    record_.probe = probe;
    return absl::OkStatus();
  }
  absl::Status SetObject(const ComplexStack& object) override {
    record_.calls.push_back("object");
    record_.object = object;
    return absl::OkStatus();
  }
  absl::Status SetActivePoints(std::span<const PointWindow> points) override {
    record_.calls.push_back("points");
    record_.active_counts.push_back(points.size());
    record_.active.assign(points.begin(), points.end());
    return absl::OkStatus();
  }
  absl::Status ClearObject(const Region& region) override {
    record_.cleared.push_back(region);
    return absl::OkStatus();
  }
  absl::Status Shift(int, int) override { return absl::OkStatus(); }
  absl::Status Rescale(double factor) override {
    record_.rescaled.push_back(factor);
    return absl::OkStatus();
  }
  absl::StatusOr<IterationMetrics> Iterate(const AlgorithmConfig& algorithm,
                                           const IterationOptions& options) override {
    const int n = iterations_++;
    if (record_.fail_at_iteration == n) return record_.failure;
    record_.algorithms.push_back(algorithm);
    record_.options.push_back(options);
    IterationMetrics metrics;
    metrics.r_factor = record_.r_factor(n);
    metrics.probe_power = record_.probe_power(n);
    metrics.finite = !record_.is_nan(n);
    return metrics;
  }
  absl::StatusOr<std::vector<FrameFit>> Evaluate(std::span<const PointWindow> points) override {
    record_.evaluated.assign(points.begin(), points.end());
    const double r = record_.evaluated_r(record_.evaluations++);
    record_.on_evaluate();
    // Poisson NLL is 1.5.
    const FrameFit each{.abs_deviation = 4 * r,
                        .amplitude = 4,
                        .squared_deviation = 1,
                        .counts = 4,
                        .trusted = 4,
                        .non_zero = 4,
                        .excess = 3};
    return std::vector<FrameFit>(points.size(), each);
  }
  absl::StatusOr<Refinement> Refine(const StageRefinement& which, double) override {
    ++record_.refinements;
    Refinement found;
    if (which.points()) found.points.resize(record_.active.size());
    for (std::size_t j = 0; j < found.points.size(); j += 2) found.points[j] = record_.refined;
    const auto pixels = static_cast<std::size_t>(config_.frame_shape.pixels());
    if (which.background) {
      record_.background = {config_.frame_shape, std::vector<float>(pixels, 3)};
    }
    if (which.variation) {
      // The k-th component is to be lit at its k-th pixel.
      const int components = config_.probe_components;
      found.component_sums = ComplexStack(components * config_.probe_modes, config_.frame_shape);
      for (std::size_t k = 0; k < static_cast<std::size_t>(components); ++k) {
        found.component_sums.data[k * pixels * config_.probe_modes + k] = 1;
      }
      found.component_weights.assign(static_cast<std::size_t>(components) * pixels, 1);
    }
    return found;
  }
  absl::StatusOr<ComplexStack> ReadProbeComponents() override { return record_.components; }
  absl::Status SetProbeComponents(const ComplexStack& components) override {
    record_.components = components;
    return absl::OkStatus();
  }
  absl::StatusOr<FloatImage> ReadBackground() override { return record_.background; }
  absl::Status SetBackground(const FloatImage& background) override {
    record_.background = background;
    return absl::OkStatus();
  }
  absl::StatusOr<CollectReadback> StartReadback() override {
    Readback r;
    r.canvas = record_.canvas;
    r.object = ComplexStack(config_.object_modes, record_.canvas.shape,
                            Complex64(static_cast<float>(iterations_)));
    r.probe = ComplexStack(config_.probe_modes, config_.frame_shape,
                           Complex64(static_cast<float>(iterations_)));
    r.coverage.shape = record_.canvas.shape;
    for (int i = 0; i < record_.canvas.shape.pixels(); ++i) {
      r.coverage.data.push_back(record_.coverage(i));
    }
    return CollectReadback([r = std::move(r)]() mutable { return std::move(r); });
  }
  absl::StatusOr<ComplexStack> ReadProbe() override {
    ++record_.probes_read;
    return ComplexStack(1, config_.frame_shape, Complex64(1));
  }
  absl::StatusOr<ExitWaveState> ReadExitWaves() override { return ExitWaveState(); }
  absl::Status SetExitWaves(std::span<const ExitWaveToSet>) override { return absl::OkStatus(); }
  absl::StatusOr<std::optional<MomentumState>> ReadMomentum() override { return std::nullopt; }
  absl::Status SetMomentum(const MomentumState&) override { return absl::OkStatus(); }

 private:
  BackendConfig config_;
  FakeRecord& record_;
  int iterations_ = 0;
};

class FakeDevice final : public Device {
 public:
  std::string name() const override { return "fake"; }
  std::string description() const override { return "no arithmetic"; }
  std::int64_t EstimateBytes(const BackendConfig&) const override { return 1000; }
  std::int64_t total_bytes() const override { return 1 << 20; }
  std::int64_t usable_bytes() const override { return 1 << 20; }
  absl::StatusOr<std::unique_ptr<Backend>> CreateBackend(const BackendConfig& config) override {
    return std::make_unique<FakeBackend>(config, record);
  }

  FakeRecord record;
};

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_TESTS_UNIT_ENGINE_SOLVER_FAKE_DEVICE_H_
