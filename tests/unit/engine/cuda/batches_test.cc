#include <cstddef>
#include <cstdio>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/backend/pie_batches.h"
#include "gtest/gtest.h"
#include "tests/unit/engine/cuda/cuda_problem.h"

// Batches of many points, on scans wide enough for them.

namespace ptychoserve {
namespace {

constexpr double kTolerance = 1e-4;
constexpr double kHalfTolerance = 2e-2;  // As in agreement_test.cc.
constexpr int kIterations = 4;  // The first as launches, the others as a graph where there is one.

std::vector<ProblemOptions> WideScans() {
  return {
      // More chunks in a batch than are under way at once, and a rest.
      {.frame_shape = {256, 256}, .points = 110, .spread = 620, .measured = true},
      {.frame_shape = {64, 64}, .points = 900, .spread = 420, .measured = true},
      {.frame_shape = {256, 256},
       .points = 110,
       .spread = 620,
       .half_waves = true,
       .measured = true},
      {.frame_shape = {128, 64},
       .points = 150,
       .spread = 200,
       .storage = FrameStorage::kF32,
       .whole_pixels = true,
       .measured = true},
      {.frame_shape = {64, 64},
       .points = 300,
       .spread = 260,
       .deterministic = true,
       .measured = true},
      {.frame_shape = {40, 24}, .points = 400, .spread = 220, .measured = true},
      {.frame_shape = {33, 47}, .points = 90, .spread = 150, .capacity = 97, .measured = true},
  };
}

std::string NameOf(const ProblemOptions& options) {
  return testing::PrintToString(options.points) + " points of " +
         testing::PrintToString(options.frame_shape.rows) + " x " +
         testing::PrintToString(options.frame_shape.cols);
}

TEST(Batches, GpuEqualsCpuInEveryIteration) {
  for (const ProblemOptions& options : WideScans()) {
    SCOPED_TRACE(NameOf(options));
    const Problem problem = MakeProblem(options);
    const PointBatches batches = MakePieBatches(problem.points, options.frame_shape, 0);
    ASSERT_LT(4 * batches.count(), options.points) << "batches are too small to test anything";
    Deviations worst;
    for (const int max_batch : {0, 1, 5}) {
      EpieConfig epie;
      epie.max_batch = max_batch;
      const std::unique_ptr<Backend> gpu = MustCreate(FirstGpu(), problem.config);
      const std::unique_ptr<Backend> cpu = MustCreate(ReferenceDevice(), problem.config);
      ASSERT_EQ(Prepare(problem, *gpu), absl::OkStatus());
      ASSERT_EQ(Prepare(problem, *cpu), absl::OkStatus());
      for (int i = 0; i < kIterations; ++i) {
        const absl::StatusOr<IterationMetrics> metrics = gpu->Iterate(epie, {});
        const absl::StatusOr<IterationMetrics> reference = cpu->Iterate(epie, {});
        ASSERT_EQ(metrics.status(), absl::OkStatus());
        ASSERT_EQ(reference.status(), absl::OkStatus());
        absl::StatusOr<Deviations> deviations = Compare(*gpu, *cpu, /*exit_waves=*/false);
        ASSERT_EQ(deviations.status(), absl::OkStatus());
        deviations->Include(Compare(*metrics, *reference));
        EXPECT_LE(deviations->Largest(), options.half_waves ? kHalfTolerance : kTolerance)
            << "max_batch " << max_batch << ", iteration " << i << ": " << deviations->ToString();
        worst.Include(*deviations);
      }
    }
    std::printf("  largest deviations: %s\n", worst.ToString().c_str());
  }
}

TEST(Batches, GpuEqualsCpuInLsqMl) {
  for (const ProblemOptions& options : WideScans()) {
    SCOPED_TRACE(NameOf(options));
    const Problem problem = MakeProblem(options);
    Deviations worst;
    for (const LsqMlConfig& lsq :
         {LsqMlConfig{}, LsqMlConfig{.batch_kind = BatchKind::kCompact, .batch_size = 30},
          LsqMlConfig{.likelihood = Likelihood::kPoisson, .batch_size = options.points}}) {
      const std::unique_ptr<Backend> gpu = MustCreate(FirstGpu(), problem.config);
      const std::unique_ptr<Backend> cpu = MustCreate(ReferenceDevice(), problem.config);
      ASSERT_EQ(Prepare(problem, *gpu), absl::OkStatus());
      ASSERT_EQ(Prepare(problem, *cpu), absl::OkStatus());
      for (int i = 0; i < kIterations; ++i) {
        const absl::StatusOr<IterationMetrics> metrics = gpu->Iterate(lsq, {});
        const absl::StatusOr<IterationMetrics> reference = cpu->Iterate(lsq, {});
        ASSERT_EQ(metrics.status(), absl::OkStatus());
        ASSERT_EQ(reference.status(), absl::OkStatus());
        absl::StatusOr<Deviations> deviations = Compare(*gpu, *cpu, /*exit_waves=*/false);
        ASSERT_EQ(deviations.status(), absl::OkStatus());
        deviations->Include(Compare(*metrics, *reference));
        EXPECT_LE(deviations->Largest(), options.half_waves ? kHalfTolerance : kTolerance)
            << "batches of " << lsq.batch_size << ", iteration " << i << ": "
            << deviations->ToString();
        worst.Include(*deviations);
      }
    }
    std::printf("  largest deviations: %s\n", worst.ToString().c_str());
  }
}

// The batches change with the limit and the points, between iterations of the same backend.
TEST(Batches, FollowTheirLimitAndThePoints) {
  for (const bool deterministic : {false, true}) {
    const Problem problem = MakeProblem({.frame_shape = {64, 64},
                                         .points = 120,
                                         .spread = 200,
                                         .deterministic = deterministic,
                                         .measured = true});
    const std::unique_ptr<Backend> gpu = MustCreate(FirstGpu(), problem.config);
    const std::unique_ptr<Backend> cpu = MustCreate(ReferenceDevice(), problem.config);
    ASSERT_EQ(Prepare(problem, *gpu), absl::OkStatus());
    ASSERT_EQ(Prepare(problem, *cpu), absl::OkStatus());
    const std::span<const PointWindow> points = problem.points;
    for (const std::size_t count : {std::size_t{120}, std::size_t{40}, std::size_t{77}}) {
      for (Backend* backend : {gpu.get(), cpu.get()}) {
        ASSERT_EQ(backend->SetActivePoints(points.first(count)), absl::OkStatus());
      }
      for (const AlgorithmConfig& algorithm :
           {AlgorithmConfig(EpieConfig{}), AlgorithmConfig(EpieConfig{}),
            AlgorithmConfig(EpieConfig{.max_batch = 3}), AlgorithmConfig(LsqMlConfig{}),
            AlgorithmConfig(EpieConfig{.max_batch = 1}), AlgorithmConfig(EpieConfig{})}) {
        ASSERT_EQ(gpu->Iterate(algorithm, {}).status(), absl::OkStatus());
        ASSERT_EQ(cpu->Iterate(algorithm, {}).status(), absl::OkStatus());
        const absl::StatusOr<Deviations> deviations = Compare(*gpu, *cpu, /*exit_waves=*/false);
        ASSERT_EQ(deviations.status(), absl::OkStatus());
        EXPECT_LE(deviations->Largest(), kTolerance)
            << count << " points: " << deviations->ToString();
      }
    }
  }
}

TEST(Batches, DeterministicRepeatsBitForBit) {
  const Problem problem = MakeProblem({.frame_shape = {64, 64},
                                       .points = 300,
                                       .spread = 260,
                                       .deterministic = true,
                                       .measured = true});
  for (const AlgorithmConfig& algorithm :
       {AlgorithmConfig(EpieConfig{}), AlgorithmConfig(LsqMlConfig{})}) {
    std::vector<Readback> results;
    for (int run = 0; run < 2; ++run) {
      const std::unique_ptr<Backend> gpu = MustCreate(FirstGpu(), problem.config);
      ASSERT_EQ(Prepare(problem, *gpu), absl::OkStatus());
      for (int i = 0; i < kIterations; ++i) {
        ASSERT_EQ(gpu->Iterate(algorithm, {}).status(), absl::OkStatus());
      }
      absl::StatusOr<Readback> readback = ReadNow(*gpu);
      ASSERT_EQ(readback.status(), absl::OkStatus());
      results.push_back(*std::move(readback));
    }
    EXPECT_EQ(results[0].object.data, results[1].object.data);
    EXPECT_EQ(results[0].probe.data, results[1].probe.data);
  }
}

}  // namespace
}  // namespace ptychoserve
