#include "engine/backend/cuda/accumulate.h"

#include "engine/backend/cuda/device_math.cuh"
#include "engine/backend/cuda/window_adjoint.cuh"

namespace ptychoserve::cuda {
namespace {

// Object pixels of one thread block, one per thread.
constexpr int kTileCols = 32;
constexpr int kTileRows = kThreads / kTileCols;
constexpr int kWarps = kThreads / kWarp;

__device__ const float2* WaveOf(const Waves& waves, const DevicePoint& point, int j, int pixels) {
  return waves.data + static_cast<std::int64_t>(waves.by_slot ? point.slot : j) * pixels;
}

// Calls add(j, point, y, x) for every point j of the batch, in order, whose window touches this
// thread's pixel of the canvas; (y, x) is the pixel within the window. Returns whether there was
// a point for the block.
// The points are first sorted out by tile, kThreads at a time.
template <typename Add>
__device__ bool ForEachTouchingPoint(const Batch& batch, const Canvas& canvas, int tile_row,
                                     int tile_col, Add add) {
  __shared__ int touching[kThreads];
  __shared__ int touching_by_warp[kWarps];
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int row = tile_row + threadIdx.x / kTileCols;
  const int col = tile_col + threadIdx.x % kTileCols;
  bool any = false;
  for (int base = 0; base < batch.count; base += kThreads) {
    const int mine = base + threadIdx.x;
    bool touches = false;
    if (mine < batch.count) {
      const DevicePoint& point = batch.points[mine];
      const int first_row = point.row - canvas.row, first_col = point.col - canvas.col;
      touches = first_row < tile_row + kTileRows && first_row + batch.rows >= tile_row &&
                first_col < tile_col + kTileCols && first_col + batch.cols >= tile_col;
    }
    const unsigned votes = __ballot_sync(0xffffffffu, touches);
    if (lane == 0) touching_by_warp[warp] = __popc(votes);
    __syncthreads();
    int before = 0, total = 0;
    for (int w = 0; w < kWarps; ++w) {
      if (w < warp) before += touching_by_warp[w];
      total += touching_by_warp[w];
    }
    if (touches) touching[before + __popc(votes & ((1u << lane) - 1))] = mine;
    __syncthreads();
    for (int k = 0; k < total; ++k) {
      const int j = touching[k];
      const DevicePoint point = batch.points[j];
      const int y = row - (point.row - canvas.row), x = col - (point.col - canvas.col);
      if (y >= 0 && y <= batch.rows && x >= 0 && x <= batch.cols) {
        add(j, point, y, x);
      }
    }
    any = any || total > 0;
    __syncthreads();  // The list has been read.
  }
  return any;
}

__global__ void __launch_bounds__(kThreads) ObjectSumKernel(ObjectSumArgs args) {
  const Batch& batch = args.batch;
  const int tile_row = args.area.row + blockIdx.y * kTileRows;
  const int tile_col = args.area.col + blockIdx.x * kTileCols;
  float2 sum{0, 0};
  const bool any = ForEachTouchingPoint(
      batch, args.canvas, tile_row, tile_col, [&](int j, const DevicePoint& point, int y, int x) {
        const float2* wave = WaveOf(args.waves, point, j, batch.rows * batch.cols);
        sum = sum + AdjointAt(point, batch.rows, batch.cols, y, x, [&](int pixel) {
                return ConjProduct(args.probe[pixel], wave[pixel]);
              });
      });
  const int row = tile_row + threadIdx.x / kTileCols;
  const int col = tile_col + threadIdx.x % kTileCols;
  if (!any || row >= args.canvas.rows || col >= args.canvas.cols) return;
  float2& total = args.sum[static_cast<std::int64_t>(row) * args.canvas.cols + col];
  total = total + sum;
}

__global__ void __launch_bounds__(kThreads) CoverageKernel(CoverageArgs args) {
  const Batch& batch = args.batch;
  const int tile_row = blockIdx.y * kTileRows;
  const int tile_col = blockIdx.x * kTileCols;
  float sum = 0;
  ForEachTouchingPoint(
      batch, args.canvas, tile_row, tile_col, [&](int, const DevicePoint& point, int y, int x) {
        const auto intensity = [&](int pixel) { return float2{Norm(args.probe[pixel]), 0.0f}; };
        sum += AdjointAt(point, batch.rows, batch.cols, y, x, intensity).x;
      });
  const int row = tile_row + threadIdx.x / kTileCols;
  const int col = tile_col + threadIdx.x % kTileCols;
  if (row >= args.canvas.rows || col >= args.canvas.cols) return;
  args.coverage[static_cast<std::int64_t>(row) * args.canvas.cols + col] = sum;
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

dim3 TileGrid(int rows, int cols) {
  return dim3((cols + kTileCols - 1) / kTileCols, (rows + kTileRows - 1) / kTileRows);
}

}  // namespace

void LaunchObjectSum(const ObjectSumArgs& args, cudaStream_t stream) {
  ObjectSumKernel<<<TileGrid(args.area.rows, args.area.cols), kThreads, 0, stream>>>(args);
}

void LaunchCoverage(const CoverageArgs& args, cudaStream_t stream) {
  CoverageKernel<<<TileGrid(args.canvas.rows, args.canvas.cols), kThreads, 0, stream>>>(args);
}

void LaunchProbeSum(const ProbeSumArgs& args, cudaStream_t stream) {
  const int blocks = BlocksFor(static_cast<std::int64_t>(args.batch.rows) * args.batch.cols);
  ProbeSumKernel<<<dim3(blocks, args.groups), kThreads, 0, stream>>>(args);
}

}  // namespace ptychoserve::cuda
