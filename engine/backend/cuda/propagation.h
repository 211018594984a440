#ifndef PTYCHOSERVE_ENGINE_BACKEND_CUDA_PROPAGATION_H_
#define PTYCHOSERVE_ENGINE_BACKEND_CUDA_PROPAGATION_H_

#include <cuda_runtime_api.h>

#include <cstdint>

namespace ptychoserve::cuda {

struct TransferArgs {
  float2* spectra;  // [images, pixels]
  std::int64_t images;
  std::int64_t pixels;     // Of an image.
  const float2* transfer;  // [pixels]
  bool back;               // By the conjugate.
};
// spectra_i *= transfer: free space, between two Fourier transforms. Enqueues on `stream`; errors
// show in cudaGetLastError.
void LaunchTransfer(const TransferArgs& args, cudaStream_t stream);

}  // namespace ptychoserve::cuda

#endif  // PTYCHOSERVE_ENGINE_BACKEND_CUDA_PROPAGATION_H_
