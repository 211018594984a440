#ifndef PTYCHOSERVE_ENGINE_BACKEND_CUDA_DIFFERENCE_MAP_H_
#define PTYCHOSERVE_ENGINE_BACKEND_CUDA_DIFFERENCE_MAP_H_

#include <cuda_runtime_api.h>

#include "engine/backend/cuda/device_types.h"

// The relaxed modulus constraint. Launchers enqueue on `stream`; errors show in cudaGetLastError.
namespace ptychoserve::cuda {

struct ModulusArgs {
  Batch batch;
  FrameSlots frames;
  float2* waves;                // In: T = F t; out: see below. [count, waves, rows, cols]
  const float* kept_deviation;  // [capacity]; see engine/algorithms/difference_map.h.
  double* power;                // Out: Σ (|T| - √I)², trusted pixels [batch.count, pieces]
  float modulus;                // See ProjectionUpdate.
  float trial;
  float scale;  // Multiplies the result.
};

// waves_j = scale * (modulus m/T + trial) T, where m is T with its modulus relaxed towards the
// measured one; |T| is that of all waves together. Transformed back, and with model P O_j added,
// this is the new exit wave, so that the old one is read only once an iteration.
void LaunchModulus(const ModulusArgs& args, cudaStream_t stream);

// How much deviation is tolerated.
struct DeviationTolerance {
  double value;   // Factor on the expected shot noise, or mean squared amplitude.
  bool relative;  // Which of the two.
};

struct KeptDeviationArgs {
  Batch batch;
  const double* power;          // [batch.count, pieces]
  const FrameFigures* figures;  // [capacity]
  DeviationTolerance tolerance;
  float* kept_deviation;  // Out, by slot: for the next iteration. [capacity]
};
void LaunchKeptDeviation(const KeptDeviationArgs& args, cudaStream_t stream);

}  // namespace ptychoserve::cuda

#endif  // PTYCHOSERVE_ENGINE_BACKEND_CUDA_DIFFERENCE_MAP_H_
