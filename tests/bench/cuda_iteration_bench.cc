// Time of one iteration on the first GPU, per frame, for a scan of random data.
// Usage: cuda_iteration_bench [POINTS [SIDE]]

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "engine/backend/cuda/cuda_device.h"

namespace ptychoserve {
namespace {

constexpr int kStep_px = 10;  // Between neighbouring points of the raster.
constexpr int kWarmUp = 3;
constexpr int kRepeats = 11;

template <typename T>
T Must(absl::StatusOr<T> value) {
  if (!value.ok()) {
    std::fprintf(stderr, "%s\n", value.status().ToString().c_str());
    std::exit(EXIT_FAILURE);
  }
  return *std::move(value);
}
void Must(const absl::Status& status) {
  Must(absl::StatusOr<int>(status.ok() ? absl::StatusOr<int>(0) : status));
}

int Run(int points, int side) {
  const CudaDeviceList list = CudaDevices();
  if (list.devices.empty()) {
    std::fprintf(stderr, "%s\n", list.reason.c_str());
    return EXIT_FAILURE;
  }
  const int per_row = static_cast<int>(std::lround(std::sqrt(points)));
  const int canvas_side = side + kStep_px * (per_row + points / per_row) + 1;
  BackendConfig config;
  config.frame_shape = {side, side};
  config.capacity = points;
  config.keeps_exit_waves = true;
  config.max_object_pixels = static_cast<std::int64_t>(canvas_side) * canvas_side;
  Device& device = *list.devices.front();
  const std::unique_ptr<Backend> backend = Must(device.CreateBackend(config));

  std::mt19937 rng(1);
  std::uniform_real_distribution<float> uniform(-1.0f, 1.0f);
  std::uniform_int_distribution<int> counts(0, 399);
  ComplexStack object(1, {canvas_side, canvas_side}), probe(1, config.frame_shape);
  for (Complex64& value : object.data) value = {uniform(rng), uniform(rng)};
  for (Complex64& value : probe.data) value = {10 * uniform(rng), 10 * uniform(rng)};
  // A few different frames are enough: each slot has its own copy on the device.
  std::vector<std::vector<std::uint16_t>> frames(16);
  for (auto& frame : frames) {
    frame.resize(static_cast<std::size_t>(config.frame_shape.pixels()));
    for (std::uint16_t& value : frame) value = static_cast<std::uint16_t>(counts(rng));
  }
  std::vector<PointWindow> windows;
  std::vector<FrameToLoad> loads;
  for (int i = 0; i < points; ++i) {
    windows.push_back({i, i / per_row * kStep_px, i % per_row * kStep_px,
                       0.5f + 0.49f * uniform(rng), 0.5f + 0.49f * uniform(rng)});
    const auto& frame = frames[static_cast<std::size_t>(i) % frames.size()];
    loads.push_back({i, reinterpret_cast<const std::byte*>(frame.data())});
  }
  Must(backend->SetCanvas({0, 0, object.shape}));
  Must(backend->SetObject(object));
  Must(backend->SetProbe(probe));
  Must(backend->LoadFrames(loads));
  Must(backend->SetActivePoints(windows));

  std::printf("%s; %d frames of %d x %d, %.2f GiB\n", device.description().c_str(), points, side,
              side, static_cast<double>(device.EstimateBytes(config)) / (1 << 30));
  const auto measure = [&](const char* name, const AlgorithmConfig& algorithm) {
    std::vector<double> seconds;
    for (int i = 0; i < kWarmUp + kRepeats; ++i) {
      const auto start = std::chrono::steady_clock::now();
      Must(backend->Iterate(algorithm, {}));
      const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
      if (i >= kWarmUp) seconds.push_back(taken.count());
    }
    std::nth_element(seconds.begin(), seconds.begin() + kRepeats / 2, seconds.end());
    const double median = seconds[kRepeats / 2];
    std::printf("%-16s %8.3f ms per iteration, %6.3f us per frame\n", name, median * 1e3,
                median * 1e6 / points);
  };
  measure("difference map", DifferenceMapConfig{});
  measure("ML gradient", MlGradientConfig{});
  measure("ePIE", EpieConfig{});
  return EXIT_SUCCESS;
}

}  // namespace
}  // namespace ptychoserve

int main(int argc, char** argv) {
  const int points = argc > 1 ? std::atoi(argv[1]) : 4096;
  const int side = argc > 2 ? std::atoi(argv[2]) : 256;
  if (points < 1 || side < 1) {
    std::fprintf(stderr, "usage: %s [POINTS [SIDE]]\n", argv[0]);
    return EXIT_FAILURE;
  }
  return ptychoserve::Run(points, side);
}
