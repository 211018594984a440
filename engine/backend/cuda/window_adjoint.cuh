#ifndef PTYCHOSERVE_ENGINE_BACKEND_CUDA_WINDOW_ADJOINT_CUH_
#define PTYCHOSERVE_ENGINE_BACKEND_CUDA_WINDOW_ADJOINT_CUH_

#include "engine/backend/cuda/device_math.cuh"

// The adjoint of the bilinear object window, gathered per object pixel. A window of [rows, cols]
// touches (rows + 1) x (cols + 1) object pixels.
namespace ptychoserve::cuda {

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

}  // namespace ptychoserve::cuda

#endif  // PTYCHOSERVE_ENGINE_BACKEND_CUDA_WINDOW_ADJOINT_CUH_
