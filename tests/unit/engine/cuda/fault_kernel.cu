#include <cstdint>

#include "tests/unit/engine/cuda/fault_kernel.h"

namespace ptychoserve {
namespace {

constexpr std::uintptr_t kNowhere = 16;

__global__ void WriteTo(int* address) { *address = 1; }

}  // namespace

void BreakGpu() {
  WriteTo<<<1, 1>>>(reinterpret_cast<int*>(kNowhere));
  cudaDeviceSynchronize();
}

}  // namespace ptychoserve
