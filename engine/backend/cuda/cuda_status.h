#ifndef PTYCHOSERVE_ENGINE_BACKEND_CUDA_CUDA_STATUS_H_
#define PTYCHOSERVE_ENGINE_BACKEND_CUDA_CUDA_STATUS_H_

#include <cuda_runtime_api.h>
#include <cufft.h>

#include "absl/status/status.h"

namespace ptychoserve::cuda {

// The one place that turns errors of the CUDA runtime and of cuFFT into absl::Status. `what`
// names the call, such as "cudaMalloc".
//
// kResourceExhausted: out of memory. kDataLoss: the device or its context is lost, nothing on it
// can be read any more. kInternal: everything else.
absl::Status CudaStatus(cudaError_t error, const char* what);
absl::Status CufftStatus(cufftResult error, const char* what);

}  // namespace ptychoserve::cuda

#endif  // PTYCHOSERVE_ENGINE_BACKEND_CUDA_CUDA_STATUS_H_
