#include "engine/backend/cuda/fit.h"

#include "engine/backend/cuda/frame_pieces.cuh"

namespace ptychoserve::cuda {
namespace {

// Added to the model's intensity so that its logarithm is finite.
constexpr double kIntensityFloor = 1e-6;

// Negative log-likelihood of `counts` under Poisson statistics with that mean, less the one of
// a perfect model.
__device__ double PoissonExcess(double counts, double mean) {
  const double model = mean + kIntensityFloor;
  if (counts <= 0) return model;
  return model - counts - counts * log(model / counts);
}

template <typename Pixel, bool kLikelihood, bool kSingle>
__global__ void __launch_bounds__(kThreads) FitKernel(FitArgs args, const Pixel* frames) {
  const int j = blockIdx.y;
  const Pixel* frame = FrameOf(args.batch, frames, j);
  const int pixels = args.batch.rows * args.batch.cols;
  const int modes = kSingle ? 1 : args.batch.modes;
  const float2* waves = args.waves + static_cast<std::int64_t>(j) * modes * pixels;
  FitSums sums{};
  LikelihoodSums likelihood{};
  ForEachPixelOfPiece(args.batch, [&](int pixel) {
    const float counts = CountsOf(frame[pixel]);
    if (!IsTrusted(counts)) return;
    const float2* const wave = waves + pixel;
    const float intensity =
        ExpectedCounts<kSingle>(args.batch, j, pixel, *wave, wave, pixels, modes);
    AddFit(counts, sqrtf(intensity), sums);
    if constexpr (kLikelihood) {
      likelihood.trusted += 1;
      likelihood.non_zero += counts > 0;
      likelihood.excess += PoissonExcess(counts, intensity);
    }
  });
  const std::int64_t piece = static_cast<std::int64_t>(j) * gridDim.x + blockIdx.x;
  StoreBlockSum(sums, &args.fit[piece]);
  if constexpr (kLikelihood) {
    double v[] = {likelihood.trusted, likelihood.non_zero, likelihood.excess};
    BlockSums(v);
    if (threadIdx.x == 0) args.likelihood[piece] = {v[0], v[1], v[2]};
  }
}

__device__ void Add(const FitSums& from, FitSums& to) {
  to.abs_deviation += from.abs_deviation;
  to.amplitude += from.amplitude;
  to.squared_deviation += from.squared_deviation;
  to.intensity += from.intensity;
  to.step_numerator += from.step_numerator;
  to.step_denominator += from.step_denominator;
}

__device__ void Add(const LikelihoodSums& from, LikelihoodSums& to) {
  to.trusted += from.trusted;
  to.non_zero += from.non_zero;
  to.excess += from.excess;
}

__device__ void StoreBlockSum(const FitPartial& sums, FitPartial* result) {
  StoreBlockSum(sums.fit, &result->fit);
  double v[] = {sums.likelihood.trusted, sums.likelihood.non_zero, sums.likelihood.excess,
                sums.squared_errors, sums.lit_frames};
  BlockSums(v);
  if (threadIdx.x == 0) {
    result->likelihood = {v[0], v[1], v[2]};
    result->squared_errors = v[3];
    result->lit_frames = v[4];
  }
}

// One thread per point, so that each frame's error ratio is formed from its own sums.
__global__ void __launch_bounds__(kThreads) ReduceFitKernel(ReduceFitArgs args) {
  FitPartial mine{};
  for (int j = blockIdx.x * kThreads + threadIdx.x; j < args.points; j += gridDim.x * kThreads) {
    const bool counts = j % args.stride == 0;
    FitSums frame{};
    for (int piece = 0; piece < args.pieces; ++piece) {
      const std::int64_t at = static_cast<std::int64_t>(j) * args.pieces + piece;
      Add(args.fit[at], frame);
      if (args.what == ReducedSums::kLikelihood) Add(args.likelihood[at], mine.likelihood);
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
  if (args.what == ReducedSums::kLikelihood) state.likelihood = sum.likelihood;
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
    const dim3 grid = PieceGrid(args.batch);
    DispatchModes(args.batch.modes, [&](auto single) {
      if (args.likelihood != nullptr) {
        FitKernel<Pixel, true, single><<<grid, kThreads, 0, stream>>>(args, pixels);
      } else {
        FitKernel<Pixel, false, single><<<grid, kThreads, 0, stream>>>(args, pixels);
      }
    });
  });
}

void LaunchReduceFit(const ReduceFitArgs& args, cudaStream_t stream) {
  ReduceFitKernel<<<kFitBlocks, kThreads, 0, stream>>>(args);
  FinishFitKernel<<<1, kThreads, 0, stream>>>(args);
}

}  // namespace ptychoserve::cuda
