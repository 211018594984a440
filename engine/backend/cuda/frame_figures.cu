#include "engine/backend/cuda/frame_figures.h"

#include "engine/backend/cuda/frame_pieces.cuh"

namespace ptychoserve::cuda {
namespace {

// A power of two, so that the root of `intensity` is 512 to 1024 of it.
__device__ float WaveUnit(double intensity) {
  constexpr int kUnits = 10;  // log2
  return intensity > 0 ? exp2f(ceilf(0.5f * log2f(static_cast<float>(intensity))) - kUnits) : 1.0f;
}

// One block per selected point.
template <typename Pixel>
__global__ void __launch_bounds__(kThreads)
    FrameFiguresKernel(FrameFiguresArgs args, const Pixel* frames) {
  const int j = args.selected[blockIdx.x];
  const int slot = args.batch.points[j].slot;
  const Pixel* frame = FrameOf(args.batch, frames, j);
  double amplitude = 0, intensity = 0, noise = 0;
  for (int pixel = threadIdx.x; pixel < args.batch.rows * args.batch.cols; pixel += kThreads) {
    const float counts = CountsOf(frame[pixel]);
    if (!IsTrusted(counts)) continue;
    amplitude += sqrtf(counts);
    intensity += counts;
    noise += ShotNoisePower(counts);
  }
  double sums[] = {amplitude, intensity, noise};
  BlockSums(sums);
  if (threadIdx.x != 0) return;
  args.figures[slot] = {static_cast<float>(sums[0]), static_cast<float>(sums[1]),
                        static_cast<float>(sums[2]), WaveUnit(sums[1])};
  args.kept_deviation[slot] = 0;
}

}  // namespace

void LaunchFrameFigures(const FrameFiguresArgs& args, cudaStream_t stream) {
  DispatchPixels(args.frames, [&](const auto* pixels) {
    FrameFiguresKernel<<<args.selected_count, kThreads, 0, stream>>>(args, pixels);
  });
}

}  // namespace ptychoserve::cuda
