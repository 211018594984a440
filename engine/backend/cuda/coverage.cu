#include "engine/backend/cuda/coverage.h"

#include "engine/backend/cuda/device_math.cuh"

namespace ptychoserve::cuda {
namespace {

// Object pixels of one block: each warp owns kRowsPerWarp rows, each lane a column of them.
constexpr int kTileThreads = 128;
constexpr int kWarps = kTileThreads / kWarp;
constexpr int kRowsPerWarp = 16;
constexpr int kTileRows = kWarps * kRowsPerWarp;
constexpr int kTileCols = kWarp;
static_assert(kPowerBorderRows >= kRowsPerWarp + 1 && kPowerBorderCols >= kTileCols + 1);

__global__ void __launch_bounds__(kThreads) ProbePowerKernel(CoverageArgs args) {
  const int pitch = args.batch.cols + 2 * kPowerBorderCols;
  const int i = blockIdx.x * kThreads + threadIdx.x;
  if (i == 0) *args.largest = 0;
  if (i >= ProbePowerPixels(args.batch.rows, args.batch.cols)) return;
  const int row = i / pitch - kPowerBorderRows;
  const int col = i % pitch - kPowerBorderCols;
  const bool inside = row >= 0 && row < args.batch.rows && col >= 0 && col < args.batch.cols;
  const std::int64_t frame = static_cast<std::int64_t>(args.batch.rows) * args.batch.cols;
  const std::int64_t pixel = static_cast<std::int64_t>(row) * args.batch.cols + col;
  // Image 0 is the mean probe, those after it are the components.
  const auto at = [&](int image, int mode) {
    return image == 0 ? args.probe[mode * frame + pixel]
                      : args.batch.variation
                            .components[((image - 1) * args.batch.modes + mode) * frame + pixel];
  };
  for (int b = 0; b <= args.batch.variation.count; ++b) {
    for (int a = 0; a <= b; ++a) {
      float power = 0;
      for (int mode = 0; inside && mode < args.batch.modes; ++mode) {
        power += ConjProduct(at(a, mode), at(b, mode)).x;
      }
      args.power[TrianglePlace(a, b) * ProbePowerPixels(args.batch.rows, args.batch.cols) + i] =
          a == b ? power : 2 * power;
    }
  }
}

// |P_j|² of one point by the images that ProbePowerKernel has made.
template <bool kVaries>
class PointPower {
 public:
  __device__ PointPower(const CoverageArgs& args, int slot) : power_(args.power) {
    if constexpr (kVaries) {
      const ProbeVariation& variation = args.batch.variation;
      image_ = static_cast<unsigned>(ProbePowerPixels(args.batch.rows, args.batch.cols));
      images_ = ProbePowerImages(variation.count);
      float q[1 + kMaxProbeComponents] = {1.0f};
#pragma unroll
      for (int k = 0; k < kMaxProbeComponents; ++k) {
        q[1 + k] = k < variation.count
                       ? __ldg(variation.coefficients +
                               static_cast<std::int64_t>(slot) * variation.count + k)
                       : 0.0f;
      }
#pragma unroll
      for (int b = 0; b <= kMaxProbeComponents; ++b) {
#pragma unroll
        for (int a = 0; a <= b; ++a) weights_[TrianglePlace(a, b)] = q[a] * q[b];
      }
    }
  }
  __device__ float At(unsigned at) const {
    if constexpr (!kVaries) return __ldg(power_ + at);
    float sum = 0;
#pragma unroll
    for (int i = 0; i < kMostImages; ++i) {
      if (i < images_) sum = fmaf(weights_[i], __ldg(power_ + (i * image_ + at)), sum);
    }
    return sum;
  }

 private:
  static constexpr int kMostImages = ProbePowerImages(kMaxProbeComponents);
  const float* power_;
  unsigned image_ = 0;
  int images_ = 0;
  float weights_[kVaries ? kMostImages : 1];
};

// A point as the tile needs it.
struct TilePoint {
  int row, col;  // Of the tile's corner within the window.
  float frac_row, frac_col;
  int slot;
};

template <bool kVaries>
__global__ void __launch_bounds__(kTileThreads) CoverageKernel(CoverageArgs args) {
  __shared__ TilePoint touching[kTileThreads];
  const Batch& batch = args.batch;
  const int pitch = batch.cols + 2 * kPowerBorderCols;
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int tile_row = blockIdx.y * kTileRows, tile_col = blockIdx.x * kTileCols;
  float sums[kRowsPerWarp] = {};
  // Points are sorted out for the whole tile, kTileThreads at a time.
  for (int base = 0; base < batch.count; base += kTileThreads) {
    bool touches = false;
    TilePoint mine{};
    if (base + static_cast<int>(threadIdx.x) < batch.count) {
      const DevicePoint point = PointOf(batch, base + threadIdx.x);
      const int row = tile_row - (point.row - args.canvas.row);
      const int col = tile_col - (point.col - args.canvas.col);
      touches = row > -kTileRows && row <= batch.rows && col > -kTileCols && col <= batch.cols;
      mine = {row, col, point.frac_row, point.frac_col, point.slot};
    }
    const int total = Gather(touches, mine, touching);
    for (int k = 0; k < total; ++k) {
      const TilePoint point = touching[k];
      const int row = point.row + warp * kRowsPerWarp;
      if (row + kRowsPerWarp <= 0 || row > batch.rows) continue;  // The same for the whole warp.
      const PointPower<kVaries> power(args, point.slot);
      // Unsigned and short, so that an address is the array's and one register.
      unsigned at = (row + kPowerBorderRows - 1) * pitch + point.col + kPowerBorderCols + lane;
      if (point.frac_row == 0 && point.frac_col == 0) {
#pragma unroll
        for (int i = 0; i < kRowsPerWarp; ++i) sums[i] += power.At(at += pitch);
        continue;
      }
      float above = 0;  // Interpolated along the row above.
#pragma unroll
      for (int i = 0; i <= kRowsPerWarp; ++i, at += pitch) {
        const float here = power.At(at);
        const float along = fmaf(point.frac_col, power.At(at - 1) - here, here);
        if (i > 0) sums[i - 1] += fmaf(point.frac_row, above - along, along);
        above = along;
      }
    }
    __syncthreads();  // The list has been read.
  }
  const int col = tile_col + lane;
  float largest = 0;
#pragma unroll
  for (int i = 0; i < kRowsPerWarp; ++i) {
    const int row = tile_row + warp * kRowsPerWarp + i;
    if (row < args.canvas.rows && col < args.canvas.cols) {
      args.coverage[static_cast<std::int64_t>(row) * args.canvas.cols + col] = sums[i];
      largest = MaxOrNan(largest, sums[i]);
    }
  }
  MaxOverWarps(largest, args.largest);
}

}  // namespace

void LaunchCoverage(const CoverageArgs& args, cudaStream_t stream) {
  const Canvas& canvas = args.canvas;
  ProbePowerKernel<<<BlocksFor(ProbePowerPixels(args.batch.rows, args.batch.cols)), kThreads, 0,
                     stream>>>(args);
  const dim3 grid((canvas.cols + kTileCols - 1) / kTileCols,
                  (canvas.rows + kTileRows - 1) / kTileRows);
  const auto kernel = args.batch.variation.count > 0 ? CoverageKernel<true> : CoverageKernel<false>;
  kernel<<<grid, kTileThreads, 0, stream>>>(args);
}

}  // namespace ptychoserve::cuda
