#include "engine/backend/cuda/momentum.h"

#include "engine/algorithms/momentum.h"
#include "engine/backend/cuda/device_math.cuh"

namespace ptychoserve::cuda {
namespace {

// Σ Re(conj(sum) velocity) over the pixels of this thread.
__device__ double Along(const Moving& moving) {
  double total = 0;
  const std::int64_t threads = static_cast<std::int64_t>(gridDim.x) * kThreads;
  std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  for (; i < moving.count; i += threads) {
    const float2 sum = __ldg(moving.sum + i), velocity = __ldg(moving.velocity + i);
    total += static_cast<double>(sum.x) * velocity.x + static_cast<double>(sum.y) * velocity.y;
  }
  return total;
}

__global__ void __launch_bounds__(kThreads) AlongKernel(BeginMomentumArgs args) {
  double sums[] = {Along(args.object) + Along(args.probe)};
  BlockSums(sums);
  if (threadIdx.x == 0) args.partials[blockIdx.x] = sums[0];
}

// One block.
__global__ void __launch_bounds__(kThreads) BeginKernel(BeginMomentumArgs args) {
  double total = 0;
  for (int i = threadIdx.x; i < kMomentumBlocks; i += kThreads) total += args.partials[i];
  double sums[] = {total};
  BlockSums(sums);
  if (threadIdx.x != 0) return;
  MomentumProgress& progress = *args.progress;
  if (sums[0] < 0) progress.iterations = 0;
  progress.factor = static_cast<float>(MomentumFactor(args.momentum, progress.iterations));
  ++progress.iterations;
}

}  // namespace

void LaunchBeginMomentum(const BeginMomentumArgs& args, cudaStream_t stream) {
  AlongKernel<<<kMomentumBlocks, kThreads, 0, stream>>>(args);
  BeginKernel<<<1, kThreads, 0, stream>>>(args);
}

}  // namespace ptychoserve::cuda
