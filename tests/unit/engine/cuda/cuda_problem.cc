#include "tests/unit/engine/cuda/cuda_problem.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <numbers>
#include <numeric>
#include <random>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/backend/cpu/cpu_device.h"
#include "engine/backend/cuda/cuda_device.h"
#include "engine/base/status_macros.h"
#include "engine/fft/fft.h"
#include "gtest/gtest.h"

namespace ptychoserve {
namespace {

using Complex128 = std::complex<double>;

// `modes` of them, each half as bright as the one before.
ComplexStack RandomObject(Shape shape, int modes, std::mt19937& rng) {
  std::uniform_real_distribution<float> amplitude(0.6f, 1.0f), phase(-1.0f, 1.0f);
  ComplexStack object(modes, shape);
  float scale = 1;
  for (auto mode = object.data.begin(); mode != object.data.end(); mode += shape.pixels()) {
    std::generate_n(mode, shape.pixels(),
                    [&] { return std::polar(scale * amplitude(rng), phase(rng)); });
    scale *= std::numbers::sqrt2_v<float> / 2;
  }
  return object;
}

// A bump with a curved and slightly random phase, of about `photons` in all.
ComplexStack RandomMode(Shape shape, double photons, std::mt19937& rng) {
  std::normal_distribution<double> noise(0, 0.1);
  ComplexStack probe(1, shape);
  double power = 0;
  for (int y = 0; y < shape.rows; ++y) {
    for (int x = 0; x < shape.cols; ++x) {
      const double v = (y - shape.rows / 2) / (0.2 * shape.rows);
      const double u = (x - shape.cols / 2) / (0.2 * shape.cols);
      const double r2 = u * u + v * v;
      const Complex128 value = std::polar(std::exp(-r2 / 2), 2 * r2 + noise(rng));
      power += std::norm(value);
      probe.data[static_cast<std::size_t>(y * shape.cols + x)] = Complex64(value);
    }
  }
  const auto scale = static_cast<float>(std::sqrt(photons / power));
  for (Complex64& value : probe.data) value *= scale;
  return probe;
}

// `modes` of them, each half as bright as the one before.
ComplexStack RandomProbe(Shape shape, int modes, double photons, std::mt19937& rng) {
  ComplexStack probe(modes, shape);
  const double first_photons = photons / (2 - std::exp2(1 - modes));
  for (int m = 0; m < modes; ++m) {
    const ComplexStack mode = RandomMode(shape, first_photons * std::exp2(-m), rng);
    std::copy(mode.data.begin(), mode.data.end(), probe.data.begin() + m * shape.pixels());
  }
  return probe;
}

std::vector<Complex128> WindowOf(const Problem& problem, const PointWindow& point,
                                 int object_mode) {
  const Shape shape = problem.config.frame_shape;
  std::vector<Complex128> window(static_cast<std::size_t>(shape.pixels()));
  for (int y = 0; y < shape.rows; ++y) {
    for (int x = 0; x < shape.cols; ++x) {
      const auto at = [&](int dy, int dx) {
        const std::int64_t row = point.row - problem.canvas.row + y + dy;
        const std::int64_t col = point.col - problem.canvas.col + x + dx;
        return Complex128(problem.object.data[static_cast<std::size_t>(
            object_mode * problem.canvas.shape.pixels() + row * problem.canvas.shape.cols + col)]);
      };
      const double fy = point.frac_row, fx = point.frac_col;
      window[static_cast<std::size_t>(y * shape.cols + x)] =
          (1 - fy) * ((1 - fx) * at(0, 0) + fx * at(0, 1)) +
          fy * ((1 - fx) * at(1, 0) + fx * at(1, 1));
    }
  }
  return window;
}

// Σ_lm |Ψ_lm|², the transforms of P_m O_lj or, in the near field, what they are behind free space.
std::vector<double> Intensities(const Problem& problem, const PointWindow& point,
                                const Fft2D<double>& fft) {
  const Shape shape = problem.config.frame_shape;
  std::vector<double> intensities(static_cast<std::size_t>(shape.pixels()));
  std::vector<Complex128> wave(intensities.size()), transfer;
  if (problem.config.near_field) transfer = TransferFunction(*problem.config.near_field, shape);
  for (int object_mode = 0; object_mode < problem.object.modes; ++object_mode) {
    const std::vector<Complex128> window = WindowOf(problem, point, object_mode);
    for (std::size_t mode = 0; mode < problem.probe.data.size(); mode += window.size()) {
      for (std::size_t i = 0; i < window.size(); ++i) {
        wave[i] = Complex128(problem.probe.data[mode + i]) * window[i];
      }
      fft.Forward(wave.data());
      if (problem.config.near_field.has_value()) {
        for (std::size_t i = 0; i < wave.size(); ++i) wave[i] *= transfer[i];
        fft.Inverse(wave.data());
      }
      for (std::size_t i = 0; i < window.size(); ++i) intensities[i] += std::norm(wave[i]);
    }
  }
  return intensities;
}

std::vector<std::byte> Store(const std::vector<double>& counts, FrameStorage storage) {
  std::vector<std::byte> bytes(counts.size() * static_cast<std::size_t>(StorageBytes(storage)));
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (storage == FrameStorage::kU16) {
      const std::uint16_t value =
          counts[i] < 0 ? kUnmeasuredU16 : static_cast<std::uint16_t>(counts[i]);
      std::memcpy(&bytes[i * sizeof(value)], &value, sizeof(value));
    } else {
      const float value = counts[i] < 0 ? kUnmeasuredF32 : static_cast<float>(counts[i]);
      std::memcpy(&bytes[i * sizeof(value)], &value, sizeof(value));
    }
  }
  return bytes;
}

}  // namespace

