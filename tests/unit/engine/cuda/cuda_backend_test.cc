#include "engine/backend/cuda/cuda_backend.h"

#include <cuda_runtime_api.h>

#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <thread>
#include <tuple>
#include <vector>

#include "engine/backend/cuda/cuda_device.h"
#include "gtest/gtest.h"
#include "tests/unit/engine/cuda/cuda_problem.h"

namespace ptychoserve {
namespace {

TEST(CudaDevice, DescribesItself) {
  EXPECT_EQ(FirstGpu().name(), "cuda:0");
  EXPECT_NE(FirstGpu().description().find("compute capability"), std::string::npos);
  EXPECT_GT(FirstGpu().usable_bytes(), 0);
  EXPECT_LT(FirstGpu().usable_bytes(), FirstGpu().total_bytes());
}

TEST(CudaDevice, LimitOfMemoryIsObeyed) {
  const CudaDeviceList list = CudaDevices({.memory_limit_bytes = 1 << 30});
  ASSERT_FALSE(list.devices.empty()) << list.reason;
  EXPECT_EQ(list.devices.front()->usable_bytes(), 1 << 30);
}

std::int64_t FreeBytes() {
  std::size_t free_bytes = 0, total_bytes = 0;
  EXPECT_EQ(cudaMemGetInfo(&free_bytes, &total_bytes), cudaSuccess);
  return static_cast<std::int64_t>(free_bytes);
}

TEST(CudaDevice, EstimateIsWhatABackendHolds) {
  BackendConfig config;
  config.frame_shape = {240, 200};
  config.capacity = 1000;
  config.keeps_exit_waves = true;
  config.max_object_pixels = 3'000'000;
  // The libraries load their code with the first backend.
  MustCreate(FirstGpu(), config).reset();
  for (const auto& [storage, modes, object_modes, components, near_field] :
       {std::tuple(FrameStorage::kU16, 1, 1, 0, false),
        {FrameStorage::kF32, 1, 1, 0, false},
        {FrameStorage::kU16, 3, 1, 4, false},
        {FrameStorage::kU16, 2, 2, 0, false},
        {FrameStorage::kU16, 1, 1, 2, true}}) {
    config.storage = storage;
    config.probe_modes = modes;
    config.object_modes = object_modes;
    config.probe_components = components;
    config.near_field.reset();
    if (near_field) config.near_field = FreeSpace{1e-10, 1e-3, {50e-9, 50e-9}};
    const std::int64_t estimate = FirstGpu().EstimateBytes(config);
    const std::int64_t before = FreeBytes();
    const std::unique_ptr<Backend> backend = MustCreate(FirstGpu(), config);
    EXPECT_EQ(static_cast<cuda::CudaBackend&>(*backend).allocated_bytes(), estimate);
    const std::int64_t held = before - FreeBytes();
    std::printf("  estimate %.1f MiB, held %.1f MiB\n", static_cast<double>(estimate) / (1 << 20),
                static_cast<double>(held) / (1 << 20));
    // cuFFT keeps tables of its own beside the work area.
    constexpr std::int64_t kTables = 8 << 20;
    EXPECT_LE(held, estimate + kTables);
    EXPECT_GE(held, estimate - estimate / 100);
  }
}

TEST(CudaDevice, OutOfMemoryIsAnErrorAndHarmless) {
  const Problem problem = MakeProblem({.points = 3});
  BackendConfig huge = problem.config;
  huge.capacity = 2'000'000'000;
  huge.frame_shape = {1024, 1024};
  huge.keeps_exit_waves = false;
  const auto backend = FirstGpu().CreateBackend(huge);
  EXPECT_EQ(backend.status().code(), absl::StatusCode::kResourceExhausted) << backend.status();
  const std::unique_ptr<Backend> small = MustCreate(FirstGpu(), problem.config);
  ASSERT_EQ(Prepare(problem, *small), absl::OkStatus());
  EXPECT_EQ(small->Iterate(DifferenceMapConfig{}, {}).status(), absl::OkStatus());
}

TEST(CudaDevice, ImpossibleConfigurationsAreRefused) {
  BackendConfig config;
  config.frame_shape = {0, 16};
  config.capacity = 1;
  EXPECT_EQ(FirstGpu().CreateBackend(config).status().code(), absl::StatusCode::kInvalidArgument);
  config.frame_shape = {16, 16};
  config.capacity = 0;
  EXPECT_EQ(FirstGpu().CreateBackend(config).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(CudaBackend, SnapshotIsOfTheMomentItWasStarted) {
  const Problem problem = MakeProblem({.points = 40, .measured = true});
  const std::unique_ptr<Backend> gpu = MustCreate(FirstGpu(), problem.config);
  ASSERT_EQ(Prepare(problem, *gpu), absl::OkStatus());
  ASSERT_EQ(gpu->Iterate(DifferenceMapConfig{}, {}).status(), absl::OkStatus());
  const absl::StatusOr<Readback> now = ReadNow(*gpu);
  ASSERT_EQ(now.status(), absl::OkStatus());

  absl::StatusOr<Backend::CollectReadback> collect = gpu->StartReadback();
  ASSERT_EQ(collect.status(), absl::OkStatus());
  EXPECT_EQ(gpu->StartReadback().status().code(), absl::StatusCode::kFailedPrecondition);
  for (int i = 0; i < 5; ++i) {
    ASSERT_EQ(gpu->Iterate(MlGradientConfig{}, {}).status(), absl::OkStatus());
  }
  ASSERT_EQ(gpu->Shift(2, 3), absl::OkStatus());
  const absl::StatusOr<Readback> later = (*std::move(collect))();
  ASSERT_EQ(later.status(), absl::OkStatus());
  EXPECT_EQ(later->object.data, now->object.data);
  EXPECT_EQ(later->probe.data, now->probe.data);
  EXPECT_EQ(later->coverage.data, now->coverage.data);

  const absl::StatusOr<Readback> after = ReadNow(*gpu);
  ASSERT_EQ(after.status(), absl::OkStatus());
  EXPECT_NE(after->object.data, now->object.data);
}

TEST(CudaBackend, SnapshotIsCollectedByAnotherThreadWhileIterationsGoOn) {
  const Problem problem = MakeProblem({.points = 10});
  const std::unique_ptr<Backend> gpu = MustCreate(FirstGpu(), problem.config);
  ASSERT_EQ(Prepare(problem, *gpu), absl::OkStatus());
  absl::StatusOr<Backend::CollectReadback> collect = gpu->StartReadback();
  ASSERT_EQ(collect.status(), absl::OkStatus());
  absl::StatusOr<Readback> readback;
  std::jthread other([&] { readback = (*std::move(collect))(); });
  for (int i = 0; i < 5; ++i) {
    ASSERT_EQ(gpu->Iterate(DifferenceMapConfig{}, {}).status(), absl::OkStatus());
  }
  other.join();
  ASSERT_EQ(readback.status(), absl::OkStatus());
  EXPECT_EQ(readback->object.data, problem.object.data);
  EXPECT_EQ(readback->probe.data, problem.probe.data);
}

TEST(CudaBackend, FrozenPartsKeepEveryBit) {
  const Problem problem = MakeProblem({.points = 20});
  const std::unique_ptr<Backend> gpu = MustCreate(FirstGpu(), problem.config);
  ASSERT_EQ(Prepare(problem, *gpu), absl::OkStatus());
  for (const AlgorithmConfig& algorithm :
       {AlgorithmConfig(DifferenceMapConfig{}), AlgorithmConfig(MlGradientConfig{}),
        AlgorithmConfig(EpieConfig{}), AlgorithmConfig(LsqMlConfig{})}) {
    const absl::StatusOr<Readback> start = ReadNow(*gpu);
    ASSERT_EQ(start.status(), absl::OkStatus());
    ASSERT_EQ(gpu->Iterate(algorithm, {.update_object = true, .update_probe = false}).status(),
              absl::OkStatus());
    const absl::StatusOr<Readback> frozen_probe = ReadNow(*gpu);
    ASSERT_EQ(frozen_probe.status(), absl::OkStatus());
    EXPECT_EQ(frozen_probe->probe.data, start->probe.data);
    EXPECT_NE(frozen_probe->object.data, start->object.data);
    ASSERT_EQ(gpu->Iterate(algorithm, {.update_object = false, .update_probe = true}).status(),
              absl::OkStatus());
    const absl::StatusOr<Readback> frozen_object = ReadNow(*gpu);
    ASSERT_EQ(frozen_object.status(), absl::OkStatus());
    EXPECT_EQ(frozen_object->object.data, frozen_probe->object.data);
    EXPECT_NE(frozen_object->probe.data, frozen_probe->probe.data);
  }
}

TEST(CudaBackend, NonFiniteValuesAreReported) {
  const Problem problem = MakeProblem({.points = 5});
  const std::unique_ptr<Backend> gpu = MustCreate(FirstGpu(), problem.config);
  ASSERT_EQ(Prepare(problem, *gpu), absl::OkStatus());
  ComplexStack object = problem.object;
  object.data[object.data.size() / 2] = {std::numeric_limits<float>::quiet_NaN(), 0.0f};
  ASSERT_EQ(gpu->SetObject(object), absl::OkStatus());
  const absl::StatusOr<IterationMetrics> metrics = gpu->Iterate(MlGradientConfig{}, {});
  ASSERT_EQ(metrics.status(), absl::OkStatus());
  EXPECT_FALSE(metrics->finite);
}

TEST(CudaBackend, WithoutPointsNothingChanges) {
  const Problem problem = MakeProblem({.points = 2});
  const std::unique_ptr<Backend> gpu = MustCreate(FirstGpu(), problem.config);
  ASSERT_EQ(Prepare(problem, *gpu), absl::OkStatus());
  ASSERT_EQ(gpu->SetActivePoints({}), absl::OkStatus());
  for (const AlgorithmConfig& algorithm :
       {AlgorithmConfig(DifferenceMapConfig{}), AlgorithmConfig(MlGradientConfig{}),
        AlgorithmConfig(EpieConfig{}), AlgorithmConfig(LsqMlConfig{})}) {
    const absl::StatusOr<IterationMetrics> metrics = gpu->Iterate(algorithm, {});
    ASSERT_EQ(metrics.status(), absl::OkStatus());
    EXPECT_EQ(metrics->r_factor, 0);
    EXPECT_TRUE(metrics->finite);
  }
  const absl::StatusOr<Readback> readback = ReadNow(*gpu);
  ASSERT_EQ(readback.status(), absl::OkStatus());
  EXPECT_EQ(readback->object.data, problem.object.data);
  EXPECT_EQ(readback->probe.data, problem.probe.data);
}

TEST(CudaBackend, DifferenceMapNeedsExitWaves) {
  const Problem problem = MakeProblem({.points = 2, .keeps_exit_waves = false});
  const std::unique_ptr<Backend> gpu = MustCreate(FirstGpu(), problem.config);
  ASSERT_EQ(Prepare(problem, *gpu), absl::OkStatus());
  EXPECT_EQ(gpu->Iterate(DifferenceMapConfig{}, {}).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(gpu->ReadExitWaves().status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(gpu->Iterate(MlGradientConfig{}, {}).status(), absl::OkStatus());
  EXPECT_EQ(gpu->Shift(1, 1), absl::OkStatus());
}

TEST(CudaBackend, SessionsSideBySideDoNotInfluenceEachOther) {
  constexpr int kSessions = 3, kIterations = 10;
  std::vector<Problem> problems;
  for (unsigned seed = 0; seed < kSessions; ++seed) {
    problems.push_back(
        MakeProblem({.points = 60, .deterministic = true, .measured = true, .seed = seed}));
  }
  const auto run = [&](int session, Readback& result) {
    const Problem& problem = problems[static_cast<std::size_t>(session)];
    const std::unique_ptr<Backend> gpu = MustCreate(FirstGpu(), problem.config);
    ASSERT_EQ(Prepare(problem, *gpu), absl::OkStatus());
    for (int i = 0; i < kIterations; ++i) {
      ASSERT_EQ(gpu->Iterate(MlGradientConfig{}, {}).status(), absl::OkStatus());
    }
    absl::StatusOr<Readback> readback = ReadNow(*gpu);
    ASSERT_EQ(readback.status(), absl::OkStatus());
    result = *std::move(readback);
  };
  std::vector<Readback> alone(kSessions), together(kSessions);
  for (int session = 0; session < kSessions; ++session) {
    run(session, alone[static_cast<std::size_t>(session)]);
  }
  {
    std::vector<std::jthread> threads;
    for (int session = 0; session < kSessions; ++session) {
      threads.emplace_back(
          [&, session] { run(session, together[static_cast<std::size_t>(session)]); });
    }
  }
  for (std::size_t session = 0; session < kSessions; ++session) {
    EXPECT_EQ(together[session].object.data, alone[session].object.data);
    EXPECT_EQ(together[session].probe.data, alone[session].probe.data);
  }
}

}  // namespace
}  // namespace ptychoserve
