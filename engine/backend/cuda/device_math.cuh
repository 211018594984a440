#ifndef PTYCHOSERVE_ENGINE_BACKEND_CUDA_DEVICE_MATH_CUH_
#define PTYCHOSERVE_ENGINE_BACKEND_CUDA_DEVICE_MATH_CUH_

#include <cstdint>
#include <type_traits>

#include "engine/algorithms/refinement.h"
#include "engine/backend/cuda/device_types.h"

// What several kernels need: complex arithmetic, the bilinear object window, sums over a block.
namespace ptychoserve::cuda {

inline constexpr int kThreads = 256;  // Of every block, unless the kernel says otherwise.
inline constexpr int kWarp = 32;
// Of a grid, in y; where there is more to do, its rows take more than one each.
inline constexpr int kMaxGridRows = 32768;

__device__ inline float2 operator+(float2 a, float2 b) { return {a.x + b.x, a.y + b.y}; }
__device__ inline float2 operator-(float2 a, float2 b) { return {a.x - b.x, a.y - b.y}; }
__device__ inline float2 operator*(float s, float2 a) { return {s * a.x, s * a.y}; }
__device__ inline float2 Product(float2 a, float2 b) {
  return {a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x};
}
// conj(a) * b
__device__ inline float2 ConjProduct(float2 a, float2 b) {
  return {a.x * b.x + a.y * b.y, a.x * b.y - a.y * b.x};
}
__device__ inline float Norm(float2 a) { return a.x * a.x + a.y * a.y; }
__device__ inline bool Finite(float2 a) { return isfinite(a.x) && isfinite(a.y); }

// Weights of a window's four neighbours, [row][col].
struct Bilinear {
  float w00, w01, w10, w11;
};
__device__ inline Bilinear BilinearOf(const DevicePoint& point) {
  const float y = point.frac_row, x = point.frac_col;
  return {(1 - y) * (1 - x), (1 - y) * x, y * (1 - x), y * x};
}

// The reads below go past the coherent cache: nothing that they read is written by the kernels
// that use them, and so the compiler may have several under way across stores.
__device__ inline DevicePoint PointOf(const Batch& batch, int j) {
  const DevicePoint& point = batch.points[j];
  return {__ldg(&point.slot),     __ldg(&point.row),      __ldg(&point.col),
          __ldg(&point.frac_row), __ldg(&point.frac_col), __ldg(&point.intensity)};
}

// O_j at `row`, `col` of the window of `point`.
__device__ inline float2 ObjectAt(const Canvas& canvas, const DevicePoint& point, const Bilinear& w,
                                  int row, int col) {
  const float2* at = canvas.object +
                     static_cast<std::int64_t>(point.row - canvas.row + row) * canvas.cols +
                     (point.col - canvas.col + col);
  const float2 o00 = __ldg(at), o01 = __ldg(at + 1);
  const float2 o10 = __ldg(at + canvas.cols), o11 = __ldg(at + canvas.cols + 1);
  return {w.w00 * o00.x + w.w01 * o01.x + w.w10 * o10.x + w.w11 * o11.x,
          w.w00 * o00.y + w.w01 * o01.y + w.w10 * o10.y + w.w11 * o11.y};
}

// The same, where many threads read one window: without interpolation for whole pixels.
__device__ inline float2 WindowAt(const Canvas& canvas, const DevicePoint& point, int row,
                                  int col) {
  if (point.frac_row != 0 || point.frac_col != 0) {
    return ObjectAt(canvas, point, BilinearOf(point), row, col);
  }
  return __ldg(canvas.object +
               static_cast<std::int64_t>(point.row - canvas.row + row) * canvas.cols +
               (point.col - canvas.col + col));
}

// What the probe of one point has besides the mean.
class OwnProbe {
 public:
  __device__ OwnProbe(const Batch& batch, std::int64_t slot)
      : components_(batch.variation.components),
        pixels_(static_cast<std::int64_t>(batch.modes) * batch.rows * batch.cols),
        count_(batch.variation.count) {
#pragma unroll
    for (int k = 0; k < kMaxProbeComponents; ++k) {
      c_[k] = k < count_ ? __ldg(batch.variation.coefficients + slot * count_ + k) : 0.0f;
    }
  }
  // At a place within the images of all modes.
  __device__ float2 At(std::int64_t place) const {
    float2 sum{0, 0};
#pragma unroll
    for (int k = 0; k < kMaxProbeComponents; ++k) {
      if (k < count_) sum = sum + c_[k] * __ldg(components_ + k * pixels_ + place);
    }
    return sum;
  }

