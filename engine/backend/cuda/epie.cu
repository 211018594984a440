#include "engine/backend/cuda/epie.h"

#include "engine/algorithms/epie.h"
#include "engine/backend/cuda/frame_pieces.cuh"

namespace ptychoserve::cuda {
namespace {

// A window of [rows, cols] touches (rows + 1) x (cols + 1) object pixels.
__host__ __device__ int TouchedPixels(const Batch& batch) {
  return (batch.rows + 1) * (batch.cols + 1);
}

__global__ void __launch_bounds__(kThreads) EpieProductKernel(EpieProductArgs args) {
  const int pixel = blockIdx.x * kThreads + threadIdx.x;
  float probe_norm = 0, object_norm = 0;
  if (pixel < args.batch.rows * args.batch.cols) {
    const DevicePoint point = args.batch.points[0];
    const int row = pixel / args.batch.cols;
    const int col = pixel - row * args.batch.cols;
    const float2 probe = args.probe[pixel];
    const float2 object = ObjectAt(args.canvas, point, BilinearOf(point), row, col);
    args.out[pixel] = args.scale * Product(probe, object);
    probe_norm = Norm(probe);
    object_norm = Norm(object);
  }
  MaxOverWarps(probe_norm, &args.maxima->probe);
  MaxOverWarps(object_norm, &args.maxima->object);
}

template <typename Pixel>
__global__ void __launch_bounds__(kThreads)
    EpieCorrectionKernel(EpieCorrectionArgs args, const Pixel* frames) {
  const Pixel* frame = FrameOf(args.batch, frames, 0);
  FitSums sums{};
  ForEachPixelOfPiece(args.batch, [&](int pixel) {
    const float counts = CountsOf(frame[pixel]);
    const float2 value = args.wave[pixel];
    const float modulus = sqrtf(Norm(value));
    AddFit(counts, modulus, sums);
    args.wave[pixel] = args.scale * ModulusCorrectionFactor(counts, modulus) * value;
  });
  StoreBlockSum(sums, &args.fit[blockIdx.x]);
}

__global__ void __launch_bounds__(kThreads) EpieProbeKernel(EpieUpdateArgs args) {
  const int pixel = blockIdx.x * kThreads + threadIdx.x;
  if (pixel >= args.batch.rows * args.batch.cols) return;
  const DevicePoint point = args.batch.points[0];
  const int row = pixel / args.batch.cols;
  const int col = pixel - row * args.batch.cols;
  const float2 object = ObjectAt(args.canvas, point, BilinearOf(point), row, col);
  const float largest = args.maxima->object;
  const float step = largest > 0 ? args.probe_step / largest : 0.0f;
  args.new_probe[pixel] = args.probe[pixel] + step * ConjProduct(object, args.delta[pixel]);
}

// At the window's object pixel (row, col), 0 <= row <= rows and 0 <= col <= cols: the sum over
// the frame pixels that it takes part in of weight * value(pixel).
template <typename Value>
__device__ float2 AdjointAt(const DevicePoint& point, int rows, int cols, int row, int col,
                            Value value) {
  const Bilinear w = BilinearOf(point);
  const int pixel = row * cols + col;
  float2 sum{0, 0};
  if (row < rows && col < cols) sum = sum + w.w00 * value(pixel);
  if (row < rows && col > 0) sum = sum + w.w01 * value(pixel - 1);
  if (row > 0 && col < cols) sum = sum + w.w10 * value(pixel - cols);
  if (row > 0 && col > 0) sum = sum + w.w11 * value(pixel - cols - 1);
  return sum;
}

__global__ void __launch_bounds__(kThreads) EpieObjectKernel(EpieUpdateArgs args) {
  const Batch& batch = args.batch;
  const int touched = blockIdx.x * kThreads + threadIdx.x;
  if (touched >= TouchedPixels(batch)) return;
  const DevicePoint point = batch.points[0];
  const int row = touched / (batch.cols + 1);
  const int col = touched - row * (batch.cols + 1);
  const float2 value = AdjointAt(point, batch.rows, batch.cols, row, col, [&](int pixel) {
    return ConjProduct(args.probe[pixel], args.delta[pixel]);
  });
  const float largest = args.maxima->probe;
  const float step = largest > 0 ? args.object_step / largest : 0.0f;
  float2& object =
      args.canvas
          .object[static_cast<std::int64_t>(point.row - args.canvas.row + row) * args.canvas.cols +
                  (point.col - args.canvas.col + col)];
  object = object + step * value;
}

int PixelBlocks(const Batch& batch) {
  return BlocksFor(static_cast<std::int64_t>(batch.rows) * batch.cols);
}

}  // namespace

void LaunchEpieProduct(const EpieProductArgs& args, cudaStream_t stream) {
  EpieProductKernel<<<PixelBlocks(args.batch), kThreads, 0, stream>>>(args);
}

void LaunchEpieCorrection(const EpieCorrectionArgs& args, cudaStream_t stream) {
  DispatchPixels(args.frames, [&](const auto* pixels) {
    EpieCorrectionKernel<<<PieceGrid(args.batch), kThreads, 0, stream>>>(args, pixels);
  });
}

void LaunchEpieProbe(const EpieUpdateArgs& args, cudaStream_t stream) {
  EpieProbeKernel<<<PixelBlocks(args.batch), kThreads, 0, stream>>>(args);
}

void LaunchEpieObject(const EpieUpdateArgs& args, cudaStream_t stream) {
  EpieObjectKernel<<<BlocksFor(TouchedPixels(args.batch)), kThreads, 0, stream>>>(args);
}

}  // namespace ptychoserve::cuda
