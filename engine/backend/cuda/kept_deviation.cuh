#ifndef PTYCHOSERVE_ENGINE_BACKEND_CUDA_KEPT_DEVIATION_CUH_
#define PTYCHOSERVE_ENGINE_BACKEND_CUDA_KEPT_DEVIATION_CUH_

#include "engine/algorithms/difference_map.h"
#include "engine/backend/cuda/difference_map.h"

namespace ptychoserve::cuda {

// What the difference map keeps of a frame's deviation, from Σ dev² over its trusted pixels.
__device__ inline float KeptOf(double power, const FrameFigures& figures, int pixels,
                               const DeviationTolerance& tolerance) {
  const double sigma2 =
      tolerance.relative ? tolerance.value * figures.noise / pixels : tolerance.value;
  return static_cast<float>(KeptDeviation(power / pixels, sigma2));
}

}  // namespace ptychoserve::cuda

#endif  // PTYCHOSERVE_ENGINE_BACKEND_CUDA_KEPT_DEVIATION_CUH_
