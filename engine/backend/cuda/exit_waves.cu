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

// Place of the first mode's wave of point or slot `index`, at `pixel`.
__device__ std::int64_t PlaceOf(std::int64_t index, int modes, int pixels, int pixel) {
  return index * modes * pixels + pixel;
}

// Calls fn(offset, P_jm O_j) for each mode: `offset` of its image from that of the first.
template <bool kSingle, typename Fn>
__device__ void ForEachProduct(const Batch& batch, const Canvas& canvas, const float2* probe,
                               const DevicePoint& point, int pixel, int pixels, int modes, Fn fn) {
  const int row = pixel / batch.cols;
  const int col = pixel - row * batch.cols;
  const float2 object = ObjectAt(canvas, point, BilinearOf(point), row, col);
  if constexpr (kSingle) {
    fn(std::int64_t{0}, Product(ProbeAt(batch, probe, point.slot, pixel), object));
  } else {
    for (int mode = 0; mode < modes; ++mode) {
      const std::int64_t offset = static_cast<std::int64_t>(mode) * pixels;
      fn(offset, Product(ProbeAt(batch, probe, point.slot, offset + pixel), object));
    }
  }
}

template <bool kSingle>
__global__ void __launch_bounds__(kThreads) ProductKernel(ProductArgs args) {
  const int modes = kSingle ? 1 : args.batch.modes;
  const int pixels = args.batch.rows * args.batch.cols;
  const int pixel = blockIdx.x * kThreads + threadIdx.x;
  if (pixel >= pixels) return;
#pragma unroll kPointsPerThread
  for (int j = blockIdx.y; j < args.batch.count; j += gridDim.y) {
    float2* const out = args.out + PlaceOf(j, modes, pixels, pixel);
    ForEachProduct<kSingle>(
        args.batch, args.canvas, args.probe, PointOf(args.batch, j), pixel, pixels, modes,
        [&](std::int64_t offset, float2 product) { out[offset] = args.scale * product; });
  }
}

template <bool kSingle>
__global__ void __launch_bounds__(kThreads) ReflectionKernel(ReflectionArgs args) {
  const Batch& batch = args.product.batch;
  const int modes = kSingle ? 1 : batch.modes;
  const int pixels = batch.rows * batch.cols;
  const int pixel = blockIdx.x * kThreads + threadIdx.x;
  if (pixel >= pixels) return;
#pragma unroll kPointsPerThread
  for (int j = blockIdx.y; j < batch.count; j += gridDim.y) {
    const DevicePoint point = PointOf(batch, j);
    const float2* const exit = args.exit_waves + PlaceOf(point.slot, modes, pixels, pixel);
    float2* const out = args.product.out + PlaceOf(j, modes, pixels, pixel);
    ForEachProduct<kSingle>(batch, args.product.canvas, args.product.probe, point, pixel, pixels,
                            modes, [&](std::int64_t offset, float2 product) {
                              out[offset] =
                                  args.product.scale * (2.0f * product - __ldg(exit + offset));
                            });
  }
}

template <bool kHalf>
__global__ void __launch_bounds__(kThreads) InitExitWavesKernel(InitExitWavesArgs args) {
  const int modes = args.batch.modes;
  const int pixels = args.batch.rows * args.batch.cols;
  const int pixel = blockIdx.x * kThreads + threadIdx.x;
  if (pixel >= pixels) return;
  for (int k = blockIdx.y; k < args.selected_count; k += gridDim.y) {
    const DevicePoint point = args.batch.points[args.selected[k]];
    const float unit = UnitOf<kHalf>(args.exit_waves.figures, point.slot);
    auto* const exit = static_cast<StoredWave<kHalf>*>(args.exit_waves.data) +
                       PlaceOf(point.slot, modes, pixels, pixel);
    ForEachProduct<false>(args.batch, args.canvas, args.probe, point, pixel, pixels, modes,
                          [&](std::int64_t offset, float2 product) {
                            exit[offset] = Narrowed<StoredWave<kHalf>>(1 / unit * product);
                          });
  }
}

