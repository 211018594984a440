#include "engine/backend/cuda/accumulate.h"

#include "engine/backend/cuda/device_math.cuh"
#include "engine/backend/cuda/window_adjoint.cuh"

namespace ptychoserve::cuda {
namespace {

constexpr int kMaxGridRows = 32768;

__device__ void AddAtomically(float2* address, float2 value) {
#if __CUDA_ARCH__ >= 900
  atomicAdd(address, value);
#else
  atomicAdd(&address->x, value.x);
  atomicAdd(&address->y, value.y);
#endif
}

__device__ const float2* WaveOf(const Waves& waves, const DevicePoint& point, int j, int pixels) {
  return waves.data + static_cast<std::int64_t>(waves.by_slot ? point.slot : j) * pixels;
}

// One thread per object pixel that a window touches: it gathers from up to four frame pixels,
// so that each object pixel takes one addition per point.
__global__ void __launch_bounds__(kThreads) ObjectSumKernel(ObjectSumArgs args) {
  const Batch& batch = args.batch;
  const int touched = TouchedPixels(batch.rows, batch.cols);
  const int target = blockIdx.x * kThreads + threadIdx.x;
  if (target >= touched) return;
  for (int j = blockIdx.y; j < batch.count; j += gridDim.y) {
    const DevicePoint point = batch.points[j];
    const float2* wave = WaveOf(args.waves, point, j, batch.rows * batch.cols);
    const float2 value = AdjointAt(point, batch.rows, batch.cols, target, [&](int pixel) {
      return ConjProduct(args.probe[pixel], wave[pixel]);
    });
    AddAtomically(&args.sum[TouchedIndex(args.canvas, point, batch.cols, target)], value);
  }
}

__global__ void __launch_bounds__(kThreads) CoverageKernel(CoverageArgs args) {
  const Batch& batch = args.batch;
  const int touched = TouchedPixels(batch.rows, batch.cols);
  const int target = blockIdx.x * kThreads + threadIdx.x;
  if (target >= touched) return;
  for (int j = blockIdx.y; j < batch.count; j += gridDim.y) {
    const DevicePoint point = batch.points[j];
    const float2 value = AdjointAt(point, batch.rows, batch.cols, target, [&](int pixel) {
      return float2{Norm(args.probe[pixel]), 0.0f};
    });
    atomicAdd(&args.sum[TouchedIndex(args.canvas, point, batch.cols, target)], value.x);
  }
}

__global__ void __launch_bounds__(kThreads) ProbeSumKernel(ProbeSumArgs args) {
  const Batch& batch = args.batch;
  const int pixels = batch.rows * batch.cols;
  const int pixel = blockIdx.x * kThreads + threadIdx.x;
  if (pixel >= pixels) return;
  const int row = pixel / batch.cols;
  const int col = pixel - row * batch.cols;
  float2 sum{0, 0};
  float weight = 0;
  for (int j = blockIdx.y; j < batch.count; j += args.groups) {
    const DevicePoint point = batch.points[j];
    const float2 object = ObjectAt(args.canvas, point, BilinearOf(point), row, col);
    sum = sum + ConjProduct(object, WaveOf(args.waves, point, j, pixels)[pixel]);
    weight += Norm(object);
  }
  const std::int64_t at = static_cast<std::int64_t>(blockIdx.y) * pixels + pixel;
  args.sum[at] = args.sum[at] + sum;
  args.weights[at] += weight;
}

dim3 TouchedGrid(const Batch& batch) {
  return dim3(BlocksFor(TouchedPixels(batch.rows, batch.cols)),
              batch.count < kMaxGridRows ? batch.count : kMaxGridRows);
}

}  // namespace

void LaunchObjectSum(const ObjectSumArgs& args, cudaStream_t stream) {
  ObjectSumKernel<<<TouchedGrid(args.batch), kThreads, 0, stream>>>(args);
}

void LaunchCoverage(const CoverageArgs& args, cudaStream_t stream) {
  CoverageKernel<<<TouchedGrid(args.batch), kThreads, 0, stream>>>(args);
}

void LaunchProbeSum(const ProbeSumArgs& args, cudaStream_t stream) {
  const int blocks = BlocksFor(static_cast<std::int64_t>(args.batch.rows) * args.batch.cols);
  ProbeSumKernel<<<dim3(blocks, args.groups), kThreads, 0, stream>>>(args);
}

}  // namespace ptychoserve::cuda
