#include "engine/backend/cuda/refine.h"

#include "engine/backend/cuda/frame_pieces.cuh"

namespace ptychoserve::cuda {
namespace {

constexpr int kSums = kRefinedPerPoint + kFisherElements;

// One thread per pixel of a frame (x) and point (y).
__global__ void __launch_bounds__(kThreads) DerivativesKernel(DerivativeArgs args) {
  const Batch& batch = args.batch;
  const int pixels = batch.rows * batch.cols;
  const int pixel = blockIdx.x * kThreads + threadIdx.x;
  if (pixel >= pixels) return;
  const DevicePoint point = PointOf(batch, blockIdx.y);
  const int row = pixel / batch.cols, col = pixel - row * batch.cols;
  const float2* const upper =
      args.canvas.object +
      static_cast<std::int64_t>(point.row - args.canvas.row + row) * args.canvas.cols +
      (point.col - args.canvas.col + col);
  const float2* const lower = upper + args.canvas.cols;
  const float2 o00 = __ldg(upper), o01 = __ldg(upper + 1);
  const float2 o10 = __ldg(lower), o11 = __ldg(lower + 1);
  const float y = point.frac_row, x = point.frac_col;
  const float2 down = (1 - x) * (o10 - o00) + x * (o11 - o01);
  const float2 right = (1 - y) * (o01 - o00) + y * (o11 - o10);
  for (int mode = 0; mode < batch.modes; ++mode) {
    const std::int64_t at =
        (static_cast<std::int64_t>(blockIdx.y) * batch.modes + mode) * pixels + pixel;
    const float2 probe =
        args.scale * __ldg(args.probe + static_cast<std::int64_t>(mode) * pixels + pixel);
    args.by_row[at] = Product(probe, down);
    args.by_col[at] = Product(probe, right);
  }
}

// Re(conj(a) b)
__device__ float Along(float2 a, float2 b) { return a.x * b.x + a.y * b.y; }

template <typename Pixel>
__global__ void __launch_bounds__(kThreads)
    RefinementKernel(RefinementArgs args, const Pixel* frames) {
  const Batch& batch = args.batch;
  const int j = blockIdx.y;
  const Pixel* const frame = FrameOf(batch, frames, j);
  const float light = PointOf(batch, j).intensity;
  const int pixels = batch.rows * batch.cols;
  const std::int64_t first = static_cast<std::int64_t>(j) * batch.modes * pixels;
  double sums[kSums] = {};
  ForEachPixelOfPiece(batch, [&](int pixel) {
    float brighter = 0, row = 0, col = 0;
    for (int mode = 0; mode < batch.modes; ++mode) {
      const std::int64_t at = first + static_cast<std::int64_t>(mode) * pixels + pixel;
      const float2 wave = args.waves[at];
      brighter += Norm(wave);
      row += Along(wave, args.by_row[at]);
      col += Along(wave, args.by_col[at]);
    }
    brighter *= light;
    row *= 2 * light;
    col *= 2 * light;
    const auto [g, information] =
        WeightsOfPixel(CountsOf(frame[pixel]), brighter + BackgroundAt(batch, pixel));
    const float terms[kSums] = {g * row,
                                g * col,
                                g * brighter,
                                information * row * row,
                                information * row * col,
                                information * row * brighter,
                                information * col * col,
                                information * col * brighter,
                                information * brighter * brighter};
#pragma unroll
    for (int i = 0; i < kSums; ++i) sums[i] += terms[i];
  });
  BlockSums(sums);
  if (threadIdx.x != 0) return;
  RefinementSums& partial = args.partials[static_cast<std::int64_t>(j) * gridDim.x + blockIdx.x];
  for (int i = 0; i < kRefinedPerPoint; ++i) partial.gradient[i] = sums[i];
  for (int i = 0; i < kFisherElements; ++i) partial.fisher[i] = sums[kRefinedPerPoint + i];
}

// One thread per point.
__global__ void __launch_bounds__(kThreads)
    GatherRefinementKernel(RefinementArgs args, int pieces) {
  const int j = blockIdx.x * kThreads + threadIdx.x;
  if (j >= args.batch.count) return;
  RefinementSums sums;
  for (int piece = 0; piece < pieces; ++piece) {
    const RefinementSums& part = args.partials[static_cast<std::int64_t>(j) * pieces + piece];
    for (int i = 0; i < kRefinedPerPoint; ++i) sums.gradient[i] += part.gradient[i];
    for (int i = 0; i < kFisherElements; ++i) sums.fisher[i] += part.fisher[i];
  }
  args.sums[j] = sums;
}

// One thread per pixel, for all points of the batch.
template <typename Pixel>
__global__ void __launch_bounds__(kThreads)
    BackgroundSumsKernel(BackgroundSumsArgs args, const Pixel* frames) {
  const Batch& batch = args.batch;
  const int pixels = batch.rows * batch.cols;
  const int pixel = blockIdx.x * kThreads + threadIdx.x;
  if (pixel >= pixels) return;
  BackgroundSums sums = args.sums[pixel];
  for (int j = 0; j < batch.count; ++j) {
    const float2* const wave =
        args.waves + static_cast<std::int64_t>(j) * batch.modes * pixels + pixel;
    const auto [g, information] =
        BackgroundWeights(CountsOf(FrameOf(batch, frames, j)[pixel]),
                          ExpectedCounts<false>(batch, j, pixel, *wave, wave, pixels, batch.modes));
    sums.gradient += g;
    sums.information += information;
  }
  args.sums[pixel] = sums;
}

__global__ void __launch_bounds__(kThreads) BackgroundStepKernel(BackgroundStepArgs args) {
  const int pixel = blockIdx.x * kThreads + threadIdx.x;
  if (pixel >= args.rows * args.cols) return;
  args.moved[pixel] =
      static_cast<float>(RefinedBackground(args.background, args.sums, args.rows, args.cols,
                                           pixel / args.cols, pixel % args.cols, args.step));
}

}  // namespace

void LaunchDerivatives(const DerivativeArgs& args, cudaStream_t stream) {
  const int blocks = BlocksFor(static_cast<std::int64_t>(args.batch.rows) * args.batch.cols);
  DerivativesKernel<<<dim3(blocks, args.batch.count), kThreads, 0, stream>>>(args);
}

void LaunchRefinementSums(const RefinementArgs& args, cudaStream_t stream) {
  const dim3 grid = PieceGrid(args.batch);
  DispatchPixels(args.frames, [&](const auto* pixels) {
    using Pixel = std::remove_cvref_t<decltype(*pixels)>;
    RefinementKernel<Pixel><<<grid, kThreads, 0, stream>>>(args, pixels);
  });
  GatherRefinementKernel<<<BlocksFor(args.batch.count), kThreads, 0, stream>>>(
      args, static_cast<int>(grid.x));
}

void LaunchBackgroundSums(const BackgroundSumsArgs& args, cudaStream_t stream) {
  const int blocks = BlocksFor(static_cast<std::int64_t>(args.batch.rows) * args.batch.cols);
  DispatchPixels(args.frames, [&](const auto* pixels) {
    using Pixel = std::remove_cvref_t<decltype(*pixels)>;
    BackgroundSumsKernel<Pixel><<<blocks, kThreads, 0, stream>>>(args, pixels);
  });
}

void LaunchBackgroundStep(const BackgroundStepArgs& args, cudaStream_t stream) {
  BackgroundStepKernel<<<BlocksFor(static_cast<std::int64_t>(args.rows) * args.cols), kThreads, 0,
                         stream>>>(args);
}

}  // namespace ptychoserve::cuda
