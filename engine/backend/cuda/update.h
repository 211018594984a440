#ifndef PTYCHOSERVE_ENGINE_BACKEND_CUDA_UPDATE_H_
#define PTYCHOSERVE_ENGINE_BACKEND_CUDA_UPDATE_H_

#include <cuda_runtime_api.h>

#include <cstdint>

#include "engine/algorithms/update.h"
#include "engine/backend/cuda/device_types.h"

// Object and probe from the sums over all points; see engine/algorithms/update.h and momentum.h.
// Launchers enqueue on `stream`; errors show in cudaGetLastError.
namespace ptychoserve::cuda {

struct MergeProbeSumsArgs {
  float2* sum;     // [groups, modes, pixels]
  float* weights;  // [groups, pixels]
  int groups;
  int modes;
  int pixels;
  float weight_factor;  // Multiplies the merged weights.
  float* max_weight;    // Holds 0; becomes the largest of the merged weights, NaN if one is.
};
// Adds all groups into the first.
void LaunchMergeProbeSums(const MergeProbeSumsArgs& args, cudaStream_t stream);

enum class Rule {
  kKeep,     // Values stay; they are only limited, checked and compared.
  kReplace,  // ReplacedValue
  kStep,     // SteppedValue
};

// Blocks of LaunchUpdate, each with its own partial sums.
inline constexpr int kUpdateBlocks = 512;

struct UpdateArgs {
  Rule rule;
  float2* values;          // In and out [images, count]
  const float2* previous;  // The change is taken from here; null: from `values` before the rule.
  const float2* sum;       // Numerators [images, count]; unused by kKeep.
  const float* weights;    // Denominators [count]; unused by kKeep unless covered_only.
  int images;              // That have the weights in common.
  std::int64_t count;
  bool covered_only;  // Values without a weight take no part in anything but the check.
  // delta = absolute + relative * *max_weight, inertia = relative * *max_weight.
  double absolute;
  double relative;
  const float* max_weight;
  const double* step;  // Of kStep.
  float2* velocity;    // Of kStep with momentum, in and out [images, count]; null: without.
  const MomentumProgress* momentum;
  ObjectLimits<float> limits;
  ChangeSums* partials;  // Scratch [kUpdateBlocks]
  ChangeSums* change;    // Out.
  int* non_finite;       // Set to 1 when a value is not finite.
};
void LaunchUpdate(const UpdateArgs& args, cudaStream_t stream);

}  // namespace ptychoserve::cuda

#endif  // PTYCHOSERVE_ENGINE_BACKEND_CUDA_UPDATE_H_
