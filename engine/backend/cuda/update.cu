#include "engine/backend/cuda/update.h"

#include "engine/algorithms/momentum.h"
#include "engine/backend/cuda/device_math.cuh"

namespace ptychoserve::cuda {
namespace {

int UpdateBlocks(std::int64_t count) {
  const std::int64_t blocks = (count + kThreads - 1) / kThreads;
  return static_cast<int>(blocks > kUpdateBlocks ? kUpdateBlocks : (blocks < 1 ? 1 : blocks));
}

// One mode for each block in y; the weights are those of all, and the first sees to them.
__global__ void __launch_bounds__(kThreads) MergeProbeSumsKernel(MergeProbeSumsArgs args) {
  const int pixel = blockIdx.x * kThreads + threadIdx.x;
  const int mode = blockIdx.y, modes = gridDim.y;
  float weight = 0;
  if (pixel < args.pixels) {
    float2 sum{0, 0};
    for (int group = 0; group < args.groups; ++group) {
      sum = sum + args.sum[(static_cast<std::int64_t>(group) * modes + mode) * args.pixels + pixel];
      if (mode == 0) weight += args.weights[static_cast<std::int64_t>(group) * args.pixels + pixel];
    }
    weight *= args.weight_factor;
    args.sum[static_cast<std::int64_t>(mode) * args.pixels + pixel] = sum;
    if (mode == 0) args.weights[pixel] = weight;
  }
  MaxOverWarps(weight, args.max_weight);
}

// What the rule needs besides the pixel itself.
struct RuleConstants {
  float delta;     // Added to the denominator.
  float inertia;   // Of kReplace.
  float step;      // Of kStep.
  float momentum;  // Of kStep with velocities.
};

__device__ float2 Updated(Rule rule, const RuleConstants& constants, float2 old, float2 sum,
                          float weight) {
  if (rule == Rule::kReplace) {
    return {ReplacedValue(old.x, sum.x, weight, constants.delta, constants.inertia),
            ReplacedValue(old.y, sum.y, weight, constants.delta, constants.inertia)};
  }
  return {SteppedValue(old.x, sum.x, weight, constants.delta, constants.step),
          SteppedValue(old.y, sum.y, weight, constants.delta, constants.step)};
}

// The same with a velocity, which moves along.
__device__ float2 Accelerated(const RuleConstants& constants, float2 old, float2 sum, float weight,
                              float2& velocity) {
  const float2 move = Updated(Rule::kStep, constants, {0, 0}, sum, weight);
  return {AcceleratedValue(old.x, move.x, constants.momentum, velocity.x),
          AcceleratedValue(old.y, move.y, constants.momentum, velocity.y)};
}

// One image and its change. Several pixels at a time, so that their loads are under way together.
__device__ void UpdateImage(const UpdateArgs& args, const RuleConstants& constants,
                            double& squared_change, double& squared_norm) {
  constexpr int kPixels = 4;
  const std::int64_t threads = static_cast<std::int64_t>(gridDim.x) * kThreads;
  const std::int64_t thread = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  for (std::int64_t first = thread; first < args.count; first += kPixels * threads) {
    float2 old[kPixels], sum[kPixels], previous[kPixels];
    float weight[kPixels];
#pragma unroll
    for (int k = 0; k < kPixels; ++k) {
      const std::int64_t i = first + k * threads;
      if (i >= args.count) continue;
      old[k] = args.values[i];
      if (args.rule != Rule::kKeep) sum[k] = __ldg(args.sum + i);
      if (args.rule != Rule::kKeep || args.covered_only) weight[k] = __ldg(args.weights + i);
      previous[k] = args.previous != nullptr ? __ldg(args.previous + i) : old[k];
    }
#pragma unroll
    for (int k = 0; k < kPixels; ++k) {
      const std::int64_t i = first + k * threads;
      if (i >= args.count) continue;
      float2 value = old[k];
      if (!args.covered_only || weight[k] != 0) {
        if (args.rule == Rule::kStep && args.velocity != nullptr) {
          float2 velocity = args.velocity[i];
          value = Accelerated(constants, old[k], sum[k], weight[k], velocity);
          args.velocity[i] = velocity;
        } else if (args.rule != Rule::kKeep) {
          value = Updated(args.rule, constants, old[k], sum[k], weight[k]);
        }
        ApplyLimits(args.limits, value.x, value.y);
        squared_change += Norm(value - previous[k]);
        squared_norm += Norm(value);
      }
      if (value.x != old[k].x || value.y != old[k].y) args.values[i] = value;
      if (!Finite(value)) *args.non_finite = 1;
    }
  }
}

template <bool kSingle>
__global__ void __launch_bounds__(kThreads) UpdateKernel(UpdateArgs args) {
  RuleConstants constants{};
  if (args.rule != Rule::kKeep) {
    const double inertia = args.relative * *args.max_weight;
    constants = {static_cast<float>(args.absolute + inertia), static_cast<float>(inertia),
                 args.rule == Rule::kStep ? static_cast<float>(*args.step) : 0.0f,
                 args.velocity != nullptr ? args.momentum->factor : 0.0f};
  }
  double squared_change = 0, squared_norm = 0;
  UpdateImage(args, constants, squared_change, squared_norm);
  for (int image = 1; !kSingle && image < args.images; ++image) {
    args.values += args.count;
    if (args.previous != nullptr) args.previous += args.count;
    if (args.velocity != nullptr) args.velocity += args.count;
    args.sum += args.count;
    UpdateImage(args, constants, squared_change, squared_norm);
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
  const dim3 grid(BlocksFor(args.pixels), args.modes);
  MergeProbeSumsKernel<<<grid, kThreads, 0, stream>>>(args);
}

void LaunchUpdate(const UpdateArgs& args, cudaStream_t stream) {
  const int blocks = UpdateBlocks(args.count);
  DispatchModes(args.images,
                [&](auto single) { UpdateKernel<single><<<blocks, kThreads, 0, stream>>>(args); });
  SumChangesKernel<<<1, kThreads, 0, stream>>>(args.partials, blocks, args.change);
}

}  // namespace ptychoserve::cuda
