#ifndef PTYCHOSERVE_ENGINE_BACKEND_CUDA_FUSED_GATHER_SUMS_H_
#define PTYCHOSERVE_ENGINE_BACKEND_CUDA_FUSED_GATHER_SUMS_H_

#include <cuda_runtime_api.h>

#include "engine/backend/cuda/device_types.h"
#include "engine/backend/cuda/difference_map.h"
#include "engine/backend/cuda/fused/passes.h"

namespace ptychoserve::cuda {

struct GatherSumsArgs {
  Batch batch;                   // In the order of the passes.
  ColumnRule rule;               // That the sums are of.
  const ColumnSums* sums;        // [batch.count, cols / kColumnsPerBlock]
  const FrameFigures* figures;   // [capacity]
  FitSums* fit_sums;             // Out, of kFit and the gradients [batch.count]; their parts alone.
  DeviationTolerance tolerance;  // Of kModulus, and
  float* kept_deviation;         // out, by slot: for the next iteration. [capacity]
};
// Adds up what the second pass has left of each point. Enqueues on `stream`; errors show in
// cudaGetLastError.
void LaunchGatherSums(const GatherSumsArgs& args, cudaStream_t stream);

}  // namespace ptychoserve::cuda

#endif  // PTYCHOSERVE_ENGINE_BACKEND_CUDA_FUSED_GATHER_SUMS_H_
