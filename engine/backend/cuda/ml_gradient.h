#ifndef PTYCHOSERVE_ENGINE_BACKEND_CUDA_ML_GRADIENT_H_
#define PTYCHOSERVE_ENGINE_BACKEND_CUDA_ML_GRADIENT_H_

#include <cuda_runtime_api.h>

#include "engine/backend/cuda/device_types.h"

namespace ptychoserve::cuda {

struct GradientArgs {
  Batch batch;
  FrameSlots frames;
  float2* waves;  // In: Ψ = F(P O_j); out: scale * g Ψ. [batch.count, waves, rows, cols]
  FitSums* fit;   // Out: [batch.count, pieces]
  bool poisson;   // Else Gaussian.
  float epsilon;
  float max_gradient;
  float scale;
};

// With M = |Ψ|² of all waves together, a = √M, d = √I on trusted pixels (g = 0 elsewhere):
//   Poisson   g = min((I - M) / (M + ε), g_max); step = Σ g² M / Σ g² (M + I)
//   Gaussian  g = min((d - a) / (a + ε), g_max); step = Σ g a (d - a) / Σ g² a²
// The sums of the step go to `fit` beside those of the fit of Ψ. Enqueues on `stream`; errors
// show in cudaGetLastError.
void LaunchGradient(const GradientArgs& args, cudaStream_t stream);

}  // namespace ptychoserve::cuda

#endif  // PTYCHOSERVE_ENGINE_BACKEND_CUDA_ML_GRADIENT_H_
