#ifndef PTYCHOSERVE_ENGINE_BACKEND_CUDA_EXIT_WAVES_H_
#define PTYCHOSERVE_ENGINE_BACKEND_CUDA_EXIT_WAVES_H_

#include <cuda_runtime_api.h>

#include "engine/backend/cuda/device_types.h"

// Products of probe and object window, and the exit waves kept in the slots. Launchers enqueue
// on `stream`; errors show in cudaGetLastError.
namespace ptychoserve::cuda {

struct ProductArgs {
  Batch batch;
  Canvas canvas;
  const float2* probe;  // [modes, rows, cols]
  float scale;          // Multiplies the result.
  float2* out;          // [batch.count, waves, rows, cols]
};
// out_j = scale * P_jm O_lj, for all modes; here and below, P_j is the probe as the point sees it.
void LaunchProduct(const ProductArgs& args, cudaStream_t stream);

struct ReflectionArgs {
  ProductArgs product;
  const float2* exit_waves;  // [capacity, waves, rows, cols]
};
// out_j = scale * (2 P_j O_j - ψ_j)
void LaunchReflection(const ReflectionArgs& args, cudaStream_t stream);

struct InitExitWavesArgs {
  Batch batch;
  const int* selected;  // [selected_count], indices into batch.points.
  int selected_count;
  Canvas canvas;
  const float2* probe;
  ExitWaves exit_waves;
};
// ψ_j = P_j O_j for the selected points.
void LaunchInitExitWaves(const InitExitWavesArgs& args, cudaStream_t stream);

struct CopyExitWavesArgs {
  Batch batch;
  ExitWaves exit_waves;
  float2* out;  // [batch.count, waves, rows, cols]
};
// out_j = ψ_j
void LaunchCopyExitWaves(const CopyExitWavesArgs& args, cudaStream_t stream);

struct StoreExitWavesArgs {
  Batch batch;       // Its points are not looked at.
  const int* slots;  // [batch.count]
  const float2* in;  // [batch.count, waves, rows, cols]
  ExitWaves exit_waves;
};
// ψ of slots[j] = in_j
void LaunchStoreExitWaves(const StoreExitWavesArgs& args, cudaStream_t stream);

struct ExitWaveUpdateArgs {
  Batch batch;
  Canvas canvas;
  const float2* probe;
  float model;
  const float2* correction;  // [batch.count, waves, rows, cols]
  float2* exit_waves;
};
// ψ_j = model P_j O_j + correction_j; see engine/algorithms/projection_update.h.
void LaunchExitWaveUpdate(const ExitWaveUpdateArgs& args, cudaStream_t stream);

}  // namespace ptychoserve::cuda

#endif  // PTYCHOSERVE_ENGINE_BACKEND_CUDA_EXIT_WAVES_H_
