#ifndef PTYCHOSERVE_ENGINE_BACKEND_CUDA_BATCH_PASSES_H_
#define PTYCHOSERVE_ENGINE_BACKEND_CUDA_BATCH_PASSES_H_

#include <cstdint>
#include <span>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/backend/cuda/device_buffer.h"
#include "engine/backend/cuda/device_types.h"
#include "engine/backend/cuda/fused/fused_passes.h"
#include "engine/backend/cuda/fused/passes.h"
#include "engine/backend/cuda/lanes.h"
#include "engine/backend/cuda/stream.h"
#include "engine/backend/pie_batches.h"

namespace ptychoserve::cuda {

// Sizes of the buffers, in elements.
struct BatchMemoryPlan {
  int chunk = 0;                 // Points that share a lane at a time.
  std::int64_t lane_bytes = 0;   // Their waves, of FusedMemoryPlan::wave_bytes.
  std::int64_t points = 0;       // [capacity]; groups, and the deviation that is kept of a frame.
  std::int64_t column_sums = 0;  // [capacity, cols / kColumnsPerBlock]
};
// For so many waves of a point, in half or single precision.
BatchMemoryPlan PlanBatchMemory(Shape frame, int waves, int capacity, bool half);

// The sums of one batch of points by the fused passes (fused/passes.h), chunk after chunk, on
// streams of its own that fork from and join the caller's. They are added with atomics, and so
// differ in their last bits from run to run. Not thread-safe; nothing synchronises with the host.
class BatchPasses {
 public:
  // `modes` of probe and object, `half`: of all State that follows.
  static absl::StatusOr<BatchPasses> Create(Shape frame, ModeCounts modes, int capacity, bool half);

  // Points, and the batches of them that follow. Waits for an upload before to have ended.
  absl::Status SetPoints(std::span<const PointWindow> points, const PointBatches& batches,
                         const Stream& stream);

  struct Args {
    const DevicePoint* points;  // Of all batches, in their order.
    int first;                  // Where the batch begins, and how many points it has.
    int count;
    FusedPasses::State state;
    ColumnRule rule;
    float modulus;  // Of kModulus, with no deviation kept.
    float trial;
    float epsilon;  // Of the gradients.
    float max_gradient;
    float2* object_sum;  // See RowsInverseArgs.
    float2* probe_sum;
    FitSums* fit_sums;  // Out, of the gradients: the step's sums [count].
  };
  // `beside` enqueues work on the given stream that needs object and probe as they are and touches
  // nothing else of the above.
  absl::Status Run(const Args& args, const Stream& stream,
                   absl::FunctionRef<absl::Status(const Stream&)> beside);

 private:
  // `count` points from number `place` of the batch on.
  void RunChunk(const Args& args, int place, int count, std::size_t lane);

  Shape frame_;
  ModeCounts modes_;
  BatchMemoryPlan plan_;
  PointKind kind_ = PointKind::kWhole;
  DeviceBuffer<PointGroup> groups_;   // One point each: most neighbours are in other batches.
  DeviceBuffer<float> no_deviation_;  // [capacity] zeros: the modulus becomes the measured one.
  DeviceBuffer<ColumnSums> column_sums_;
  PinnedBuffer<PointGroup> groups_upload_;
  Event uploaded_;
  Lanes lanes_;
};

}  // namespace ptychoserve::cuda

#endif  // PTYCHOSERVE_ENGINE_BACKEND_CUDA_BATCH_PASSES_H_
