#include "engine/backend/cuda/exit_waves.h"

#include "engine/backend/cuda/device_math.cuh"
#include "engine/backend/cuda/stored_waves.cuh"

namespace ptychoserve::cuda {
namespace {

// Points that one thread handles, so that several loads are under way at a time.
constexpr int kPointsPerThread = 4;
constexpr int kMaxGridRows = 32768;

// One thread per pixel of a frame (x); points are dealt to the rows of blocks (y).
dim3 PixelGrid(const Batch& batch, int points) {
  const int blocks = BlocksFor(static_cast<std::int64_t>(batch.rows) * batch.cols);
  const int rows = (points + kPointsPerThread - 1) / kPointsPerThread;
  return dim3(blocks, rows < kMaxGridRows ? rows : kMaxGridRows);
}

__device__ float2 ProductAt(const Canvas& canvas, const float2* probe, const DevicePoint& point,
                            int cols, int pixel) {
  const int row = pixel / cols;
  const int col = pixel - row * cols;
  return Product(__ldg(probe + pixel), ObjectAt(canvas, point, BilinearOf(point), row, col));
}

__global__ void __launch_bounds__(kThreads) ProductKernel(ProductArgs args) {
  const int pixels = args.batch.rows * args.batch.cols;
  const int pixel = blockIdx.x * kThreads + threadIdx.x;
  if (pixel >= pixels) return;
#pragma unroll kPointsPerThread
  for (int j = blockIdx.y; j < args.batch.count; j += gridDim.y) {
    const DevicePoint point = PointOf(args.batch, j);
    const float2 product = ProductAt(args.canvas, args.probe, point, args.batch.cols, pixel);
    args.out[static_cast<std::int64_t>(j) * pixels + pixel] = args.scale * product;
  }
}

__global__ void __launch_bounds__(kThreads) ReflectionKernel(ReflectionArgs args) {
  const Batch& batch = args.product.batch;
  const int pixels = batch.rows * batch.cols;
  const int pixel = blockIdx.x * kThreads + threadIdx.x;
  if (pixel >= pixels) return;
#pragma unroll kPointsPerThread
  for (int j = blockIdx.y; j < batch.count; j += gridDim.y) {
    const DevicePoint point = PointOf(batch, j);
    const float2 product =
        ProductAt(args.product.canvas, args.product.probe, point, batch.cols, pixel);
    const float2 exit =
        __ldg(args.exit_waves + static_cast<std::int64_t>(point.slot) * pixels + pixel);
    args.product.out[static_cast<std::int64_t>(j) * pixels + pixel] =
        args.product.scale * (2.0f * product - exit);
  }
}

template <bool kHalf>
__global__ void __launch_bounds__(kThreads) InitExitWavesKernel(InitExitWavesArgs args) {
  const int pixels = args.batch.rows * args.batch.cols;
  const int pixel = blockIdx.x * kThreads + threadIdx.x;
  if (pixel >= pixels) return;
  for (int k = blockIdx.y; k < args.selected_count; k += gridDim.y) {
    const DevicePoint point = args.batch.points[args.selected[k]];
    const float2 product = ProductAt(args.canvas, args.probe, point, args.batch.cols, pixel);
    const float unit = UnitOf<kHalf>(args.exit_waves.figures, point.slot);
    static_cast<StoredWave<kHalf>*>(
        args.exit_waves.data)[static_cast<std::int64_t>(point.slot) * pixels + pixel] =
        Narrowed<StoredWave<kHalf>>(1 / unit * product);
  }
}

template <bool kHalf>
__global__ void __launch_bounds__(kThreads) CopyExitWavesKernel(CopyExitWavesArgs args) {
  const int pixels = args.batch.rows * args.batch.cols;
  const int pixel = blockIdx.x * kThreads + threadIdx.x;
  if (pixel >= pixels) return;
  for (int j = blockIdx.y; j < args.batch.count; j += gridDim.y) {
    args.out[static_cast<std::int64_t>(j) * pixels + pixel] =
        ExitWaveAt<kHalf>(args.exit_waves, args.batch.points[j].slot, pixels, pixel);
  }
}

__global__ void __launch_bounds__(kThreads) ExitWaveUpdateKernel(ExitWaveUpdateArgs args) {
  const int pixels = args.batch.rows * args.batch.cols;
  const int pixel = blockIdx.x * kThreads + threadIdx.x;
  if (pixel >= pixels) return;
#pragma unroll kPointsPerThread
  for (int j = blockIdx.y; j < args.batch.count; j += gridDim.y) {
    const DevicePoint point = PointOf(args.batch, j);
    const float2 product = ProductAt(args.canvas, args.probe, point, args.batch.cols, pixel);
    args.exit_waves[static_cast<std::int64_t>(point.slot) * pixels + pixel] =
        (2.0f - args.beta) * product +
        __ldg(args.correction + static_cast<std::int64_t>(j) * pixels + pixel);
  }
}

}  // namespace

void LaunchProduct(const ProductArgs& args, cudaStream_t stream) {
  ProductKernel<<<PixelGrid(args.batch, args.batch.count), kThreads, 0, stream>>>(args);
}

void LaunchReflection(const ReflectionArgs& args, cudaStream_t stream) {
  const Batch& batch = args.product.batch;
  ReflectionKernel<<<PixelGrid(batch, batch.count), kThreads, 0, stream>>>(args);
}

void LaunchInitExitWaves(const InitExitWavesArgs& args, cudaStream_t stream) {
  DispatchWaves(args.exit_waves, [&](auto half) {
    InitExitWavesKernel<half()>
        <<<PixelGrid(args.batch, args.selected_count), kThreads, 0, stream>>>(args);
  });
}

void LaunchCopyExitWaves(const CopyExitWavesArgs& args, cudaStream_t stream) {
  DispatchWaves(args.exit_waves, [&](auto half) {
    CopyExitWavesKernel<half()>
        <<<PixelGrid(args.batch, args.batch.count), kThreads, 0, stream>>>(args);
  });
}

void LaunchExitWaveUpdate(const ExitWaveUpdateArgs& args, cudaStream_t stream) {
  ExitWaveUpdateKernel<<<PixelGrid(args.batch, args.batch.count), kThreads, 0, stream>>>(args);
}

}  // namespace ptychoserve::cuda
