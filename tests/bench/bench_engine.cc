// How quick is the engine on a device, how much memory does it take, and how far is it from what
// the device could do? Needs neither a server nor files.
//
//   bench_engine                                  difference map and ML gradient on the first GPU
//   bench_engine --algorithms dm,ml_grad,epie --frames 1024,4096 --sizes 128,256
//   bench_engine --integer_positions              windows on whole pixels of the object
//   bench_engine --modes 1,4                      a beam of one mode and of four
//   bench_engine --object_modes 2                 a sample in two states
//   bench_engine --deterministic                  the ordered sums in place of the fused passes
//   bench_engine --single_precision_waves         waves in single precision, not in half
//   bench_engine --snapshots                      and what ten snapshots a second cost
//   bench_engine --convergence --frames 1024 --schedule dm:50,ml_grad:50
//   bench_engine --device cpu --frames 64 --sizes 64 --iterations 3
//
// The cases are all combinations of the lists. Each prints a line on standard output; --json FILE
// writes all figures as one document in the end. A case that fails says so on standard error, the
// others go on, and the exit status is 1. A raster has full lines only: 512 frames are 506.
//
// Timing. The scan is a jittered raster with 70 % overlap at 1e7 (n/256)^2 photons; at most 256
// frames are simulated and used again and again, which takes little time and makes no difference
// to that of an iteration. Microseconds are those of one iteration as the host sees it, divided by
// the frames. On a GPU two floors are measured before the case:
//   cuFFT floor  forward and inverse transform of a wave per frame and mode by batched cuFFT in
//                place, and one read of the u16 frame: no chain of library calls can be quicker;
//   copy floor   the bytes that an iteration must move through device memory whatever it does,
//                the u16 frame and for the difference map the complex64 exit waves in and out,
//                at the bandwidth of a copy (read plus written).
// "marginal" are the bytes that one more frame takes, by the device's estimate.
//
// Convergence. All frames are simulated. The reconstruction starts from a flat object and a wrong
// probe; the complex error against the truth is that of CompareObjects, over the rectangle that
// the beam's centres span, at most 1024 x 1024 pixels. Seconds are those of the iterations alone.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "engine/backend/backend.h"
#include "engine/backend/cpu/cpu_device.h"
#include "engine/backend/cuda/cuda_device.h"
#include "engine/base/status_macros.h"
#include "engine/base/thread_pool.h"
#include "engine/base/version.h"
#include "engine/simulation/simulation.h"
#include "tests/bench/bench_algorithm.h"
#include "tests/bench/bench_convergence.h"
#include "tests/bench/bench_json.h"
#include "tests/bench/bench_scan.h"
#include "tests/bench/bench_timing.h"
#include "tests/bench/device_floor.h"

ABSL_FLAG(std::string, device, "cuda:0", "cpu, or cuda:N");
ABSL_FLAG(std::vector<std::string>, algorithms, (std::vector<std::string>{"dm", "ml_grad"}),
          "of dm, raar, ap, ml_grad, ml_plain (without momentum), epie, epie_seq (point after "
          "point), rpie; timing only");
ABSL_FLAG(std::vector<std::string>, frames, {"4096"}, "frames of a scan");
ABSL_FLAG(std::vector<std::string>, sizes, {"256"}, "pixels of a frame's side");
ABSL_FLAG(std::vector<std::string>, modes, {"1"}, "modes of the beam");
ABSL_FLAG(int, object_modes, 1, "modes of the object");
ABSL_FLAG(int, iterations, 20, "iterations that are timed, after the warm-up");
ABSL_FLAG(bool, integer_positions, false, "round positions to whole pixels of the object");
ABSL_FLAG(bool, deterministic, false, "add sums in order, so that results repeat bit for bit");
ABSL_FLAG(bool, single_precision_waves, false, "keep waves in single precision, not in half");
ABSL_FLAG(double, photons, 0, "in each frame; 0: 1e7 at 256 x 256, as many a pixel at other sizes");
ABSL_FLAG(bool, snapshots, false,
          "measure what snapshots at 10 Hz cost, on canvases of at least 2048 x 2048");
ABSL_FLAG(bool, convergence, false, "measure the error against the truth instead of the time");
ABSL_FLAG(std::string, schedule, "dm:60", "stages for --convergence, such as dm:50,ml_grad:50");
ABSL_FLAG(std::string, json, "", "file for all figures");

