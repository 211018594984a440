#ifndef PTYCHOSERVE_ENGINE_BACKEND_CUDA_FUSED_ROW_BLOCKS_CUH_
#define PTYCHOSERVE_ENGINE_BACKEND_CUDA_FUSED_ROW_BLOCKS_CUH_

#include "engine/backend/cuda/device_math.cuh"
#include "engine/backend/cuda/fused/lane_fft.cuh"
#include "engine/backend/cuda/fused/passes.h"

// What the two passes over rows share. 256 threads hold RowsPerBlock(kCols) rows of one frame,
// each thread 16 values of one row in the spatial order of LaneFft.
namespace ptychoserve::cuda {

inline constexpr int kRowThreads = 256;

// A thread's place among the kRowThreads threads of one frame.
template <int kCols>
struct RowPlace {
  static constexpr int kLanes = kCols / kLaneValues;
  int lane;
  int group;  // Row within the block.
  __device__ explicit RowPlace(int thread) : lane(thread % kLanes), group(thread / kLanes) {}
};

// The probe's rows of a block in shared memory, as pairs of values that only one thread (or, with
// two frames at a time, its twin) reads: value 2i and 2i+1 at [i * kRowThreads + thread].
inline constexpr int kProbeBytes = kRowThreads * kLaneValues * sizeof(float2);

template <int kLanes>
__device__ inline void LoadProbe(const float2* probe_row, int lane, int thread, float4* slots) {
#pragma unroll
  for (int i = 0; i < kLaneValues / 2; ++i) {
    const float2 a = __ldg(probe_row + lane + kLanes * (2 * i));
    const float2 b = __ldg(probe_row + lane + kLanes * (2 * i + 1));
    slots[i * kRowThreads + thread] = {a.x, a.y, b.x, b.y};
  }
}

// fn(std::integral_constant<PointKind, kind>())
template <typename Fn>
auto ForKind(PointKind kind, Fn fn) {
  switch (kind) {
    case PointKind::kWhole:
      return fn(std::integral_constant<PointKind, PointKind::kWhole>());
    case PointKind::kFractional:
      return fn(std::integral_constant<PointKind, PointKind::kFractional>());
    default:
      return fn(std::integral_constant<PointKind, PointKind::kVaried>());
  }
}

// O_j at the pixel whose upper left object pixel is at `at`; whole pixels unless kSubpixel.
template <bool kSubpixel>
__device__ inline float2 WindowValue(const float2* at, int pitch, const Bilinear& w) {
  if constexpr (!kSubpixel) return __ldg(at);
  const float2 o00 = __ldg(at), o01 = __ldg(at + 1);
  const float2 o10 = __ldg(at + pitch), o11 = __ldg(at + pitch + 1);
  return {w.w00 * o00.x + w.w01 * o01.x + w.w10 * o10.x + w.w11 * o11.x,
          w.w00 * o00.y + w.w01 * o01.y + w.w10 * o10.y + w.w11 * o11.y};
}

// The object pixel at the upper left of value 0 of lane `lane` of row `row` of a window.
__device__ inline const float2* WindowRow(const Canvas& canvas, const DevicePoint& point, int row,
                                          int lane) {
  return canvas.object + static_cast<std::int64_t>(point.row - canvas.row + row) * canvas.cols +
         (point.col - canvas.col + lane);
}

// What a pass over rows does for one mode of the object: each has a launch of its own, so that a
// kernel need not know of the others, but for how far the waves of one point are from the next.
template <typename Args>
Args ForObjectMode(Args args, int object_mode) {
  using Waves = decltype(args.waves);
  const std::int64_t bytes = static_cast<std::int64_t>(object_mode) * args.batch.modes *
                             args.batch.rows * args.batch.cols * WaveBytes(args.exit_waves.half);
  using Byte = std::conditional_t<std::is_same_v<Waves, void*>, char, const char>;
  args.waves = static_cast<Byte*>(args.waves) + bytes;
  if (args.exit_waves.data != nullptr) {
    args.exit_waves.data = static_cast<char*>(args.exit_waves.data) + bytes;
  }
  args.canvas = args.canvas.Mode(object_mode);
  return args;
}

// *at += value, by one of many blocks; nothing is returned.
__device__ inline void AddShared(float2* at, float2 value) {
#if __CUDA_ARCH__ >= 900
  asm volatile("red.global.add.v2.f32 [%0], {%1, %2};" ::"l"(at), "f"(value.x), "f"(value.y)
               : "memory");
#else
  atomicAdd(&at->x, value.x);
  atomicAdd(&at->y, value.y);
#endif
}

}  // namespace ptychoserve::cuda

#endif  // PTYCHOSERVE_ENGINE_BACKEND_CUDA_FUSED_ROW_BLOCKS_CUH_
