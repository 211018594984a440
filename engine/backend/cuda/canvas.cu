#include "engine/backend/cuda/canvas.h"

#include <cuda_fp16.h>

#include "engine/algorithms/measurement.h"
#include "engine/backend/cuda/device_math.cuh"

namespace ptychoserve::cuda {
namespace {

constexpr int kMaxGridRows = 32768;

__global__ void __launch_bounds__(kThreads) MoveObjectKernel(MoveObjectArgs args) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= static_cast<std::int64_t>(args.to.rows) * args.to.cols) return;
  const int row = static_cast<int>(i / args.to.cols) + args.to.row - args.shift_rows;
  const int col = static_cast<int>(i % args.to.cols) + args.to.col - args.shift_cols;
  const int from_row = row - args.from.row;
  const int from_col = col - args.from.col;
  const bool inside =
      from_row >= 0 && from_row < args.from.rows && from_col >= 0 && from_col < args.from.cols;
  args.to.object[i] =
      inside ? args.from.object[static_cast<std::int64_t>(from_row) * args.from.cols + from_col]
             : args.fill;
}

__global__ void __launch_bounds__(kThreads) FillObjectKernel(FillObjectArgs args) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= static_cast<std::int64_t>(args.rows) * args.cols) return;
  const std::int64_t row = i / args.cols + args.row - args.canvas.row;
  const std::int64_t col = i % args.cols + args.col - args.canvas.col;
  args.canvas.object[row * args.canvas.cols + col] = args.value;
}

template <typename Pixel>
__global__ void __launch_bounds__(kThreads) RollKernel(RollArgs args) {
  const int pixels = args.rows * args.cols;
  const int pixel = blockIdx.x * kThreads + threadIdx.x;
  if (pixel >= pixels) return;
  int row = pixel / args.cols - args.shift_rows;
  int col = pixel % args.cols - args.shift_cols;
  if (row < 0) row += args.rows;
  if (col < 0) col += args.cols;
  for (int j = blockIdx.y; j < args.count; j += gridDim.y) {
    std::int64_t from = (args.in_by_slot ? args.points[j].slot : j) * std::int64_t{args.modes};
    std::int64_t to = (args.out_by_slot ? args.points[j].slot : j) * std::int64_t{args.modes};
    for (int mode = 0; mode < args.modes; ++mode, ++from, ++to) {
      static_cast<Pixel*>(args.out)[to * pixels + pixel] =
          static_cast<const Pixel*>(args.in)[from * pixels + row * args.cols + col];
    }
  }
}

template <typename Pixel>
__global__ void __launch_bounds__(kThreads)
    MeanAmplitudeKernel(MeanAmplitudeArgs args, const Pixel* frames) {
  const int pixel = blockIdx.x * kThreads + threadIdx.x;
  if (pixel >= args.pixels) return;
  double sum = 0;
  for (int k = 0; k < args.count; ++k) {
    const float counts =
        CountsOf(frames[static_cast<std::int64_t>(args.slots[k]) * args.pixels + pixel]);
    if (IsTrusted(counts)) sum += sqrtf(counts);
  }
  args.out[pixel] = static_cast<float>(sum / args.count);
}

__global__ void __launch_bounds__(kThreads) ScaleKernel(ScaleArgs args) {
  const std::int64_t pixel = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (pixel >= args.pixels || (args.weights != nullptr && args.weights[pixel] == 0)) return;
  const float2 value = args.image[pixel];
  args.image[pixel] = {args.factor * value.x, args.factor * value.y};
}

}  // namespace

void LaunchMoveObject(const MoveObjectArgs& args, cudaStream_t stream) {
  const int blocks = BlocksFor(static_cast<std::int64_t>(args.to.rows) * args.to.cols);
  MoveObjectKernel<<<blocks, kThreads, 0, stream>>>(args);
}

void LaunchFillObject(const FillObjectArgs& args, cudaStream_t stream) {
  const int blocks = BlocksFor(static_cast<std::int64_t>(args.rows) * args.cols);
  FillObjectKernel<<<blocks, kThreads, 0, stream>>>(args);
}

void LaunchRoll(const RollArgs& args, cudaStream_t stream) {
  const dim3 grid(BlocksFor(static_cast<std::int64_t>(args.rows) * args.cols),
                  args.count < kMaxGridRows ? args.count : kMaxGridRows);
  const auto kernel = args.half ? RollKernel<__half2> : RollKernel<float2>;
  kernel<<<grid, kThreads, 0, stream>>>(args);
}

void LaunchScale(const ScaleArgs& args, cudaStream_t stream) {
  ScaleKernel<<<BlocksFor(args.pixels), kThreads, 0, stream>>>(args);
}

void LaunchMeanAmplitude(const MeanAmplitudeArgs& args, cudaStream_t stream) {
  DispatchPixels(args.frames, [&](const auto* pixels) {
    MeanAmplitudeKernel<<<BlocksFor(args.pixels), kThreads, 0, stream>>>(args, pixels);
  });
}

}  // namespace ptychoserve::cuda
