#ifndef PTYCHOSERVE_TESTS_BENCH_DEVICE_FLOOR_KERNELS_H_
#define PTYCHOSERVE_TESTS_BENCH_DEVICE_FLOOR_KERNELS_H_

#include <cuda_runtime_api.h>

#include <cstdint>

namespace ptychoserve::cuda {

inline constexpr int kReadBlocks = 2048;

// Fills `waves` with numbers in [-1, 1) without a pattern. What a transform costs depends a
// little on the numbers, through the power that they take.
void LaunchFillWaves(float2* waves, std::int64_t count, cudaStream_t stream);

// Reads `count` times 16 bytes and writes one sum a block, so that no read can be left out.
// sums: [kReadBlocks].
void LaunchRead(const uint4* data, std::int64_t count, unsigned* sums, cudaStream_t stream);

}  // namespace ptychoserve::cuda

#endif  // PTYCHOSERVE_TESTS_BENCH_DEVICE_FLOOR_KERNELS_H_
