#ifndef PTYCHOSERVE_TESTS_UNIT_ENGINE_BACKEND_BACKEND_CONFORMANCE_H_
#define PTYCHOSERVE_TESTS_UNIT_ENGINE_BACKEND_BACKEND_CONFORMANCE_H_

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/algorithms/object_start.h"
#include "engine/algorithms/projections.h"
#include "engine/backend/backend.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/engine/backend/reference_data.h"

// What every device must do. A test program of one kind of device includes this once and says
//
//   INSTANTIATE_TEST_SUITE_P(Cpu, BackendConformance, ::testing::Values(DeviceFactory{...}));
//   INSTANTIATE_TEST_SUITE_P(Cpu, BackendReference, ReferencesOn(DeviceFactory{...}), ...);

namespace ptychoserve {

struct DeviceFactory {
  std::string name;
  std::function<std::unique_ptr<Device>()> create;
};
inline void PrintTo(const DeviceFactory& factory, std::ostream* out) { *out << factory.name; }

// Single precision against NumPy in double: relative, in the 2-norm.
inline constexpr double kSinglePrecision = 1e-4;

inline std::unique_ptr<Backend> NewBackend(Device& device, const BackendConfig& config) {
  absl::StatusOr<std::unique_ptr<Backend>> backend = device.CreateBackend(config);
  EXPECT_TRUE(backend.ok()) << backend.status();
  return *std::move(backend);
}

inline Readback Read(Backend& backend) {
  auto collect = backend.StartReadback();
  EXPECT_TRUE(collect.ok()) << collect.status();
  absl::StatusOr<Readback> result = (*std::move(collect))();
  EXPECT_TRUE(result.ok()) << result.status();
  return *std::move(result);
}

inline IterationMetrics Iterate(Backend& backend, const AlgorithmConfig& algorithm,
                                const IterationOptions& options = {}) {
  absl::StatusOr<IterationMetrics> metrics = backend.Iterate(algorithm, options);
  EXPECT_TRUE(metrics.ok()) << metrics.status();
  return *metrics;
}

inline std::vector<AlgorithmConfig> AllAlgorithms() {
  MlGradientConfig gaussian;
  gaussian.likelihood = Likelihood::kGaussian;
  gaussian.momentum = 0;
  return {DifferenceMapConfig{},
          RaarConfig{},
          AlternatingProjectionsConfig{},
          MlGradientConfig{},
          gaussian,
          EpieConfig{},
          EpieConfig{.object_alpha = 0.3, .probe_alpha = 0.5},
          LsqMlConfig{.batch_size = 3},
          LsqMlConfig{.likelihood = Likelihood::kPoisson,
                      .batch_kind = BatchKind::kCompact,
                      .batch_size = 4,
                      .momentum = 0}};
}

inline std::vector<AlgorithmConfig> AcceleratedAlgorithms() {
  return {MlGradientConfig{}, LsqMlConfig{.batch_size = 3}};
}

// --- Against NumPy ---------------------------------------------------------------------------

struct ReferenceOnDevice {
  DeviceFactory device;
  ReferenceCase reference;
};
inline void PrintTo(const ReferenceOnDevice& p, std::ostream* out) { PrintTo(p.reference, out); }

inline std::vector<ReferenceOnDevice> ReferencesOn(const DeviceFactory& device) {
  std::vector<ReferenceOnDevice> all;
  for (ReferenceCase& reference : ReferenceCases()) all.push_back({device, std::move(reference)});
  return all;
}

inline std::string ReferenceName(const ::testing::TestParamInfo<ReferenceOnDevice>& info) {
  return info.param.reference.folder;
}

class BackendReference : public ::testing::TestWithParam<ReferenceOnDevice> {};

TEST_P(BackendReference, IterationsEqualNumPy) {
  const ReferenceCase& reference = GetParam().reference;
  const std::string& folder = reference.folder;
  const TestScan scan = ReferenceScan(reference.problem);
  for (const FrameStorage storage : {FrameStorage::kU16, FrameStorage::kF32}) {
    const auto device = GetParam().device.create();
    const auto backend = NewBackend(*device, scan.Config(storage));
    scan.Start(*backend, storage);
    const std::vector<double> expected = ReferenceReals(folder + "/metrics");
    ASSERT_EQ(expected.size(), 5 * kReferenceIterations);
    for (int i = 0; i < kReferenceIterations; ++i) {
      const IterationMetrics m = Iterate(*backend, reference.algorithm, reference.options);
      const double* const e = &expected[5 * i];
      EXPECT_NEAR(m.r_factor, e[0], kSinglePrecision * e[0]);
      EXPECT_NEAR(m.fourier_error, e[1], kSinglePrecision * e[1]);
      EXPECT_NEAR(m.object_change, e[2], kSinglePrecision * e[2]);
      EXPECT_NEAR(m.probe_change, e[3], kSinglePrecision * e[3]);
      EXPECT_NEAR(m.step, e[4], kSinglePrecision * e[4]);
      EXPECT_TRUE(m.finite);
    }
    const Readback result = Read(*backend);
    EXPECT_LT(RelativeError(result.object.data, ReferenceComplex(folder + "/object")),
              kSinglePrecision);
    EXPECT_LT(RelativeError(result.probe.data, ReferenceComplex(folder + "/probe")),
              kSinglePrecision);
    EXPECT_LT(RelativeError(result.coverage.data, ReferenceReals(folder + "/coverage")),
              kSinglePrecision);
    if (KeepsExitWaves(reference.algorithm)) {
      EXPECT_LT(
          RelativeError(backend->ReadExitWaves()->waves.data, ReferenceComplex(folder + "/waves")),
          kSinglePrecision);
    }
  }
}

// --- Behaviour -------------------------------------------------------------------------------

class BackendConformance : public ::testing::TestWithParam<DeviceFactory> {
 protected:
  void SetUp() override { device_ = GetParam().create(); }

  std::unique_ptr<Backend> Started(const TestScan& scan,
                                   FrameStorage storage = FrameStorage::kU16) {
    auto backend = NewBackend(*device_, scan.Config(storage));
    scan.Start(*backend, storage);
    return backend;
  }

