#ifndef PTYCHOSERVE_ENGINE_BACKEND_CUDA_DIFFERENCE_MAP_H_
#define PTYCHOSERVE_ENGINE_BACKEND_CUDA_DIFFERENCE_MAP_H_

#include <cuda_runtime_api.h>

#include "engine/backend/cuda/device_types.h"

// The relaxed modulus constraint of the difference map. Launchers enqueue on `stream`; errors
// show in cudaGetLastError.
namespace ptychoserve::cuda {

struct ModulusArgs {
  Batch batch;
  FrameSlots frames;
  float2* waves;                // In: T = F(2p - ψ); out: see below. [count, modes, rows, cols]
  const float* kept_deviation;  // [capacity]; see engine/algorithms/difference_map.h.
  double* power;                // Out: Σ (|T| - √I)², trusted pixels [batch.count, pieces]
  float beta;
  float scale;  // Multiplies the result.
};

// waves_j = scale * (β m/T - 1) T, where m is T with its modulus relaxed towards the measured one;
// |T| is that of all modes together.
// With p = P O_j, ψ + β (F⁻¹m - p) = (2 - β) p + F⁻¹[(β m/T - 1) T], so that the exit wave is read
// only once an iteration.
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
