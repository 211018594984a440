#include "tests/bench/bench_convergence.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <memory>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "engine/base/status_macros.h"
#include "tests/bench/bench_scan.h"
#include "tests/bench/bench_timing.h"

namespace ptychoserve {
namespace {

using SteadyClock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

// Where the object is compared: inside the rectangle that the centres of the beam span, with a
// border around it for the fit of a shift; the middle of it for large scans.
constexpr int kInsetPx = 8;
constexpr int kMaxBorderPx = 48;
constexpr int kMaxComparedPx = 1024;
constexpr int kMinComparedPx = 16;

constexpr int kWarmUp = 2;  // Iterations of each algorithm; what they do is undone.

bool IsCheckpoint(int iteration) {
  int scale = 1;
  while (iteration >= 100 * scale) scale *= 10;
  if (iteration % scale != 0) return false;
  const int mantissa = iteration / scale;  // Below 100.
  if (mantissa <= 10) return true;
  constexpr int kLater[] = {12, 15, 20, 25, 30, 40, 50, 60, 80};
  return std::ranges::find(kLater, mantissa) != std::end(kLater);
}

// The compared pixels along one axis and the border around them, on the absolute lattice.
struct Span {
  int begin = 0;
  int size = 0;
};
absl::StatusOr<Span> ComparedSpan(const std::vector<double>& centres_m, double pixel_m,
                                  int border) {
  const auto [low, high] = std::ranges::minmax(centres_m);
  int begin = static_cast<int>(std::ceil(low / pixel_m)) + kInsetPx;
  int end = static_cast<int>(std::floor(high / pixel_m)) - kInsetPx;
  if (end - begin < kMinComparedPx) {
    return absl::InvalidArgumentError(absl::StrCat("the scan spans ", std::max(0, end - begin),
                                                   " pixels, too few to compare; at "
                                                   "least ",
                                                   kMinComparedPx,
                                                   " are needed: take more frames"));
  }
  if (end - begin > kMaxComparedPx) {
    begin = (begin + end - kMaxComparedPx) / 2;
    end = begin + kMaxComparedPx;
  }
  return Span{begin - border, end - begin + 2 * border};
}

// The part of `image`, which lies at `at`, inside `region`.
ComplexStack Cut(const ComplexStack& image, const Region& at, const Region& region) {
  ComplexStack cut(image.modes, region.shape);
  auto to = cut.data.begin();
  for (int mode = 0; mode < image.modes; ++mode) {
    auto from = image.data.begin() + mode * image.shape.pixels() +
                std::int64_t{region.row - at.row} * at.shape.cols + region.col - at.col;
    for (int y = 0; y < region.shape.rows; ++y, from += at.shape.cols) {
      to = std::copy_n(from, region.shape.cols, to);
    }
  }
  return cut;
}

absl::StatusOr<ComplexStack> ReadObject(Backend& backend, const Region& region) {
  PS_ASSIGN_OR_RETURN(Backend::CollectReadback collect, backend.StartReadback());
  PS_ASSIGN_OR_RETURN(const Readback readback, std::move(collect)());
  return Cut(readback.object, readback.canvas, region);
}

// Runs each algorithm a little, so that nothing of what follows happens for the first time.
absl::Status WarmUp(const std::vector<BenchStage>& schedule, const BenchScan& scan,
                    Backend& backend) {
  for (const BenchStage& stage : schedule) {
    for (int i = 0; i < kWarmUp; ++i) {
      PS_RETURN_IF_ERROR(backend.Iterate(stage.algorithm.config, {}).status());
    }
  }
  return Restart(scan, backend);
}

}  // namespace

absl::StatusOr<std::vector<BenchStage>> ParseSchedule(absl::string_view text) {
  std::vector<BenchStage> schedule;
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    const std::vector<absl::string_view> words = absl::StrSplit(part, ':');
    BenchStage stage;
    if (words.size() != 2 || !absl::SimpleAtoi(words[1], &stage.iterations) ||
        stage.iterations < 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("stage '", part, "'; must be an algorithm and iterations, such as dm:50"));
    }
    PS_ASSIGN_OR_RETURN(stage.algorithm, AlgorithmNamed(words[0]));
    schedule.push_back(std::move(stage));
  }
  return schedule;
}

