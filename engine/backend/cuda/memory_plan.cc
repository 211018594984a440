#include "engine/backend/cuda/memory_plan.h"

#include <algorithm>

#include "engine/backend/cuda/batch_passes.h"
#include "engine/backend/cuda/coverage.h"
#include "engine/backend/cuda/device_types.h"
#include "engine/backend/cuda/difference_map.h"
#include "engine/backend/cuda/epie.h"
#include "engine/backend/cuda/fit.h"
#include "engine/backend/cuda/fused/fused_passes.h"
#include "engine/backend/cuda/lsq_ml.h"
#include "engine/backend/cuda/momentum.h"
#include "engine/backend/cuda/refine.h"
#include "engine/backend/cuda/update.h"

namespace ptychoserve::cuda {
namespace {

// Waves in work at once: 32 MiB of them, which the second-level cache of the larger GPUs holds.
constexpr std::int64_t kChunkPixels = 64 * 256 * 256;
// Enough to fill a GPU whatever the frames' size, and below the limit of a grid's y extent.
constexpr std::int64_t kMaxChunk = 512;
// Threads that the sum over points into the probe should have at least.
constexpr std::int64_t kProbeSumThreads = 4 * 256 * 256;
constexpr std::int64_t kMaxGroups = 64;

// cudaMalloc hands out larger buffers in units of 2 MiB and smaller ones from shared units.
constexpr std::int64_t kLargeUnit = 2 << 20;
constexpr std::int64_t kSmallUnit = 512;
constexpr std::int64_t kLargestSmall = 1 << 20;

std::int64_t RoundUp(std::int64_t value, std::int64_t unit) {
  return (value + unit - 1) / unit * unit;
}

// Adds up buffers as the allocator rounds them.
class Account {
 public:
  void Add(std::int64_t count, std::int64_t element_bytes) {
    const std::int64_t bytes = count * element_bytes;
    if (bytes > kLargestSmall) {
      large_ += RoundUp(bytes, kLargeUnit);
    } else {
      small_ += RoundUp(bytes, kSmallUnit);
    }
  }
  std::int64_t Total() const { return large_ + RoundUp(small_, kLargeUnit); }

