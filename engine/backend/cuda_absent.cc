// What cuda_device.h promises, in a build without the CUDA backend.
#include "engine/backend/cuda/cuda_device.h"

namespace ptychoserve {

CudaDeviceList CudaDevices(const CudaDeviceOptions&) { return {{}, "this is a CPU-only build"}; }

bool BuiltWithCuda() { return false; }

}  // namespace ptychoserve
