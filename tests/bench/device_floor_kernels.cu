#include "tests/bench/device_floor_kernels.h"

namespace ptychoserve::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kFillBlocks = 4096;

// A hash (the finaliser of MurmurHash3), to [-1, 1).
__device__ float Scattered(std::uint64_t i) {
  i ^= i >> 33;
  i *= 0xff51afd7ed558ccd;
  i ^= i >> 33;
  i *= 0xc4ceb9fe1a85ec53;
  return static_cast<float>(i >> 40) * 0x1p-23f - 1.0f;
}

__global__ void __launch_bounds__(kThreads) FillWavesKernel(float2* waves, std::int64_t count) {
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < count;
       i += static_cast<std::int64_t>(gridDim.x) * kThreads) {
    waves[i] = {Scattered(2 * i), Scattered(2 * i + 1)};
  }
}

__global__ void __launch_bounds__(kThreads)
    ReadKernel(const uint4* data, std::int64_t count, unsigned* sums) {
  unsigned sum = 0;
#pragma unroll 4
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < count;
       i += static_cast<std::int64_t>(gridDim.x) * kThreads) {
    const uint4 value = data[i];
    sum += value.x + value.y + value.z + value.w;
  }
  atomicAdd(&sums[blockIdx.x], __reduce_add_sync(0xffffffff, sum));
}

}  // namespace

void LaunchFillWaves(float2* waves, std::int64_t count, cudaStream_t stream) {
  FillWavesKernel<<<kFillBlocks, kThreads, 0, stream>>>(waves, count);
}

void LaunchRead(const uint4* data, std::int64_t count, unsigned* sums, cudaStream_t stream) {
  ReadKernel<<<kReadBlocks, kThreads, 0, stream>>>(data, count, sums);
}

}  // namespace ptychoserve::cuda
