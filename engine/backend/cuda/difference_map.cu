#include "engine/backend/cuda/difference_map.h"

#include "engine/backend/cuda/frame_pieces.cuh"
#include "engine/backend/cuda/kept_deviation.cuh"

namespace ptychoserve::cuda {
namespace {

template <typename Pixel, bool kSingle>
__global__ void __launch_bounds__(kThreads) ModulusKernel(ModulusArgs args, const Pixel* frames) {
  const int j = blockIdx.y;
  const Pixel* frame = FrameOf(args.batch, frames, j);
  const float kept = args.kept_deviation[args.batch.points[j].slot];
  const int pixels = args.batch.rows * args.batch.cols;
  const int images = kSingle ? 1 : args.batch.waves();
  float2* waves = args.waves + static_cast<std::int64_t>(j) * images * pixels;
  double power = 0;
  ForEachPixelOfPiece(args.batch, [&](int pixel) {
    const float counts = CountsOf(frame[pixel]);
    float2* const wave = waves + pixel;
    const float2 first = *wave;
    const float amplitude =
        sqrtf(ExpectedCounts<kSingle>(args.batch, j, pixel, first, wave, pixels, images));
    const float error = AmplitudeError(counts, amplitude);
    power += static_cast<double>(error) * error;
    const float factor = RelaxedModulusFactor(counts, amplitude, kept);
    ScaleModes<kSingle>(args.scale * (args.modulus * factor + args.trial), first, wave, pixels,
                        images);
  });
  double sums[] = {power};
  BlockSums(sums);
  if (threadIdx.x == 0) {
    args.power[static_cast<std::int64_t>(j) * gridDim.x + blockIdx.x] = sums[0];
  }
}

__global__ void __launch_bounds__(kThreads)
    KeptDeviationKernel(KeptDeviationArgs args, int pieces) {
  const int j = blockIdx.x * kThreads + threadIdx.x;
  if (j >= args.batch.count) return;
  double power = 0;
  for (int piece = 0; piece < pieces; ++piece) {
    power += args.power[static_cast<std::int64_t>(j) * pieces + piece];
  }
  const int slot = args.batch.points[j].slot;
  args.kept_deviation[slot] =
      KeptOf(power, args.figures[slot], args.batch.rows * args.batch.cols, args.tolerance);
}

}  // namespace

void LaunchModulus(const ModulusArgs& args, cudaStream_t stream) {
  DispatchPixels(args.frames, [&](const auto* pixels) {
    using Pixel = std::remove_cvref_t<decltype(*pixels)>;
    DispatchModes(args.batch.waves(), [&](auto single) {
      ModulusKernel<Pixel, single><<<PieceGrid(args.batch), kThreads, 0, stream>>>(args, pixels);
    });
  });
}

void LaunchKeptDeviation(const KeptDeviationArgs& args, cudaStream_t stream) {
  const int pieces = PiecesOf(static_cast<std::int64_t>(args.batch.rows) * args.batch.cols);
  KeptDeviationKernel<<<BlocksFor(args.batch.count), kThreads, 0, stream>>>(args, pieces);
}

}  // namespace ptychoserve::cuda
