#include "engine/backend/cuda/fused/gather_sums.h"

#include "engine/backend/cuda/device_math.cuh"
#include "engine/backend/cuda/kept_deviation.cuh"

namespace ptychoserve::cuda {
namespace {

// One warp per point.
__global__ void __launch_bounds__(kThreads) GatherSumsKernel(GatherSumsArgs args) {
  const int j = (blockIdx.x * kThreads + threadIdx.x) / kWarp;
  if (j >= args.batch.count) return;
  const int pieces = args.batch.cols / kColumnsPerBlock;
  static_assert(512 / kColumnsPerBlock <= kWarp);
  ColumnSums mine{};
  const int lane = threadIdx.x % kWarp;
  if (lane < pieces) mine = args.sums[static_cast<std::int64_t>(j) * pieces + lane];
  double first = mine.first, second = mine.second;
#pragma unroll
  for (int offset = kWarp / 2; offset > 0; offset /= 2) {
    first += __shfl_down_sync(0xffffffffu, first, offset);
    second += __shfl_down_sync(0xffffffffu, second, offset);
  }
  if (lane != 0) return;
  const int slot = args.batch.points[j].slot;
  const FrameFigures figures = args.figures[slot];
  switch (args.rule) {
    case ColumnRule::kModulus:
      args.kept_deviation[slot] =
          KeptOf(first, figures, args.batch.rows * args.batch.cols, args.tolerance);
      break;
    case ColumnRule::kFit:
      args.fit_sums[j] = {.abs_deviation = second,
                          .amplitude = figures.amplitude,
                          .squared_deviation = first,
                          .intensity = figures.intensity};
      break;
    default:
      args.fit_sums[j] = {.step_numerator = first, .step_denominator = second};
  }
}

}  // namespace

void LaunchGatherSums(const GatherSumsArgs& args, cudaStream_t stream) {
  const std::int64_t threads = static_cast<std::int64_t>(args.batch.count) * kWarp;
  GatherSumsKernel<<<BlocksFor(threads), kThreads, 0, stream>>>(args);
}

}  // namespace ptychoserve::cuda
