#ifndef PTYCHOSERVE_ENGINE_BACKEND_CUDA_FUSED_FUSED_PASSES_H_
#define PTYCHOSERVE_ENGINE_BACKEND_CUDA_FUSED_FUSED_PASSES_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/algorithms/projection_update.h"
#include "engine/backend/backend.h"
#include "engine/backend/cuda/device_buffer.h"
#include "engine/backend/cuda/fused/gather_sums.h"
#include "engine/backend/cuda/fused/passes.h"
#include "engine/backend/cuda/fused/point_schedule.h"
#include "engine/backend/cuda/lanes.h"
#include "engine/backend/cuda/stream.h"

namespace ptychoserve::cuda {

// Whether the current device can run the passes on frames of this shape: multiprocessors need
// enough shared memory (compute capability 8.0 and 9.0 have it, 8.6 and 8.9 do not).
absl::StatusOr<bool> CanRunFused(Shape frame);

// Sizes of the buffers, in elements.
struct FusedMemoryPlan {
  std::int64_t points = 0;       // [capacity]; points and groups.
  std::int64_t column_sums = 0;  // [capacity + kFitSamplePoints, cols / kColumnsPerBlock]
  int chunk = 0;                 // Points of a chunk.
  std::int64_t wave_bytes = 0;   // [kFusedLanes + 1, chunk, waves, rows, cols]
};
// For so many waves of a point, in half or single precision.
FusedMemoryPlan PlanFusedMemory(Shape frame, int waves, int capacity, bool half);

// Chunks that are under way at a time: while one waits for memory, the other computes.
inline constexpr int kFusedLanes = 6;

// Runs the three passes over all active points, chunk after chunk, on streams of its own that
// fork from and join the caller's. Not thread-safe; nothing synchronises with the host.
class FusedPasses {
 public:
  // `modes` of probe and object, `half`: of all State that follows.
  static absl::StatusOr<FusedPasses> Create(Shape frame, ModeCounts modes, int capacity, bool half);

  // The points of what follows. Waits for an upload before to have ended.
  absl::Status SetPoints(std::span<const PointWindow> points, const Stream& stream);

  // What an iteration works on; the members are those of the passes' arguments.
  struct State {
    Canvas canvas;
    const float2* probe;
    FrameSlots frames;
    const FrameFigures* figures;  // [capacity]
    float scale;                  // 1 / √N, of either transform.
    std::byte* waves;             // Scratch [FusedMemoryPlan::wave_bytes]
    bool half;                    // The precision of waves and exit waves.
    const float* background;      // See Batch.
    ProbeVariation variation;     // Of none when no point has a coefficient.
  };
  struct Iteration {
    ColumnRule rule;
    ProjectionUpdate update;       // The projections'.
    DeviationTolerance tolerance;  // The projections'.
    float* kept_deviation;         // The projections', in and out. [capacity]
    void* exit_waves;              // The projections', else null. [capacity, waves, frame]
    float epsilon;                 // The gradients'.
    float max_gradient;
    float2* object_sum;  // Null when not wanted; see RowsInverseArgs.
    float2* probe_sum;   // The gradients', null when not wanted.
    FitSums* fit_sums;   // Out, the gradients': the step's sums [points], in any order.
  };
  // `beside` enqueues work on the given stream that the passes neither need nor touch; FitSample is
  // such work.
  absl::Status Run(const State& state, const Iteration& iteration, const Stream& stream,
                   absl::FunctionRef<absl::Status(const Stream&)> beside);

  // fit_sums[j] = the fit of F(P O_j) for the points of `sample`, at most kFitSamplePoints, in its
  // order.
  absl::Status FitSample(const State& state, const Batch& sample, FitSums* fit_sums,
                         const Stream& stream);

 private:
  Batch BatchOf(int first, int count, const State& state) const {
    return {points_.data() + first, count,           frame_.rows,  frame_.cols, modes_.probe,
            state.background,       state.variation, modes_.object};
  }
  std::int64_t sums_per_point() const { return frame_.cols / kColumnsPerBlock; }
  // The intermediates of a lane.
  void* WavesOf(const State& state, std::size_t lane) const {
    return state.waves + static_cast<std::int64_t>(lane) * (plan_.wave_bytes / (kFusedLanes + 1));
  }

  Shape frame_;
  ModeCounts modes_;
  FusedMemoryPlan plan_;
  PointSchedule schedule_;
  DeviceBuffer<DevicePoint> points_;
  DeviceBuffer<PointGroup> groups_;
  DeviceBuffer<ColumnSums> column_sums_;
  PinnedBuffer<DevicePoint> points_upload_;
  PinnedBuffer<PointGroup> groups_upload_;
  Event uploaded_;
  Lanes lanes_;
};

}  // namespace ptychoserve::cuda

#endif  // PTYCHOSERVE_ENGINE_BACKEND_CUDA_FUSED_FUSED_PASSES_H_