namespace ptychoserve {
namespace {

constexpr int kSnapshotCanvasSide = 2048;
constexpr double kErrorLevels[] = {0.15, 0.10, 0.06};

struct Options {
  std::vector<BenchAlgorithm> algorithms;
  std::vector<int> frames, sizes, modes;
  int object_modes = 1;
  std::vector<BenchStage> schedule;
  int iterations = 0;
  bool integer_positions = false;
  bool deterministic = false;
  bool half_waves = true;
  double photons = 0;
  bool snapshots = false;
  bool convergence = false;
};

absl::StatusOr<std::vector<int>> ParseList(const char* flag,
                                           const std::vector<std::string>& words) {
  std::vector<int> values;
  for (const std::string& word : words) {
    if (int value = 0; absl::SimpleAtoi(word, &value)) {
      values.push_back(value);
    } else {
      return absl::InvalidArgumentError(absl::StrCat("--", flag, ": '", word, "' is no number"));
    }
  }
  return values;
}

SimulationConfig SimulationFor(const Options& options, int frames, int side, int modes) {
  SimulationConfig simulation = BenchSimulation(frames, side, modes, options.integer_positions);
  simulation.object_modes = options.object_modes;
  if (options.photons > 0) simulation.photons = options.photons;
  return simulation;
}

absl::StatusOr<Options> ParseOptions() {
  Options options;
  for (const std::string& name : absl::GetFlag(FLAGS_algorithms)) {
    PS_ASSIGN_OR_RETURN(BenchAlgorithm algorithm, AlgorithmNamed(name));
    options.algorithms.push_back(std::move(algorithm));
  }
  PS_ASSIGN_OR_RETURN(options.frames, ParseList("frames", absl::GetFlag(FLAGS_frames)));
  PS_ASSIGN_OR_RETURN(options.sizes, ParseList("sizes", absl::GetFlag(FLAGS_sizes)));
  PS_ASSIGN_OR_RETURN(options.modes, ParseList("modes", absl::GetFlag(FLAGS_modes)));
  PS_ASSIGN_OR_RETURN(options.schedule, ParseSchedule(absl::GetFlag(FLAGS_schedule)));
  options.object_modes = absl::GetFlag(FLAGS_object_modes);
  options.iterations = absl::GetFlag(FLAGS_iterations);
  options.integer_positions = absl::GetFlag(FLAGS_integer_positions);
  options.deterministic = absl::GetFlag(FLAGS_deterministic);
  options.half_waves = !absl::GetFlag(FLAGS_single_precision_waves);
  options.photons = absl::GetFlag(FLAGS_photons);
  options.snapshots = absl::GetFlag(FLAGS_snapshots);
  options.convergence = absl::GetFlag(FLAGS_convergence);
  if (options.iterations < 1) return absl::InvalidArgumentError("--iterations must be at least 1");
  for (const int frames : options.frames) {
    for (const int side : options.sizes) {
      for (const int modes : options.modes) {
        PS_RETURN_IF_ERROR(ValidateSimulation(SimulationFor(options, frames, side, modes)));
      }
    }
  }
  return options;
}

// A place to run, and its number if it is a GPU.
struct Place {
  std::unique_ptr<Device> device;
  std::optional<int> gpu;
};

absl::StatusOr<Place> OpenDevice(absl::string_view name) {
  if (name == "cpu") return Place{CreateCpuDevice(), std::nullopt};
  absl::string_view number = name;
  int gpu = 0;
  if (!absl::ConsumePrefix(&number, "cuda:") || !absl::SimpleAtoi(number, &gpu)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--device '", name, "'; must be cpu, or cuda:N, such as cuda:0"));
  }
  CudaDeviceList list = CudaDevices();
  for (std::unique_ptr<Device>& device : list.devices) {
    if (device->name() == name) return Place{std::move(device), gpu};
  }
  return absl::NotFoundError(absl::StrCat(
      "there is no ", name, list.reason.empty() ? "" : ": ", list.reason,
      list.devices.empty() ? "" : absl::StrCat("; GPUs that can be used: ", list.devices.size())));
}

// Must cross device memory in one iteration, per frame.
double CompulsoryBytes(const BenchAlgorithm& algorithm, int side, int waves) {
  constexpr int kFrame = sizeof(std::uint16_t), kWaveInAndOut = 2 * sizeof(Complex64);
  const int per_pixel = kFrame + (algorithm.keeps_exit_waves() ? waves * kWaveInAndOut : 0);
  return static_cast<double>(per_pixel) * side * side;
}

std::string CaseName(int points, int side, int modes, bool integer_positions) {
  return absl::StrFormat("%d x %d^2 x %d %s", points, side, modes,
                         integer_positions ? "integer" : "float");
}

class Bench {
 public:
  Bench(Place place, Options options)
      : place_(std::move(place)), options_(std::move(options)), pool_(Threads()) {}

