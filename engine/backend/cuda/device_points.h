#ifndef PTYCHOSERVE_ENGINE_BACKEND_CUDA_DEVICE_POINTS_H_
#define PTYCHOSERVE_ENGINE_BACKEND_CUDA_DEVICE_POINTS_H_

#include "engine/backend/backend.h"
#include "engine/backend/cuda/device_types.h"

// Apart from device_types.h, so that kernels need not compile the backend's interface.
namespace ptychoserve::cuda {

inline DevicePoint DevicePointOf(const PointWindow& point) {
  return {point.slot, point.row, point.col, point.frac_row, point.frac_col, point.intensity};
}

}  // namespace ptychoserve::cuda

#endif  // PTYCHOSERVE_ENGINE_BACKEND_CUDA_DEVICE_POINTS_H_