  std::unique_ptr<Device> device_;
};

TEST_P(BackendConformance, DescribesItself) {
  EXPECT_FALSE(device_->name().empty());
  EXPECT_FALSE(device_->description().empty());
  EXPECT_GT(device_->usable_bytes(), 0);
  EXPECT_LE(device_->usable_bytes(), device_->total_bytes());
}

TEST_P(BackendConformance, EstimateGrowsWithWhatIsHeld) {
  BackendConfig config = ReferenceScan().Config();
  const std::int64_t base = device_->EstimateBytes(config);
  const std::int64_t frame = config.frame_shape.pixels();
  config.capacity += 1000;
  // A frame in 16 bit and its exit wave in single precision.
  EXPECT_GE(device_->EstimateBytes(config), base + 1000 * frame * (2 + 8));
  config.keeps_exit_waves = false;
  EXPECT_LT(device_->EstimateBytes(config), base + 1000 * frame * (2 + 8));
  config.keeps_exit_waves = true;
  config.probe_modes = 3;
  EXPECT_GE(device_->EstimateBytes(config), base + 1000 * frame * (2 + 3 * 8));
  config.object_modes = 2;
  EXPECT_GE(device_->EstimateBytes(config), base + 1000 * frame * (2 + 6 * 8));
  config.object_modes = 1;
  config.frame_shape = {512, 512};  // More than what allocators round to.
  config.capacity = 1;
  const std::int64_t same_probe = device_->EstimateBytes(config);
  config.probe_components = 2;
  // Components and their sums, and coefficients of each point at the least where they are kept.
  EXPECT_GE(device_->EstimateBytes(config), same_probe + 2 * 3 * (512 * 512) * (8 + 8));
}

TEST_P(BackendConformance, StartsWithTheModelAsExitWavesAndItsCoverage) {
  for (const std::string& problem : ReferenceProblems()) {
    const TestScan scan = ReferenceScan(problem);
    const auto backend = Started(scan);
    EXPECT_LT(
        RelativeError(backend->ReadExitWaves()->waves.data, ReferenceComplex(problem + "/waves")),
        1e-6);
    const Readback result = Read(*backend);
    EXPECT_EQ(result.canvas, scan.canvas);
    EXPECT_EQ(result.object.data, scan.object.data);
    EXPECT_EQ(result.probe.modes, scan.probe.modes);
    EXPECT_EQ(result.probe.data, scan.probe.data);
    EXPECT_LT(RelativeError(result.coverage.data, ReferenceReals(problem + "/coverage")), 1e-6);
  }
}

TEST_P(BackendConformance, EvaluatesAsNumPyAndChangesNothing) {
  for (const std::string& problem : ReferenceProblems()) {
    const TestScan scan = ReferenceScan(problem);
    const auto backend = Started(scan);
    const Readback before = Read(*backend);
    const std::vector<FrameFit> fits = *backend->Evaluate(scan.points);
    const std::vector<double> each = ReferenceReals(problem + "/frame_fits");
    ASSERT_EQ(each.size(), 2 * fits.size());
    for (std::size_t j = 0; j < fits.size(); ++j) {
      const FitMetrics alone = FitOf({&fits[j], 1});
      EXPECT_NEAR(alone.r_factor, each[2 * j], kSinglePrecision * each[2 * j]);
      EXPECT_NEAR(alone.poisson_nll, each[2 * j + 1], kSinglePrecision * each[2 * j + 1]);
    }
    const FitMetrics fit = FitOf(fits);
    const std::vector<double> expected = ReferenceReals(problem + "/fit");
    ASSERT_EQ(expected.size(), 4U);
    EXPECT_NEAR(fit.r_factor, expected[0], kSinglePrecision * expected[0]);
    EXPECT_NEAR(fit.fourier_error, expected[1], kSinglePrecision * expected[1]);
    EXPECT_NEAR(fit.gaussian, expected[2], kSinglePrecision * expected[2]);
    EXPECT_NEAR(fit.poisson_nll, expected[3], kSinglePrecision * expected[3]);
    const Readback after = Read(*backend);
    EXPECT_EQ(after.object.data, before.object.data);
    EXPECT_EQ(after.probe.data, before.probe.data);
  }
}

TEST_P(BackendConformance, EvaluatesPointsThatAreNotActive) {
  const TestScan scan = ReferenceScan();
  const auto backend = Started(scan);
  const std::vector<FrameFit> active = *backend->Evaluate(scan.points);
  const std::span<const PointWindow> first = std::span(scan.points).first(2);
  const std::span<const PointWindow> rest = std::span(scan.points).subspan(2);
  ASSERT_EQ(backend->SetActivePoints(first), absl::OkStatus());
  const std::vector<FrameFit> others = *backend->Evaluate(rest);
  ASSERT_EQ(others.size(), rest.size());
  for (std::size_t j = 0; j < others.size(); ++j) {
    EXPECT_EQ(others[j].abs_deviation, active[j + 2].abs_deviation);
    EXPECT_EQ(others[j].excess, active[j + 2].excess);
  }
  EXPECT_TRUE(backend->Evaluate({})->empty());
}

TEST_P(BackendConformance, EvaluatesNothingThatIsNotThere) {
  const TestScan scan = ReferenceScan();
  const auto backend = NewBackend(*device_, scan.Config(FrameStorage::kU16));
  ASSERT_EQ(backend->SetCanvas(scan.canvas), absl::OkStatus());
  EXPECT_EQ(backend->Evaluate(scan.points).status().code(), absl::StatusCode::kFailedPrecondition);
  const auto started = Started(scan);
  std::vector<PointWindow> outside = scan.points;
  outside[0].row = scan.canvas.row - 1;
  EXPECT_EQ(started->Evaluate(outside).status().code(), absl::StatusCode::kInvalidArgument);
  std::vector<PointWindow> many(scan.points.size() + 1, scan.points[0]);
  EXPECT_EQ(started->Evaluate(many).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_P(BackendConformance, MeanAmplitudeIsOverTheGivenSlotsOnly) {
  const TestScan scan = ReferenceScan();
  const auto backend = Started(scan);
  std::vector<std::int32_t> all;
  for (const PointWindow& point : scan.points) all.push_back(point.slot);
  const FloatImage mean = *backend->MeanAmplitude(all);
  EXPECT_EQ(mean.shape, scan.frame_shape);
  EXPECT_LT(RelativeError(mean.data, ReferenceReals("probe/mean")), 1e-6);

  const std::int32_t one = 3;
  const FloatImage single = *backend->MeanAmplitude({&one, 1});
  const std::size_t pixels = single.data.size();
  for (std::size_t i = 0; i < pixels; ++i) {
    const float counts = scan.counts[one * pixels + i];
    EXPECT_FLOAT_EQ(single.data[i], counts < 0 ? 0 : std::sqrt(counts));
  }
}

TEST_P(BackendConformance, FramesAreReadAsTheyWereLoaded) {
  const TestScan scan = ReferenceScan();
  const auto backend = Started(scan);
  for (const std::int32_t slot : {0, 3}) {
    const FloatImage frame = *backend->ReadFrame(slot);
    EXPECT_EQ(frame.shape, scan.frame_shape);
    const std::size_t pixels = frame.data.size();
    for (std::size_t i = 0; i < pixels; ++i) {
      const float counts = scan.counts[slot * pixels + i];
      if (counts < 0) {
        EXPECT_TRUE(std::isnan(frame.data[i]));
      } else {
        EXPECT_EQ(frame.data[i], counts);
      }
    }
  }
  for (const std::int32_t slot : {-1, 1 << 20}) {
    EXPECT_EQ(backend->ReadFrame(slot).status().code(), absl::StatusCode::kFailedPrecondition);
  }
}

TEST_P(BackendConformance, SameInputGivesTheSameBits) {
  const TestScan scan = ReferenceScan();
  for (const AlgorithmConfig& algorithm : AllAlgorithms()) {
    const auto first = Started(scan);
    const auto second = Started(scan);
    for (int i = 0; i < 3; ++i) {
      const IterationMetrics a = Iterate(*first, algorithm);
      const IterationMetrics b = Iterate(*second, algorithm);
      EXPECT_EQ(a.r_factor, b.r_factor);
      EXPECT_EQ(a.object_change, b.object_change);
    }
    EXPECT_EQ(Read(*first).object.data, Read(*second).object.data);
    EXPECT_EQ(Read(*first).probe.data, Read(*second).probe.data);
  }
}

TEST_P(BackendConformance, SessionsOnOneDeviceDoNotInfluenceEachOther) {
  const TestScan scan = ReferenceScan();
  const auto alone = Started(scan);
  for (int i = 0; i < 3; ++i) Iterate(*alone, DifferenceMapConfig{});

  const auto one = Started(scan);
  const auto other = Started(scan);
  for (int i = 0; i < 3; ++i) {
    Iterate(*one, DifferenceMapConfig{});
    Iterate(*other, EpieConfig{});
  }
  EXPECT_EQ(Read(*one).object.data, Read(*alone).object.data);
  EXPECT_EQ(Read(*one).probe.data, Read(*alone).probe.data);
}

TEST_P(BackendConformance, WhatIsNotUpdatedKeepsItsBits) {
  const TestScan scan = ReferenceScan();
  for (const AlgorithmConfig& algorithm : AllAlgorithms()) {
    const auto frozen_probe = Started(scan);
    const auto frozen_object = Started(scan);
    for (int i = 0; i < 3; ++i) {
      const IterationMetrics m =
          Iterate(*frozen_probe, algorithm, {.update_object = true, .update_probe = false});
      EXPECT_EQ(m.probe_change, 0);
      EXPECT_GT(m.object_change, 0);
      Iterate(*frozen_object, algorithm, {.update_object = false, .update_probe = true});
    }
    EXPECT_EQ(Read(*frozen_probe).probe.data, scan.probe.data);
    EXPECT_NE(Read(*frozen_probe).object.data, scan.object.data);
    EXPECT_EQ(Read(*frozen_object).object.data, scan.object.data);
    EXPECT_NE(Read(*frozen_object).probe.data, scan.probe.data);
  }
}

TEST_P(BackendConformance, UncoveredPixelsKeepTheirBitsWithAndWithoutLimits) {
  const TestScan scan = ReferenceScan();
  IterationOptions limits;
  limits.amplitude_limits = AmplitudeLimits{0.9, 0.95};
  limits.phase_limits = PhaseLimits{-0.01, 0.02};
  for (const IterationOptions& options : {IterationOptions{}, limits}) {
    for (const AlgorithmConfig& algorithm : AllAlgorithms()) {
      const auto backend = Started(scan);
      for (int i = 0; i < 2; ++i) Iterate(*backend, algorithm, options);
      const Readback result = Read(*backend);
      int uncovered = 0;
      for (std::size_t i = 0; i < result.coverage.data.size(); ++i) {
        if (result.coverage.data[i] != 0) continue;
        EXPECT_EQ(result.object.data[i], scan.object.data[i]);
        ++uncovered;
      }
      EXPECT_GT(uncovered, 0);
    }
  }
}

TEST_P(BackendConformance, LimitsHoldOnEveryCoveredPixel) {
  const TestScan scan = ReferenceScan();
  IterationOptions limits;
  limits.amplitude_limits = AmplitudeLimits{0.8, 1.0};
  limits.phase_limits = PhaseLimits{-0.2, 0.1};
  for (const AlgorithmConfig& algorithm : AllAlgorithms()) {
    const auto backend = Started(scan);
    Iterate(*backend, algorithm, limits);
    const Readback result = Read(*backend);
    for (std::size_t i = 0; i < result.coverage.data.size(); ++i) {
      if (result.coverage.data[i] == 0) continue;
      EXPECT_GE(std::abs(result.object.data[i]), 0.8 - 1e-6);
      EXPECT_LE(std::abs(result.object.data[i]), 1.0 + 1e-6);
      EXPECT_GE(std::arg(result.object.data[i]), -0.2 - 1e-6);
      EXPECT_LE(std::arg(result.object.data[i]), 0.1 + 1e-6);
    }
  }
}

TEST_P(BackendConformance, LimitsOutOfReachChangeNoBit) {
  const TestScan scan = ReferenceScan();
  IterationOptions wide;
  wide.amplitude_limits = AmplitudeLimits{0, 100};
  wide.phase_limits = PhaseLimits{-4, 4};
  for (const AlgorithmConfig& algorithm : AllAlgorithms()) {
    const auto limited = Started(scan);
    const auto free = Started(scan);
    Iterate(*limited, algorithm, wide);
    Iterate(*free, algorithm);
    EXPECT_EQ(Read(*limited).object.data, Read(*free).object.data);
  }
}

TEST_P(BackendConformance, BothStoragesGiveTheSameResult) {
  const TestScan scan = ReferenceScan();
  for (const AlgorithmConfig& algorithm : AllAlgorithms()) {
    const auto u16 = Started(scan, FrameStorage::kU16);
    const auto f32 = Started(scan, FrameStorage::kF32);
    Iterate(*u16, algorithm);
    Iterate(*f32, algorithm);
    EXPECT_EQ(Read(*u16).object.data, Read(*f32).object.data);
    EXPECT_EQ(Read(*u16).probe.data, Read(*f32).probe.data);
  }
}

// A slot that is not active may hold anything: a frame of NaN, exit waves of NaN.
TEST_P(BackendConformance, SlotsThatAreNotActiveAreNeverRead) {
  const TestScan scan = ReferenceScan();
  TestScan half = scan;
  half.points.assign(scan.points.begin(), scan.points.begin() + 4);
  const float nan = std::numeric_limits<float>::quiet_NaN();

  for (const AlgorithmConfig& algorithm : AllAlgorithms()) {
    auto config = scan.Config(FrameStorage::kF32);
    const auto clean = NewBackend(*device_, config);
    half.Start(*clean, FrameStorage::kF32);

    const auto poisoned = NewBackend(*device_, config);
    scan.Start(*poisoned, FrameStorage::kF32);
    const std::vector<float> bad(scan.frame_shape.pixels(), nan);
    for (std::size_t i = half.points.size(); i < scan.points.size(); ++i) {
      const FrameToLoad frame{scan.points[i].slot, reinterpret_cast<const std::byte*>(bad.data())};
      ASSERT_TRUE(poisoned->LoadFrames({&frame, 1}).ok());
    }
    // Activated with a probe of NaN, the slots' exit waves become NaN as well.
    ASSERT_TRUE(poisoned->SetActivePoints({}).ok());
    ASSERT_TRUE(poisoned->SetProbe(ComplexStack(1, scan.frame_shape, {nan, nan})).ok());
    ASSERT_TRUE(poisoned->SetActivePoints(std::span(scan.points).subspan(4)).ok());
    ASSERT_TRUE(std::isnan(poisoned->ReadExitWaves()->waves.data[0].real()));
    ASSERT_TRUE(poisoned->SetProbe(scan.probe).ok());
    ASSERT_TRUE(poisoned->SetActivePoints(half.points).ok());

    for (int i = 0; i < 2; ++i) {
      const IterationMetrics a = Iterate(*clean, algorithm);
      const IterationMetrics b = Iterate(*poisoned, algorithm);
      EXPECT_EQ(a.r_factor, b.r_factor);
      EXPECT_TRUE(b.finite);
    }
    EXPECT_EQ(Read(*poisoned).object.data, Read(*clean).object.data);
    EXPECT_EQ(Read(*poisoned).probe.data, Read(*clean).probe.data);
  }
}

TEST_P(BackendConformance, ExitWavesStartWhenTheirPointBecomesActiveAndLastWhileItIs) {
  const TestScan scan = ReferenceScan();
  const auto backend = Started(scan);
  ASSERT_TRUE(backend->SetActivePoints(std::span(scan.points).first(3)).ok());
  for (int i = 0; i < 2; ++i) Iterate(*backend, DifferenceMapConfig{});
  const std::vector<Complex64> kept = backend->ReadExitWaves()->waves.data;

  // One point more, in front: the others keep their waves, the new one starts as P O.
  std::vector<PointWindow> grown = {scan.points[5]};
  grown.insert(grown.end(), scan.points.begin(), scan.points.begin() + 3);
  ASSERT_TRUE(backend->SetActivePoints(grown).ok());
  const std::vector<Complex64> waves = backend->ReadExitWaves()->waves.data;
  const auto pixels = static_cast<std::size_t>(scan.frame_shape.pixels());
  EXPECT_EQ(std::vector(waves.begin() + pixels, waves.end()), kept);

  const Readback now = Read(*backend);
  TestScan expected = scan;
  expected.points = {scan.points[5]};
  expected.probe = now.probe;
  expected.object = now.object;
  const auto fresh = NewBackend(*device_, scan.Config());
  expected.LoadFrame(*fresh, 0, FrameStorage::kU16);
  expected.Start(*fresh);
  EXPECT_EQ(std::vector(waves.begin(), waves.begin() + pixels), fresh->ReadExitWaves()->waves.data);
}

inline std::vector<ExitWaveToSet> WavesToSet(const std::vector<PointWindow>& points,
                                             const ExitWaveState& state) {
  std::vector<ExitWaveToSet> waves;
  const std::size_t stride = state.waves.data.size() / points.size();
  for (std::size_t k = 0; k < points.size(); ++k) {
    waves.push_back({points[k].slot, &state.waves.data[k * stride], state.kept_deviation[k]});
  }
  return waves;
}

TEST_P(BackendConformance, AnotherBackendGoesOnFromExitWavesBitForBit) {
  for (const auto& [problem, half] : {std::pair("problem", false),
                                      {"problem", true},
                                      {"objects2_modes2", false},
                                      {"objects2_modes2", true}}) {
    const TestScan scan = ReferenceScan(problem);
    BackendConfig config = scan.Config();
    config.half_waves = half;
    config.deterministic = !half;
    const auto one = NewBackend(*device_, config);
    scan.Start(*one);
    for (int i = 0; i < 3; ++i) Iterate(*one, DifferenceMapConfig{});

    TestScan state = scan;
    const Readback now = Read(*one);
    state.probe = now.probe;
    state.object = now.object;
    const auto other = NewBackend(*device_, config);
    state.Start(*other);
    const ExitWaveState waves = *one->ReadExitWaves();
    std::vector<ExitWaveToSet> to_set = WavesToSet(scan.points, waves);
    std::reverse(to_set.begin(), to_set.end());
    ASSERT_TRUE(other->SetExitWaves(to_set).ok());
    EXPECT_EQ(other->ReadExitWaves()->waves.data, waves.waves.data);
    EXPECT_EQ(other->ReadExitWaves()->kept_deviation, waves.kept_deviation);
    for (int i = 0; i < 2; ++i) {
      EXPECT_NEAR(Iterate(*other, DifferenceMapConfig{}).r_factor,
                  Iterate(*one, DifferenceMapConfig{}).r_factor, half ? 1e-4 : 0);
    }
    if (!half) {
      EXPECT_EQ(Read(*other).object.data, Read(*one).object.data);
    }
  }
}

// A backend of `config` with the object and the probe of `one`.
inline std::unique_ptr<Backend> WithStateOf(Backend& one, Device& device,
                                            const BackendConfig& config, TestScan scan) {
  const Readback now = Read(one);
  scan.probe = now.probe;
  scan.object = now.object;
  auto other = NewBackend(device, config);
  scan.Start(*other);
  return other;
}

TEST_P(BackendConformance, AnotherBackendGoesOnFromMomentumBitForBit) {
  const TestScan scan = ReferenceScan("objects2_modes2");
  BackendConfig config = scan.Config();
  config.deterministic = true;
  for (const AlgorithmConfig& algorithm : AcceleratedAlgorithms()) {
    const auto one = NewBackend(*device_, config);
    scan.Start(*one);
    EXPECT_FALSE(one->ReadMomentum()->has_value());
    for (int i = 0; i < 3; ++i) Iterate(*one, algorithm);
    const std::optional<MomentumState> momentum = *one->ReadMomentum();
    ASSERT_TRUE(momentum.has_value());
    EXPECT_EQ(momentum->of, AcceleratedBy(algorithm));
    EXPECT_GT(momentum->iterations, 0);

    const auto other = WithStateOf(*one, *device_, config, scan);
    ASSERT_TRUE(other->SetMomentum(*momentum).ok());
    EXPECT_EQ(other->ReadMomentum()->value().of, momentum->of);
    EXPECT_EQ(other->ReadMomentum()->value().object_velocity.data, momentum->object_velocity.data);
    EXPECT_EQ(other->ReadMomentum()->value().probe_velocity.data, momentum->probe_velocity.data);
    EXPECT_EQ(other->ReadMomentum()->value().iterations, momentum->iterations);
    for (int i = 0; i < 2; ++i) {
      Iterate(*one, algorithm);
      Iterate(*other, algorithm);
    }
    EXPECT_EQ(Read(*other).object.data, Read(*one).object.data);
    EXPECT_EQ(Read(*other).probe.data, Read(*one).probe.data);
  }
}

// The velocities of LSQ-ML are what its last iteration has changed.
TEST_P(BackendConformance, LsqMlShowsWhatItsIterationHasReached) {
  const TestScan scan = ReferenceScan();
  const auto backend = Started(scan);
  for (int i = 0; i < 3; ++i) {
    const Readback before = Read(*backend);
    Iterate(*backend, LsqMlConfig{.batch_size = 3});
    const Readback after = Read(*backend);
    const MomentumState momentum = **backend->ReadMomentum();
    EXPECT_EQ(momentum.iterations, i + 1);
    for (std::size_t k = 0; k < after.object.data.size(); ++k) {
      EXPECT_EQ(momentum.object_velocity.data[k], after.object.data[k] - before.object.data[k]);
    }
    for (std::size_t k = 0; k < after.probe.data.size(); ++k) {
      EXPECT_EQ(momentum.probe_velocity.data[k], after.probe.data[k] - before.probe.data[k]);
    }
  }
}

TEST_P(BackendConformance, NoMomentumPassesFromOneAlgorithmToAnother) {
  const TestScan scan = ReferenceScan();
  BackendConfig config = scan.Config();
  config.deterministic = true;
  for (const auto& [first, second] :
       {std::pair<AlgorithmConfig, AlgorithmConfig>(MlGradientConfig{}, LsqMlConfig{}),
        std::pair<AlgorithmConfig, AlgorithmConfig>(LsqMlConfig{}, MlGradientConfig{})}) {
    const auto one = NewBackend(*device_, config);
    scan.Start(*one);
    for (int i = 0; i < 3; ++i) Iterate(*one, first);
    const auto fresh = WithStateOf(*one, *device_, config, scan);
    const auto restored = WithStateOf(*one, *device_, config, scan);
    ASSERT_TRUE(restored->SetMomentum(**one->ReadMomentum()).ok());
    for (Backend* backend : {one.get(), fresh.get(), restored.get()}) {
      for (int i = 0; i < 2; ++i) Iterate(*backend, second);
      EXPECT_EQ((*backend->ReadMomentum())->iterations, 2);
    }
    EXPECT_EQ(Read(*one).object.data, Read(*fresh).object.data);
    EXPECT_EQ(Read(*restored).object.data, Read(*fresh).object.data);
  }
}

TEST_P(BackendConformance, MomentumBeginsAnewWithWhatIsSetAndAfterOtherAlgorithms) {
  const TestScan scan = ReferenceScan();
  BackendConfig config = scan.Config();
  config.deterministic = true;
  const std::vector<std::function<void(Backend&)>> disturbances = {
      [&](Backend& b) {
        EXPECT_TRUE(b.SetActivePoints({}).ok());
        EXPECT_TRUE(b.SetActivePoints(scan.points).ok());
      },
      [&](Backend& b) { EXPECT_TRUE(b.SetProbe(scan.probe).ok()); },
      [&](Backend& b) { EXPECT_TRUE(b.SetObject(scan.object).ok()); },
      [&](Backend& b) {
        Region larger = scan.canvas;
        larger.shape.rows += 2;
        EXPECT_TRUE(b.SetCanvas(larger).ok());
        EXPECT_TRUE(b.SetCanvas(scan.canvas).ok());
      },
      [&](Backend& b) {
        EXPECT_TRUE(b.ClearObject({3, 5, {4, 4}}).ok());
      },
      [&](Backend& b) { EXPECT_TRUE(b.Shift(0, 0).ok()); },
      [&](Backend& b) { Iterate(b, MlGradientConfig{.momentum = 0}); },
      [&](Backend& b) { Iterate(b, LsqMlConfig{.momentum = 0}); },
      [&](Backend& b) { Iterate(b, EpieConfig{}); },
      [&](Backend& b) { Iterate(b, DifferenceMapConfig{}); }};
  config.max_object_pixels += 2 * scan.canvas.shape.cols;
  for (const AlgorithmConfig& algorithm : AcceleratedAlgorithms()) {
    for (std::size_t k = 0; k < disturbances.size(); ++k) {
      SCOPED_TRACE(k);
      const auto one = NewBackend(*device_, config);
      scan.Start(*one);
      for (int i = 0; i < 3; ++i) Iterate(*one, algorithm);
      disturbances[k](*one);
      EXPECT_FALSE(one->ReadMomentum()->has_value());
      const auto fresh = WithStateOf(*one, *device_, config, scan);
      for (int i = 0; i < 2; ++i) {
        Iterate(*one, algorithm);
        Iterate(*fresh, algorithm);
      }
      EXPECT_EQ(Read(*one).object.data, Read(*fresh).object.data);
      EXPECT_EQ(Read(*one).probe.data, Read(*fresh).probe.data);
    }
  }
}

TEST_P(BackendConformance, VelocitiesAgainstTheGradientAreDropped) {
  const TestScan scan = ReferenceScan();
  BackendConfig config = scan.Config();
  config.deterministic = true;
  const auto one = NewBackend(*device_, config);
  scan.Start(*one);
  for (int i = 0; i < 3; ++i) Iterate(*one, MlGradientConfig{});
  MomentumState uphill = **one->ReadMomentum();
  for (Complex64& v : uphill.object_velocity.data) v = -v;
  for (Complex64& v : uphill.probe_velocity.data) v = -v;
  const auto fresh = WithStateOf(*one, *device_, config, scan);
  ASSERT_TRUE(one->SetMomentum(uphill).ok());
  for (int i = 0; i < 2; ++i) {
    Iterate(*one, MlGradientConfig{});
    Iterate(*fresh, MlGradientConfig{});
    EXPECT_EQ((*one->ReadMomentum())->iterations, i + 1);
  }
  EXPECT_EQ(Read(*one).object.data, Read(*fresh).object.data);
  EXPECT_EQ(Read(*one).probe.data, Read(*fresh).probe.data);
}

TEST_P(BackendConformance, MomentumThatDoesNotFitIsRefused) {
  const TestScan scan = ReferenceScan();
  const auto backend = Started(scan);
  Iterate(*backend, MlGradientConfig{});
  const MomentumState good = **backend->ReadMomentum();
  MomentumState bad = good;
  bad.object_velocity = ComplexStack(1, {3, 4});
  EXPECT_EQ(backend->SetMomentum(bad).code(), absl::StatusCode::kInvalidArgument);
  bad.object_velocity = ComplexStack(2, scan.canvas.shape);
  EXPECT_EQ(backend->SetMomentum(bad).code(), absl::StatusCode::kInvalidArgument);
  bad = good;
  bad.probe_velocity = ComplexStack(2, scan.frame_shape);
  EXPECT_EQ(backend->SetMomentum(bad).code(), absl::StatusCode::kInvalidArgument);
  bad = good;
  bad.iterations = -1;
  EXPECT_EQ(backend->SetMomentum(bad).code(), absl::StatusCode::kInvalidArgument);
}

TEST_P(BackendConformance, ExitWavesOfSomePointsLeaveTheOthersAlone) {
  const TestScan scan = ReferenceScan();
  const auto backend = Started(scan);
  for (int i = 0; i < 2; ++i) Iterate(*backend, DifferenceMapConfig{});
  const ExitWaveState before = *backend->ReadExitWaves();
  const auto pixels = static_cast<std::size_t>(scan.frame_shape.pixels());
  const std::vector<Complex64> wave(pixels, Complex64(1, -2));
  const ExitWaveToSet to_set{scan.points[2].slot, wave.data(), 0.5};
  ASSERT_TRUE(backend->SetExitWaves({&to_set, 1}).ok());
  ExitWaveState expected = before;
  std::copy(wave.begin(), wave.end(), expected.waves.data.begin() + 2 * pixels);
  expected.kept_deviation[2] = 0.5;
  const ExitWaveState after = *backend->ReadExitWaves();
  EXPECT_EQ(after.waves.data, expected.waves.data);
  EXPECT_EQ(after.kept_deviation, expected.kept_deviation);
}

TEST_P(BackendConformance, ExitWavesAreOfActivePoints) {
  const TestScan scan = ReferenceScan();
  const auto backend = Started(scan);
  ASSERT_TRUE(backend->SetActivePoints(std::span(scan.points).subspan(1)).ok());
  const std::vector<Complex64> wave(static_cast<std::size_t>(scan.frame_shape.pixels()));
  for (const std::int32_t slot : {scan.points[0].slot, -1, scan.Config().capacity}) {
    const ExitWaveToSet to_set{slot, wave.data(), 0};
    const absl::Status refused = backend->SetExitWaves({&to_set, 1});
    EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(refused.message()), ::testing::HasSubstr("not active"));
  }
}

// A new point's first difference map knows no deviation of an earlier one; the old points' do.
TEST_P(BackendConformance, NewPointsTakeTheExactModulusAndOldOnesGoOn) {
  const TestScan scan = ReferenceScan();
  const auto backend = Started(scan);
  ASSERT_TRUE(backend->SetActivePoints(std::span(scan.points).first(3)).ok());
  for (int i = 0; i < 2; ++i) Iterate(*backend, DifferenceMapConfig{});
  std::vector<PointWindow> grown = {scan.points[5]};
  grown.insert(grown.end(), scan.points.begin(), scan.points.begin() + 3);
  ASSERT_TRUE(backend->SetActivePoints(grown).ok());

  TestScan state = scan;
  const Readback now = Read(*backend);
  state.probe = now.probe;
  state.object = now.object;
  const auto fresh = Started(state);
  ASSERT_TRUE(fresh->SetActivePoints(grown).ok());
  const auto pixels = static_cast<std::size_t>(scan.frame_shape.pixels());
  const auto wave = [&](Backend& of, int point) {
    const std::vector<Complex64> waves = of.ReadExitWaves()->waves.data;
    return std::vector(waves.begin() + point * pixels, waves.begin() + (point + 1) * pixels);
  };
  const std::vector<Complex64> new_point = wave(*fresh, 0);

  Iterate(*backend, DifferenceMapConfig{});
  Iterate(*fresh, DifferenceMapConfig{});
  EXPECT_LT(RelativeError(wave(*backend, 0), wave(*fresh, 0)), 1e-6);
  EXPECT_GT(RelativeError(wave(*fresh, 0), new_point), 1e-3);

  // Whoever has been away is new.
  ASSERT_TRUE(backend->SetActivePoints({}).ok());
  ASSERT_TRUE(backend->SetActivePoints(grown).ok());
  const Readback then = Read(*backend);
  state.probe = then.probe;
  state.object = then.object;
  const auto fresh_again = Started(state);
  ASSERT_TRUE(fresh_again->SetActivePoints(grown).ok());
  for (int i = 0; i < 2; ++i) {
    Iterate(*backend, DifferenceMapConfig{});
    Iterate(*fresh_again, DifferenceMapConfig{});
    EXPECT_LT(RelativeError(backend->ReadExitWaves()->waves.data,
                            fresh_again->ReadExitWaves()->waves.data),
              1e-6);
  }
}

// With 300 points the sample is every third.
TEST_P(BackendConformance, FitOfAnIterationIsThatOfTheSample) {
  TestScan scan = RepeatedScan(300);
  const auto pixels = static_cast<std::size_t>(scan.frame_shape.pixels());
  std::vector<PointWindow> sample;
  for (std::size_t i = 0; i < scan.points.size(); i += 3) {
    sample.push_back(scan.points[i]);
    // Fits worse than the others.
    for (float& counts : std::span(scan.counts).subspan(i * pixels, pixels)) {
      if (counts > 0) counts *= 2;
    }
  }
  const auto all = Started(scan);
  const FitMetrics full = Fit(*all, scan.points);
  const FitMetrics expected = Fit(*all, sample);
  ASSERT_GT(std::abs(full.r_factor - expected.r_factor), 0.01 * expected.r_factor);
  ASSERT_GT(std::abs(full.fourier_error - expected.fourier_error), 0.01 * expected.fourier_error);

  for (const AlgorithmConfig& algorithm : AllAlgorithms()) {
    const auto backend = Started(scan);
    const IterationMetrics m = Iterate(*backend, algorithm);
    EXPECT_NEAR(m.r_factor, expected.r_factor, 1e-5 * expected.r_factor);
    EXPECT_NEAR(m.fourier_error, expected.fourier_error, 1e-5 * expected.fourier_error);
  }
  const auto untouched = Started(scan);
  Iterate(*untouched, DifferenceMapConfig{}, {.update_object = false, .update_probe = false});
  EXPECT_NEAR(Fit(*untouched, scan.points).r_factor, full.r_factor, 1e-5 * full.r_factor);
}

// With 1153 points that is every second, and alone they would be few enough to be used all.
TEST_P(BackendConformance, DifferenceMapTakesTheProbeFromTheSample) {
  TestScan scan = RepeatedScan(1153);
  const auto pixels = static_cast<std::size_t>(scan.frame_shape.pixels());
  std::vector<PointWindow> sample;
  for (std::size_t i = 0; i < scan.points.size(); i += 2) {
    sample.push_back(scan.points[i]);
    // Calls for another probe than the others.
    for (float& counts : std::span(scan.counts).subspan(i * pixels, pixels)) {
      if (counts > 0) counts *= 4;
    }
  }
  const IterationOptions probe_only{.update_object = false, .update_probe = true};
  const auto all = Started(scan);
  const auto sampled = Started(scan);
  ASSERT_TRUE(sampled->SetActivePoints(sample).ok());
  for (int i = 0; i < 2; ++i) {
    const IterationMetrics a = Iterate(*all, DifferenceMapConfig{}, probe_only);
    const IterationMetrics b = Iterate(*sampled, DifferenceMapConfig{}, probe_only);
    EXPECT_NEAR(a.probe_change, b.probe_change, 1e-5 * b.probe_change);
  }
  EXPECT_LT(RelativeError(Read(*all).probe.data, Read(*sampled).probe.data), 1e-5);
}

// A sample of the figures, not of the iteration: with 300 points, each one's wave moves on.
TEST_P(BackendConformance, TheSampleLeavesNoPointOut) {
  const TestScan scan = RepeatedScan(300);
  const auto backend = Started(scan);
  const std::vector<Complex64> before = backend->ReadExitWaves()->waves.data;
  Iterate(*backend, DifferenceMapConfig{});
  const std::vector<Complex64> after = backend->ReadExitWaves()->waves.data;
  const auto pixels = static_cast<std::size_t>(scan.frame_shape.pixels());
  for (std::size_t i = 0; i < scan.points.size(); ++i) {
    EXPECT_GT(RelativeError(std::span(after).subspan(i * pixels, pixels),
                            std::span(before).subspan(i * pixels, pixels)),
              1e-3)
        << "point " << i;
  }
}

TEST_P(BackendConformance, OrderOfPointsIsTheCallersAndOnlyRounds) {
  const TestScan scan = ReferenceScan();
  std::vector<PointWindow> reversed(scan.points.rbegin(), scan.points.rend());
  for (const AlgorithmConfig& algorithm :
       {AlgorithmConfig(DifferenceMapConfig{}), AlgorithmConfig(MlGradientConfig{})}) {
    const auto forward = Started(scan);
    const auto backward = Started(scan);
    ASSERT_TRUE(backward->SetActivePoints(reversed).ok());
    Iterate(*forward, algorithm);
    Iterate(*backward, algorithm);
    EXPECT_LT(RelativeError(Read(*backward).object.data, Read(*forward).object.data), 1e-5);
  }
}

TEST_P(BackendConformance, CanvasMovesWithoutChangingWhatIsInside) {
  const TestScan scan = ReferenceScan();
  BackendConfig config = scan.Config();
  const Region larger{scan.canvas.row - 6,
                      scan.canvas.col - 2,
                      {scan.canvas.shape.rows + 10, scan.canvas.shape.cols + 6}};
  config.max_object_pixels = larger.shape.pixels();
  const auto grown = NewBackend(*device_, config);
  scan.Start(*grown);
  ASSERT_TRUE(grown->SetCanvas(larger).ok());
  const Readback moved = Read(*grown);
  EXPECT_EQ(moved.canvas, larger);
  for (int y = 0; y < larger.shape.rows; ++y) {
    for (int x = 0; x < larger.shape.cols; ++x) {
      const int row = y + larger.row - scan.canvas.row;
      const int col = x + larger.col - scan.canvas.col;
      const bool inside =
          row >= 0 && row < scan.canvas.shape.rows && col >= 0 && col < scan.canvas.shape.cols;
      const Complex64 expected =
          inside ? scan.object.data[row * scan.canvas.shape.cols + col] : config.initial_object;
      EXPECT_EQ(moved.object.data[y * larger.shape.cols + x], expected);
    }
  }

  // Points, and so the iterations, stay where they are on the lattice.
  const auto fixed = Started(scan);
  Iterate(*grown, DifferenceMapConfig{});
  Iterate(*fixed, DifferenceMapConfig{});
  EXPECT_LT(RelativeError(Read(*grown).probe.data, Read(*fixed).probe.data), 1e-6);
  ASSERT_TRUE(grown->SetCanvas(scan.canvas).ok());
  EXPECT_LT(RelativeError(Read(*grown).object.data, Read(*fixed).object.data), 1e-6);
}

TEST_P(BackendConformance, FreshCanvasIsTheInitialObject) {
  const TestScan scan = ReferenceScan();
  const auto backend = NewBackend(*device_, scan.Config());
  ASSERT_TRUE(backend->SetCanvas(scan.canvas).ok());
  EXPECT_THAT(Read(*backend).object.data, ::testing::Each(Complex64(0.9f, -0.1f)));
}

TEST_P(BackendConformance, ClearsTheRegionAndNothingElse) {
  const TestScan scan = ReferenceScan();
  const auto backend = Started(scan);
  // Reaches over the canvas's upper edge.
  const Region region{scan.canvas.row - 3, scan.canvas.col + 4, {8, 5}};
  ASSERT_TRUE(backend->ClearObject(region).ok());
  const Readback result = Read(*backend);
  for (int y = 0; y < scan.canvas.shape.rows; ++y) {
    for (int x = 0; x < scan.canvas.shape.cols; ++x) {
      const bool cleared = y < 5 && x >= 4 && x < 9;
      const std::size_t i = y * scan.canvas.shape.cols + x;
      EXPECT_EQ(result.object.data[i], cleared ? Complex64(0.9f, -0.1f) : scan.object.data[i]);
    }
  }
}

// c P and O / c are the same to every frame, and so to every algorithm.
TEST_P(BackendConformance, RescalingChangesNothingElse) {
  constexpr double kFactor = 1.75;
  for (const std::string problem : {"modes1", "modes2", "objects2_modes1"}) {
    const TestScan scan = ReferenceScan(problem);
    for (const AlgorithmConfig& algorithm : AllAlgorithms()) {
      const auto plain = Started(scan), scaled = Started(scan);
      for (int i = 0; i < 4; ++i) {
        const IterationMetrics m = Iterate(*plain, algorithm), n = Iterate(*scaled, algorithm);
        EXPECT_NEAR(n.r_factor, m.r_factor, 1e-5 * m.r_factor);
        const double factor = i < 2 ? 1 : kFactor;
        EXPECT_NEAR(n.probe_power / m.probe_power, factor * factor, 1e-4);
        if (i == 1) {
          ASSERT_EQ(scaled->Rescale(kFactor), absl::OkStatus());
        }
      }
      Readback expected = Read(*plain);
      for (std::size_t i = 0; i < expected.object.data.size(); ++i) {
        if (expected.coverage.data[i % expected.coverage.data.size()] != 0) {
          expected.object.data[i] /= static_cast<float>(kFactor);
        }
      }
      for (Complex64& p : expected.probe.data) p *= static_cast<float>(kFactor);
      const Readback state = Read(*scaled);
      EXPECT_LT(RelativeError(state.object.data, expected.object.data), 1e-4);
      EXPECT_LT(RelativeError(state.probe.data, expected.probe.data), 1e-4);
    }
  }
}

TEST_P(BackendConformance, RescalingLeavesTheObjectWithoutLightAlone) {
  const TestScan scan = ReferenceScan();
  const auto backend = Started(scan);
  ASSERT_EQ(backend->SetActivePoints(std::span(scan.points).first(1)), absl::OkStatus());
  const Readback before = Read(*backend);
  ASSERT_EQ(backend->Rescale(2), absl::OkStatus());
  const Readback after = Read(*backend);
  int without = 0;
  for (std::size_t i = 0; i < before.object.data.size(); ++i) {
    const bool lit = before.coverage.data[i] != 0;
    EXPECT_EQ(after.object.data[i], (lit ? 0.5f : 1.0f) * before.object.data[i]);
    without += lit ? 0 : 1;
  }
  EXPECT_GT(without, 0);
}

TEST_P(BackendConformance, PowerOfTheProbeIsTold) {
  const TestScan scan = ReferenceScan("modes2");
  for (const AlgorithmConfig& algorithm : AllAlgorithms()) {
    for (const bool update_probe : {true, false}) {
      const auto backend = Started(scan);
      const IterationMetrics m = Iterate(*backend, algorithm, {.update_probe = update_probe});
      double power = 0;
      for (const Complex64 p : Read(*backend).probe.data) power += std::norm(p);
      EXPECT_NEAR(m.probe_power / power, 1, 1e-5);
    }
  }
}

TEST_P(BackendConformance, RescalesByAFinitePositiveFactorOnly) {
  const auto backend = Started(ReferenceScan());
  for (const double factor : {0.0, -1.0, std::nan(""), std::numeric_limits<double>::infinity()}) {
    EXPECT_EQ(backend->Rescale(factor).code(), absl::StatusCode::kInvalidArgument) << factor;
  }
}

TEST_P(BackendConformance, ShiftMovesProbeObjectAndWavesTogether) {
  TestScan scan = ReferenceScan("modes2");
  const auto [rows, cols] = scan.frame_shape;
  const int modes = scan.probe.modes;
  // Dark edges, so that what wraps around carries nothing.
  for (int y = 0; y < modes * rows; ++y) {
    for (int x = 0; x < cols; ++x) {
      const bool edge = y % rows < 3 || y % rows >= rows - 3 || x < 3 || x >= cols - 3;
      if (edge) scan.probe.data[y * cols + x] = 0;
    }
  }
  scan.points.erase(scan.points.begin());  // Lies at the canvas's edge.
  for (PointWindow& point : scan.points) point.slot -= 1;
  scan.counts.erase(scan.counts.begin(), scan.counts.begin() + scan.frame_shape.pixels());

  const auto backend = Started(scan);
  Iterate(*backend, DifferenceMapConfig{}, {.update_object = true, .update_probe = false});
  const FitMetrics before = Fit(*backend, scan.points);
  const Readback state = Read(*backend);
  const std::vector<Complex64> waves = backend->ReadExitWaves()->waves.data;

  const int down = -2;
  const int right = 3;
  ASSERT_TRUE(backend->Shift(down, right).ok());
  const FitMetrics after = Fit(*backend, scan.points);
  EXPECT_NEAR(after.r_factor, before.r_factor, 1e-5 * before.r_factor);
  EXPECT_NEAR(after.poisson_nll, before.poisson_nll, 1e-5 * before.poisson_nll);

  const Readback moved = Read(*backend);
  const std::vector<Complex64> moved_waves = backend->ReadExitWaves()->waves.data;
  const std::size_t pixels = rows * cols;
  for (int y = 0; y < rows; ++y) {
    for (int x = 0; x < cols; ++x) {
      const std::size_t from = y * cols + x;
      const std::size_t to = ((y + down + rows) % rows) * cols + (x + right + cols) % cols;
      for (std::size_t mode = 0; mode < state.probe.data.size(); mode += pixels) {
        EXPECT_EQ(moved.probe.data[mode + to], state.probe.data[mode + from]);
      }
      for (std::size_t image = 0; image < waves.size(); image += pixels) {
        EXPECT_EQ(moved_waves[image + to], waves[image + from]);
      }
    }
  }
  const int width = scan.canvas.shape.cols;
  EXPECT_EQ(moved.object.data[8 * width + 13], state.object.data[10 * width + 10]);
  EXPECT_EQ(moved.object.data[8 * width + 2], scan.Config().initial_object);
}

TEST_P(BackendConformance, ReadbackIsOfTheMomentOfItsStart) {
  const TestScan scan = ReferenceScan();
  const auto backend = Started(scan);
  auto collect = backend->StartReadback();
  ASSERT_TRUE(collect.ok()) << collect.status();
  Iterate(*backend, DifferenceMapConfig{});
  const Readback result = *(*std::move(collect))();
  EXPECT_EQ(result.object.data, scan.object.data);
  EXPECT_EQ(result.probe.data, scan.probe.data);
  EXPECT_NE(Read(*backend).object.data, scan.object.data);
}

TEST_P(BackendConformance, ReadsTheProbeOfNow) {
  const auto backend = Started(ReferenceScan());
  Iterate(*backend, DifferenceMapConfig{});
  const absl::StatusOr<ComplexStack> probe = backend->ReadProbe();
  ASSERT_TRUE(probe.ok()) << probe.status();
  EXPECT_EQ(probe->data, Read(*backend).probe.data);
}

TEST_P(BackendConformance, ReportsValuesThatAreNotFinite) {
  const TestScan scan = ReferenceScan();
  for (const AlgorithmConfig& algorithm : AllAlgorithms()) {
    const auto backend = Started(scan);
    EXPECT_TRUE(Iterate(*backend, algorithm).finite);
    ComplexStack object = scan.object;
    object.data[500] = {0, std::numeric_limits<float>::infinity()};
    ASSERT_TRUE(backend->SetObject(object).ok());
    EXPECT_FALSE(Iterate(*backend, algorithm).finite);

    const auto bad_probe = Started(scan);
    ComplexStack probe = scan.probe;
    probe.data[7] = {std::numeric_limits<float>::quiet_NaN(), 0};
    ASSERT_TRUE(bad_probe->SetProbe(probe).ok());
    EXPECT_FALSE(
        Iterate(*bad_probe, algorithm, {.update_object = false, .update_probe = false}).finite);
  }
}

TEST_P(BackendConformance, FramesWithoutACountAreHarmless) {
  TestScan scan = ReferenceScan();
  std::fill(scan.counts.begin(), scan.counts.end(), 0.0f);
  for (const AlgorithmConfig& algorithm : AllAlgorithms()) {
    const auto backend = Started(scan);
    for (int i = 0; i < 3; ++i) {
      const IterationMetrics m = Iterate(*backend, algorithm);
      EXPECT_TRUE(m.finite);
      EXPECT_TRUE(std::isfinite(m.step));
      EXPECT_EQ(m.r_factor, 0);
      EXPECT_EQ(m.fourier_error, 0);
    }
  }
}

TEST_P(BackendConformance, NothingActiveChangesNothing) {
  const TestScan scan = ReferenceScan();
  for (const AlgorithmConfig& algorithm : AllAlgorithms()) {
    const auto backend = Started(scan);
    ASSERT_TRUE(backend->SetActivePoints({}).ok());
    const IterationMetrics m = Iterate(*backend, algorithm);
    EXPECT_TRUE(m.finite);
    EXPECT_EQ(m.r_factor, 0);
    EXPECT_EQ(m.object_change, 0);
    EXPECT_EQ(Read(*backend).object.data, scan.object.data);
    EXPECT_EQ(Read(*backend).probe.data, scan.probe.data);
  }
}

TEST_P(BackendConformance, WorksWithoutExitWavesUnlessTheAlgorithmNeedsThem) {
  const TestScan scan = ReferenceScan();
  BackendConfig config = scan.Config();
  config.keeps_exit_waves = false;
  const auto lean = NewBackend(*device_, config);
  scan.Start(*lean);
  const auto full = Started(scan);
  Iterate(*lean, MlGradientConfig{});
  Iterate(*full, MlGradientConfig{});
  EXPECT_EQ(Read(*lean).object.data, Read(*full).object.data);
  EXPECT_EQ(lean->Iterate(DifferenceMapConfig{}, {}).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(lean->ReadExitWaves().status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(lean->SetExitWaves({}).code(), absl::StatusCode::kFailedPrecondition);
}

// --- Several modes of the probe --------------------------------------------------------------

TEST_P(BackendConformance, ModesWithoutLightChangeNothing) {
  const TestScan single = ReferenceScan("modes1");
  TestScan padded = single;
  padded.probe.modes = 3;
  padded.probe.data.resize(3 * single.probe.data.size());
  const auto pixels = static_cast<std::ptrdiff_t>(single.probe.data.size());
  for (const AlgorithmConfig& algorithm : AllAlgorithms()) {
    const auto one = Started(single);
    const auto three = Started(padded);
    for (int i = 0; i < 3; ++i) {
      const IterationMetrics a = Iterate(*one, algorithm);
      const IterationMetrics b = Iterate(*three, algorithm);
      EXPECT_NEAR(b.r_factor, a.r_factor, 1e-6 * a.r_factor);
      EXPECT_NEAR(b.probe_change, a.probe_change, 1e-5 * a.probe_change);
      EXPECT_NEAR(b.step, a.step, 1e-5 * a.step);
    }
    EXPECT_LT(RelativeError(Read(*three).object.data, Read(*one).object.data), 1e-6);
    const std::vector<Complex64> probe = Read(*three).probe.data;
    EXPECT_LT(RelativeError(std::span(probe).first(pixels), Read(*one).probe.data), 1e-6);
    EXPECT_THAT(std::vector(probe.begin() + pixels, probe.end()), ::testing::Each(Complex64(0)));
  }
}

// Images 2k and 2k + 1 of a stack become mixtures of the two by a unitary matrix.
inline std::vector<Complex64> MixedInPairs(std::vector<Complex64> images, std::size_t pixels) {
  const std::complex<double> a(0.6, 0.3), b = std::polar(std::sqrt(1 - std::norm(a)), 1.1);
  for (std::size_t pair = 0; pair < images.size(); pair += 2 * pixels) {
    for (std::size_t i = pair; i < pair + pixels; ++i) {
      const std::complex<double> first(images[i]), second(images[i + pixels]);
      images[i] = Complex64(a * first + b * second);
      images[i + pixels] = Complex64(-std::conj(b) * first + std::conj(a) * second);
    }
  }
  return images;
}

// So that it makes no difference when, and whether, modes are made orthogonal.
TEST_P(BackendConformance, AMixtureOfTheModesIsTheSameBeamInEveryIteration) {
  const TestScan scan = ReferenceScan("modes2");
  const auto pixels = static_cast<std::size_t>(scan.frame_shape.pixels());
  TestScan mixed = scan;
  mixed.probe.data = MixedInPairs(scan.probe.data, pixels);
  ASSERT_GT(RelativeError(mixed.probe.data, scan.probe.data), 0.5);
  for (const AlgorithmConfig& algorithm : AllAlgorithms()) {
    const auto one = Started(scan);
    const auto other = Started(mixed);
    for (int i = 0; i < 3; ++i) {
      const FitMetrics fit = Fit(*one, scan.points), of_other = Fit(*other, scan.points);
      EXPECT_NEAR(of_other.r_factor, fit.r_factor, 1e-5 * fit.r_factor);
      EXPECT_NEAR(of_other.poisson_nll, fit.poisson_nll, 1e-5 * fit.poisson_nll);
      Iterate(*one, algorithm);
      Iterate(*other, algorithm);
    }
    EXPECT_LT(RelativeError(Read(*other).object.data, Read(*one).object.data), 1e-5);
    EXPECT_LT(RelativeError(Read(*other).coverage.data, Read(*one).coverage.data), 1e-5);
    EXPECT_LT(RelativeError(Read(*other).probe.data, MixedInPairs(Read(*one).probe.data, pixels)),
              1e-5);
    if (std::holds_alternative<DifferenceMapConfig>(algorithm)) {
      EXPECT_LT(RelativeError(other->ReadExitWaves()->waves.data,
                              MixedInPairs(one->ReadExitWaves()->waves.data, pixels)),
                1e-5);
    }
  }
}

TEST_P(BackendConformance, SeveralModesRepeatBitForBit) {
  const TestScan scan = ReferenceScan("modes4");
  for (const AlgorithmConfig& algorithm : AllAlgorithms()) {
    const auto first = Started(scan);
    const auto second = Started(scan);
    for (int i = 0; i < 2; ++i) {
      Iterate(*first, algorithm);
      Iterate(*second, algorithm);
    }
    EXPECT_EQ(Read(*first).object.data, Read(*second).object.data);
    EXPECT_EQ(Read(*first).probe.data, Read(*second).probe.data);
  }
}

TEST_P(BackendConformance, RefusesAProbeWithOtherModes) {
  const TestScan scan = ReferenceScan("modes2");
  const auto backend = Started(scan);
  const absl::Status status = backend->SetProbe(ComplexStack(1, scan.frame_shape));
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("2 modes"));
}

// --- Several modes of the object -------------------------------------------------------------

// What mode `mode` of the object is at pixel `i` of `canvas` before any light.
inline Complex64 StartOf(const BackendConfig& config, const Region& canvas, int mode, int i) {
  const ObjectStart::Value value =
      MakeObjectStart(config.initial_object, config.frame_shape)
          .At(mode, canvas.row + i / canvas.shape.cols, canvas.col + i % canvas.shape.cols);
  return {value.re, value.im};
}

TEST_P(BackendConformance, FurtherModesOfTheObjectBeginAsAPatternOfTheLattice) {
  const TestScan scan = ReferenceScan("objects3_modes1");
  BackendConfig config = scan.Config();
  const Region larger{scan.canvas.row - 3,
                      scan.canvas.col - 5,
                      {scan.canvas.shape.rows + 4, scan.canvas.shape.cols + 6}};
  config.max_object_pixels = larger.shape.pixels();
  const auto backend = NewBackend(*device_, config);
  const auto expect_start = [&](const Region& canvas, const Region& object) {
    const Readback now = Read(*backend);
    ASSERT_EQ(now.object.modes, 3);
    const auto pixels = static_cast<int>(canvas.shape.pixels());
    for (int mode = 0; mode < 3; ++mode) {
      for (int i = 0; i < pixels; ++i) {
        const int row = canvas.row + i / canvas.shape.cols - object.row;
        const int col = canvas.col + i % canvas.shape.cols - object.col;
        const bool set = row >= 0 && row < object.shape.rows && col >= 0 && col < object.shape.cols;
        const Complex64 expected =
            set ? scan.object.data[static_cast<std::size_t>(mode * object.shape.pixels() +
                                                            row * object.shape.cols + col)]
                : StartOf(config, canvas, mode, i);
        ASSERT_EQ(now.object.data[static_cast<std::size_t>(mode * pixels + i)], expected)
            << mode << " " << i;
      }
    }
  };
  ASSERT_EQ(backend->SetCanvas(scan.canvas), absl::OkStatus());
  expect_start(scan.canvas, {});
  ASSERT_EQ(backend->SetObject(scan.object), absl::OkStatus());
  ASSERT_EQ(backend->SetCanvas(larger), absl::OkStatus());
  expect_start(larger, scan.canvas);
  ASSERT_EQ(backend->ClearObject(larger), absl::OkStatus());
  expect_start(larger, {});
}

TEST_P(BackendConformance, ModesOfTheObjectMoveTogether) {
  const TestScan scan = ReferenceScan("objects2_modes1");
  const auto backend = NewBackend(*device_, scan.Config());
  ASSERT_EQ(backend->SetCanvas(scan.canvas), absl::OkStatus());
  ASSERT_EQ(backend->SetObject(scan.object), absl::OkStatus());
  ASSERT_EQ(backend->Shift(2, -3), absl::OkStatus());
  const std::vector<Complex64> moved = Read(*backend).object.data;
  const int cols = scan.canvas.shape.cols;
  const auto pixels = static_cast<int>(scan.canvas.shape.pixels());
  for (int mode = 0; mode < 2; ++mode) {
    for (int i = 0; i < pixels; ++i) {
      const bool from_outside = i < 2 * cols || i % cols >= cols - 3;
      const auto place = static_cast<std::size_t>(mode * pixels + i);
      EXPECT_EQ(moved[place],
                from_outside ? StartOf(scan.Config(), scan.canvas, mode, i)
                             : scan.object.data[place - 2 * static_cast<std::size_t>(cols) + 3]);
    }
  }
}

TEST_P(BackendConformance, ObjectsOfOtherModesAreRefused) {
  const TestScan scan = ReferenceScan("objects2_modes1");
  const auto backend = Started(scan);
  for (const int modes : {1, 3}) {
    EXPECT_EQ(backend->SetObject(ComplexStack(modes, scan.canvas.shape)).code(),
              absl::StatusCode::kInvalidArgument);
  }
  for (const int modes : {0, kMaxObjectModes + 1}) {
    BackendConfig config = scan.Config();
    config.object_modes = modes;
    EXPECT_EQ(device_->CreateBackend(config).status().code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST_P(BackendConformance, DarkModesOfTheObjectChangeNothing) {
  const TestScan single = ReferenceScan("modes2");
  TestScan padded = single;
  padded.object.modes = 2;
  padded.object.data.resize(2 * single.object.data.size());
  const auto pixels = static_cast<std::ptrdiff_t>(single.object.data.size());
  for (const AlgorithmConfig& algorithm : AllAlgorithms()) {
    const auto one = Started(single);
    const auto two = Started(padded);
    for (int i = 0; i < 3; ++i) {
      const IterationMetrics a = Iterate(*one, algorithm);
      const IterationMetrics b = Iterate(*two, algorithm);
      EXPECT_NEAR(b.r_factor, a.r_factor, 1e-6 * a.r_factor);
      EXPECT_NEAR(b.object_change, a.object_change, 1e-5 * a.object_change);
      EXPECT_NEAR(b.step, a.step, 1e-5 * a.step);
    }
    EXPECT_LT(RelativeError(Read(*two).probe.data, Read(*one).probe.data), 1e-6);
    const std::vector<Complex64> object = Read(*two).object.data;
    EXPECT_LT(RelativeError(std::span(object).first(pixels), Read(*one).object.data), 1e-6);
    EXPECT_THAT(std::vector(object.begin() + pixels, object.end()), ::testing::Each(Complex64(0)));
  }
}

// So that it makes no difference when, and whether, modes are made orthogonal.
TEST_P(BackendConformance, AMixtureOfTheObjectsModesIsTheSameSampleInEveryIteration) {
  const TestScan scan = ReferenceScan("objects2_modes1");
  const auto pixels = static_cast<std::size_t>(scan.canvas.shape.pixels());
  const auto frame = static_cast<std::size_t>(scan.frame_shape.pixels());
  TestScan mixed = scan;
  mixed.object.data = MixedInPairs(scan.object.data, pixels);
  ASSERT_GT(RelativeError(mixed.object.data, scan.object.data), 0.5);
  for (const AlgorithmConfig& algorithm : AllAlgorithms()) {
    const auto one = Started(scan);
    const auto other = Started(mixed);
    for (int i = 0; i < 3; ++i) {
      const FitMetrics fit = Fit(*one, scan.points), of_other = Fit(*other, scan.points);
      EXPECT_NEAR(of_other.poisson_nll, fit.poisson_nll, 1e-5 * fit.poisson_nll);
      Iterate(*one, algorithm);
      Iterate(*other, algorithm);
    }
    EXPECT_LT(RelativeError(Read(*other).probe.data, Read(*one).probe.data), 1e-5);
    EXPECT_LT(RelativeError(Read(*other).object.data, MixedInPairs(Read(*one).object.data, pixels)),
              1e-5);
    if (KeepsExitWaves(algorithm)) {
      EXPECT_LT(RelativeError(other->ReadExitWaves()->waves.data,
                              MixedInPairs(one->ReadExitWaves()->waves.data, frame)),
                1e-5);
    }
  }
}

TEST_P(BackendConformance, SeveralModesOfTheObjectRepeatBitForBit) {
  const TestScan scan = ReferenceScan("objects2_modes2");
  for (const AlgorithmConfig& algorithm : AllAlgorithms()) {
    const auto first = Started(scan);
    const auto second = Started(scan);
    for (int i = 0; i < 2; ++i) {
      Iterate(*first, algorithm);
      Iterate(*second, algorithm);
    }
    EXPECT_EQ(Read(*first).object.data, Read(*second).object.data);
    EXPECT_EQ(Read(*first).probe.data, Read(*second).probe.data);
  }
}

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_TESTS_UNIT_ENGINE_BACKEND_BACKEND_CONFORMANCE_H_
