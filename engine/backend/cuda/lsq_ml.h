#ifndef PTYCHOSERVE_ENGINE_BACKEND_CUDA_LSQ_ML_H_
#define PTYCHOSERVE_ENGINE_BACKEND_CUDA_LSQ_ML_H_

#include <cuda_runtime_api.h>

#include <cstdint>

#include "engine/algorithms/lsq_ml.h"
#include "engine/backend/cuda/accumulate.h"
#include "engine/backend/cuda/device_types.h"

// The steps of LSQ-ML for one batch beside transforms and sums; see engine/algorithms/lsq_ml.h.
// Sums over a batch are double and have one order. Launchers enqueue on `stream`; errors show in
// cudaGetLastError.
namespace ptychoserve::cuda {

// delta = absolute + relative * *largest
struct DirectionDelta {
  float absolute;
  float relative;
  const float* largest;
};

// What the modes of the probe have to do with the products of a pixel's directions.
struct ProbeProducts {
  float light;      // Σ_m |P_m|²
  float2 coupling;  // Σ_m conj(P_m) ΔP_m
};

// Part of the sums of a batch.
struct StepPartial {
  double gain;  // Of a direction with its sum.
  double norm;  // Of the probe's direction.
};
struct PairPartial {
  double norm;     // Of the object's direction.
  double overlap;  // Of both.
};

// Blocks of LaunchObjectDirection, each with its own partial sums.
inline constexpr int kDirectionBlocks = 512;

struct ObjectDirectionArgs {
  Canvas canvas;
  int modes;             // Of the object.
  CanvasArea area;       // Holds the batch's windows, one pixel beyond their far edges included.
  float2* sum;           // In: Σ_j B_jᵀ(conj(P) v_j); out: ΔO, in the area. [modes, canvas]
  const float* weights;  // Σ_j B_jᵀ|P|² [canvas]
  DirectionDelta delta;
  StepPartial* partials;  // Out, gains: [kDirectionBlocks]
};
void LaunchObjectDirection(const ObjectDirectionArgs& args, cudaStream_t stream);

struct ProbeDirectionArgs {
  const float2* probe;  // [modes, pixels]
  float2* sum;  // In: Σ_j conj(O_j) v_jm in parts [groups, modes, pixels]; out: ΔP in the first, 0
                // in the others. Null: the probe rests.
  const float* weights;  // Σ_j |O_j|² [pixels]
  int groups;
  int modes;
  int pixels;
  DirectionDelta delta;
  ProbeProducts* products;  // Out: [pixels]
  StepPartial* partials;    // Out: [ProbeDirectionBlocks(pixels)]
};
int ProbeDirectionBlocks(std::int64_t pixels);
void LaunchProbeDirection(const ProbeDirectionArgs& args, cudaStream_t stream);

struct DirectionProductsArgs {
  Batch batch;
  Canvas canvas;
  float2* direction;              // ΔO [object modes, canvas]
  const ProbeProducts* products;  // [rows, cols]
  PairPartial* partials;          // Out: [batch.count, pieces]
};
void LaunchDirectionProducts(const DirectionProductsArgs& args, cudaStream_t stream);

struct SolveStepsArgs {
  const FitSums* fit;  // Sums of the Newton step [fits]
  int fits;
  const StepPartial* object;  // [kDirectionBlocks]; null: the object rests.
  const PairPartial* pairs;   // [pair_count]; likewise.
  int pair_count;
  const StepPartial* probe;  // [probe_blocks]; null: the probe rests.
  int probe_blocks;
  double object_step;  // Multiplies the step.
  double probe_step;
  double share;           // Of this batch in the mean of the object's steps.
  LsqSteps* steps;        // Out: what multiplies the directions.
  IterationState* state;  // step += share * the object's.
};
void LaunchSolveSteps(const SolveStepsArgs& args, cudaStream_t stream);

struct ObjectMoveArgs {
  Canvas canvas;  // In and out.
  int modes;      // Of the object.
  CanvasArea area;
  float2* direction;  // In: ΔO; out: 0 in the area. [modes, canvas]
  const LsqSteps* steps;
};
// O += step ΔO
void LaunchObjectMove(const ObjectMoveArgs& args, cudaStream_t stream);

struct ProbeMoveArgs {
  float2* probe;      // In and out. [modes, pixels]
  float2* direction;  // In: ΔP; out: 0. [modes, pixels]
  float* weights;     // Out: 0. [pixels]
  int modes;
  int pixels;
  const LsqSteps* steps;
};
// P += step ΔP
void LaunchProbeMove(const ProbeMoveArgs& args, cudaStream_t stream);

struct MomentumMoveArgs {
  float2* values;    // [count]
  float2* velocity;  // [count]
  std::int64_t count;
  bool moves;                        // Of the first: else values stay.
  const MomentumProgress* momentum;  // Of the first: its factor.
};
// velocity = values; values += factor * the old velocity
void LaunchBeginMove(const MomentumMoveArgs& args, cudaStream_t stream);
// velocity = values - velocity
void LaunchEndMove(const MomentumMoveArgs& args, cudaStream_t stream);

}  // namespace ptychoserve::cuda

#endif  // PTYCHOSERVE_ENGINE_BACKEND_CUDA_LSQ_ML_H_
