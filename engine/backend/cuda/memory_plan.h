#ifndef PTYCHOSERVE_ENGINE_BACKEND_CUDA_MEMORY_PLAN_H_
#define PTYCHOSERVE_ENGINE_BACKEND_CUDA_MEMORY_PLAN_H_

#include <cstddef>
#include <cstdint>

#include "engine/backend/backend.h"
#include "engine/backend/cuda/device_types.h"

namespace ptychoserve::cuda {

// What a session holds on the device: the one place where buffer sizes are decided, for the
// estimate and for the allocation alike. Sizes are in elements.
struct MemoryPlan {
  std::int64_t frame_pixels = 0;
  bool fused = false;
  bool half = false;  // The precision of exit waves and of the waves between the fused passes.
  int pieces = 0;     // Of a frame, see kPiecePixels.
  int chunk = 0;      // Points whose waves are transformed at once.
  ModeCounts modes;
  int groups = 0;  // Partial sums of the probe.

  std::int64_t frame_bytes = 0;    // Of one frame.
  std::int64_t frames = 0;         // Bytes [capacity, frame]
  std::int64_t point_waves = 0;    // [waves, frame] of one point.
  std::int64_t exit_waves = 0;     // Bytes [capacity, waves, frame], or none.
  std::int64_t work = 0;           // [chunk, waves, frame], or what the fused passes need.
  std::int64_t fft_work = 0;       // Bytes.
  std::int64_t transfer = 0;       // [frame] in the near field, or none.
  std::int64_t probe = 0;          // [modes, frame]; two of them.
  std::int64_t probe_sums = 0;     // [groups, modes, frame]
  std::int64_t probe_weights = 0;  // [groups, frame]
  std::int64_t canvas = 0;         // [max_object_pixels]; weights and their snapshot.
  std::int64_t object = 0;         // [object modes, canvas]; object, before, sums, snapshot.
  std::int64_t points = 0;         // [capacity]
  std::int64_t fit_sums = 0;       // [capacity, pieces]
  std::int64_t sample_sums = 0;    // [kFitSamplePoints, pieces]
  std::int64_t chunk_pieces = 0;   // [chunk, pieces]
  std::int64_t probe_power = 0;
  std::int64_t fused_points = 0;  // Points and groups of the fused passes.
  std::int64_t fused_column_sums = 0;
  int refine_chunk = 0;                  // Points whose derivatives are in work at once.
  std::int64_t refinement_sums = 0;      // [capacity, terms]; see RefinementTermCount.
  std::int64_t refinement_partials = 0;  // [refine_chunk, pieces, terms]
  std::int64_t components = 0;           // [components, modes, frame]; two of them.
  std::int64_t component_weights = 0;    // [components, frame]
  std::int64_t coefficients = 0;         // [capacity, components]
  std::int64_t batch_groups = 0;         // See BatchMemoryPlan.
  std::int64_t batch_column_sums = 0;

  // Transforms of the largest batch.
  int transforms() const { return chunk * modes.waves(); }
  // Bytes of device memory that all buffers take.
  std::int64_t TotalBytes() const;
};

// Everything but fft_work, which cuFFT decides for `transforms()`. `fused`: see UsesFusedPasses.
MemoryPlan PlanMemory(const BackendConfig& config, bool fused);

}  // namespace ptychoserve::cuda

#endif  // PTYCHOSERVE_ENGINE_BACKEND_CUDA_MEMORY_PLAN_H_
