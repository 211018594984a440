#ifndef PTYCHOSERVE_ENGINE_BACKEND_CUDA_DIFFERENCE_MAP_H_
#define PTYCHOSERVE_ENGINE_BACKEND_CUDA_DIFFERENCE_MAP_H_

#include <cuda_runtime_api.h>

#include "engine/backend/cuda/device_types.h"

// The relaxed modulus constraint of the difference map. Launchers enqueue on `stream`; errors
// show in cudaGetLastError.
namespace ptychoserve::cuda {

// Sums over one piece of a frame.
struct DeviationSums {
  double power;  // Σ (|T| - √I)² over trusted pixels.
  double noise;  // Σ min(1/4, I) over trusted pixels.
};

struct ModulusArgs {
  Batch batch;
  FrameSlots frames;
  float2* waves;              // In: T = F(2p - ψ); out: see below. [batch.count, rows, cols]
  DeviationSums* deviations;  // Scratch [batch.count, pieces]
  float beta;
  float scale;       // Multiplies the result.
  double tolerance;  // Factor on the expected noise, or the absolute tolerance itself.
  bool relative;     // Which of the two.
};

// waves_j = scale * (β m/T - 1) T, where m is T with its modulus brought to within the tolerance
// of the measured one. With p = P O_j, ψ + β (F⁻¹m - p) = (2 - β) p + F⁻¹[(β m/T - 1) T], so that
// the exit wave is read only once an iteration.
void LaunchModulus(const ModulusArgs& args, cudaStream_t stream);

}  // namespace ptychoserve::cuda

#endif  // PTYCHOSERVE_ENGINE_BACKEND_CUDA_DIFFERENCE_MAP_H_
