#include "engine/backend/cuda/epie.h"

#include <algorithm>

#include "engine/algorithms/epie.h"
#include "engine/algorithms/rpie.h"
#include "engine/backend/cuda/frame_pieces.cuh"

namespace ptychoserve::cuda {
namespace {

template <typename Pixel, bool kSingle>
__global__ void __launch_bounds__(kThreads)
    EpieCorrectionKernel(EpieCorrectionArgs args, const Pixel* frames) {
  const Pixel* const frame = FrameOf(args.batch, frames, blockIdx.y);
  const int images = kSingle ? 1 : args.batch.waves();
  const int pixels = args.batch.rows * args.batch.cols;
  float2* const waves = args.waves + static_cast<std::int64_t>(blockIdx.y) * images * pixels;
  ForEachPixelOfPiece(args.batch, [&](int pixel) {
    float2* const wave = waves + pixel;
    const float2 first = *wave;
    const float modulus =
        sqrtf(ExpectedCounts<kSingle>(args.batch, blockIdx.y, pixel, first, wave, pixels, images));
    const float factor = ModulusCorrectionFactor(CountsOf(frame[pixel]), modulus);
    ScaleModes<kSingle>(args.scale * factor, first, wave, pixels, images);
  });
}

__global__ void __launch_bounds__(kThreads)
    ProbeMaximumKernel(const float2* probe, int modes, int pixels, float* largest) {
  const int pixel = blockIdx.x * kThreads + threadIdx.x;
  float intensity = 0;
  if (pixel < pixels) {
    intensity = IntensityOf<false>(probe[pixel], probe + pixel, pixels, modes);
  }
  MaxOverWarps(intensity, largest);
}

__global__ void __launch_bounds__(kThreads) EpieWeightsKernel(EpieWeightsArgs args) {
  const int pixel = blockIdx.x * kThreads + threadIdx.x;
  float weight = 0;
  if (pixel < args.pixels) {
    for (int group = 0; group < args.groups; ++group) {
      float& part = args.weights[static_cast<std::int64_t>(group) * args.pixels + pixel];
      weight += part;
      part = 0;
    }
    if (args.keeps) args.weights[pixel] = weight;
  }
  MaxOverWarps(weight, args.largest);
}

__global__ void __launch_bounds__(kThreads) EpieProbeKernel(EpieProbeArgs args) {
  const int pixel = blockIdx.x * kThreads + threadIdx.x;
  float intensity = 0;
  float weight = 0;
  if (args.weights != nullptr && pixel < args.pixels) {
    weight = args.weights[pixel];
    args.weights[pixel] = 0;
  }
  const float step = BatchStep(args.step, args.maxima->object, weight, args.alpha);
  for (int mode = 0; pixel < args.pixels && mode < args.modes; ++mode) {
    const std::int64_t at = static_cast<std::int64_t>(mode) * args.pixels + pixel;
    const std::int64_t group_size = static_cast<std::int64_t>(args.modes) * args.pixels;
    float2 sum{0, 0};
    for (int group = 0; group < args.groups; ++group) {
      float2& part = args.sum[group * group_size + at];
      sum = sum + part;
      part = {0, 0};
    }
    const float2 probe = args.probe[at] + step * sum;
    args.probe[at] = probe;
    intensity += Norm(probe);
  }
  MaxOverWarps(intensity, args.next_largest);
}

// One mode of the object for each block in z.
__global__ void __launch_bounds__(kThreads) EpieObjectKernel(EpieObjectArgs args) {
  const int col = blockIdx.x * kThreads + threadIdx.x;
  if (col >= args.area.cols) return;
  const float largest = *args.largest;
  const std::int64_t mode = blockIdx.z * args.canvas.pixels();
  for (int row = blockIdx.y; row < args.area.rows; row += gridDim.y) {
    const std::int64_t at =
        static_cast<std::int64_t>(args.area.row + row) * args.canvas.cols + (args.area.col + col);
    float2& place = args.sum[mode + at];
    const float2 sum = place;
    if (sum.x == 0 && sum.y == 0) continue;  // Between the windows of the batch.
    place = {0, 0};
    const float weight = args.weights != nullptr ? args.weights[at] : 0.0f;
    float2& object = args.canvas.object[mode + at];
    object = object + BatchStep(args.step, largest, weight, args.alpha) * sum;
  }
}

}  // namespace

void LaunchEpieCorrection(const EpieCorrectionArgs& args, cudaStream_t stream) {
  DispatchPixels(args.frames, [&](const auto* pixels) {
    using Pixel = std::remove_cvref_t<decltype(*pixels)>;
    DispatchModes(args.batch.waves(), [&](auto single) {
      EpieCorrectionKernel<Pixel, single>
          <<<PieceGrid(args.batch), kThreads, 0, stream>>>(args, pixels);
    });
  });
}

void LaunchEpieProbeMaximum(const float2* probe, int modes, int pixels, float* largest,
                            cudaStream_t stream) {
  ProbeMaximumKernel<<<BlocksFor(pixels), kThreads, 0, stream>>>(probe, modes, pixels, largest);
}

void LaunchEpieWeights(const EpieWeightsArgs& args, cudaStream_t stream) {
  EpieWeightsKernel<<<BlocksFor(args.pixels), kThreads, 0, stream>>>(args);
}

void LaunchEpieProbe(const EpieProbeArgs& args, cudaStream_t stream) {
  EpieProbeKernel<<<BlocksFor(args.pixels), kThreads, 0, stream>>>(args);
}

void LaunchEpieObject(const EpieObjectArgs& args, cudaStream_t stream) {
  const dim3 grid(BlocksFor(args.area.cols), std::min(args.area.rows, kMaxGridRows), args.modes);
  EpieObjectKernel<<<grid, kThreads, 0, stream>>>(args);
}

}  // namespace ptychoserve::cuda
