#ifndef PTYCHOSERVE_ENGINE_BACKEND_CUDA_ACCUMULATE_H_
#define PTYCHOSERVE_ENGINE_BACKEND_CUDA_ACCUMULATE_H_

#include <cuda_runtime_api.h>

#include "engine/backend/cuda/device_types.h"

// Sums over points into the object and the probe. Every sum has one owner that adds in the order
// of the points, so results are the same bit for bit in every run. Launchers enqueue on `stream`;
// errors show in cudaGetLastError.
namespace ptychoserve::cuda {

// Waves of a batch's points: by slot ([capacity, waves, rows, cols]), exit waves, or in the batch's
// order ([batch.count, waves, rows, cols]), complex pairs in single precision unless `half`.
struct Waves {
  const void* data;
  bool by_slot;
  bool half = false;                      // LaunchProbeSum alone, by slot; with
  const FrameFigures* figures = nullptr;  // [capacity]
};

// Pixels of the canvas' array.
struct CanvasArea {
  int row, col, rows, cols;
};

struct ObjectSumArgs {
  Batch batch;
  Canvas canvas;
  CanvasArea area;      // Holds the batch's windows, one pixel beyond their far edges included.
  const float2* probe;  // [modes, rows, cols]
  Waves waves;
  float2* sum;  // [object modes, canvas.rows, canvas.cols]
};
// sum_l += Σ_j Σ_m B_jᵀ(conj(P_jm) w_jlm) with B_j the bilinear interpolation at point j.
void LaunchObjectSum(const ObjectSumArgs& args, cudaStream_t stream);

struct ProbeSumArgs {
  Batch batch;
  int stride;  // Every so many-th point takes part.
  Canvas canvas;
  Waves waves;
  int groups;      // Points are dealt to this many partial sums.
  float2* sum;     // [groups, modes, rows, cols]; null: weights alone.
  float* weights;  // [groups, rows, cols]; null: sums alone.
};
// sum_m += Σ_j Σ_l conj(O_lj) w_jlm, weights += Σ_j Σ_l |O_lj|², each group over every groups-th of
// these points, in their order. Exit waves are those of the mean probe: less Σ_k c_jk V_km O_lj.
void LaunchProbeSum(const ProbeSumArgs& args, cudaStream_t stream);

}  // namespace ptychoserve::cuda

#endif  // PTYCHOSERVE_ENGINE_BACKEND_CUDA_ACCUMULATE_H_
