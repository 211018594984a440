#include "engine/backend/cuda/lsq_ml.h"

#include <algorithm>

#include "engine/algorithms/update.h"
#include "engine/backend/cuda/frame_pieces.cuh"

namespace ptychoserve::cuda {
namespace {

// Re(conj(a) b)
__device__ double Along(float2 a, float2 b) { return a.x * b.x + a.y * b.y; }

__device__ float DeltaOf(const DirectionDelta& delta) {
  return delta.absolute + delta.relative * *delta.largest;
}

__device__ float2 DirectionOf(float2 sum, float weight, float delta) {
  return {SteppedValue(0.0f, sum.x, weight, delta, 1.0f),
          SteppedValue(0.0f, sum.y, weight, delta, 1.0f)};
}

// Calls fn(at) for this thread's pixels of the area: columns by x, rows by y of the grid.
template <typename Fn>
__device__ void ForEachPixelOfArea(const Canvas& canvas, const CanvasArea& area, Fn fn) {
  const int col = blockIdx.x * kThreads + threadIdx.x;
  if (col >= area.cols) return;
  for (int row = blockIdx.y; row < area.rows; row += gridDim.y) {
    fn(static_cast<std::int64_t>(area.row + row) * canvas.cols + (area.col + col));
  }
}

__global__ void __launch_bounds__(kThreads) ObjectDirectionKernel(ObjectDirectionArgs args) {
  const float delta = DeltaOf(args.delta);
  double gain = 0;
  // A warp owns a piece of a row at a time.
  const int lane = threadIdx.x % kWarp;
  const int warps = gridDim.x * (kThreads / kWarp);
  const int warp = blockIdx.x * (kThreads / kWarp) + threadIdx.x / kWarp;
  for (int mode = 0; mode < args.modes; ++mode) {
    float2* const sums_of_mode = args.sum + mode * args.canvas.pixels();
    for (int row = warp; row < args.area.rows; row += warps) {
      const std::int64_t first =
          static_cast<std::int64_t>(args.area.row + row) * args.canvas.cols + args.area.col;
      for (int col = lane; col < args.area.cols; col += kWarp) {
        float2& value = sums_of_mode[first + col];
        const float2 sum = value;
        const float2 direction = DirectionOf(sum, __ldg(args.weights + first + col), delta);
        gain += Along(direction, sum);
        value = direction;
      }
    }
  }
  double sums[] = {gain};
  BlockSums(sums);
  if (threadIdx.x == 0) args.partials[blockIdx.x] = {sums[0], 0};
}

__global__ void __launch_bounds__(kThreads) ProbeDirectionKernel(ProbeDirectionArgs args) {
  const int pixel = blockIdx.x * kThreads + threadIdx.x;
  double gain = 0, norm = 0;
  if (pixel < args.pixels) {
    const bool moves = args.sum != nullptr;
    const float delta = moves ? DeltaOf(args.delta) : 0.0f;
    const float weight = moves ? args.weights[pixel] : 0.0f;
    ProbeProducts products{};
    for (int mode = 0; mode < args.modes; ++mode) {
      const std::int64_t at = static_cast<std::int64_t>(mode) * args.pixels + pixel;
      const float2 probe = args.probe[at];
      products.light += Norm(probe);
      if (!moves) continue;
      const std::int64_t group_size = static_cast<std::int64_t>(args.modes) * args.pixels;
      float2 sum = args.sum[at];
      for (int group = 1; group < args.groups; ++group) {
        float2& part = args.sum[group * group_size + at];
        sum = sum + part;
        part = {0, 0};
      }
      const float2 direction = DirectionOf(sum, weight, delta);
      args.sum[at] = direction;
      gain += Along(direction, sum);
      norm += static_cast<double>(Norm(direction)) * weight;
      products.coupling = products.coupling + ConjProduct(probe, direction);
    }
    args.products[pixel] = products;
  }
  double sums[] = {gain, norm};
  BlockSums(sums);
  if (threadIdx.x == 0) args.partials[blockIdx.x] = {sums[0], sums[1]};
}

// kSingle: of one mode of the object.
template <bool kSingle>
__global__ void __launch_bounds__(kThreads) DirectionProductsKernel(DirectionProductsArgs args) {
  const Batch& batch = args.batch;
  const int modes = kSingle ? 1 : batch.object_modes;
  const DevicePoint point = PointOf(batch, blockIdx.y);
  Canvas directions = args.canvas;
  directions.object = args.direction;
  double norm = 0, overlap = 0;
  ForEachPixelOfPiece(batch, [&](int pixel) {
    const int row = pixel / batch.cols, col = pixel - row * batch.cols;
    const ProbeProducts products = args.products[pixel];
    for (int l = 0; l < modes; ++l) {
      const float2 moved = WindowAt(kSingle ? directions : directions.Mode(l), point, row, col);
      const float2 window = WindowAt(kSingle ? args.canvas : args.canvas.Mode(l), point, row, col);
      norm += products.light * Norm(moved);
      overlap += Along(moved, Product(window, products.coupling));
    }
  });
  double sums[] = {norm, overlap};
  BlockSums(sums);
  if (threadIdx.x == 0) {
    args.partials[static_cast<std::int64_t>(blockIdx.y) * gridDim.x + blockIdx.x] = {sums[0],
                                                                                     sums[1]};
  }
}

// One block.
__global__ void __launch_bounds__(kThreads) SolveStepsKernel(SolveStepsArgs args) {
  double sums[7] = {};
  for (int i = threadIdx.x; i < args.fits; i += kThreads) {
    sums[0] += args.fit[i].step_numerator;
    sums[1] += args.fit[i].step_denominator;
  }
  if (args.object != nullptr) {
    for (int i = threadIdx.x; i < kDirectionBlocks; i += kThreads) sums[2] += args.object[i].gain;
    for (int i = threadIdx.x; i < args.pair_count; i += kThreads) {
      sums[3] += args.pairs[i].norm;
      sums[4] += args.pairs[i].overlap;
    }
  }
  if (args.probe != nullptr) {
    for (int i = threadIdx.x; i < args.probe_blocks; i += kThreads) {
      sums[5] += args.probe[i].gain;
      sums[6] += args.probe[i].norm;
    }
  }
  BlockSums(sums);
  if (threadIdx.x != 0) return;
  const double newton = sums[1] != 0 ? sums[0] / sums[1] : 0;
  const LsqSteps steps = SolveSteps({.object_gain = sums[2],
                                     .object_norm = sums[3],
                                     .probe_gain = sums[5],
                                     .probe_norm = sums[6],
                                     .overlap = sums[4]});
  *args.steps = {args.object_step * newton * steps.object, args.probe_step * newton * steps.probe};
  args.state->step += args.share * steps.object;
}

// One mode of the object for each block in z.
__global__ void __launch_bounds__(kThreads) ObjectMoveKernel(ObjectMoveArgs args) {
  const float step = static_cast<float>(args.steps->object);
  const std::int64_t mode = blockIdx.z * args.canvas.pixels();
  ForEachPixelOfArea(args.canvas, args.area, [&](std::int64_t at) {
    float2& place = args.direction[mode + at];
    const float2 direction = place;
    if (direction.x == 0 && direction.y == 0) return;  // Between the windows of the batch.
    place = {0, 0};
    float2& object = args.canvas.object[mode + at];
    object = object + step * direction;
  });
}

__global__ void __launch_bounds__(kThreads) ProbeMoveKernel(ProbeMoveArgs args) {
  const int pixel = blockIdx.x * kThreads + threadIdx.x;
  if (pixel >= args.pixels) return;
  const float step = static_cast<float>(args.steps->probe);
  args.weights[pixel] = 0;
  for (int mode = 0; mode < args.modes; ++mode) {
    const std::int64_t at = static_cast<std::int64_t>(mode) * args.pixels + pixel;
    args.probe[at] = args.probe[at] + step * args.direction[at];
    args.direction[at] = {0, 0};
  }
}

__global__ void __launch_bounds__(kThreads) BeginMoveKernel(MomentumMoveArgs args) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= args.count) return;
  const float2 start = args.values[i];
  if (args.moves) args.values[i] = start + args.momentum->factor * args.velocity[i];
  args.velocity[i] = start;
}

