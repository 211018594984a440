#include "engine/backend/cuda/update.h"

#include "engine/backend/cuda/device_math.cuh"

namespace ptychoserve::cuda {
namespace {

int UpdateBlocks(std::int64_t count) {
  const std::int64_t blocks = (count + kThreads - 1) / kThreads;
  return static_cast<int>(blocks > kUpdateBlocks ? kUpdateBlocks : (blocks < 1 ? 1 : blocks));
}

__global__ void __launch_bounds__(kThreads) MergeProbeSumsKernel(MergeProbeSumsArgs args) {
  const int pixel = blockIdx.x * kThreads + threadIdx.x;
  float weight = 0;
  if (pixel < args.pixels) {
    float2 sum{0, 0};
    for (int group = 0; group < args.groups; ++group) {
      const std::int64_t at = static_cast<std::int64_t>(group) * args.pixels + pixel;
      sum = sum + args.sum[at];
      weight += args.weights[at];
    }
    weight *= args.weight_factor;
    args.sum[pixel] = sum;
    args.weights[pixel] = weight;
  }
  MaxOverWarps(weight, args.max_weight);
}

__device__ float2 Updated(const UpdateArgs& args, float2 old, std::int64_t i, float weight) {
  const double inertia = args.relative * *args.max_weight;
  const float delta = static_cast<float>(args.absolute + inertia);
  const float2 sum = args.sum[i];
  if (args.rule == Rule::kReplace) {
    const float kept = static_cast<float>(inertia);
    return {ReplacedValue(old.x, sum.x, weight, delta, kept),
            ReplacedValue(old.y, sum.y, weight, delta, kept)};
  }
  const float step = static_cast<float>(*args.step);
  return {SteppedValue(old.x, sum.x, weight, delta, step),
          SteppedValue(old.y, sum.y, weight, delta, step)};
}

__global__ void __launch_bounds__(kThreads) UpdateKernel(UpdateArgs args) {
  double squared_change = 0, squared_norm = 0;
  for (std::int64_t i = blockIdx.x * kThreads + threadIdx.x; i < args.count;
       i += static_cast<std::int64_t>(gridDim.x) * kThreads) {
    const float2 old = args.values[i];
    float2 value = old;
    if (!args.covered_only || args.weights[i] != 0) {
      if (args.rule != Rule::kKeep) value = Updated(args, old, i, args.weights[i]);
      ApplyLimits(args.limits, value.x, value.y);
      const float2 change = value - (args.previous != nullptr ? args.previous[i] : old);
      squared_change += Norm(change);
      squared_norm += Norm(value);
    }
    if (value.x != old.x || value.y != old.y) args.values[i] = value;
    if (!Finite(value)) *args.non_finite = 1;
  }
  double sums[] = {squared_change, squared_norm};
  BlockSums(sums);
  if (threadIdx.x == 0) args.partials[blockIdx.x] = {sums[0], sums[1]};
}

__global__ void __launch_bounds__(kThreads)
    SumChangesKernel(const ChangeSums* partials, int count, ChangeSums* result) {
  double squared_change = 0, squared_norm = 0;
  for (int i = threadIdx.x; i < count; i += kThreads) {
    squared_change += partials[i].squared_change;
    squared_norm += partials[i].squared_norm;
  }
  double sums[] = {squared_change, squared_norm};
  BlockSums(sums);
  if (threadIdx.x == 0) *result = {sums[0], sums[1]};
}

}  // namespace

void LaunchMergeProbeSums(const MergeProbeSumsArgs& args, cudaStream_t stream) {
  MergeProbeSumsKernel<<<BlocksFor(args.pixels), kThreads, 0, stream>>>(args);
}

void LaunchUpdate(const UpdateArgs& args, cudaStream_t stream) {
  const int blocks = UpdateBlocks(args.count);
  UpdateKernel<<<blocks, kThreads, 0, stream>>>(args);
  SumChangesKernel<<<1, kThreads, 0, stream>>>(args.partials, blocks, args.change);
}

}  // namespace ptychoserve::cuda
