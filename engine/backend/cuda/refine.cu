#include "engine/backend/cuda/refine.h"

#include "engine/algorithms/epie.h"
#include "engine/backend/cuda/frame_pieces.cuh"

namespace ptychoserve::cuda {
namespace {

// One thread per pixel of a frame (x) and point (y).
__global__ void __launch_bounds__(kThreads) DerivativesKernel(DerivativeArgs args) {
  const Batch& batch = args.batch;
  const int pixels = batch.rows * batch.cols;
  const int pixel = blockIdx.x * kThreads + threadIdx.x;
  if (pixel >= pixels) return;
  const DevicePoint point = PointOf(batch, blockIdx.y);
  const int row = pixel / batch.cols, col = pixel - row * batch.cols;
  const float y = point.frac_row, x = point.frac_col;
  std::int64_t at = static_cast<std::int64_t>(blockIdx.y) * batch.waves() * pixels + pixel;
  for (int l = 0; l < batch.object_modes; ++l) {
    const float2* const upper =
        args.canvas.Mode(l).object +
        static_cast<std::int64_t>(point.row - args.canvas.row + row) * args.canvas.cols +
        (point.col - args.canvas.col + col);
    const float2* const lower = upper + args.canvas.cols;
    const float2 o00 = __ldg(upper), o01 = __ldg(upper + 1);
    const float2 o10 = __ldg(lower), o11 = __ldg(lower + 1);
    const float2 down = (1 - x) * (o10 - o00) + x * (o11 - o01);
    const float2 right = (1 - y) * (o01 - o00) + y * (o11 - o10);
    for (int mode = 0; mode < batch.modes; ++mode, at += pixels) {
      const float2 probe = args.scale * ProbeAt(batch, args.probe, point.slot,
                                                static_cast<std::int64_t>(mode) * pixels + pixel);
      args.by_row[at] = Product(probe, down);
      args.by_col[at] = Product(probe, right);
    }
  }
}

// Re(conj(a) b)
__device__ float Along(float2 a, float2 b) { return a.x * b.x + a.y * b.y; }

template <int kComponents, typename Pixel>
__global__ void __launch_bounds__(kThreads)
    RefinementKernel(RefinementArgs args, const Pixel* frames) {
  constexpr int kTerms = RefinementTermCount(kComponents);
  const Batch& batch = args.batch;
  const int j = blockIdx.y;
  const Pixel* const frame = FrameOf(batch, frames, j);
  const float light = PointOf(batch, j).intensity;
  const int pixels = batch.rows * batch.cols;
  const std::int64_t point_pixels = static_cast<std::int64_t>(batch.waves()) * pixels;
  const std::int64_t first = j * point_pixels;
  double sums[kTerms] = {};
  ForEachPixelOfPiece(batch, [&](int pixel) {
    float brighter = 0;
    float along[kRefinedBesideProbe + kComponents] = {};
    for (int image = 0; image < batch.waves(); ++image) {
      const std::int64_t at = first + static_cast<std::int64_t>(image) * pixels + pixel;
      const float2 wave = args.waves[at];
      brighter += Norm(wave);
      if (args.by_row != nullptr) {
        along[0] += Along(wave, args.by_row[at]);
        along[1] += Along(wave, args.by_col[at]);
      }
#pragma unroll
      for (int k = 0; k < kComponents; ++k) {
        along[kRefinedBesideProbe + k] +=
            Along(wave, args.by_component[k * batch.count * point_pixels + at]);
      }
    }
#pragma unroll
    for (float& derivative : along) derivative *= 2 * light;
    brighter *= light;
    if (args.intensities) along[2] = brighter;
    float terms[kTerms];
    RefinementTerms<kComponents>(
        WeightsOfPixel(CountsOf(frame[pixel]), brighter + BackgroundAt(batch, pixel)), along,
        terms);
#pragma unroll
    for (int i = 0; i < kTerms; ++i) sums[i] += terms[i];
  });
  BlockSums(sums);
  if (threadIdx.x != 0) return;
  double* const partial =
      args.partials + (static_cast<std::int64_t>(j) * gridDim.x + blockIdx.x) * kTerms;
  for (int i = 0; i < kTerms; ++i) partial[i] = sums[i];
}

// One thread per point and term.
__global__ void __launch_bounds__(kThreads)
    GatherRefinementKernel(RefinementArgs args, int pieces, int terms) {
  const int i = blockIdx.x * kThreads + threadIdx.x;
  if (i >= args.batch.count * terms) return;
  const int j = i / terms, term = i - j * terms;
  double sum = 0;
  for (int piece = 0; piece < pieces; ++piece) {
    sum += args.partials[(static_cast<std::int64_t>(j) * pieces + piece) * terms + term];
  }
  args.sums[i] = sum;
}

template <typename Pixel>
__global__ void __launch_bounds__(kThreads) MisfitKernel(MisfitArgs args, const Pixel* frames) {
  const Batch& batch = args.batch;
  const int j = blockIdx.y, pixels = batch.rows * batch.cols;
  const Pixel* const frame = FrameOf(batch, frames, j);
  float2* const waves = args.waves + static_cast<std::int64_t>(j) * batch.waves() * pixels;
  ForEachPixelOfPiece(batch, [&](int pixel) {
    float2* const wave = waves + pixel;
    const float2 first = *wave;
    const float amplitude =
        sqrtf(ExpectedCounts<false>(batch, j, pixel, first, wave, pixels, batch.waves()));
    ScaleModes<false>(args.scale * ModulusCorrectionFactor(CountsOf(frame[pixel]), amplitude),
                      first, wave, pixels, batch.waves());
  });
}

// One thread per pixel, for all points of the batch; one mode of the probe for each block in y.
__global__ void __launch_bounds__(kThreads) ComponentSumsKernel(ComponentSumsArgs args) {
  const Batch& batch = args.batch;
  const int pixels = batch.rows * batch.cols;
  const int pixel = blockIdx.x * kThreads + threadIdx.x;
  if (pixel >= pixels) return;
  const int mode = blockIdx.y, components = batch.variation.count;
  const int row = pixel / batch.cols, col = pixel - row * batch.cols;
  float2 sums[kMaxProbeComponents] = {};
  float weights[kMaxProbeComponents] = {};
  for (int j = 0; j < batch.count; ++j) {
    const DevicePoint point = PointOf(batch, j);
    const float* const c =
        batch.variation.coefficients + static_cast<std::int64_t>(point.slot) * components;
    for (int l = 0; l < batch.object_modes; ++l) {
      const float2 object = ObjectAt(args.canvas.Mode(l), point, BilinearOf(point), row, col);
      const std::int64_t image =
          static_cast<std::int64_t>(j) * batch.waves() + l * batch.modes + mode;
      const float2 change = ConjProduct(object, args.waves[image * pixels + pixel]);
#pragma unroll
      for (int k = 0; k < kMaxProbeComponents; ++k) {
        if (k >= components) continue;
        sums[k] = sums[k] + __ldg(c + k) * change;
        weights[k] += __ldg(c + k) * __ldg(c + k) * Norm(object);
      }
    }
  }
#pragma unroll
  for (int k = 0; k < kMaxProbeComponents; ++k) {
    if (k >= components) continue;
    float2& sum = args.sums[(static_cast<std::int64_t>(k) * batch.modes + mode) * pixels + pixel];
    sum = sum + sums[k];
    if (mode == 0) args.weights[static_cast<std::int64_t>(k) * pixels + pixel] += weights[k];
  }
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
        args.waves + static_cast<std::int64_t>(j) * batch.waves() * pixels + pixel;
    const auto [g, information] = BackgroundWeights(
        CountsOf(FrameOf(batch, frames, j)[pixel]),
        ExpectedCounts<false>(batch, j, pixel, *wave, wave, pixels, batch.waves()));
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
    DispatchComponents(args.components, [&](auto components) {
      RefinementKernel<components(), Pixel><<<grid, kThreads, 0, stream>>>(args, pixels);
    });
  });
  const int terms = RefinementTermCount(args.components);
  GatherRefinementKernel<<<BlocksFor(static_cast<std::int64_t>(args.batch.count) * terms), kThreads,
                           0, stream>>>(args, static_cast<int>(grid.x), terms);
}

void LaunchMisfit(const MisfitArgs& args, cudaStream_t stream) {
  DispatchPixels(args.frames, [&](const auto* pixels) {
    using Pixel = std::remove_cvref_t<decltype(*pixels)>;
    MisfitKernel<Pixel><<<PieceGrid(args.batch), kThreads, 0, stream>>>(args, pixels);
  });
}

void LaunchComponentSums(const ComponentSumsArgs& args, cudaStream_t stream) {
  const int blocks = BlocksFor(static_cast<std::int64_t>(args.batch.rows) * args.batch.cols);
  ComponentSumsKernel<<<dim3(blocks, args.batch.modes), kThreads, 0, stream>>>(args);
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
