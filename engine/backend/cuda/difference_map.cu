#include "engine/backend/cuda/difference_map.h"

#include "engine/algorithms/difference_map.h"
#include "engine/backend/cuda/frame_pieces.cuh"

namespace ptychoserve::cuda {
namespace {

template <typename Pixel>
__global__ void __launch_bounds__(kThreads) DeviationKernel(ModulusArgs args, const Pixel* frames) {
  const int j = blockIdx.y;
  const Pixel* frame = FrameOf(args.batch, frames, j);
  const float2* wave =
      args.waves + static_cast<std::int64_t>(j) * args.batch.rows * args.batch.cols;
  double power = 0, noise = 0;
  ForEachPixelOfPiece(args.batch, [&](int pixel) {
    const float counts = CountsOf(frame[pixel]);
    if (!IsTrusted(counts)) return;
    const float error = AmplitudeError(counts, sqrtf(Norm(wave[pixel])));
    power += static_cast<double>(error) * error;
    noise += ShotNoisePower(counts);
  });
  double sums[] = {power, noise};
  BlockSums(sums);
  if (threadIdx.x == 0) {
    args.deviations[static_cast<std::int64_t>(j) * gridDim.x + blockIdx.x] = {sums[0], sums[1]};
  }
}

template <typename Pixel>
__global__ void __launch_bounds__(kThreads) ModulusKernel(ModulusArgs args, const Pixel* frames) {
  const int j = blockIdx.y;
  const int pixels = args.batch.rows * args.batch.cols;
  __shared__ float kept_deviation;
  if (threadIdx.x == 0) {
    const DeviationSums* pieces = args.deviations + static_cast<std::int64_t>(j) * gridDim.x;
    double power = 0, noise = 0;
    for (int piece = 0; piece < static_cast<int>(gridDim.x); ++piece) {
      power += pieces[piece].power;
      noise += pieces[piece].noise;
    }
    power /= pixels;
    const double sigma2 = args.relative ? args.tolerance * noise / pixels : args.tolerance;
    kept_deviation = static_cast<float>(KeptDeviation(power, sigma2));
  }
  __syncthreads();
  const float kept = kept_deviation;
  const Pixel* frame = FrameOf(args.batch, frames, j);
  float2* wave = args.waves + static_cast<std::int64_t>(j) * pixels;
  ForEachPixelOfPiece(args.batch, [&](int pixel) {
    const float counts = CountsOf(frame[pixel]);
    const float2 value = wave[pixel];
    const float factor = RelaxedModulusFactor(counts, sqrtf(Norm(value)), kept);
    wave[pixel] = args.scale * (args.beta * factor - 1.0f) * value;
  });
}

}  // namespace

void LaunchModulus(const ModulusArgs& args, cudaStream_t stream) {
  DispatchPixels(args.frames, [&](const auto* pixels) {
    DeviationKernel<<<PieceGrid(args.batch), kThreads, 0, stream>>>(args, pixels);
    ModulusKernel<<<PieceGrid(args.batch), kThreads, 0, stream>>>(args, pixels);
  });
}

}  // namespace ptychoserve::cuda