Device& FirstGpu() {
  static CudaDeviceList list = CudaDevices();
  if (list.devices.empty()) {
    std::fprintf(stderr, "these tests need a GPU: %s\n", list.reason.c_str());
    std::exit(EXIT_FAILURE);
  }
  return *list.devices.front();
}

Device& ReferenceDevice() {
  static const std::unique_ptr<Device> device = CreateCpuDevice();
  return *device;
}

Problem MakeProblem(const ProblemOptions& options) {
  std::mt19937 rng(options.seed);
  const Shape frame = options.frame_shape;
  Problem problem;
  problem.canvas = {-7, 11, {frame.rows + 1 + options.spread, frame.cols + 1 + options.spread}};
  problem.config.frame_shape = frame;
  problem.config.storage = options.storage;
  problem.config.capacity = std::max(options.capacity, options.points);
  problem.config.keeps_exit_waves = options.keeps_exit_waves;
  problem.config.deterministic = options.deterministic;
  problem.config.half_waves = options.half_waves;
  if (options.near_field) problem.config.near_field = FreeSpace{1e-10, 5e-4, {60e-9, 50e-9}};
  problem.config.max_object_pixels = 2 * problem.canvas.shape.pixels();
  problem.config.initial_object = {0.9f, 0.1f};
  problem.config.object_modes = options.object_modes;
  problem.object = RandomObject(problem.canvas.shape, options.object_modes, rng);
  constexpr double kPhotonsPerPixel = 100;
  problem.config.probe_modes = options.modes;
  problem.probe = RandomProbe(frame, options.modes,
                              kPhotonsPerPixel * static_cast<double>(frame.pixels()), rng);

  problem.config.probe_components = options.components;
  problem.components = RandomProbe(frame, options.components * options.modes,
                                   kPhotonsPerPixel * static_cast<double>(frame.pixels()), rng);
  std::uniform_real_distribution<float> coefficient(-0.3f, 0.3f);

  if (options.refined) {
    problem.background.shape = frame;
    std::uniform_real_distribution<float> counts(0.0f, 20.0f);
    for (std::int64_t i = 0; i < frame.pixels(); ++i)
      problem.background.data.push_back(counts(rng));
  }
  std::vector<std::int32_t> slots(static_cast<std::size_t>(problem.config.capacity));
  std::iota(slots.begin(), slots.end(), 0);
  std::shuffle(slots.begin(), slots.end(), rng);
  std::uniform_int_distribution<int> corner(0, options.spread);
  std::uniform_real_distribution<float> remainder(0.0f, 0.999f);
  const Fft2D<double> fft(frame);
  problem.frames.resize(static_cast<std::size_t>(problem.config.capacity));
  for (int i = 0; i < options.points; ++i) {
    PointWindow point;
    point.slot = slots[static_cast<std::size_t>(i)];
    // The first two lie in opposite corners of the canvas.
    point.row = problem.canvas.row + (i == 0 ? 0 : i == 1 ? options.spread : corner(rng));
    point.col = problem.canvas.col + (i == 0 ? 0 : i == 1 ? options.spread : corner(rng));
    point.frac_row = i % 5 == 2 ? 0.0f : remainder(rng);
    point.frac_col = i % 7 == 3 ? 0.0f : remainder(rng);
    if (options.whole_pixels) point.frac_row = point.frac_col = 0;
    if (options.refined) point.intensity = 0.7f + 0.1f * static_cast<float>(i % 7);
    for (int k = 0; k < options.components; ++k) {
      point.variation[static_cast<std::size_t>(k)] = coefficient(rng);
    }
    problem.points.push_back(point);

    std::vector<double> counts(static_cast<std::size_t>(frame.pixels()));
    if (options.measured) {
      const std::vector<double> intensities = Intensities(problem, point, fft);
      std::transform(intensities.begin(), intensities.end(), counts.begin(), [&](double mean) {
        return static_cast<double>(std::poisson_distribution<int>(std::max(mean, 1e-9))(rng));
      });
    } else {
      // A fifth of the pixels is dark.
      std::uniform_int_distribution<int> uniform(-100, 400);
      for (double& value : counts) value = std::max(uniform(rng), 0);
    }
    if (options.untrusted_pixels) {
      std::uniform_int_distribution<std::size_t> pixel(0, counts.size() - 1);
      for (std::size_t k = 0; k < counts.size() / 50 + 1; ++k) counts[pixel(rng)] = -1;
    }
    problem.frames[static_cast<std::size_t>(point.slot)] = Store(counts, options.storage);
  }
  if (options.measured) {
    std::uniform_real_distribution<float> phase_error(-0.3f, 0.3f);
    for (Complex64& value : problem.object.data) value *= std::polar(1.0f, phase_error(rng));
  }
  return problem;
}

