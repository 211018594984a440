#include "engine/backend/cuda/ml_gradient.h"

#include "engine/algorithms/ml_gradient.h"
#include "engine/backend/cuda/frame_pieces.cuh"

namespace ptychoserve::cuda {
namespace {

template <typename Pixel, bool kPoisson>
__global__ void __launch_bounds__(kThreads) GradientKernel(GradientArgs args, const Pixel* frames) {
  const int j = blockIdx.y;
  const Pixel* frame = FrameOf(args.batch, frames, j);
  float2* wave = args.waves + static_cast<std::int64_t>(j) * args.batch.rows * args.batch.cols;
  FitSums sums{};
  ForEachPixelOfPiece(args.batch, [&](int pixel) {
    const float counts = CountsOf(frame[pixel]);
    const float2 value = wave[pixel];
    const float intensity = Norm(value);
    GradientTerm<float> term;
    if constexpr (kPoisson) {
      term = PoissonGradient(counts, intensity, args.epsilon, args.max_gradient);
    } else {
      term = GaussianGradient(counts, intensity, args.epsilon, args.max_gradient);
    }
    AddFit(counts, sqrtf(intensity), sums);
    sums.step_numerator += term.step_numerator;
    sums.step_denominator += term.step_denominator;
    wave[pixel] = args.scale * term.gradient * value;
  });
  StoreBlockSum(sums, &args.fit[static_cast<std::int64_t>(j) * gridDim.x + blockIdx.x]);
}

}  // namespace

void LaunchGradient(const GradientArgs& args, cudaStream_t stream) {
  DispatchPixels(args.frames, [&](const auto* pixels) {
    using Pixel = std::remove_cvref_t<decltype(*pixels)>;
    if (args.poisson) {
      GradientKernel<Pixel, true><<<PieceGrid(args.batch), kThreads, 0, stream>>>(args, pixels);
    } else {
      GradientKernel<Pixel, false><<<PieceGrid(args.batch), kThreads, 0, stream>>>(args, pixels);
    }
  });
}

}  // namespace ptychoserve::cuda
