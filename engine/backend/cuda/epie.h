#ifndef PTYCHOSERVE_ENGINE_BACKEND_CUDA_EPIE_H_
#define PTYCHOSERVE_ENGINE_BACKEND_CUDA_EPIE_H_

#include <cuda_runtime_api.h>

#include "engine/backend/cuda/device_types.h"

// The steps of ePIE for one point; see engine/algorithms/epie.h. Batches have count 1. Launchers
// enqueue on `stream`; errors show in cudaGetLastError.
namespace ptychoserve::cuda {

// Largest values that one point's steps are divided by.
struct EpieMaxima {
  float probe;   // max |P|²
  float object;  // max |O_j|²
};

struct EpieProductArgs {
  Batch batch;
  Canvas canvas;
  const float2* probe;
  float scale;
  float2* out;         // [rows, cols]
  EpieMaxima* maxima;  // Zero on entry.
};
// out = scale * P O_j, and the maxima.
void LaunchEpieProduct(const EpieProductArgs& args, cudaStream_t stream);

struct EpieCorrectionArgs {
  Batch batch;
  FrameSlots frames;
  float2* wave;  // In: Ψ; out: scale * (√I Ψ/|Ψ| - Ψ). [rows, cols]
  float scale;
  FitSums* fit;  // Out: [pieces], of Ψ.
};
void LaunchEpieCorrection(const EpieCorrectionArgs& args, cudaStream_t stream);

struct EpieUpdateArgs {
  Batch batch;
  Canvas canvas;  // In and out.
  const float2* probe;
  const float2* delta;  // Δ [rows, cols]
  const EpieMaxima* maxima;
  float object_step;
  float probe_step;
  float2* new_probe;  // [rows, cols], other memory than `probe`.
};
// new_probe = P + probe_step conj(O_j) Δ / max|O_j|²
void LaunchEpieProbe(const EpieUpdateArgs& args, cudaStream_t stream);
// O += object_step Bᵀ(conj(P) Δ) / max|P|²
void LaunchEpieObject(const EpieUpdateArgs& args, cudaStream_t stream);

}  // namespace ptychoserve::cuda

#endif  // PTYCHOSERVE_ENGINE_BACKEND_CUDA_EPIE_H_
