#include "engine/backend/cuda/batch_passes.h"

#include <algorithm>
#include <cstddef>

#include "engine/backend/cuda/fused/gather_sums.h"
#include "engine/base/status_macros.h"

namespace ptychoserve::cuda {

BatchMemoryPlan PlanBatchMemory(Shape frame, int waves, int capacity, bool half) {
  const FusedMemoryPlan fused = PlanFusedMemory(frame, waves, capacity, half);
  BatchMemoryPlan plan;
  plan.chunk = fused.chunk;
  plan.lane_bytes = fused.wave_bytes / (kFusedLanes + 1);
  plan.points = capacity;
  plan.column_sums = std::int64_t{capacity} * (frame.cols / kColumnsPerBlock);
  return plan;
}

absl::StatusOr<BatchPasses> BatchPasses::Create(Shape frame, ModeCounts modes, int capacity,
                                                bool half) {
  BatchPasses passes;
  passes.frame_ = frame;
  passes.modes_ = modes;
  passes.plan_ = PlanBatchMemory(frame, modes.waves(), capacity, half);
  const BatchMemoryPlan& plan = passes.plan_;
  PS_ASSIGN_OR_RETURN(passes.groups_, DeviceBuffer<PointGroup>::Create(plan.points));
  PS_ASSIGN_OR_RETURN(passes.no_deviation_, DeviceBuffer<float>::Create(plan.points));
  PS_ASSIGN_OR_RETURN(passes.column_sums_, DeviceBuffer<ColumnSums>::Create(plan.column_sums));
  PS_ASSIGN_OR_RETURN(passes.groups_upload_, PinnedBuffer<PointGroup>::Create(plan.points));
  PS_ASSIGN_OR_RETURN(passes.uploaded_, Event::Create());
  PS_ASSIGN_OR_RETURN(passes.lanes_, Lanes::Create(kFusedLanes));
  return passes;
}

absl::Status BatchPasses::SetPoints(std::span<const PointWindow> points,
                                    const PointBatches& batches, const Stream& stream) {
  kind_ = PointKindOf(points);
  if (points.empty()) return absl::OkStatus();
  PS_RETURN_IF_ERROR(uploaded_.Wait());
  const int beyond = PixelsBeyond(kind_);
  PointGroup* group = groups_upload_.data();
  for (int b = 0; b < batches.count(); ++b) {
    int place = 0;  // Within the batch.
    for (const int i : batches.Batch(b)) {
      const PointWindow& point = points[static_cast<std::size_t>(i)];
      *group++ = {.first = place++ % plan_.chunk,
                  .count = 1,
                  .row = point.row,
                  .col = point.col,
                  .rows = RowsPerBlock(frame_.cols) + beyond,
                  .cols = frame_.cols + beyond};
    }
  }
  PS_RETURN_IF_ERROR(stream.Copy(groups_, groups_upload_, std::ssize(points)));
  PS_RETURN_IF_ERROR(stream.Clear(no_deviation_, no_deviation_.size()));
  return stream.Record(uploaded_);
}

absl::Status BatchPasses::Run(const Args& args, const Stream& stream,
                              absl::FunctionRef<absl::Status(const Stream&)> beside) {
  // Small batches leave lanes idle.
  const int chunks = (args.count + plan_.chunk - 1) / plan_.chunk;
  PS_RETURN_IF_ERROR(lanes_.Fork(stream, std::min(chunks, kFusedLanes)));
  PS_RETURN_IF_ERROR(beside(lanes_.beside()));
  for (int place = 0; place < args.count; place += plan_.chunk) {
    RunChunk(args, place, std::min(plan_.chunk, args.count - place),
             static_cast<std::size_t>(place / plan_.chunk % kFusedLanes));
  }
  PS_RETURN_IF_ERROR(lanes_.Join(stream));
  if (args.rule == ColumnRule::kModulus || args.count == 0) return absl::OkStatus();
  const FusedPasses::State& state = args.state;
  LaunchGatherSums({.batch = {args.points + args.first, args.count, frame_.rows, frame_.cols,
                              modes_.probe, state.background},
                    .rule = args.rule,
                    .sums = column_sums_.data(),
                    .figures = state.figures,
                    .fit_sums = args.fit_sums},
                   stream.get());
  return absl::OkStatus();
}

void BatchPasses::RunChunk(const Args& args, int place, int count, std::size_t lane) {
  const cudaStream_t on = lanes_[lane].get();
  const auto number = static_cast<std::int64_t>(lane);
  const FusedPasses::State& state = args.state;
  const Batch batch{args.points + args.first + place,
                    count,
                    frame_.rows,
                    frame_.cols,
                    modes_.probe,
                    state.background,
                    state.variation,
                    modes_.object};
  void* const waves = state.waves + number * plan_.lane_bytes;
  const ExitWaves no_exit_waves{nullptr, state.half, state.figures};
  LaunchRowsForward({.batch = batch,
                     .canvas = state.canvas,
                     .probe = state.probe,
                     .scale = state.scale,
                     .exit_waves = no_exit_waves,
                     .waves = waves,
                     .kind = kind_,
                     .points_per_block = 1},
                    on);
  LaunchColumns(
      {.batch = batch,
       .frames = state.frames,
       .waves = waves,
       .half = state.half,
       .figures = state.figures,
       .rule = args.rule,
       .scale = state.scale,
       .modulus = args.modulus,
       .trial = args.trial,
       .kept_deviation = no_deviation_.data(),
       .epsilon = args.epsilon,
       .max_gradient = args.max_gradient,
       .sums = column_sums_.data() + std::int64_t{place} * (frame_.cols / kColumnsPerBlock)},
      on);
  LaunchRowsInverse({.batch = batch,
                     .canvas = state.canvas,
                     .probe = state.probe,
                     .waves = waves,
                     .exit_waves = no_exit_waves,
                     .model_factor = 0.0f,
                     .groups = groups_.data() + args.first + place,
                     .group_count = count,
                     .kind = kind_,
                     .object_sum = args.object_sum,
                     .probe_sum = args.probe_sum},
                    on);
}

}  // namespace ptychoserve::cuda
