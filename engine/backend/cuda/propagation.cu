#include "engine/backend/cuda/device_math.cuh"
#include "engine/backend/cuda/propagation.h"

namespace ptychoserve::cuda {
namespace {

// One thread per pixel (x), which keeps its factor; images are dealt to the rows of blocks (y).
template <bool kBack>
__global__ void __launch_bounds__(kThreads) TransferKernel(TransferArgs args) {
  const std::int64_t pixel = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (pixel >= args.pixels) return;
  const float2 factor = __ldg(args.transfer + pixel);
  for (std::int64_t i = blockIdx.y; i < args.images; i += gridDim.y) {
    float2& value = args.spectra[i * args.pixels + pixel];
    value = kBack ? ConjProduct(factor, value) : Product(factor, value);
  }
}

}  // namespace

void LaunchTransfer(const TransferArgs& args, cudaStream_t stream) {
  const auto rows = static_cast<unsigned>(args.images < kMaxGridRows ? args.images : kMaxGridRows);
  const dim3 grid(BlocksFor(args.pixels), rows);
  if (args.back) {
    TransferKernel<true><<<grid, kThreads, 0, stream>>>(args);
  } else {
    TransferKernel<false><<<grid, kThreads, 0, stream>>>(args);
  }
}

}  // namespace ptychoserve::cuda
