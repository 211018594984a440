#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "gtest/gtest.h"
#include "tests/unit/engine/cuda/cuda_problem.h"

// A scan that grows while it is reconstructed. compute-sanitizer runs these tests too: frames
// and exit waves of slots that were never loaded are uninitialised device memory.

namespace ptychoserve {
namespace {

constexpr double kTolerance = 1e-4;

ProblemOptions Measured(int points, int capacity) {
  return {.frame_shape = {48, 40}, .points = points, .capacity = capacity, .measured = true};
}

std::vector<AlgorithmConfig> Algorithms() {
  return {DifferenceMapConfig{}, MlGradientConfig{}, EpieConfig{}};
}

// The first `count` points, in the order of their slots rather than of their arrival.
std::vector<PointWindow> FirstPoints(const Problem& problem, int count) {
  std::vector<PointWindow> points(problem.points.begin(), problem.points.begin() + count);
  std::sort(points.begin(), points.end(),
            [](const PointWindow& a, const PointWindow& b) { return a.slot < b.slot; });
  return points;
}

absl::Status Arrive(const Problem& problem, int from, int to, Backend& backend) {
  const absl::Status loaded =
      Load(problem,
           std::span(problem.points)
               .subspan(static_cast<std::size_t>(from), static_cast<std::size_t>(to - from)),
           backend);
  return loaded.ok() ? backend.SetActivePoints(FirstPoints(problem, to)) : loaded;
}

TEST(Streaming, GrowsByAnyNumberAndEqualsCpu) {
  // More slots than points: the rest is never loaded.
  const Problem problem = MakeProblem(Measured(45, 60));
  Deviations worst;
  for (const AlgorithmConfig& algorithm : Algorithms()) {
    const std::unique_ptr<Backend> gpu = MustCreate(FirstGpu(), problem.config);
    const std::unique_ptr<Backend> cpu = MustCreate(ReferenceDevice(), problem.config);
    for (Backend* backend : {gpu.get(), cpu.get()}) {
      ASSERT_EQ(backend->SetCanvas(problem.canvas), absl::OkStatus());
      ASSERT_EQ(backend->SetProbe(problem.probe), absl::OkStatus());
    }
    int have = 0;
    for (const int step : {1, 2, 17, 1, 24}) {
      for (Backend* backend : {gpu.get(), cpu.get()}) {
        ASSERT_EQ(Arrive(problem, have, have + step, *backend), absl::OkStatus());
      }
      have += step;
      const absl::StatusOr<IterationMetrics> metrics = gpu->Iterate(algorithm, {});
      const absl::StatusOr<IterationMetrics> reference = cpu->Iterate(algorithm, {});
      ASSERT_EQ(metrics.status(), absl::OkStatus());
      ASSERT_EQ(reference.status(), absl::OkStatus());
      absl::StatusOr<Deviations> deviations = Compare(*gpu, *cpu, /*exit_waves=*/true);
      ASSERT_EQ(deviations.status(), absl::OkStatus());
      deviations->Include(Compare(*metrics, *reference));
      EXPECT_LE(deviations->Largest(), kTolerance)
          << "with " << have << " points: " << deviations->ToString();
      worst.Include(*deviations);
    }
  }
  std::printf("  largest deviations: %s\n", worst.ToString().c_str());
}

TEST(Streaming, EverySlotCanBeUsed) {
  const Problem problem = MakeProblem(Measured(33, 33));
  const std::unique_ptr<Backend> gpu = MustCreate(FirstGpu(), problem.config);
  ASSERT_EQ(Prepare(problem, *gpu), absl::OkStatus());
  for (const AlgorithmConfig& algorithm : Algorithms()) {
    const absl::StatusOr<IterationMetrics> metrics = gpu->Iterate(algorithm, {});
    ASSERT_EQ(metrics.status(), absl::OkStatus());
    EXPECT_TRUE(metrics->finite);
  }
  EXPECT_EQ(gpu->Evaluate(problem.points).status(), absl::OkStatus());
}

TEST(Streaming, SlotsBeyondCapacityAreRefused) {
  const Problem problem = MakeProblem(Measured(4, 4));
  const std::unique_ptr<Backend> gpu = MustCreate(FirstGpu(), problem.config);
  ASSERT_EQ(Prepare(problem, *gpu), absl::OkStatus());
  const FrameToLoad beyond{4, problem.frames[0].data()};
  const FrameToLoad before{-1, problem.frames[0].data()};
  EXPECT_EQ(gpu->LoadFrames({&beyond, 1}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(gpu->LoadFrames({&before, 1}).code(), absl::StatusCode::kInvalidArgument);
  PointWindow point = problem.points[0];
  point.slot = 4;
  EXPECT_EQ(gpu->SetActivePoints({&point, 1}).code(), absl::StatusCode::kFailedPrecondition);
}

TEST(Streaming, SlotsWithoutFrameAreRefused) {
  const Problem problem = MakeProblem(Measured(4, 4));
  const std::unique_ptr<Backend> gpu = MustCreate(FirstGpu(), problem.config);
  ASSERT_EQ(gpu->SetCanvas(problem.canvas), absl::OkStatus());
  EXPECT_EQ(gpu->SetActivePoints(problem.points).code(), absl::StatusCode::kFailedPrecondition);
  const std::int32_t slot = 2;
  EXPECT_EQ(gpu->MeanAmplitude({&slot, 1}).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(Streaming, WindowsOutsideTheCanvasAreRefused) {
  const Problem problem = MakeProblem(Measured(4, 4));
  const std::unique_ptr<Backend> gpu = MustCreate(FirstGpu(), problem.config);
  ASSERT_EQ(Prepare(problem, *gpu), absl::OkStatus());
  const Region canvas = problem.canvas;
  const Shape frame = problem.config.frame_shape;
  const int last_row = canvas.row + canvas.shape.rows - frame.rows - 1;
  const int last_col = canvas.col + canvas.shape.cols - frame.cols - 1;
  PointWindow point = problem.points[0];
  const auto status_at = [&](int row, int col) {
    point.row = row;
    point.col = col;
    return gpu->SetActivePoints({&point, 1}).code();
  };
  constexpr auto kRefused = absl::StatusCode::kInvalidArgument;
  EXPECT_EQ(status_at(canvas.row, canvas.col), absl::StatusCode::kOk);
  EXPECT_EQ(status_at(last_row, last_col), absl::StatusCode::kOk);
  EXPECT_EQ(status_at(canvas.row - 1, canvas.col), kRefused);
  EXPECT_EQ(status_at(canvas.row, canvas.col - 1), kRefused);
  EXPECT_EQ(status_at(last_row + 1, last_col), kRefused);
  EXPECT_EQ(status_at(last_row, last_col + 1), kRefused);
  // The refused sets have changed nothing: the last good one is iterated.
  EXPECT_EQ(gpu->Iterate(EpieConfig{}, {}).status(), absl::OkStatus());
}

TEST(Streaming, FramesOfOtherSlotsAreNeverRead) {
  Problem problem = MakeProblem(Measured(20, 30));
  const std::unique_ptr<Backend> clean = MustCreate(FirstGpu(), problem.config);
  const std::unique_ptr<Backend> poisoned = MustCreate(FirstGpu(), problem.config);
  const std::vector<std::byte> poison(
      problem.frames[static_cast<std::size_t>(problem.points[0].slot)].size(), std::byte{0x7f});
  for (std::int32_t slot = 0; slot < problem.config.capacity; ++slot) {
    const FrameToLoad frame{slot, poison.data()};
    ASSERT_EQ(poisoned->LoadFrames({&frame, 1}), absl::OkStatus());
  }
  ASSERT_EQ(Prepare(problem, *clean), absl::OkStatus());
  ASSERT_EQ(Prepare(problem, *poisoned), absl::OkStatus());
  for (const AlgorithmConfig& algorithm : Algorithms()) {
    ASSERT_EQ(clean->Iterate(algorithm, {}).status(), absl::OkStatus());
    ASSERT_EQ(poisoned->Iterate(algorithm, {}).status(), absl::OkStatus());
    const absl::StatusOr<Deviations> deviations = Compare(*poisoned, *clean, true);
    ASSERT_EQ(deviations.status(), absl::OkStatus());
    EXPECT_LE(deviations->Largest(), kTolerance) << deviations->ToString();
  }
}

TEST(Canvas, GrowsAndShrinksLikeOnTheCpu) {
  const Problem problem = MakeProblem(Measured(12, 12));
  const std::unique_ptr<Backend> gpu = MustCreate(FirstGpu(), problem.config);
  const std::unique_ptr<Backend> cpu = MustCreate(ReferenceDevice(), problem.config);
  ASSERT_EQ(Prepare(problem, *gpu), absl::OkStatus());
  ASSERT_EQ(Prepare(problem, *cpu), absl::OkStatus());
  const Region start = problem.canvas;
  const Region grown{start.row - 9, start.col - 3, {start.shape.rows + 15, start.shape.cols + 20}};
  ASSERT_LE(grown.shape.pixels(), problem.config.max_object_pixels);
  const absl::StatusOr<Readback> before = ReadNow(*gpu);
  ASSERT_EQ(before.status(), absl::OkStatus());
  for (const Region& canvas : {grown, start}) {
    ASSERT_EQ(gpu->SetCanvas(canvas), absl::OkStatus());
    ASSERT_EQ(cpu->SetCanvas(canvas), absl::OkStatus());
    const absl::StatusOr<Deviations> moved = Compare(*gpu, *cpu, true);
    ASSERT_EQ(moved.status(), absl::OkStatus());
    EXPECT_EQ(moved->object, 0) << "pixels are moved, not computed";
  }
  const absl::StatusOr<Readback> after = ReadNow(*gpu);
  ASSERT_EQ(after.status(), absl::OkStatus());
  EXPECT_EQ(after->object.data, before->object.data);

  for (const Region& canvas : {grown, start}) {
    ASSERT_EQ(gpu->SetCanvas(canvas), absl::OkStatus());
    ASSERT_EQ(cpu->SetCanvas(canvas), absl::OkStatus());
    for (const AlgorithmConfig& algorithm : Algorithms()) {
      ASSERT_EQ(gpu->Iterate(algorithm, {}).status(), absl::OkStatus());
      ASSERT_EQ(cpu->Iterate(algorithm, {}).status(), absl::OkStatus());
    }
    const absl::StatusOr<Deviations> deviations = Compare(*gpu, *cpu, true);
    ASSERT_EQ(deviations.status(), absl::OkStatus());
    EXPECT_LE(deviations->Largest(), kTolerance) << deviations->ToString();
  }
}

TEST(Canvas, LargerThanAgreedOrWithoutAWindowIsRefused) {
  const Problem problem = MakeProblem(Measured(3, 3));
  const std::unique_ptr<Backend> gpu = MustCreate(FirstGpu(), problem.config);
  ASSERT_EQ(Prepare(problem, *gpu), absl::OkStatus());
  const int side = static_cast<int>(problem.config.max_object_pixels);
  EXPECT_EQ(gpu->SetCanvas({0, 0, {side, 2}}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(gpu->SetCanvas({0, 0, {0, 5}}).code(), absl::StatusCode::kInvalidArgument);
  Region without = problem.canvas;
  without.row += 1;  // The first window begins at the canvas' first row.
  EXPECT_EQ(gpu->SetCanvas(without).code(), absl::StatusCode::kInvalidArgument);
}

TEST(Canvas, ClearedRegionsEqualCpu) {
  const Problem problem = MakeProblem(Measured(3, 3));
  const std::unique_ptr<Backend> gpu = MustCreate(FirstGpu(), problem.config);
  const std::unique_ptr<Backend> cpu = MustCreate(ReferenceDevice(), problem.config);
  ASSERT_EQ(Prepare(problem, *gpu), absl::OkStatus());
  ASSERT_EQ(Prepare(problem, *cpu), absl::OkStatus());
  const Region canvas = problem.canvas;
  for (const Region& region : {Region{canvas.row + 5, canvas.col + 7, {10, 3}},  // Inside.
                               Region{canvas.row - 5, canvas.col - 5, {8, 8}},   // At a corner.
                               Region{canvas.row + canvas.shape.rows, canvas.col, {4, 4}}}) {
    ASSERT_EQ(gpu->ClearObject(region), absl::OkStatus());
    ASSERT_EQ(cpu->ClearObject(region), absl::OkStatus());
    const absl::StatusOr<Deviations> deviations = Compare(*gpu, *cpu, true);
    ASSERT_EQ(deviations.status(), absl::OkStatus());
    EXPECT_EQ(deviations->object, 0);
  }
  const absl::StatusOr<Readback> readback = ReadNow(*gpu);
  ASSERT_EQ(readback.status(), absl::OkStatus());
  EXPECT_EQ(readback->object.data[0], problem.config.initial_object);
}

TEST(Canvas, ShiftsLikeOnTheCpu) {
  const Problem problem = MakeProblem(Measured(9, 11));
  const std::unique_ptr<Backend> gpu = MustCreate(FirstGpu(), problem.config);
  const std::unique_ptr<Backend> cpu = MustCreate(ReferenceDevice(), problem.config);
  ASSERT_EQ(Prepare(problem, *gpu), absl::OkStatus());
  ASSERT_EQ(Prepare(problem, *cpu), absl::OkStatus());
  const std::vector<std::pair<int, int>> shifts{{3, -5}, {-50, 41}, {0, 0}, {1, 0}};
  for (const auto& [rows, cols] : shifts) {
    ASSERT_EQ(gpu->Shift(rows, cols), absl::OkStatus());
    ASSERT_EQ(cpu->Shift(rows, cols), absl::OkStatus());
    const absl::StatusOr<Deviations> deviations = Compare(*gpu, *cpu, true);
    ASSERT_EQ(deviations.status(), absl::OkStatus());
    EXPECT_EQ(deviations->object, 0);
    EXPECT_EQ(deviations->probe, 0);
    EXPECT_LE(deviations->exit_waves, 1e-6);
    EXPECT_LE(deviations->coverage, 1e-6);
  }
}

}  // namespace
}  // namespace ptychoserve
