#include "engine/backend/cuda/accumulate.h"

#include "engine/backend/cuda/device_math.cuh"
#include "engine/backend/cuda/stored_waves.cuh"

namespace ptychoserve::cuda {
namespace {

// Object pixels of one thread block. Each warp owns kRowsPerWarp rows; its lane l looks at column
// l - 1 of the tile, so that lane 0 only brings what its right neighbour needs.
constexpr int kWarps = kThreads / kWarp;
constexpr int kRowsPerWarp = 3;
constexpr int kTileRows = kWarps * kRowsPerWarp;
constexpr int kTileCols = kWarp - 1;
constexpr unsigned kAllLanes = 0xffffffffu;

__device__ float2 FromLeft(float2 value) {
  return {__shfl_up_sync(kAllLanes, value.x, 1), __shfl_up_sync(kAllLanes, value.y, 1)};
}

// Adds Bᵀ value to `sums`, for the points of the batch in their order, where value(j, point,
// pixel) is an image of the frame's shape. Every thread of the block must take part; `sums` are
// those of its column and its warp's rows. Returns whether any window touches the tile.
template <typename Value>
__device__ bool SumWindows(const Batch& batch, const Canvas& canvas, int tile_row, int tile_col,
                           float2 (&sums)[kRowsPerWarp], Value value) {
  struct Touching {
    DevicePoint point;
    int index;  // Within the batch.
  };
  __shared__ Touching touching[kThreads];
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int first_row = tile_row + warp * kRowsPerWarp;
  const int col = tile_col + lane - 1;
  bool any = false;
  // Points are sorted out for the whole tile, kThreads at a time.
  for (int base = 0; base < batch.count; base += kThreads) {
    const int mine = base + threadIdx.x;
    bool touches = false;
    DevicePoint point{};
    if (mine < batch.count) {
      point = batch.points[mine];
      const int top = point.row - canvas.row, left = point.col - canvas.col;
      touches = top < tile_row + kTileRows && top + batch.rows >= tile_row &&
                left < tile_col + kTileCols && left + batch.cols >= tile_col;
    }
    const int total = Gather(touches, {point, mine}, touching);
#pragma unroll 2
    for (int k = 0; k < total; ++k) {
      const Touching& one = touching[k];
      const Bilinear w = BilinearOf(one.point);
      const int y = first_row - (one.point.row - canvas.row);
      const int x = col - (one.point.col - canvas.col);
      if (y + kRowsPerWarp <= 0 || y > batch.rows) continue;  // The same for the whole warp.
      // Outside the frame, pixel 0 is read and dropped: without branches all loads wait together.
      float2 rows[kRowsPerWarp + 1];
#pragma unroll
      for (int i = 0; i <= kRowsPerWarp; ++i) {
        const int row = y - 1 + i;
        const bool inside = row >= 0 && row < batch.rows && x >= 0 && x < batch.cols;
        const float2 read = value(one.index, one.point, inside ? row * batch.cols + x : 0);
        rows[i] = inside ? read : float2{};
      }
      float2 above_left = FromLeft(rows[0]);
#pragma unroll
      for (int i = 0; i < kRowsPerWarp; ++i) {
        const float2 left = FromLeft(rows[i + 1]);
        sums[i] =
            sums[i] + w.w00 * rows[i + 1] + w.w01 * left + w.w10 * rows[i] + w.w11 * above_left;
        above_left = left;
      }
    }
    any = any || total > 0;
    __syncthreads();  // The list has been read.
  }
  return any;
}

// Calls store(place in an array of the canvas' shape, i) for the pixels of this thread.
template <typename Store>
__device__ void ForEachOwnPixel(const Canvas& canvas, int tile_row, int tile_col, Store store) {
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int col = tile_col + lane - 1;
  if (lane == 0 || col >= canvas.cols) return;
  for (int i = 0; i < kRowsPerWarp; ++i) {
    const int row = tile_row + warp * kRowsPerWarp + i;
    if (row < canvas.rows) store(static_cast<std::int64_t>(row) * canvas.cols + col, i);
  }
}

// One mode of the object for each block in z.
template <bool kSingle>
__global__ void __launch_bounds__(kThreads) ObjectSumKernel(ObjectSumArgs args) {
  const int pixels = args.batch.rows * args.batch.cols;
  const int modes = kSingle ? 1 : args.batch.modes;
  const int waves = kSingle ? 1 : args.batch.waves();
  const int object_mode = kSingle ? 0 : blockIdx.z;
  const int first_wave = object_mode * modes;
  const int tile_row = args.area.row + blockIdx.y * kTileRows;
  const int tile_col = args.area.col + blockIdx.x * kTileCols;
  float2 sums[kRowsPerWarp] = {};
  const auto value = [&](int j, const DevicePoint& point, int pixel) {
    const int index = args.waves.by_slot ? point.slot : j;
    float2 sum = ConjProduct(ProbeAt(args.batch, args.probe, point.slot, pixel),
                             WaveAt<false>(args.waves, index, first_wave, waves, pixels, pixel));
    for (int mode = 1; !kSingle && mode < modes; ++mode) {
      const std::int64_t place = static_cast<std::int64_t>(mode) * pixels + pixel;
      sum = sum +
            ConjProduct(ProbeAt(args.batch, args.probe, point.slot, place),
                        WaveAt<false>(args.waves, index, first_wave + mode, waves, pixels, pixel));
    }
    return sum;
  };
  if (!SumWindows(args.batch, args.canvas, tile_row, tile_col, sums, value)) return;
  float2* const sum = args.sum + object_mode * args.canvas.pixels();
  ForEachOwnPixel(args.canvas, tile_row, tile_col,
                  [&](std::int64_t at, int i) { sum[at] = sum[at] + sums[i]; });
}

// One mode of the probe for each block in z.
template <bool kSum, bool kWeights, bool kHalf, bool kObjects>
__global__ void __launch_bounds__(kThreads) ProbeSumKernel(ProbeSumArgs args) {
  const Batch& batch = args.batch;
  const int pixels = batch.rows * batch.cols;
  const int pixel = blockIdx.x * kThreads + threadIdx.x;
  if (pixel >= pixels) return;
  const int mode = blockIdx.z, modes = gridDim.z;
  const int objects = kObjects ? batch.object_modes : 1;
  const int row = pixel / batch.cols;
  const int col = pixel - row * batch.cols;
  float2 sum{0, 0};
  float weight = 0;
#pragma unroll 4
  for (int j = blockIdx.y * args.stride; j < batch.count; j += args.groups * args.stride) {
    const DevicePoint point = PointOf(batch, j);
    for (int l = 0; l < objects; ++l) {
      const float2 object = WindowAt(kObjects ? args.canvas.Mode(l) : args.canvas, point, row, col);
      if (kSum) {
        const int index = args.waves.by_slot ? point.slot : j;
        sum = sum + ConjProduct(object, WaveAt<kHalf>(args.waves, index, l * modes + mode,
                                                      objects * modes, pixels, pixel));
        if (args.waves.by_slot && batch.variation.count > 0) {
          const std::int64_t place = static_cast<std::int64_t>(mode) * pixels + pixel;
          sum = sum - Norm(object) * OwnProbe(batch, point.slot).At(place);
        }
      }
      weight += Norm(object);
    }
  }
  const int group = blockIdx.y;
  if (kSum) {
    float2& total = args.sum[(static_cast<std::int64_t>(group) * modes + mode) * pixels + pixel];
    total = total + sum;
  }
  if (kWeights && mode == 0) {
    args.weights[static_cast<std::int64_t>(group) * pixels + pixel] += weight;
  }
}

dim3 TileGrid(int rows, int cols, int object_modes) {
  return dim3((cols + kTileCols - 1) / kTileCols, (rows + kTileRows - 1) / kTileRows, object_modes);
}

template <bool kObjects>
auto ProbeSumKernelFor(const ProbeSumArgs& args) {
  return args.sum == nullptr       ? ProbeSumKernel<false, true, false, kObjects>
         : args.weights == nullptr ? ProbeSumKernel<true, false, false, kObjects>
         : args.waves.half         ? ProbeSumKernel<true, true, true, kObjects>
                                   : ProbeSumKernel<true, true, false, kObjects>;
}

}  // namespace

void LaunchObjectSum(const ObjectSumArgs& args, cudaStream_t stream) {
  const dim3 grid = TileGrid(args.area.rows, args.area.cols, args.batch.object_modes);
  DispatchModes(args.batch.waves(),
                [&](auto single) { ObjectSumKernel<single><<<grid, kThreads, 0, stream>>>(args); });
}

void LaunchProbeSum(const ProbeSumArgs& args, cudaStream_t stream) {
  const int blocks = BlocksFor(static_cast<std::int64_t>(args.batch.rows) * args.batch.cols);
  const auto kernel =
      args.batch.object_modes > 1 ? ProbeSumKernelFor<true>(args) : ProbeSumKernelFor<false>(args);
  const int modes = args.sum != nullptr ? args.batch.modes : 1;
  kernel<<<dim3(blocks, args.groups, modes), kThreads, 0, stream>>>(args);
}

}  // namespace ptychoserve::cuda
