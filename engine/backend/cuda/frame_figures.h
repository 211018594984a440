#ifndef PTYCHOSERVE_ENGINE_BACKEND_CUDA_FRAME_FIGURES_H_
#define PTYCHOSERVE_ENGINE_BACKEND_CUDA_FRAME_FIGURES_H_

#include <cuda_runtime_api.h>

#include "engine/backend/cuda/device_types.h"

namespace ptychoserve::cuda {

struct FrameFiguresArgs {
  Batch batch;
  const int* selected;  // [selected_count], indices into batch.points.
  int selected_count;
  FrameSlots frames;
  FrameFigures* figures;  // Out, by slot [capacity]
  float* kept_deviation;  // Out, by slot: 0, a new point's. [capacity]
};
// Takes the frames of the selected points, which have just become active, into account. Enqueues
// on `stream`; errors show in cudaGetLastError.
void LaunchFrameFigures(const FrameFiguresArgs& args, cudaStream_t stream);

}  // namespace ptychoserve::cuda

#endif  // PTYCHOSERVE_ENGINE_BACKEND_CUDA_FRAME_FIGURES_H_
