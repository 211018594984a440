#include "engine/backend/cuda/canvas.h"

#include <cuda_fp16.h>

#include "engine/algorithms/measurement.h"
#include "engine/backend/cuda/device_math.cuh"

namespace ptychoserve::cuda {
namespace {

// Of a pixel on the absolute lattice.
__device__ float2 StartOf(const ObjectStart& start, int mode, int row, int col) {
  const ObjectStart::Value value = start.At(mode, row, col);
  return {value.re, value.im};
}

// One mode of the object for each block in y, here and below.
__global__ void __launch_bounds__(kThreads) MoveObjectKernel(MoveObjectArgs args) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= args.to.pixels()) return;
  const int mode = blockIdx.y;
  const int row = static_cast<int>(i / args.to.cols) + args.to.row;
  const int col = static_cast<int>(i % args.to.cols) + args.to.col;
  const int from_row = row - args.shift_rows - args.from.row;
  const int from_col = col - args.shift_cols - args.from.col;
  const bool inside =
      from_row >= 0 && from_row < args.from.rows && from_col >= 0 && from_col < args.from.cols;
  const std::int64_t from = static_cast<std::int64_t>(from_row) * args.from.cols + from_col;
  args.to.Mode(mode).object[i] =
      inside ? args.from.Mode(mode).object[from] : StartOf(args.start, mode, row, col);
}

__global__ void __launch_bounds__(kThreads) FillObjectKernel(FillObjectArgs args) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= static_cast<std::int64_t>(args.rows) * args.cols) return;
  const int mode = blockIdx.y;
  const int row = static_cast<int>(i / args.cols) + args.row;
  const int col = static_cast<int>(i % args.cols) + args.col;
  const std::int64_t at =
      static_cast<std::int64_t>(row - args.canvas.row) * args.canvas.cols + (col - args.canvas.col);
  args.canvas.Mode(mode).object[at] = StartOf(args.start, mode, row, col);
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
  for (int image = 0; image < args.count; ++image) {
    float2& value = args.images[image * args.pixels + pixel];
    value = {args.factor * value.x, args.factor * value.y};
  }
}

}  // namespace

void LaunchMoveObject(const MoveObjectArgs& args, cudaStream_t stream) {
  const dim3 grid(BlocksFor(args.to.pixels()), args.modes);
  MoveObjectKernel<<<grid, kThreads, 0, stream>>>(args);
}

void LaunchFillObject(const FillObjectArgs& args, cudaStream_t stream) {
  const dim3 grid(BlocksFor(static_cast<std::int64_t>(args.rows) * args.cols), args.modes);
  FillObjectKernel<<<grid, kThreads, 0, stream>>>(args);
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
