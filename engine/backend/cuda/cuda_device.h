#ifndef PTYCHOSERVE_ENGINE_BACKEND_CUDA_CUDA_DEVICE_H_
#define PTYCHOSERVE_ENGINE_BACKEND_CUDA_CUDA_DEVICE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/backend/backend.h"

// The header needs no CUDA. In a CPU-only build there are no GPUs, and the reason says so.
namespace ptychoserve {

struct CudaDeviceOptions {
  // For all sessions of one GPU; 0: what is free on it now, less a reserve for the libraries.
  std::int64_t memory_limit_bytes = 0;
};

struct CudaDeviceList {
  std::vector<std::unique_ptr<Device>> devices;
  // Why GPUs were left out, or why there are none, in words; empty when all are there.
  std::string reason;
};

// The GPUs of this machine that can be used, in the order of their numbers, named "cuda:0" and
// so on. Without a GPU or a driver the list is empty. The devices are thread-safe; a backend is
// used by one thread at a time, and may outlive its device.
CudaDeviceList CudaDevices(const CudaDeviceOptions& options = {});

// Whether the CUDA backend is part of this build.
bool BuiltWithCuda();

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_BACKEND_CUDA_CUDA_DEVICE_H_