std::unique_ptr<Backend> MustCreate(Device& device, const BackendConfig& config) {
  absl::StatusOr<std::unique_ptr<Backend>> backend = device.CreateBackend(config);
  if (!backend.ok()) {
    std::fprintf(stderr, "%s: %s\n", device.name().c_str(), backend.status().ToString().c_str());
    std::exit(EXIT_FAILURE);
  }
  return *std::move(backend);
}

absl::Status Load(const Problem& problem, std::span<const PointWindow> points, Backend& backend) {
  std::vector<FrameToLoad> frames;
  for (const PointWindow& point : points) {
    frames.push_back({point.slot, problem.frames[static_cast<std::size_t>(point.slot)].data()});
  }
  return backend.LoadFrames(frames);
}

absl::Status Prepare(const Problem& problem, Backend& backend) {
  PS_RETURN_IF_ERROR(backend.SetCanvas(problem.canvas));
  PS_RETURN_IF_ERROR(backend.SetObject(problem.object));
  PS_RETURN_IF_ERROR(backend.SetProbe(problem.probe));
  PS_RETURN_IF_ERROR(backend.SetProbeComponents(problem.components));
  PS_RETURN_IF_ERROR(Load(problem, problem.points, backend));
  if (!problem.background.data.empty()) {
    PS_RETURN_IF_ERROR(backend.SetBackground(problem.background));
  }
  return backend.SetActivePoints(problem.points);
}

double Deviation(std::span<const Complex64> a, std::span<const Complex64> reference) {
  return Deviation(
      std::span(reinterpret_cast<const float*>(a.data()), 2 * a.size()),
      std::span(reinterpret_cast<const float*>(reference.data()), 2 * reference.size()));
}

double Deviation(std::span<const float> a, std::span<const float> reference) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (a.size() != reference.size()) return kInfinity;
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double d = static_cast<double>(a[i]) - reference[i];
    difference += d * d;
    norm += static_cast<double>(reference[i]) * reference[i];
  }
  if (difference == 0) return 0;
  const double deviation = std::sqrt(difference / norm);
  return std::isfinite(deviation) ? deviation : kInfinity;
}

double Deviation(double a, double reference) {
  if (a == reference) return 0;
  const double deviation = std::abs(a - reference) / std::abs(reference);
  return std::isfinite(deviation) ? deviation : std::numeric_limits<double>::infinity();
}

double Deviations::Largest() const {
  return std::max({object, probe, coverage, exit_waves, metrics});
}

void Deviations::Include(const Deviations& other) {
  object = std::max(object, other.object);
  probe = std::max(probe, other.probe);
  coverage = std::max(coverage, other.coverage);
  exit_waves = std::max(exit_waves, other.exit_waves);
  metrics = std::max(metrics, other.metrics);
}

std::string Deviations::ToString() const {
  return absl::StrFormat("object %.1e, probe %.1e, coverage %.1e, exit waves %.1e, metrics %.1e",
                         object, probe, coverage, exit_waves, metrics);
}

absl::StatusOr<Readback> ReadNow(Backend& backend) {
  PS_ASSIGN_OR_RETURN(Backend::CollectReadback collect, backend.StartReadback());
  return std::move(collect)();
}

absl::StatusOr<Deviations> Compare(Backend& backend, Backend& reference, bool exit_waves) {
  PS_ASSIGN_OR_RETURN(const Readback a, ReadNow(backend));
  PS_ASSIGN_OR_RETURN(const Readback b, ReadNow(reference));
  if (a.canvas != b.canvas) return absl::InternalError("the canvases differ");
  Deviations deviations;
  deviations.object = Deviation(a.object.data, b.object.data);
  deviations.probe = Deviation(a.probe.data, b.probe.data);
  deviations.coverage = Deviation(a.coverage.data, b.coverage.data);
  if (exit_waves) {
    PS_ASSIGN_OR_RETURN(const ExitWaveState waves, backend.ReadExitWaves());
    PS_ASSIGN_OR_RETURN(const ExitWaveState reference_waves, reference.ReadExitWaves());
    deviations.exit_waves = Deviation(waves.waves.data, reference_waves.waves.data);
  }
  return deviations;
}

Deviations Compare(const IterationMetrics& metrics, const IterationMetrics& reference) {
  const auto of_change = [](double a, double b) {
    constexpr double kSmallest = 0.01;
    return std::abs(a - b) / std::max(b, kSmallest);
  };
  Deviations deviations;
  deviations.metrics = std::max(
      {Deviation(metrics.r_factor, reference.r_factor),
       Deviation(metrics.fourier_error, reference.fourier_error),
       of_change(metrics.object_change, reference.object_change),
       of_change(metrics.probe_change, reference.probe_change),
       Deviation(metrics.step, reference.step),
       metrics.finite == reference.finite ? 0.0 : std::numeric_limits<double>::infinity()});
  return deviations;
}

}  // namespace ptychoserve
