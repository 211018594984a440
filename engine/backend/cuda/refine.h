#ifndef PTYCHOSERVE_ENGINE_BACKEND_CUDA_REFINE_H_
#define PTYCHOSERVE_ENGINE_BACKEND_CUDA_REFINE_H_

#include <cuda_runtime_api.h>

#include "engine/algorithms/background.h"
#include "engine/algorithms/refinement.h"
#include "engine/backend/cuda/device_types.h"

// What is refined beside object and probe; see engine/algorithms/refinement.h. Launchers enqueue on
// `stream`; errors show in cudaGetLastError.
namespace ptychoserve::cuda {

struct DerivativeArgs {
  Batch batch;
  Canvas canvas;
  const float2* probe;  // [modes, rows, cols]
  float scale;          // Multiplies the results.
  float2* by_row;       // [batch.count, waves, rows, cols]
  float2* by_col;
};
// scale * P_jm ∂O_lj, by row and by column.
void LaunchDerivatives(const DerivativeArgs& args, cudaStream_t stream);

struct RefinementArgs {
  Batch batch;
  FrameSlots frames;
  const float2* waves;   // Transformed, [batch.count, waves, rows, cols], as the two below.
  const float2* by_row;  // Null: positions are not asked for.
  const float2* by_col;
  bool intensities;            // Whether they are asked for.
  int components;              // Of the probe that are asked for.
  const float2* by_component;  // F(V_k O_j), [components, batch.count, waves, rows, cols]
  double* partials;            // [batch.count, pieces, RefinementTermCount(components)]
  double* sums;                // Out: [batch.count, RefinementTermCount(components)]
};
void LaunchRefinementSums(const RefinementArgs& args, cudaStream_t stream);

struct MisfitArgs {
  Batch batch;
  FrameSlots frames;
  float2* waves;  // Transformed, in and out [batch.count, waves, rows, cols]
  float scale;    // Multiplies the result.
};
// waves_j = scale * (√I / √M - 1) waves_j
void LaunchMisfit(const MisfitArgs& args, cudaStream_t stream);

struct ComponentSumsArgs {
  Batch batch;
  Canvas canvas;
  const float2* waves;  // Δ_jlm, [batch.count, waves, rows, cols]
  float2* sums;         // [components, modes, rows, cols]; +=, in the order of the points,
  float* weights;       // [components, rows, cols]; as these.
};
// See Refinement.
void LaunchComponentSums(const ComponentSumsArgs& args, cudaStream_t stream);

struct BackgroundSumsArgs {
  Batch batch;
  FrameSlots frames;
  const float2* waves;   // Transformed, [batch.count, waves, rows, cols]
  BackgroundSums* sums;  // [rows, cols]; +=, in the order of the points.
};
void LaunchBackgroundSums(const BackgroundSumsArgs& args, cudaStream_t stream);

struct BackgroundStepArgs {
  int rows;
  int cols;
  const BackgroundSums* sums;
  double step;
  const float* background;
  float* moved;  // Out.
};
void LaunchBackgroundStep(const BackgroundStepArgs& args, cudaStream_t stream);

}  // namespace ptychoserve::cuda

#endif  // PTYCHOSERVE_ENGINE_BACKEND_CUDA_REFINE_H_
