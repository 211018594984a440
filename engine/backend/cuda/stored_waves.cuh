#ifndef PTYCHOSERVE_ENGINE_BACKEND_CUDA_STORED_WAVES_CUH_
#define PTYCHOSERVE_ENGINE_BACKEND_CUDA_STORED_WAVES_CUH_

#include <cuda_fp16.h>

#include <type_traits>

#include "engine/backend/cuda/device_math.cuh"

// Waves as they lie in device memory. Arithmetic is in single precision always.
//
// In half precision the values of a frame are in units of its FrameFigures::wave_unit, a power of
// two: if all counts of the frame came from one pixel, its wave would be 512 to 1024 units, of the
// 65504 that half precision reaches; spread over the frame it is some units a pixel, and the least
// value with all of its 11 bits is 6e-5. So no scale of counts, probe or object can spoil it.
namespace ptychoserve::cuda {

template <bool kHalf>
using StoredWave = std::conditional_t<kHalf, __half2, float2>;

__device__ inline float2 Widened(float2 value) { return value; }
__device__ inline float2 Widened(__half2 value) { return __half22float2(value); }

template <typename Stored>
__device__ inline Stored Narrowed(float2 value) {
  if constexpr (std::is_same_v<Stored, __half2>) {
    return __float22half2_rn(value);
  } else {
    return value;
  }
}

// What the waves of a frame are measured in.
template <bool kHalf>
__device__ inline float UnitOf(const FrameFigures* figures, std::int64_t slot) {
  if constexpr (kHalf) return __ldg(&figures[slot].wave_unit);
  return 1.0f;
}

// A wave of a slot or, in single precision, of a point, of `waves`: ExitWaves or Waves. `number` of
// the `images` that each has.
template <bool kHalf, typename AnyWaves>
__device__ float2 WaveAt(const AnyWaves& waves, std::int64_t index, int number, int images,
                         int pixels, int pixel) {
  const auto* const data = static_cast<const StoredWave<kHalf>*>(waves.data);
  const std::int64_t image = index * images + number;
  return UnitOf<kHalf>(waves.figures, index) * Widened(__ldg(data + image * pixels + pixel));
}

// Calls fn with std::bool_constant<waves.half>().
template <typename Fn>
void DispatchWaves(const ExitWaves& waves, Fn fn) {
  if (waves.half) {
    fn(std::true_type());
  } else {
    fn(std::false_type());
  }
}

}  // namespace ptychoserve::cuda

#endif  // PTYCHOSERVE_ENGINE_BACKEND_CUDA_STORED_WAVES_CUH_
