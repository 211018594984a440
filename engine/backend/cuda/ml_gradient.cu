#include "engine/backend/cuda/ml_gradient.h"

#include "engine/algorithms/ml_gradient.h"
#include "engine/backend/cuda/frame_pieces.cuh"

namespace ptychoserve::cuda {
namespace {

template <typename Pixel, bool kPoisson, bool kSingle>
__global__ void __launch_bounds__(kThreads) GradientKernel(GradientArgs args, const Pixel* frames) {
  const int j = blockIdx.y;
  const Pixel* frame = FrameOf(args.batch, frames, j);
  const int pixels = args.batch.rows * args.batch.cols;
  const int images = kSingle ? 1 : args.batch.waves();
  float2* waves = args.waves + static_cast<std::int64_t>(j) * images * pixels;
  FitSums sums{};
  ForEachPixelOfPiece(args.batch, [&](int pixel) {
    const float counts = CountsOf(frame[pixel]);
    float2* const wave = waves + pixel;
    const float2 first = *wave;
    const float intensity =
        ExpectedCounts<kSingle>(args.batch, j, pixel, first, wave, pixels, images);
    GradientTerm<float> term;
    if constexpr (kPoisson) {
      term = PoissonGradient(counts, intensity, args.epsilon, args.max_gradient);
    } else {
      term = GaussianGradient(counts, intensity, args.epsilon, args.max_gradient);
    }
    AddFit(counts, sqrtf(intensity), sums);
    sums.step_numerator += term.step_numerator;
    sums.step_denominator += term.step_denominator;
    ScaleModes<kSingle>(args.scale * term.gradient, first, wave, pixels, images);
  });
  StoreBlockSum(sums, &args.fit[static_cast<std::int64_t>(j) * gridDim.x + blockIdx.x]);
}

}  // namespace

void LaunchGradient(const GradientArgs& args, cudaStream_t stream) {
  DispatchPixels(args.frames, [&](const auto* pixels) {
    using Pixel = std::remove_cvref_t<decltype(*pixels)>;
    const dim3 grid = PieceGrid(args.batch);
    DispatchModes(args.batch.waves(), [&](auto single) {
      if (args.poisson) {
        GradientKernel<Pixel, true, single><<<grid, kThreads, 0, stream>>>(args, pixels);
      } else {
        GradientKernel<Pixel, false, single><<<grid, kThreads, 0, stream>>>(args, pixels);
      }
    });
  });
}

}  // namespace ptychoserve::cuda