__global__ void __launch_bounds__(kThreads) EndMoveKernel(MomentumMoveArgs args) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i < args.count) args.velocity[i] = args.values[i] - args.velocity[i];
}

}  // namespace

void LaunchObjectDirection(const ObjectDirectionArgs& args, cudaStream_t stream) {
  ObjectDirectionKernel<<<kDirectionBlocks, kThreads, 0, stream>>>(args);
}

int ProbeDirectionBlocks(std::int64_t pixels) { return BlocksFor(pixels); }

void LaunchProbeDirection(const ProbeDirectionArgs& args, cudaStream_t stream) {
  ProbeDirectionKernel<<<BlocksFor(args.pixels), kThreads, 0, stream>>>(args);
}

void LaunchDirectionProducts(const DirectionProductsArgs& args, cudaStream_t stream) {
  DispatchModes(args.batch.object_modes, [&](auto single) {
    DirectionProductsKernel<single><<<PieceGrid(args.batch), kThreads, 0, stream>>>(args);
  });
}

void LaunchSolveSteps(const SolveStepsArgs& args, cudaStream_t stream) {
  SolveStepsKernel<<<1, kThreads, 0, stream>>>(args);
}

void LaunchObjectMove(const ObjectMoveArgs& args, cudaStream_t stream) {
  const dim3 grid(BlocksFor(args.area.cols), std::min(args.area.rows, kMaxGridRows), args.modes);
  ObjectMoveKernel<<<grid, kThreads, 0, stream>>>(args);
}

void LaunchProbeMove(const ProbeMoveArgs& args, cudaStream_t stream) {
  ProbeMoveKernel<<<BlocksFor(args.pixels), kThreads, 0, stream>>>(args);
}

void LaunchBeginMove(const MomentumMoveArgs& args, cudaStream_t stream) {
  BeginMoveKernel<<<BlocksFor(args.count), kThreads, 0, stream>>>(args);
}

void LaunchEndMove(const MomentumMoveArgs& args, cudaStream_t stream) {
  EndMoveKernel<<<BlocksFor(args.count), kThreads, 0, stream>>>(args);
}

}  // namespace ptychoserve::cuda
