#ifndef PTYCHOSERVE_ENGINE_BACKEND_CUDA_FUSED_KERNEL_CHOICE_H_
#define PTYCHOSERVE_ENGINE_BACKEND_CUDA_FUSED_KERNEL_CHOICE_H_

#include <cuda_runtime_api.h>

#include <algorithm>
#include <type_traits>

// How the passes pick, prepare and launch the instance of a kernel template for a frame's size.
namespace ptychoserve::cuda {

inline constexpr int kFusedLengths[] = {64, 128, 256, 512};

template <typename Args>
struct KernelChoice {
  void (*kernel)(Args) = nullptr;
  int threads = 0;
  int shared_bytes = 0;  // Dynamic, per block.
  int blocks_per_multiprocessor = 1;
};

// fn(std::integral_constant<int, length>()) for one of kFusedLengths.
template <typename Fn>
auto ForLength(int length, Fn fn) {
  switch (length) {
    case 64:
      return fn(std::integral_constant<int, 64>());
    case 128:
      return fn(std::integral_constant<int, 128>());
    case 256:
      return fn(std::integral_constant<int, 256>());
    default:
      return fn(std::integral_constant<int, 512>());
  }
}

template <typename Args>
void Launch(const KernelChoice<Args>& choice, dim3 grid, const Args& args, cudaStream_t stream) {
  choice.kernel<<<grid, choice.threads, choice.shared_bytes, stream>>>(args);
}

// Gives the kernel its shared memory on the current device: as much as its blocks need, so that
// the rest of it serves as first-level cache.
template <typename Args>
cudaError_t Prepare(const KernelChoice<Args>& choice) {
  constexpr int kReservedPerBlock = 1024;
  int device = 0, available = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (error != cudaSuccess) return error;
  error = cudaDeviceGetAttribute(&available, cudaDevAttrMaxSharedMemoryPerMultiprocessor, device);
  if (error != cudaSuccess) return error;
  error = cudaFuncSetAttribute(choice.kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               choice.shared_bytes);
  if (error != cudaSuccess) return error;
  const int needed = choice.blocks_per_multiprocessor * (choice.shared_bytes + kReservedPerBlock);
  const int percent = std::min(100, (100 * needed + available - 1) / available);
  return cudaFuncSetAttribute(choice.kernel, cudaFuncAttributePreferredSharedMemoryCarveout,
                              percent);
}

// The same for choose(length, a, b) with every length and both values of the flags a and b.
template <typename Choose>
cudaError_t PrepareInstances(Choose choose) {
  for (const int length : kFusedLengths) {
    for (const bool a : {false, true}) {
      for (const bool b : {false, true}) {
        const cudaError_t error = Prepare(choose(length, a, b));
        if (error != cudaSuccess) return error;
      }
    }
  }
  return cudaSuccess;
}

}  // namespace ptychoserve::cuda

#endif  // PTYCHOSERVE_ENGINE_BACKEND_CUDA_FUSED_KERNEL_CHOICE_H_
