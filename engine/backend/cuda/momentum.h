#ifndef PTYCHOSERVE_ENGINE_BACKEND_CUDA_MOMENTUM_H_
#define PTYCHOSERVE_ENGINE_BACKEND_CUDA_MOMENTUM_H_

#include <cuda_runtime_api.h>

#include <cstdint>

#include "engine/backend/cuda/device_types.h"

// The momentum of the likelihood gradient; see engine/algorithms/momentum.h. Launchers enqueue on
// `stream`; errors show in cudaGetLastError.
namespace ptychoserve::cuda {

// One image's sums over all points and its velocities, [count] each.
struct Moving {
  const float2* sum;
  float2* velocity;
  std::int64_t count;  // 0: the image is not updated.
};

struct BeginMomentumArgs {
  Moving object;
  Moving probe;
  double momentum;
  double* partials;            // Scratch [kMomentumBlocks]
  MomentumProgress* progress;  // In and out.
};
inline constexpr int kMomentumBlocks = 512;

// Before the update: sets the velocities back to 0 when the gradient points against them, counts
// the iteration, and sets its μ.
void LaunchBeginMomentum(const BeginMomentumArgs& args, cudaStream_t stream);

}  // namespace ptychoserve::cuda

#endif  // PTYCHOSERVE_ENGINE_BACKEND_CUDA_MOMENTUM_H_