 private:
  const float2* components_;
  std::int64_t pixels_;
  int count_;
  float c_[kMaxProbeComponents];
};

// The probe as a point sees it, at a place within the images of all modes.
__device__ inline float2 ProbeAt(const Batch& batch, const float2* probe, std::int64_t slot,
                                 std::int64_t place) {
  const float2 mean = __ldg(probe + place);
  return batch.variation.count > 0 ? mean + OwnProbe(batch, slot).At(place) : mean;
}

// Sums of kCount values per thread over a block of kThreads, in a fixed order; valid in thread 0.
// Every thread must take part. Synchronises the block.
template <int kCount>
__device__ void BlockSums(double (&values)[kCount]) {
  __shared__ double by_warp[kThreads / kWarp][kCount];
  __syncthreads();  // What an earlier call left has been read.
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    for (int offset = kWarp / 2; offset > 0; offset /= 2) {
      values[i] += __shfl_down_sync(0xffffffffu, values[i], offset);
    }
    if (threadIdx.x % kWarp == 0) by_warp[threadIdx.x / kWarp][i] = values[i];
  }
  __syncthreads();
  if (threadIdx.x != 0) return;
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    values[i] = 0;
    for (int warp = 0; warp < kThreads / kWarp; ++warp) values[i] += by_warp[warp][i];
  }
}

// Writes the values of those threads of a block of kCount that have `wanted` into `list`, in the
// threads' order, and returns how many there are. Every thread must take part. Synchronises the
// block; `list` must have been read before the next call.
template <int kCount, typename T>
__device__ int Gather(bool wanted, const T& value, T (&list)[kCount]) {
  constexpr int kWarps = kCount / kWarp;
  __shared__ int wanted_by_warp[kWarps];
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const unsigned votes = __ballot_sync(0xffffffffu, wanted);
  if (lane == 0) wanted_by_warp[warp] = __popc(votes);
  __syncthreads();
  int before = 0, total = 0;
  for (int w = 0; w < kWarps; ++w) {
    if (w < warp) before += wanted_by_warp[w];
    total += wanted_by_warp[w];
  }
  if (wanted) list[before + __popc(votes & ((1u << lane) - 1))] = value;
  __syncthreads();
  return total;
}

// The larger of two non-negative values; NaN when one is NaN.
__device__ inline float MaxOrNan(float a, float b) { return a >= b || isnan(a) ? a : b; }

// The largest value of all threads, over all blocks, into `*result`, which holds a non-negative
// float. Values are non-negative or NaN; a NaN wins. Every thread of a warp must take part. The
// order of the blocks does not matter.
__device__ inline void MaxOverWarps(float value, float* result) {
  // Bit patterns of non-negative floats are ordered as the floats are; NaN comes last.
  unsigned bits = __float_as_uint(value) & 0x7fffffffu;
  bits = __reduce_max_sync(0xffffffffu, bits);
  if (threadIdx.x % kWarp == 0) atomicMax(reinterpret_cast<unsigned*>(result), bits);
}

// Calls fn with the pixels of `frames` as a pointer to their type.
template <typename Fn>
void DispatchPixels(const FrameSlots& frames, Fn fn) {
  if (frames.is_f32) {
    fn(static_cast<const float*>(frames.pixels));
  } else {
    fn(static_cast<const std::uint16_t*>(frames.pixels));
  }
}

inline constexpr std::uint16_t kUnmeasuredPixel = 65535;  // kUnmeasuredU16 of engine/config.h.

// Counts of a pixel, negative when it is not to be trusted.
__device__ inline float CountsOf(float stored) { return stored; }
__device__ inline float CountsOf(std::uint16_t stored) {
  return stored == kUnmeasuredPixel ? -1.0f : static_cast<float>(stored);
}

// Calls fn with std::true_type for one image of a point, else std::false_type, so that kernels with
// a single one need no loop.
template <typename Fn>
void DispatchModes(int images, Fn fn) {
  if (images == 1) {
    fn(std::true_type());
  } else {
    fn(std::false_type());
  }
}

// Σ |w_e|² of the images of one pixel, of which `first` is the first, read from `wave`; the others
// are `pixels` apart.
template <bool kSingle>
__device__ float IntensityOf(float2 first, const float2* wave, int pixels, int images) {
  float intensity = Norm(first);
  for (int image = 1; !kSingle && image < images; ++image) {
    intensity += Norm(wave[static_cast<std::int64_t>(image) * pixels]);
  }
  return intensity;
}

// The background of one pixel of every frame.
__device__ inline float BackgroundAt(const Batch& batch, int pixel) {
  return batch.background != nullptr ? __ldg(batch.background + pixel) : 0.0f;
}

// What the detector is expected to see in `pixel` of point `j` of the batch, w Σ |Ψ_e|² + b.
template <bool kSingle>
__device__ float ExpectedCounts(const Batch& batch, int j, int pixel, float2 first,
                                const float2* wave, int pixels, int images) {
  return __ldg(&batch.points[j].intensity) * IntensityOf<kSingle>(first, wave, pixels, images) +
         BackgroundAt(batch, pixel);
}

// Multiplies them all.
template <bool kSingle>
__device__ void ScaleModes(float factor, float2 first, float2* wave, int pixels, int images) {
  *wave = factor * first;
  for (int image = 1; !kSingle && image < images; ++image) {
    float2& value = wave[static_cast<std::int64_t>(image) * pixels];
    value = factor * value;
  }
}

inline int BlocksFor(std::int64_t elements) {
  return static_cast<int>((elements + kThreads - 1) / kThreads);
}

}  // namespace ptychoserve::cuda

#endif  // PTYCHOSERVE_ENGINE_BACKEND_CUDA_DEVICE_MATH_CUH_