absl::StatusOr<Convergence> RunConvergence(Device& device, const SimulationConfig& config,
                                           const std::vector<BenchStage>& schedule, bool half_waves,
                                           ThreadPool& pool) {
  Convergence result;
  const auto begin = SteadyClock::now();
  const Simulation simulation(config);
  const int border = std::min(kMaxBorderPx, config.frame_side / 2 - kInsetPx);
  PS_ASSIGN_OR_RETURN(const Span rows,
                      ComparedSpan(simulation.y_m(), simulation.pixel_size().y_m, border));
  PS_ASSIGN_OR_RETURN(const Span cols,
                      ComparedSpan(simulation.x_m(), simulation.pixel_size().x_m, border));
  const Region compared{rows.begin, cols.begin, {rows.size, cols.size}};
  BenchScan scan = FullScan(simulation, pool);
  scan.half_waves = half_waves;
  result.points = scan.points();
  result.simulation_s = Seconds(SteadyClock::now() - begin).count();

  const bool keeps_exit_waves = std::ranges::any_of(
      schedule, [](const BenchStage& stage) { return stage.algorithm.keeps_exit_waves(); });
  PS_ASSIGN_OR_RETURN(const std::unique_ptr<Backend> backend,
                      CreateChecked(device, scan.ConfigFor(keeps_exit_waves)));
  PS_RETURN_IF_ERROR(Load(scan, *backend));
  PS_RETURN_IF_ERROR(WarmUp(schedule, scan, *backend));

  std::vector<ComplexStack> objects;
  const auto note = [&](int iteration, double seconds, double r_factor) -> absl::Status {
    PS_ASSIGN_OR_RETURN(ComplexStack object, ReadObject(*backend, compared));
    objects.push_back(std::move(object));
    result.checkpoints.push_back({iteration, seconds, {}, r_factor});
    return absl::OkStatus();
  };
  PS_RETURN_IF_ERROR(note(0, 0, std::nan("")));
  int iteration = 0;
  Seconds seconds{0};
  for (const BenchStage& stage : schedule) {
    for (int i = 1; i <= stage.iterations; ++i) {
      IterationOptions options;
      options.update_probe = iteration >= ProbeConfig().start_update;
      const auto start = SteadyClock::now();
      PS_ASSIGN_OR_RETURN(const IterationMetrics metrics,
                          backend->Iterate(stage.algorithm.config, options));
      seconds += SteadyClock::now() - start;
      ++iteration;
      if (i == stage.iterations || IsCheckpoint(iteration)) {
        PS_RETURN_IF_ERROR(note(iteration, seconds.count(), metrics.r_factor));
      }
    }
  }

  const ComplexStack truth = Cut(simulation.object(), scan.canvas, compared);
  pool.ParallelFor(static_cast<std::int64_t>(objects.size()), [&](std::int64_t i, int) {
    const std::size_t k = static_cast<std::size_t>(i);
    result.checkpoints[k].error = CompareObjects(objects[k], truth, border);
  });
  return result;
}

std::optional<double> SecondsTo(double level, const std::vector<Checkpoint>& checkpoints) {
  for (std::size_t i = 1; i < checkpoints.size(); ++i) {
    const Checkpoint &before = checkpoints[i - 1], &after = checkpoints[i];
    if (!(after.error.complex_error <= level)) continue;
    if (before.error.complex_error <= level) return before.seconds;
    const double whole = std::log(after.error.complex_error / before.error.complex_error);
    const double part = std::log(level / before.error.complex_error) / whole;
    return before.seconds + part * (after.seconds - before.seconds);
  }
  return std::nullopt;
}

}  // namespace ptychoserve
