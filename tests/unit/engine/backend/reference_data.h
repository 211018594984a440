#ifndef PTYCHOSERVE_TESTS_UNIT_ENGINE_BACKEND_REFERENCE_DATA_H_
#define PTYCHOSERVE_TESTS_UNIT_ENGINE_BACKEND_REFERENCE_DATA_H_

#include <cmath>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "engine/backend/backend.h"
#include "engine/base/array.h"
#include "engine/io/npy.h"
#include "gtest/gtest.h"

// Small problems and their solutions by NumPy; see tests/reference/make_references.py. They are
// found in the build tree, or in $PTYCHOSERVE_REFERENCE_DIR.

namespace ptychoserve {

inline NpyArray ReferenceArray(const std::string& name) {
  const char* moved = std::getenv("PTYCHOSERVE_REFERENCE_DIR");
  const std::string folder = moved != nullptr ? moved : PTYCHOSERVE_REFERENCE_DIR;
  absl::StatusOr<NpyArray> array = ReadNpy(folder + "/" + name + ".npy");
  EXPECT_TRUE(array.ok()) << array.status();
  return array.ok() ? *std::move(array) : NpyArray{};
}

inline std::vector<double> ReferenceReals(const std::string& name) {
  absl::StatusOr<std::vector<double>> values = ReferenceArray(name).ToDouble();
  EXPECT_TRUE(values.ok()) << name << ": " << values.status();
  return values.ok() ? *std::move(values) : std::vector<double>{};
}

inline std::vector<std::complex<double>> ReferenceComplex(const std::string& name) {
  absl::StatusOr<std::vector<std::complex<double>>> values = ReferenceArray(name).ToComplexDouble();
  EXPECT_TRUE(values.ok()) << name << ": " << values.status();
  return values.ok() ? *std::move(values) : std::vector<std::complex<double>>{};
}

// ‖actual - expected‖ / ‖expected‖; infinite unless both have the same, non-zero size.
template <typename Actual, typename Expected>
double RelativeError(const Actual& actual, const Expected& expected) {
  if (std::size(actual) != std::size(expected) || std::size(actual) == 0) return INFINITY;
  double difference = 0;
  double norm = 0;
  for (std::size_t i = 0; i < std::size(actual); ++i) {
    const std::complex<double> a(actual[i]);
    const std::complex<double> e(expected[i]);
    difference += std::norm(a - e);
    norm += std::norm(e);
  }
  return std::sqrt(difference / norm);
}

// A scan in memory with a state to start from; slot i holds frame i.
struct TestScan {
  Shape frame_shape;
  Region canvas;
  std::vector<float> counts;  // [frames, frame_shape]; negative: not to be trusted.
  std::vector<PointWindow> points;
  ComplexStack probe;
  ComplexStack components;  // Of its variation; empty: none.
  ComplexStack object;

  int frames() const { return static_cast<int>(points.size()); }

  BackendConfig Config(FrameStorage storage = FrameStorage::kU16) const {
    BackendConfig config;
    config.frame_shape = frame_shape;
    config.storage = storage;
    config.capacity = frames();
    config.keeps_exit_waves = true;
    config.max_object_pixels = canvas.shape.pixels();
    config.probe_modes = probe.modes;
    config.object_modes = object.modes;
    config.probe_components = components.modes / probe.modes;
    config.initial_object = {0.9f, -0.1f};
    return config;
  }

  // The pixels of frame `index` as `storage` holds them.
  std::vector<std::byte> Pixels(int index, FrameStorage storage) const {
    const auto pixels = static_cast<std::size_t>(frame_shape.pixels());
    std::vector<std::byte> bytes(pixels * StorageBytes(storage));
    for (std::size_t i = 0; i < pixels; ++i) {
      const float value = counts[index * pixels + i];
      if (storage == FrameStorage::kF32) {
        const float stored = value < 0 ? kUnmeasuredF32 : value;
        std::memcpy(&bytes[4 * i], &stored, 4);
      } else {
        const auto stored = value < 0 ? kUnmeasuredU16 : static_cast<std::uint16_t>(value);
        std::memcpy(&bytes[2 * i], &stored, 2);
      }
    }
    return bytes;
  }

  void LoadFrame(Backend& backend, int index, FrameStorage storage) const {
    const std::vector<std::byte> bytes = Pixels(index, storage);
    const FrameToLoad frame{points[index].slot, bytes.data()};
    ASSERT_TRUE(backend.LoadFrames({&frame, 1}).ok());
  }