  absl::Status Prepare() {
    std::printf("%s; %d host threads\n", place_.device->description().c_str(), pool_.threads());
    if (place_.gpu.has_value()) {
      PS_ASSIGN_OR_RETURN(copy_gb_per_s_, MeasureCopyBandwidth(*place_.gpu));
      std::printf("copy from device to device: %.0f GB/s read + written\n", *copy_gb_per_s_);
    }
    return absl::OkStatus();
  }

  // Whether all cases ran.
  bool Run() {
    bool ok = true;
    const auto check = [&](const absl::Status& status, const char* name, const CaseSize& size) {
      (void)std::fflush(stdout);
      if (status.ok()) return;
      std::fprintf(stderr, "bench_engine: %s, %d frames of %d x %d, %d modes: %s\n", name,
                   size.frames, size.side, size.side, size.modes,
                   std::string(status.message()).c_str());
      ok = false;
    };
    for (const CaseSize& size : CaseSizes()) {
      if (options_.convergence) {
        check(RunConvergenceCase(size), "convergence", size);
        continue;
      }
      const BenchScan scan = ScanFor(size);
      for (const BenchAlgorithm& algorithm : options_.algorithms) {
        check(RunTimingCase(scan, algorithm), algorithm.name.c_str(), size);
      }
    }
    return ok;
  }

  std::string Json() const {
    JsonObject document;
    document.AddString("ptychoserve", kVersion);
    document.AddString("device", place_.device->name());
    document.AddString("description", place_.device->description());
    document.AddNumber("host_threads", pool_.threads());
    if (copy_gb_per_s_.has_value()) document.AddNumber("copy_gb_per_s", *copy_gb_per_s_);
    document.AddObjects(options_.convergence ? "convergence" : "timing", results_);
    return document.Text();
  }

 private:
  static int Threads() {
    return static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  }

  // Frames of one size, simulated once for all cases that are only timed.
  struct Few {
    std::unique_ptr<const Simulation> simulation;
    std::vector<std::vector<std::uint16_t>> frames;
  };

  // One of the combinations of the lists.
  struct CaseSize {
    int frames;
    int side;
    int modes;
  };
  std::vector<CaseSize> CaseSizes() const {
    std::vector<CaseSize> sizes;
    for (const int side : options_.sizes) {
      for (const int frames : options_.frames) {
        for (const int modes : options_.modes) sizes.push_back({frames, side, modes});
      }
    }
    return sizes;
  }

  BenchScan ScanFor(const CaseSize& size) {
    const int distinct = std::min(size.frames, kMaxDistinctFrames);
    Few& few = few_[{size.side, distinct, size.modes}];
    if (few.simulation == nullptr) {
      few.simulation = std::make_unique<const Simulation>(
          SimulationFor(options_, distinct, size.side, size.modes));
      few.frames = SimulateFrames(*few.simulation, pool_);
    }
    BenchScan scan =
        TimingScan(*few.simulation, few.frames, size.frames, options_.integer_positions,
                   options_.snapshots ? kSnapshotCanvasSide : 0);
    scan.deterministic = options_.deterministic;
    scan.half_waves = options_.half_waves;
    return scan;
  }

  absl::StatusOr<FftFloor> FftFloorFor(int side, int frames) {
    std::optional<FftFloor>& floor = fft_floors_[{side, frames}];
    if (!floor.has_value()) {
      PS_ASSIGN_OR_RETURN(floor, MeasureFftFloor(*place_.gpu, side, frames));
    }
    return *floor;
  }

  JsonObject CaseJson(const CaseSize& size) const {
    JsonObject json;
    json.AddNumber("frames", size.frames);
    json.AddNumber("side", size.side);
    json.AddNumber("modes", size.modes);
    json.AddNumber("object_modes", options_.object_modes);
    json.AddBool("integer_positions", options_.integer_positions);
    json.AddBool("deterministic", options_.deterministic);
    json.AddBool("half_waves", options_.half_waves);
    return json;
  }

