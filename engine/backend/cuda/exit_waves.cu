#include "engine/backend/cuda/exit_waves.h"

#include "engine/backend/cuda/device_math.cuh"
#include "engine/backend/cuda/stored_waves.cuh"

namespace ptychoserve::cuda {
namespace {

// Points that one thread handles, so that several loads are under way at a time.
constexpr int kPointsPerThread = 4;

// One thread per pixel of a frame (x); points are dealt to the rows of blocks (y).
dim3 PixelGrid(const Batch& batch, int points) {
  const int blocks = BlocksFor(static_cast<std::int64_t>(batch.rows) * batch.cols);
  const int rows = (points + kPointsPerThread - 1) / kPointsPerThread;
  return dim3(blocks, rows < kMaxGridRows ? rows : kMaxGridRows);
}

// Place of the first wave of point or slot `index`, at `pixel`.
__device__ std::int64_t PlaceOf(std::int64_t index, int waves, int pixels, int pixel) {
  return index * waves * pixels + pixel;
}

// Calls fn(offset, P_jm O_lj) for each wave: `offset` of its image from that of the first.
template <bool kSingle, typename Fn>
__device__ void ForEachProduct(const Batch& batch, const Canvas& canvas, const float2* probe,
                               const DevicePoint& point, int pixel, int pixels, Fn fn) {
  const int row = pixel / batch.cols;
  const int col = pixel - row * batch.cols;
  if constexpr (kSingle) {
    const float2 object = ObjectAt(canvas, point, BilinearOf(point), row, col);
    fn(std::int64_t{0}, Product(ProbeAt(batch, probe, point.slot, pixel), object));
  } else {
    std::int64_t offset = 0;
    for (int l = 0; l < batch.object_modes; ++l) {
      const float2 object = ObjectAt(canvas.Mode(l), point, BilinearOf(point), row, col);
      for (int mode = 0; mode < batch.modes; ++mode, offset += pixels) {
        const std::int64_t place = static_cast<std::int64_t>(mode) * pixels + pixel;
        fn(offset, Product(ProbeAt(batch, probe, point.slot, place), object));
      }
    }
  }
}

template <bool kSingle>
__global__ void __launch_bounds__(kThreads) ProductKernel(ProductArgs args) {
  const int waves = kSingle ? 1 : args.batch.waves();
  const int pixels = args.batch.rows * args.batch.cols;
  const int pixel = blockIdx.x * kThreads + threadIdx.x;
  if (pixel >= pixels) return;
#pragma unroll kPointsPerThread
  for (int j = blockIdx.y; j < args.batch.count; j += gridDim.y) {
    float2* const out = args.out + PlaceOf(j, waves, pixels, pixel);
    ForEachProduct<kSingle>(
        args.batch, args.canvas, args.probe, PointOf(args.batch, j), pixel, pixels,
        [&](std::int64_t offset, float2 product) { out[offset] = args.scale * product; });
  }
}

template <bool kSingle>
__global__ void __launch_bounds__(kThreads) ReflectionKernel(ReflectionArgs args) {
  const Batch& batch = args.product.batch;
  const int waves = kSingle ? 1 : batch.waves();
  const int pixels = batch.rows * batch.cols;
  const int pixel = blockIdx.x * kThreads + threadIdx.x;
  if (pixel >= pixels) return;
#pragma unroll kPointsPerThread
  for (int j = blockIdx.y; j < batch.count; j += gridDim.y) {
    const DevicePoint point = PointOf(batch, j);
    const float2* const exit = args.exit_waves + PlaceOf(point.slot, waves, pixels, pixel);
    float2* const out = args.product.out + PlaceOf(j, waves, pixels, pixel);
    ForEachProduct<kSingle>(batch, args.product.canvas, args.product.probe, point, pixel, pixels,
                            [&](std::int64_t offset, float2 product) {
                              out[offset] =
                                  args.product.scale * (2.0f * product - __ldg(exit + offset));
                            });
  }
}

template <bool kHalf>
__global__ void __launch_bounds__(kThreads) InitExitWavesKernel(InitExitWavesArgs args) {
  const int waves = args.batch.waves();
  const int pixels = args.batch.rows * args.batch.cols;
  const int pixel = blockIdx.x * kThreads + threadIdx.x;
  if (pixel >= pixels) return;
  for (int k = blockIdx.y; k < args.selected_count; k += gridDim.y) {
    const DevicePoint point = args.batch.points[args.selected[k]];
    const float unit = UnitOf<kHalf>(args.exit_waves.figures, point.slot);
    auto* const exit = static_cast<StoredWave<kHalf>*>(args.exit_waves.data) +
                       PlaceOf(point.slot, waves, pixels, pixel);
    ForEachProduct<false>(args.batch, args.canvas, args.probe, point, pixel, pixels,
                          [&](std::int64_t offset, float2 product) {
                            exit[offset] = Narrowed<StoredWave<kHalf>>(1 / unit * product);
                          });
  }
}

template <bool kHalf>
__global__ void __launch_bounds__(kThreads) CopyExitWavesKernel(CopyExitWavesArgs args) {
  const int waves = args.batch.waves();
  const int pixels = args.batch.rows * args.batch.cols;
  const int pixel = blockIdx.x * kThreads + threadIdx.x;
  if (pixel >= pixels) return;
  for (int j = blockIdx.y; j < args.batch.count; j += gridDim.y) {
    float2* const out = args.out + PlaceOf(j, waves, pixels, pixel);
    for (int wave = 0; wave < waves; ++wave) {
      out[static_cast<std::int64_t>(wave) * pixels] =
          WaveAt<kHalf>(args.exit_waves, args.batch.points[j].slot, wave, waves, pixels, pixel);
    }
  }
}

template <bool kHalf>
__global__ void __launch_bounds__(kThreads) StoreExitWavesKernel(StoreExitWavesArgs args) {
  const int waves = args.batch.waves();
  const int pixels = args.batch.rows * args.batch.cols;
  const int pixel = blockIdx.x * kThreads + threadIdx.x;
  if (pixel >= pixels) return;
  for (int j = blockIdx.y; j < args.batch.count; j += gridDim.y) {
    const int slot = args.slots[j];
    const float unit = UnitOf<kHalf>(args.exit_waves.figures, slot);
    const float2* const in = args.in + PlaceOf(j, waves, pixels, pixel);
    auto* const exit =
        static_cast<StoredWave<kHalf>*>(args.exit_waves.data) + PlaceOf(slot, waves, pixels, pixel);
    for (std::int64_t offset = 0; offset < std::int64_t{waves} * pixels; offset += pixels) {
      exit[offset] = Narrowed<StoredWave<kHalf>>(1 / unit * in[offset]);
    }
  }
}

template <bool kSingle>
__global__ void __launch_bounds__(kThreads) ExitWaveUpdateKernel(ExitWaveUpdateArgs args) {
  const int waves = kSingle ? 1 : args.batch.waves();
  const int pixels = args.batch.rows * args.batch.cols;
  const int pixel = blockIdx.x * kThreads + threadIdx.x;
  if (pixel >= pixels) return;
#pragma unroll kPointsPerThread
  for (int j = blockIdx.y; j < args.batch.count; j += gridDim.y) {
    const DevicePoint point = PointOf(args.batch, j);
    const float2* const correction = args.correction + PlaceOf(j, waves, pixels, pixel);
    float2* const exit = args.exit_waves + PlaceOf(point.slot, waves, pixels, pixel);
    ForEachProduct<kSingle>(args.batch, args.canvas, args.probe, point, pixel, pixels,
                            [&](std::int64_t offset, float2 product) {
                              exit[offset] = args.model * product + __ldg(correction + offset);
                            });
  }
}

}  // namespace

void LaunchProduct(const ProductArgs& args, cudaStream_t stream) {
  DispatchModes(args.batch.waves(), [&](auto single) {
    ProductKernel<single><<<PixelGrid(args.batch, args.batch.count), kThreads, 0, stream>>>(args);
  });
}

void LaunchReflection(const ReflectionArgs& args, cudaStream_t stream) {
  const Batch& batch = args.product.batch;
  DispatchModes(batch.waves(), [&](auto single) {
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
  DispatchModes(args.batch.waves(), [&](auto single) {
    ExitWaveUpdateKernel<single>
        <<<PixelGrid(args.batch, args.batch.count), kThreads, 0, stream>>>(args);
  });
}

}  // namespace ptychoserve::cuda
