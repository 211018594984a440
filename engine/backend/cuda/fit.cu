#include "engine/backend/cuda/fit.h"

#include "engine/backend/cuda/frame_pieces.cuh"

namespace ptychoserve::cuda {
namespace {

// Calls fn(counts, expected counts) for this thread's trusted pixels of this block's piece.
template <bool kSingle, typename Pixel, typename Fn>
__device__ void ForEachTrusted(const Batch& batch, const float2* all_waves, const Pixel* all_frames,
                               Fn fn) {
  const int j = blockIdx.y;
  const Pixel* frame = FrameOf(batch, all_frames, j);
  const int pixels = batch.rows * batch.cols;
  const int images = kSingle ? 1 : batch.waves();
  const float2* waves = all_waves + static_cast<std::int64_t>(j) * images * pixels;
  ForEachPixelOfPiece(batch, [&](int pixel) {
    const float counts = CountsOf(frame[pixel]);
    if (!IsTrusted(counts)) return;
    const float2* const wave = waves + pixel;
    fn(counts, ExpectedCounts<kSingle>(batch, j, pixel, *wave, wave, pixels, images));
  });
}

__device__ std::int64_t PieceNumber() {
  return static_cast<std::int64_t>(blockIdx.y) * gridDim.x + blockIdx.x;
}

template <typename Pixel, bool kSingle>
__global__ void __launch_bounds__(kThreads) FitKernel(FitArgs args, const Pixel* frames) {
  FitSums sums{};
  ForEachTrusted<kSingle>(args.batch, args.waves, frames, [&](float counts, float expected) {
    AddFit(counts, sqrtf(expected), sums);
  });
  StoreBlockSum(sums, &args.fit[PieceNumber()]);
}

template <typename Pixel, bool kSingle>
__global__ void __launch_bounds__(kThreads) FrameFitKernel(FrameFitArgs args, const Pixel* frames) {
  FitSums sums{};
  double trusted = 0, non_zero = 0, excess = 0;
  ForEachTrusted<kSingle>(args.batch, args.waves, frames, [&](float counts, float expected) {
    AddFit(counts, sqrtf(expected), sums);
    trusted += 1;
    non_zero += counts > 0;
    excess += PoissonExcess(counts, expected);
  });
  double v[] = {sums.abs_deviation, sums.amplitude, sums.squared_deviation, sums.intensity, trusted,
                non_zero,           excess};
  BlockSums(v);
  if (threadIdx.x == 0) {
    args.partials[PieceNumber()] = {v[0], v[1], v[2], v[3], v[4], v[5], v[6]};
  }
}

// One thread per frame.
__global__ void __launch_bounds__(kThreads) AddPiecesKernel(FrameFitArgs args, int pieces) {
  const int j = blockIdx.x * kThreads + threadIdx.x;
  if (j >= args.batch.count) return;
  FrameFit sum{};
  for (int piece = 0; piece < pieces; ++piece) {
    sum += args.partials[static_cast<std::int64_t>(j) * pieces + piece];
  }
  args.fits[j] = sum;
}

__device__ void Add(const FitSums& from, FitSums& to) {
  to.abs_deviation += from.abs_deviation;
  to.amplitude += from.amplitude;
  to.squared_deviation += from.squared_deviation;
  to.intensity += from.intensity;
  to.step_numerator += from.step_numerator;
  to.step_denominator += from.step_denominator;
}

__device__ void StoreBlockSum(const FitPartial& sums, FitPartial* result) {
  StoreBlockSum(sums.fit, &result->fit);
  double v[] = {sums.squared_errors, sums.lit_frames};
  BlockSums(v);
  if (threadIdx.x == 0) {
    result->squared_errors = v[0];
    result->lit_frames = v[1];
  }
}

// One thread per point, so that each frame's error ratio is formed from its own sums.
__global__ void __launch_bounds__(kThreads) ReduceFitKernel(ReduceFitArgs args) {
  FitPartial mine{};
  for (int j = blockIdx.x * kThreads + threadIdx.x; j < args.points; j += gridDim.x * kThreads) {
    const bool counts = j % args.stride == 0;
    FitSums frame{};
    for (int piece = 0; piece < args.pieces; ++piece) {
      Add(args.fit[static_cast<std::int64_t>(j) * args.pieces + piece], frame);
    }
    if (!counts)
      frame = {.step_numerator = frame.step_numerator, .step_denominator = frame.step_denominator};
    Add(frame, mine.fit);
    if (frame.intensity > 0) {
      mine.squared_errors += frame.squared_deviation / frame.intensity;
      mine.lit_frames += 1;
    }
  }
  StoreBlockSum(mine, &args.partials[blockIdx.x]);
}

// One block; one thread per partial sum.
__global__ void __launch_bounds__(kThreads) FinishFitKernel(ReduceFitArgs args) {
  static_assert(kFitBlocks <= kThreads);
  FitPartial total{};
  if (threadIdx.x < kFitBlocks) total = args.partials[threadIdx.x];
  __shared__ FitPartial sum;
  StoreBlockSum(total, &sum);
  if (threadIdx.x != 0) return;
  IterationState& state = *args.state;
  if (args.what != ReducedSums::kStep) {
    state.fit = sum.fit;
    state.squared_errors = sum.squared_errors;
    state.lit_frames = sum.lit_frames;
  }
  if (args.what == ReducedSums::kStep || args.what == ReducedSums::kFitAndStep) {
    state.step = sum.fit.step_denominator > 0
                     ? args.step_scale * sum.fit.step_numerator / sum.fit.step_denominator
                     : 0.0;
  }
}

}  // namespace

void LaunchFit(const FitArgs& args, cudaStream_t stream) {
  DispatchPixels(args.frames, [&](const auto* pixels) {
    using Pixel = std::remove_cvref_t<decltype(*pixels)>;
    DispatchModes(args.batch.waves(), [&](auto single) {
      FitKernel<Pixel, single><<<PieceGrid(args.batch), kThreads, 0, stream>>>(args, pixels);
    });
  });
}

void LaunchFrameFit(const FrameFitArgs& args, cudaStream_t stream) {
  const dim3 grid = PieceGrid(args.batch);
  DispatchPixels(args.frames, [&](const auto* pixels) {
    using Pixel = std::remove_cvref_t<decltype(*pixels)>;
    DispatchModes(args.batch.waves(), [&](auto single) {
      FrameFitKernel<Pixel, single><<<grid, kThreads, 0, stream>>>(args, pixels);
    });
  });
  AddPiecesKernel<<<BlocksFor(args.batch.count), kThreads, 0, stream>>>(args,
                                                                        static_cast<int>(grid.x));
}

void LaunchReduceFit(const ReduceFitArgs& args, cudaStream_t stream) {
  ReduceFitKernel<<<kFitBlocks, kThreads, 0, stream>>>(args);
  FinishFitKernel<<<1, kThreads, 0, stream>>>(args);
}

}  // namespace ptychoserve::cuda