  absl::Status RunTimingCase(const BenchScan& scan, const BenchAlgorithm& algorithm) {
    std::optional<FftFloor> fft;
    if (place_.gpu.has_value()) {
      PS_ASSIGN_OR_RETURN(fft, FftFloorFor(scan.side, scan.points()));
    }
    PS_ASSIGN_OR_RETURN(const Timing timing,
                        TimeIterations(*place_.device, place_.gpu, scan, algorithm,
                                       options_.iterations, options_.snapshots));
    const int modes = scan.probe.modes;
    const int waves = modes * scan.object_modes;
    const double bytes = CompulsoryBytes(algorithm, scan.side, waves);

    std::printf("%-7s %s: %.3f us/frame (min %.3f)", algorithm.name.c_str(),
                CaseName(timing.points, scan.side, modes, options_.integer_positions).c_str(),
                timing.median_us, timing.min_us);
    JsonObject json = CaseJson({timing.points, scan.side, modes});
    json.AddString("algorithm", algorithm.name);
    json.AddNumber("iterations", timing.iterations);
    json.AddNumber("us_per_frame_median", timing.median_us);
    json.AddNumber("us_per_frame_min", timing.min_us);
    json.AddNumber("us_per_frame_mean", timing.mean_us);
    json.AddNumber("compulsory_gb_per_s", 1e-3 * bytes / timing.median_us);
    if (fft.has_value() && copy_gb_per_s_.has_value()) {
      const double floor_us = waves * fft->fft_us + fft->read_us;
      const double copy_us = 1e-3 * bytes / *copy_gb_per_s_;
      std::printf(", %.2f x cuFFT floor %.3f, %.2f x copy floor %.3f", timing.median_us / floor_us,
                  floor_us, timing.median_us / copy_us, copy_us);
      json.AddNumber("cufft_floor_us", floor_us);
      json.AddNumber("cufft_us", waves * fft->fft_us);
      json.AddNumber("read_us", fft->read_us);
      json.AddNumber("cufft_batch", fft->batch);
      json.AddNumber("ratio_to_cufft_floor", timing.median_us / floor_us);
      json.AddNumber("copy_floor_us", copy_us);
      json.AddNumber("ratio_to_copy_floor", timing.median_us / copy_us);
    }
    std::printf("; %.1f kB/point (marginal %.1f), %.3f GB estimated", 1e-3 * timing.bytes_per_point,
                1e-3 * timing.marginal_bytes_per_point,
                1e-9 * static_cast<double>(timing.estimated_bytes));
    json.AddNumber("bytes_per_point", timing.bytes_per_point);
    json.AddNumber("marginal_bytes_per_point", timing.marginal_bytes_per_point);
    json.AddNumber("estimated_bytes", static_cast<double>(timing.estimated_bytes));
    if (timing.measured_bytes.has_value()) {
      std::printf(", %.3f measured", 1e-9 * static_cast<double>(*timing.measured_bytes));
      json.AddNumber("measured_bytes", static_cast<double>(*timing.measured_bytes));
    }
    std::printf("; canvas %d x %d, set up in %.1f s%s\n", scan.canvas.shape.rows,
                scan.canvas.shape.cols, timing.setup_s, timing.finite ? "" : "; NOT FINITE");
    json.AddNumber("canvas_rows", scan.canvas.shape.rows);
    json.AddNumber("canvas_cols", scan.canvas.shape.cols);
    json.AddNumber("setup_s", timing.setup_s);
    json.AddBool("finite", timing.finite);
    if (timing.snapshots.has_value()) {
      const SnapshotCost& cost = *timing.snapshots;
      std::printf(
          "        snapshots at 10 Hz: %.2f iterations/s alone, %.2f with %d snapshots, "
          "loss %.2f %%\n",
          cost.rate_alone, cost.rate_with, cost.snapshots, cost.loss_percent);
      JsonObject snapshots;
      snapshots.AddNumber("iterations_per_s_alone", cost.rate_alone);
      snapshots.AddNumber("iterations_per_s_with", cost.rate_with);
      snapshots.AddNumber("loss_percent", cost.loss_percent);
      snapshots.AddNumber("snapshots", cost.snapshots);
      json.AddObject("snapshots", snapshots);
    }
    results_.push_back(std::move(json));
    return absl::OkStatus();
  }