 private:
  std::int64_t large_ = 0;
  std::int64_t small_ = 0;
};

}  // namespace

std::int64_t MemoryPlan::TotalBytes() const {
  Account account;
  account.Add(frames, 1);
  account.Add(exit_waves, 1);
  account.Add(work, sizeof(float2));
  account.Add(fft_work, 1);
  account.Add(transfer, sizeof(float2));
  for (int i = 0; i < 2; ++i) account.Add(probe, sizeof(float2));
  account.Add(probe_sums, sizeof(float2));
  account.Add(probe_weights, sizeof(float));
  for (int i = 0; i < 2; ++i) account.Add(object, sizeof(float2));  // Object and sums.
  account.Add(canvas, sizeof(float));                               // Weights.
  account.Add(1, sizeof(float));                                    // Their maximum.
  account.Add(object, sizeof(float2));                              // Snapshot.
  account.Add(canvas, sizeof(float));
  account.Add(probe, sizeof(float2));
  account.Add(points, sizeof(DevicePoint));
  account.Add(points, sizeof(std::int32_t));
  account.Add(object, sizeof(float2));  // Before an iteration of batches, or velocities.
  account.Add(points, sizeof(DevicePoint));
  account.Add(points + 1, sizeof(EpieMaxima));
  account.Add(batch_groups, sizeof(PointGroup));
  account.Add(batch_groups, sizeof(float));
  account.Add(batch_column_sums, sizeof(ColumnSums));
  account.Add(frame_pixels, sizeof(ProbeProducts));
  account.Add(kDirectionBlocks, sizeof(StepPartial));
  account.Add(ProbeDirectionBlocks(frame_pixels), sizeof(StepPartial));
  account.Add(fit_sums, sizeof(PairPartial));
  account.Add(1, sizeof(LsqSteps));
  account.Add(fit_sums, sizeof(FitSums));
  account.Add(points, sizeof(DevicePoint));  // Evaluated,
  account.Add(points, sizeof(FrameFit));     // their fits,
  account.Add(chunk_pieces, sizeof(FrameFit));
  account.Add(sample_sums, sizeof(FitSums));
  account.Add(chunk_pieces, sizeof(double));
  account.Add(points, sizeof(FrameFigures));
  account.Add(points, sizeof(float));  // Kept deviations.
  account.Add(probe_power, sizeof(float));
  account.Add(kFitSamplePoints, sizeof(DevicePoint));
  account.Add(fused_points, sizeof(DevicePoint));
  account.Add(fused_points, sizeof(PointGroup));
  account.Add(fused_column_sums, sizeof(ColumnSums));
  for (int i = 0; i < 2; ++i) account.Add(kFitBlocks, sizeof(FitPartial));
  account.Add(kUpdateBlocks, sizeof(ChangeSums));
  account.Add(kMomentumBlocks, sizeof(double));
  account.Add(1, sizeof(MomentumProgress));
  account.Add(1, sizeof(IterationState));
  for (int i = 0; i < 2; ++i) account.Add(frame_pixels, sizeof(float));  // Background
  account.Add(frame_pixels, sizeof(BackgroundSums));                     // and its sums.
  account.Add(refinement_sums, sizeof(double));
  account.Add(refinement_partials, sizeof(double));
  for (int i = 0; i < 2; ++i) account.Add(components, sizeof(float2));
  account.Add(component_weights, sizeof(float));
  account.Add(coefficients, sizeof(float));
  return account.Total();
}

MemoryPlan PlanMemory(const BackendConfig& config, bool fused) {
  MemoryPlan plan;
  plan.fused = fused;
  const std::int64_t capacity = config.capacity;
  plan.frame_pixels = config.frame_shape.pixels();
  plan.modes = {config.probe_modes, config.object_modes};
  const int waves = plan.modes.waves();
  plan.pieces = PiecesOf(plan.frame_pixels);
  plan.chunk = static_cast<int>(
      std::clamp<std::int64_t>(kChunkPixels / (waves * plan.frame_pixels), 1,
                               std::min(std::max<std::int64_t>(capacity, 1), kMaxChunk)));
  plan.groups = static_cast<int>(
      std::clamp<std::int64_t>(kProbeSumThreads / plan.frame_pixels, 1, kMaxGroups));
  plan.frame_bytes = plan.frame_pixels * StorageBytes(config.storage);
  plan.frames = capacity * plan.frame_bytes;
  plan.half = fused && config.half_waves;
  plan.probe = plan.modes.probe * plan.frame_pixels;
  plan.point_waves = waves * plan.frame_pixels;
  plan.exit_waves =
      config.keeps_exit_waves ? capacity * plan.point_waves * WaveBytes(plan.half) : 0;
  // So many sets of waves at a time; see CudaBackend::SumRefinement.
  const int sets = 3 + config.probe_components;
  plan.refine_chunk = std::max(plan.chunk / sets, 1);
  plan.work = std::max(plan.chunk, sets * plan.refine_chunk) * plan.point_waves;
  const std::int64_t terms = RefinementTermCount(config.probe_components);
  plan.refinement_sums = capacity * terms;
  plan.refinement_partials = std::int64_t{plan.refine_chunk} * plan.pieces * terms;
  plan.components = config.probe_components * plan.probe;
  plan.component_weights = config.probe_components * plan.frame_pixels;
  plan.coefficients = capacity * config.probe_components;
  plan.transfer = config.near_field.has_value() ? plan.frame_pixels : 0;
  plan.probe_sums = plan.groups * plan.probe;
  plan.probe_weights = plan.groups * plan.frame_pixels;
  plan.canvas = config.max_object_pixels;
  plan.object = plan.modes.object * plan.canvas;
  plan.points = capacity;
  plan.fit_sums = capacity * plan.pieces;
  plan.sample_sums = std::int64_t{kFitSamplePoints} * plan.pieces;
  plan.chunk_pieces = std::int64_t{plan.chunk} * plan.pieces;
  plan.probe_power = ProbePowerImages(config.probe_components) *
                     ProbePowerPixels(config.frame_shape.rows, config.frame_shape.cols);
  if (fused) {
    const FusedMemoryPlan passes =
        PlanFusedMemory(config.frame_shape, waves, config.capacity, plan.half);
    plan.work = std::max(plan.work, passes.wave_bytes / static_cast<std::int64_t>(sizeof(float2)));
    plan.fused_points = passes.points;
    plan.fused_column_sums = passes.column_sums;
    const BatchMemoryPlan batches =
        PlanBatchMemory(config.frame_shape, waves, config.capacity, plan.half);
    plan.batch_groups = batches.points;
    plan.batch_column_sums = batches.column_sums;
  }
  return plan;
}

}  // namespace ptychoserve::cuda
