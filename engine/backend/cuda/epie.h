#ifndef PTYCHOSERVE_ENGINE_BACKEND_CUDA_EPIE_H_
#define PTYCHOSERVE_ENGINE_BACKEND_CUDA_EPIE_H_

#include <cuda_runtime_api.h>

#include "engine/backend/cuda/accumulate.h"
#include "engine/backend/cuda/device_types.h"

// The steps of ePIE for one batch beside transforms and sums; see engine/algorithms/epie.h, rpie.h.
// Launchers enqueue on `stream`; errors show in cudaGetLastError. Nothing is added with atomics.
namespace ptychoserve::cuda {

// What the steps of a batch are divided by; NaN where that is what there is.
struct EpieMaxima {
  float probe;   // max Σ_m |P_m|²
  float object;  // max Σ_j |O_j|²
};

struct EpieCorrectionArgs {
  Batch batch;
  FrameSlots frames;
  // In: Ψ; out: scale * (√I Ψ/|Ψ| - Ψ), |Ψ| of all waves together. [batch.count, waves, rows, cols]
  float2* waves;
  float scale;
};
void LaunchEpieCorrection(const EpieCorrectionArgs& args, cudaStream_t stream);

// *largest = the larger of *largest, which is not negative, and max Σ_m |P_m|². probe: [modes,
// pixels]
void LaunchEpieProbeMaximum(const float2* probe, int modes, int pixels, float* largest,
                            cudaStream_t stream);

struct EpieWeightsArgs {
  float* weights;  // In: Σ_jl |O_lj|² in parts; out: 0, or `keeps`: the sum first. [groups, pixels]
  int groups;
  int pixels;
  bool keeps;
  float* largest;  // 0 on entry; becomes the largest sum of the parts.
};
void LaunchEpieWeights(const EpieWeightsArgs& args, cudaStream_t stream);

struct EpieProbeArgs {
  float2* probe;  // In and out. [modes, pixels]
  float2* sum;    // In: Σ_jl conj(O_lj) Δ_jlm in parts; out: 0. [groups, modes, pixels]
  int groups;
  int modes;
  int pixels;
  float step;
  float* weights;  // In: Σ_j |O_j|²; out: 0. [pixels]; null: not needed, alpha is 1.
  float alpha;
  const EpieMaxima* maxima;
  float* next_largest;  // 0 on entry; becomes max Σ_m |P_m|² of the new probe.
};
// P += sum * BatchStep of max Σ_j |O_j|² and `weights`
void LaunchEpieProbe(const EpieProbeArgs& args, cudaStream_t stream);

struct EpieObjectArgs {
  Canvas canvas;    // In and out.
  int modes;        // Of the object.
  CanvasArea area;  // Holds the batch's windows, one pixel beyond their far edges included.
  float2* sum;      // In: Σ_jm B_jᵀ(conj(P_m) Δ_jlm); out: 0 in the area. [modes, canvas]
  // Σ_jm B_jᵀ|P_m|² [canvas]; null: nowhere above `largest`, and alpha is 1.
  const float* weights;
  float step;
  float alpha;
  const float* largest;  // max Σ_m |P_m|²
};
// O += sum * BatchStep of `largest` and `weights`
void LaunchEpieObject(const EpieObjectArgs& args, cudaStream_t stream);

}  // namespace ptychoserve::cuda

#endif  // PTYCHOSERVE_ENGINE_BACKEND_CUDA_EPIE_H_