  absl::Status RunConvergenceCase(const CaseSize& size) {
    const int side = size.side;
    PS_ASSIGN_OR_RETURN(
        const Convergence run,
        RunConvergence(*place_.device, SimulationFor(options_, size.frames, side, size.modes),
                       options_.schedule, options_.half_waves, pool_));
    const std::string schedule = absl::GetFlag(FLAGS_schedule);
    const std::string name = CaseName(run.points, side, size.modes, options_.integer_positions);
    JsonObject json = CaseJson({run.points, side, size.modes});
    json.AddString("schedule", schedule);
    json.AddNumber("simulation_s", run.simulation_s);
    std::printf("%s %s: simulated in %.1f s\niteration   seconds  complex error  phase rms  R\n",
                schedule.c_str(), name.c_str(), run.simulation_s);
    std::vector<JsonObject> checkpoints;
    for (const Checkpoint& c : run.checkpoints) {
      std::printf("%9d  %8.3f  %13.4f  %9.4f  %.4f\n", c.iteration, c.seconds,
                  c.error.complex_error, c.error.phase_rms_rad, c.r_factor);
      JsonObject checkpoint;
      checkpoint.AddNumber("iteration", c.iteration);
      checkpoint.AddNumber("seconds", c.seconds);
      checkpoint.AddNumber("complex_error", c.error.complex_error);
      checkpoint.AddNumber("phase_rms_rad", c.error.phase_rms_rad);
      checkpoint.AddNumber("r_factor", c.r_factor);
      checkpoints.push_back(std::move(checkpoint));
    }
    json.AddObjects("checkpoints", checkpoints);

    const Checkpoint& last = run.checkpoints.back();
    std::printf("%s %s: error %.4f after %d iterations and %.3f s", schedule.c_str(), name.c_str(),
                last.error.complex_error, last.iteration, last.seconds);
    std::vector<JsonObject> levels;
    for (const double error : kErrorLevels) {
      const std::optional<double> seconds = SecondsTo(error, run.checkpoints);
      std::printf(
          "; %.2f %s", error,
          seconds.has_value() ? absl::StrFormat("in %.3f s", *seconds).c_str() : "not reached");
      JsonObject level;
      level.AddNumber("complex_error", error);
      level.AddNumber("seconds", seconds.value_or(std::nan("")));
      levels.push_back(std::move(level));
    }
    std::printf("\n");
    json.AddObjects("time_to_error", levels);
    results_.push_back(std::move(json));
    return absl::OkStatus();
  }

  Place place_;
  Options options_;
  ThreadPool pool_;
  std::optional<double> copy_gb_per_s_;
  std::map<std::tuple<int, int, int>, Few> few_;                       // By side, frames and modes.
  std::map<std::pair<int, int>, std::optional<FftFloor>> fft_floors_;  // By side and frames.
  std::vector<JsonObject> results_;
};

absl::Status WriteFile(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text << "\n";
  file.close();
  if (!file) return absl::InternalError(absl::StrCat("cannot write ", path));
  return absl::OkStatus();
}

absl::StatusOr<bool> Main() {
  PS_ASSIGN_OR_RETURN(Options options, ParseOptions());
  PS_ASSIGN_OR_RETURN(Place place, OpenDevice(absl::GetFlag(FLAGS_device)));
  Bench bench(std::move(place), std::move(options));
  PS_RETURN_IF_ERROR(bench.Prepare());
  const bool ok = bench.Run();
  if (const std::string path = absl::GetFlag(FLAGS_json); !path.empty()) {
    PS_RETURN_IF_ERROR(WriteFile(path, bench.Json()));
  }
  return ok;
}

}  // namespace
}  // namespace ptychoserve

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage(
      "Time, memory and convergence of the engine on one device, by a matrix of cases.");
  const std::vector<char*> rest = absl::ParseCommandLine(argc, argv);
  if (rest.size() > 1) {
    std::fprintf(stderr, "bench_engine: '%s' is no flag; see --help\n", rest[1]);
    return EXIT_FAILURE;
  }
  const absl::StatusOr<bool> ok = ptychoserve::Main();
  if (!ok.ok()) {
    std::fprintf(stderr, "bench_engine: %s\n", std::string(ok.status().message()).c_str());
    return EXIT_FAILURE;
  }
  return *ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
