#include "engine/backend/cuda/fused/fused_passes.h"

#include <algorithm>
#include <cstddef>

#include "engine/backend/cuda/cuda_status.h"
#include "engine/backend/cuda/device_points.h"
#include "engine/base/status_macros.h"

namespace ptychoserve::cuda {
namespace {

// Intermediates of one lane: 3 or 4 MiB, so that the second-level cache holds those of all lanes
// while everything else passes by. Smaller chunks leave multiprocessors idle; with several waves of
// a point they also leave the third pass with fewer neighbours to add up at a time.
constexpr std::int64_t ChunkPixels(int waves, bool half) {
  const int frames = !half ? 8 : waves == 1 ? 12 : 16;  // Of 256 x 256 pixels.
  return std::int64_t{frames} * 256 * 256;
}
constexpr int kMaxFusedChunk = 512;
// Points that share the probe's rows in a block of the first pass.
constexpr int kPointsPerForwardBlock = 2;

}  // namespace

absl::StatusOr<bool> CanRunFused(Shape frame) {
  if (!FusedShape(frame.rows, frame.cols)) return false;
  int device = 0, per_block = 0;
  PS_RETURN_IF_ERROR(CudaStatus(cudaGetDevice(&device), "cudaGetDevice"));
  PS_RETURN_IF_ERROR(CudaStatus(
      cudaDeviceGetAttribute(&per_block, cudaDevAttrMaxSharedMemoryPerBlockOptin, device),
      "cudaDeviceGetAttribute"));
  return per_block >= FusedSharedBytes();
}

FusedMemoryPlan PlanFusedMemory(Shape frame, int waves, int capacity, bool half) {
  FusedMemoryPlan plan;
  plan.points = capacity;
  plan.column_sums = (std::int64_t{capacity} + kFitSamplePoints) * (frame.cols / kColumnsPerBlock);
  // The third pass takes two points at a time.
  const std::int64_t pairs =
      std::max<std::int64_t>(ChunkPixels(waves, half) / (2 * waves * frame.pixels()), 1);
  plan.chunk = static_cast<int>(
      std::min<std::int64_t>(2 * pairs, std::min(std::max(capacity, 1), kMaxFusedChunk)));
  plan.wave_bytes = (kFusedLanes + 1) * plan.chunk * waves * frame.pixels() * WaveBytes(half);
  return plan;
}

absl::StatusOr<FusedPasses> FusedPasses::Create(Shape frame, ModeCounts modes, int capacity,
                                                bool half) {
  PS_RETURN_IF_ERROR(CudaStatus(PrepareRowsForward(), "cudaFuncSetAttribute"));
  PS_RETURN_IF_ERROR(CudaStatus(PrepareColumns(), "cudaFuncSetAttribute"));
  PS_RETURN_IF_ERROR(CudaStatus(PrepareRowsInverse(), "cudaFuncSetAttribute"));
  FusedPasses passes;
  passes.frame_ = frame;
  passes.modes_ = modes;
  passes.plan_ = PlanFusedMemory(frame, modes.waves(), capacity, half);
  const FusedMemoryPlan& plan = passes.plan_;
  PS_ASSIGN_OR_RETURN(passes.points_, DeviceBuffer<DevicePoint>::Create(plan.points));
  PS_ASSIGN_OR_RETURN(passes.groups_, DeviceBuffer<PointGroup>::Create(plan.points));
  PS_ASSIGN_OR_RETURN(passes.column_sums_, DeviceBuffer<ColumnSums>::Create(plan.column_sums));
  PS_ASSIGN_OR_RETURN(passes.points_upload_, PinnedBuffer<DevicePoint>::Create(plan.points));
  PS_ASSIGN_OR_RETURN(passes.groups_upload_, PinnedBuffer<PointGroup>::Create(plan.points));
  PS_ASSIGN_OR_RETURN(passes.uploaded_, Event::Create());
  PS_ASSIGN_OR_RETURN(passes.lanes_, Lanes::Create(kFusedLanes));
  return passes;
}

absl::Status FusedPasses::SetPoints(std::span<const PointWindow> points, const Stream& stream) {
  schedule_ = SchedulePoints(points, frame_, plan_.chunk);
  if (points.empty()) return absl::OkStatus();
  PS_RETURN_IF_ERROR(uploaded_.Wait());
  std::ranges::transform(schedule_.order, points_upload_.data(),
                         [&](int i) { return DevicePointOf(points[static_cast<std::size_t>(i)]); });
  std::ranges::copy(schedule_.groups, groups_upload_.data());
  PS_RETURN_IF_ERROR(stream.Copy(points_, points_upload_, std::ssize(points)));
  PS_RETURN_IF_ERROR(stream.Copy(groups_, groups_upload_, std::ssize(schedule_.groups)));
  return stream.Record(uploaded_);
}

absl::Status FusedPasses::Run(const State& state, const Iteration& iteration, const Stream& stream,
                              absl::FunctionRef<absl::Status(const Stream&)> beside) {
  PS_RETURN_IF_ERROR(lanes_.Fork(stream, kFusedLanes));
  PS_RETURN_IF_ERROR(beside(lanes_.beside()));

  const ExitWaves exit_waves{iteration.exit_waves, state.half, state.figures};
  ExitWaves reflected = exit_waves;
  if (!iteration.update.reflects) reflected.data = nullptr;
  for (std::size_t c = 0; c < schedule_.chunks.size(); ++c) {
    const PointChunk& chunk = schedule_.chunks[c];
    const std::size_t lane = c % kFusedLanes;
    const cudaStream_t on = lanes_[lane].get();
    const Batch batch = BatchOf(chunk.first, chunk.count, state);
    void* const waves = WavesOf(state, lane);
    LaunchRowsForward({.batch = batch,
                       .canvas = state.canvas,
                       .probe = state.probe,
                       .scale = state.scale,
                       .exit_waves = reflected,
                       .waves = waves,
                       .kind = schedule_.kind,
                       .points_per_block = kPointsPerForwardBlock},
                      on);
    LaunchColumns({.batch = batch,
                   .frames = state.frames,
                   .waves = waves,
                   .half = state.half,
                   .figures = state.figures,
                   .rule = iteration.rule,
                   .scale = state.scale,
                   .modulus = static_cast<float>(iteration.update.modulus),
                   .trial = static_cast<float>(iteration.update.trial),
                   .kept_deviation = iteration.kept_deviation,
                   .epsilon = iteration.epsilon,
                   .max_gradient = iteration.max_gradient,
                   .sums = column_sums_.data() + chunk.first * sums_per_point()},
                  on);
    LaunchRowsInverse({.batch = batch,
                       .canvas = state.canvas,
                       .probe = state.probe,
                       .waves = waves,
                       .exit_waves = exit_waves,
                       .model_factor = static_cast<float>(iteration.update.model),
                       .groups = groups_.data() + chunk.first_group,
                       .group_count = chunk.group_count,
                       .kind = schedule_.kind,
                       .object_sum = iteration.object_sum,
                       .probe_sum = iteration.probe_sum},
                      on);
  }
  PS_RETURN_IF_ERROR(lanes_.Join(stream));
  const int points = static_cast<int>(schedule_.order.size());
  if (points == 0) return absl::OkStatus();
  LaunchGatherSums({.batch = BatchOf(0, points, state),
                    .rule = iteration.rule,
                    .sums = column_sums_.data(),
                    .figures = state.figures,
                    .fit_sums = iteration.fit_sums,
                    .tolerance = iteration.tolerance,
                    .kept_deviation = iteration.kept_deviation},
                   stream.get());
  return absl::OkStatus();
}

absl::Status FusedPasses::FitSample(const State& state, const Batch& sample, FitSums* fit_sums,
                                    const Stream& stream) {
  // Its own places, beside those of the lanes and of all points.
  void* const waves = WavesOf(state, kFusedLanes);
  ColumnSums* const sums = column_sums_.data() + points_.size() * sums_per_point();
  for (int first = 0; first < sample.count; first += plan_.chunk) {
    Batch batch = sample;
    batch.points += first;
    batch.count = std::min(plan_.chunk, sample.count - first);
    LaunchRowsForward({.batch = batch,
                       .canvas = state.canvas,
                       .probe = state.probe,
                       .scale = state.scale,
                       .exit_waves = {nullptr, state.half, state.figures},
                       .waves = waves,
                       .kind = schedule_.kind,
                       .points_per_block = 1},
                      stream.get());
    LaunchColumns({.batch = batch,
                   .frames = state.frames,
                   .waves = waves,
                   .half = state.half,
                   .figures = state.figures,
                   .rule = ColumnRule::kFit,
                   .scale = state.scale,
                   .sums = sums + first * sums_per_point()},
                  stream.get());
  }
  if (sample.count == 0) return absl::OkStatus();
  LaunchGatherSums({.batch = sample,
                    .rule = ColumnRule::kFit,
                    .sums = sums,
                    .figures = state.figures,
                    .fit_sums = fit_sums},
                   stream.get());
  return absl::OkStatus();
}

}  // namespace ptychoserve::cuda
