#ifndef PTYCHOSERVE_ENGINE_BACKEND_CUDA_WINDOW_ADJOINT_CUH_
#define PTYCHOSERVE_ENGINE_BACKEND_CUDA_WINDOW_ADJOINT_CUH_

#include "engine/backend/cuda/device_math.cuh"

// The adjoint of the bilinear object window, gathered per object pixel. A window of [rows, cols]
// touches (rows + 1) x (cols + 1) object pixels; `target` counts them row by row.
namespace ptychoserve::cuda {

__host__ __device__ inline int TouchedPixels(int rows, int cols) { return (rows + 1) * (cols + 1); }

// Where `target` lies in an array of the canvas' shape.
__device__ inline std::int64_t TouchedIndex(const Canvas& canvas, const DevicePoint& point,
                                            int cols, int target) {
  const int row = target / (cols + 1);
  const int col = target - row * (cols + 1);
  return static_cast<std::int64_t>(point.row - canvas.row + row) * canvas.cols +
         (point.col - canvas.col + col);
}

// Σ over the frame pixels that `target` takes part in of weight * value(pixel).
template <typename Value>
__device__ float2 AdjointAt(const DevicePoint& point, int rows, int cols, int target, Value value) {
  const Bilinear w = BilinearOf(point);
  const int row = target / (cols + 1);
  const int col = target - row * (cols + 1);
  const int pixel = row * cols + col;
  float2 sum{0, 0};
  if (row < rows && col < cols) sum = sum + w.w00 * value(pixel);
  if (row < rows && col > 0) sum = sum + w.w01 * value(pixel - 1);
  if (row > 0 && col < cols) sum = sum + w.w10 * value(pixel - cols);
  if (row > 0 && col > 0) sum = sum + w.w11 * value(pixel - cols - 1);
  return sum;
}

}  // namespace ptychoserve::cuda

#endif  // PTYCHOSERVE_ENGINE_BACKEND_CUDA_WINDOW_ADJOINT_CUH_