template <bool kHalf>
__global__ void __launch_bounds__(kThreads) CopyExitWavesKernel(CopyExitWavesArgs args) {
  const int modes = args.batch.modes;
  const int pixels = args.batch.rows * args.batch.cols;
  const int pixel = blockIdx.x * kThreads + threadIdx.x;
  if (pixel >= pixels) return;
  for (int j = blockIdx.y; j < args.batch.count; j += gridDim.y) {
    float2* const out = args.out + PlaceOf(j, modes, pixels, pixel);
    for (int mode = 0; mode < modes; ++mode) {
      out[static_cast<std::int64_t>(mode) * pixels] =
          WaveAt<kHalf>(args.exit_waves, args.batch.points[j].slot, mode, modes, pixels, pixel);
    }
  }
}

template <bool kHalf>
__global__ void __launch_bounds__(kThreads) StoreExitWavesKernel(StoreExitWavesArgs args) {
  const int modes = args.batch.modes;
  const int pixels = args.batch.rows * args.batch.cols;
  const int pixel = blockIdx.x * kThreads + threadIdx.x;
  if (pixel >= pixels) return;
  for (int j = blockIdx.y; j < args.batch.count; j += gridDim.y) {
    const int slot = args.slots[j];
    const float unit = UnitOf<kHalf>(args.exit_waves.figures, slot);
    const float2* const in = args.in + PlaceOf(j, modes, pixels, pixel);
    auto* const exit =
        static_cast<StoredWave<kHalf>*>(args.exit_waves.data) + PlaceOf(slot, modes, pixels, pixel);
    for (std::int64_t offset = 0; offset < std::int64_t{modes} * pixels; offset += pixels) {
      exit[offset] = Narrowed<StoredWave<kHalf>>(1 / unit * in[offset]);
    }
  }
}

template <bool kSingle>
__global__ void __launch_bounds__(kThreads) ExitWaveUpdateKernel(ExitWaveUpdateArgs args) {
  const int modes = kSingle ? 1 : args.batch.modes;
  const int pixels = args.batch.rows * args.batch.cols;
  const int pixel = blockIdx.x * kThreads + threadIdx.x;
  if (pixel >= pixels) return;
#pragma unroll kPointsPerThread
  for (int j = blockIdx.y; j < args.batch.count; j += gridDim.y) {
    const DevicePoint point = PointOf(args.batch, j);
    const float2* const correction = args.correction + PlaceOf(j, modes, pixels, pixel);
    float2* const exit = args.exit_waves + PlaceOf(point.slot, modes, pixels, pixel);
    ForEachProduct<kSingle>(args.batch, args.canvas, args.probe, point, pixel, pixels, modes,
                            [&](std::int64_t offset, float2 product) {
                              exit[offset] = args.model * product + __ldg(correction + offset);
                            });
  }
}

}  // namespace

void LaunchProduct(const ProductArgs& args, cudaStream_t stream) {
  DispatchModes(args.batch.modes, [&](auto single) {
    ProductKernel<single><<<PixelGrid(args.batch, args.batch.count), kThreads, 0, stream>>>(args);
  });
}

void LaunchReflection(const ReflectionArgs& args, cudaStream_t stream) {
  const Batch& batch = args.product.batch;
  DispatchModes(batch.modes, [&](auto single) {
    ReflectionKernel<single><<<PixelGrid(batch, batch.count), kThreads, 0, stream>>>(args);
  });
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

void LaunchStoreExitWaves(const StoreExitWavesArgs& args, cudaStream_t stream) {
  DispatchWaves(args.exit_waves, [&](auto half) {
    StoreExitWavesKernel<half()>
        <<<PixelGrid(args.batch, args.batch.count), kThreads, 0, stream>>>(args);
  });
}

void LaunchExitWaveUpdate(const ExitWaveUpdateArgs& args, cudaStream_t stream) {
  DispatchModes(args.batch.modes, [&](auto single) {
    ExitWaveUpdateKernel<single>
        <<<PixelGrid(args.batch, args.batch.count), kThreads, 0, stream>>>(args);
  });
}

}  // namespace ptychoserve::cuda