  // Brings a fresh backend of Config(storage) to the start.
  void Start(Backend& backend, FrameStorage storage = FrameStorage::kU16) const {
    ASSERT_TRUE(backend.SetCanvas(canvas).ok());
    for (int i = 0; i < frames(); ++i) LoadFrame(backend, i, storage);
    ASSERT_TRUE(backend.SetProbe(probe).ok());
    ASSERT_TRUE(backend.SetObject(object).ok());
    if (components.modes > 0) {
      ASSERT_TRUE(backend.SetProbeComponents(components).ok());
    }
    ASSERT_TRUE(backend.SetActivePoints(points).ok());
  }
};

// Those of a few points.
inline const std::vector<std::string>& ReferenceProblems() {
  static const auto& problems = *new std::vector<std::string>{
      "problem",         "modes1",          "modes2",         "modes4",
      "objects2_modes1", "objects2_modes2", "objects3_modes1"};
  return problems;
}

// A problem that reference results are for.
inline TestScan ReferenceScan(const std::string& problem = "problem") {
  TestScan scan;
  const NpyArray probe = ReferenceArray(problem + "/probe");
  const NpyArray object = ReferenceArray(problem + "/object");
  scan.frame_shape = {static_cast<int>(probe.shape.at(1)), static_cast<int>(probe.shape.at(2))};
  // Somewhere on the lattice, on both sides of its origin.
  scan.canvas = {
      -7, 13, {static_cast<int>(object.shape.at(1)), static_cast<int>(object.shape.at(2))}};
  scan.probe = ComplexStack(static_cast<int>(probe.shape.at(0)), scan.frame_shape);
  scan.object = ComplexStack(static_cast<int>(object.shape.at(0)), scan.canvas.shape);
  const auto probe_values = ReferenceComplex(problem + "/probe");
  const auto object_values = ReferenceComplex(problem + "/object");
  scan.probe.data.assign(probe_values.begin(), probe_values.end());
  scan.object.data.assign(object_values.begin(), object_values.end());
  const std::vector<double> counts = ReferenceReals(problem + "/frames");
  scan.counts.assign(counts.begin(), counts.end());
  const std::vector<double> windows = ReferenceReals(problem + "/windows");
  for (std::size_t i = 0; i + 3 < windows.size(); i += 4) {
    scan.points.push_back({static_cast<std::int32_t>(i / 4),
                           scan.canvas.row + static_cast<std::int32_t>(windows[i]),
                           scan.canvas.col + static_cast<std::int32_t>(windows[i + 1]),
                           static_cast<float>(windows[i + 2]), static_cast<float>(windows[i + 3])});
  }
  return scan;
}

// The reference frames again and again, `frames` in all, each time in other places.
inline TestScan RepeatedScan(int frames) {
  TestScan scan = ReferenceScan();
  const std::vector<PointWindow> points = scan.points;
  const std::vector<float> counts = scan.counts;
  const auto count = static_cast<int>(points.size());
  scan.counts.clear();
  scan.points.clear();
  for (int i = 0; i < frames; ++i) {
    PointWindow point = points[(i + i / count) % count];
    point.slot = i;
    scan.points.push_back(point);
    const auto frame = counts.begin() + i % count * scan.frame_shape.pixels();
    scan.counts.insert(scan.counts.end(), frame, frame + scan.frame_shape.pixels());
  }
  return scan;
}

// One set of reference results: NumPy's folder and the same thing in the engine's terms.
struct ReferenceCase {
  std::string folder;
  AlgorithmConfig algorithm;
  IterationOptions options;
  std::string problem = "problem";
};

inline constexpr int kReferenceIterations = 3;

inline std::vector<ReferenceCase> ReferenceCases() {
  std::vector<ReferenceCase> cases;
  cases.push_back({"dm_default", DifferenceMapConfig{}, {}});

  DifferenceMapConfig dm;
  dm.sigma2 = 0.5;
  cases.push_back({"dm_sigma2", dm, {}});

  dm = {};
  dm.beta = 0.6;
  dm.relaxation = 0.3;
  dm.regularisation.absolute = 1e-3;
  cases.push_back({"dm_absolute", dm, {}});

  IterationOptions limits;
  limits.amplitude_limits = AmplitudeLimits{0.8, 1.1};
  limits.phase_limits = PhaseLimits{-0.2, 0.1};
  cases.push_back({"dm_limits", DifferenceMapConfig{}, limits});

  const MlGradientConfig plain{.momentum = 0};
  MlGradientConfig ml = plain;
  cases.push_back({"ml_poisson", ml, {}});
  ml.likelihood = Likelihood::kGaussian;
  cases.push_back({"ml_gaussian", ml, {}});
  ml.momentum = 0.2;
  cases.push_back({"ml_momentum_small", ml, {}});
  ml.step = 2.0;
  ml.momentum = 0.9;
  cases.push_back({"ml_uphill", ml, {}});
  cases.push_back({"ml_momentum", MlGradientConfig{.momentum = 0.9}, {}});

  ml = plain;
  ml.epsilon = 0.5;
  ml.max_gradient = 1.5;
  ml.step = 0.7;
  ml.regularisation.absolute = 2.0;
  cases.push_back({"ml_absolute", ml, {}});

  RaarConfig raar;
  cases.push_back({"raar", raar, {}});
  raar.beta = 0.75;
  raar.sigma2 = 0.5;
  raar.regularisation.absolute = 1e-3;
  cases.push_back({"raar_sigma2", raar, {}});
  cases.push_back({"ap", AlternatingProjectionsConfig{}, {}});

  cases.push_back({"rpie", EpieConfig{0.7, 0.4, 0, 0.2, 0.5}, {}});
  cases.push_back({"rpie_sequential", EpieConfig{0.7, 0.4, 1, 0.2, 0.5}, {}});
  cases.push_back({"epie", EpieConfig{0.7, 0.4}, {}});
  cases.push_back({"epie_pairs", EpieConfig{0.7, 0.4, 2}, {}});
  cases.push_back({"epie_sequential", EpieConfig{0.7, 0.4, 1}, {}});

  cases.push_back({"lsq_default", LsqMlConfig{}, {}});
  cases.push_back({"lsq_sparse", LsqMlConfig{.batch_size = 3}, {}});
  cases.push_back({"lsq_compact",
                   LsqMlConfig{.object_step = 0.9,
                               .probe_step = 0.7,
                               .batch_kind = BatchKind::kCompact,
                               .batch_size = 2},
                   {}});
  cases.push_back({"lsq_poisson",
                   LsqMlConfig{.likelihood = Likelihood::kPoisson, .batch_size = 4, .momentum = 0},
                   {}});
  cases.push_back({"lsq_absolute",
                   LsqMlConfig{.batch_size = 3, .momentum = 0.4, .regularisation = {.absolute = 2}},
                   {}});
  cases.push_back({"lsq_object_alone", LsqMlConfig{.batch_size = 3}, {.update_probe = false}});
  cases.push_back({"lsq_probe_alone", LsqMlConfig{.batch_size = 3}, {.update_object = false}});

  // More points than fit and probe are sampled from.
  cases.push_back({"dm_sample", DifferenceMapConfig{}, {}, "many_points"});
  cases.push_back({"ml_sample", plain, {}, "many_points"});
  cases.push_back({"epie_many", EpieConfig{}, {}, "many_points"});
  cases.push_back({"lsq_many", LsqMlConfig{}, {}, "many_points"});

  for (const std::string modes :
       {"modes1", "modes2", "modes4", "objects2_modes1", "objects2_modes2", "objects3_modes1"}) {
    cases.push_back({"dm_" + modes, DifferenceMapConfig{}, {}, modes});
    ml = plain;
    cases.push_back({"ml_poisson_" + modes, ml, {}, modes});
    cases.push_back({"ml_momentum_" + modes, MlGradientConfig{.momentum = 0.9}, {}, modes});
    ml.likelihood = Likelihood::kGaussian;
    cases.push_back({"ml_gaussian_" + modes, ml, {}, modes});
    cases.push_back({"epie_" + modes, EpieConfig{0.7, 0.4}, {}, modes});
    cases.push_back({"rpie_" + modes, EpieConfig{0.7, 0.4, 0, 0.3, 0.6}, {}, modes});
    cases.push_back({"lsq_" + modes, LsqMlConfig{.batch_size = 3}, {}, modes});
    cases.push_back({"raar_" + modes, RaarConfig{}, {}, modes});
    cases.push_back({"ap_" + modes, AlternatingProjectionsConfig{}, {}, modes});
  }
  return cases;
}

// How well the backend's object and probe explain the frames of `points` together.
inline FitMetrics Fit(Backend& backend, std::span<const PointWindow> points) {
  const absl::StatusOr<std::vector<FrameFit>> fits = backend.Evaluate(points);
  EXPECT_TRUE(fits.ok()) << fits.status();
  return fits.ok() ? FitOf(*fits) : FitMetrics();
}

inline void PrintTo(const ReferenceCase& reference, std::ostream* out) { *out << reference.folder; }

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_TESTS_UNIT_ENGINE_BACKEND_REFERENCE_DATA_H_
