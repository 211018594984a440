#ifndef PTYCHOSERVE_ENGINE_BACKEND_CUDA_FRAME_PIECES_CUH_
#define PTYCHOSERVE_ENGINE_BACKEND_CUDA_FRAME_PIECES_CUH_

#include "engine/algorithms/measurement.h"
#include "engine/backend/cuda/device_math.cuh"

// Kernels in the detector plane: block (x, y) handles piece x of the frame of point y.
namespace ptychoserve::cuda {

inline dim3 PieceGrid(const Batch& batch) {
  return dim3(PiecesOf(static_cast<std::int64_t>(batch.rows) * batch.cols), batch.count);
}

// Calls fn(pixel) for this thread's pixels of this block's piece.
template <typename Fn>
__device__ void ForEachPixelOfPiece(const Batch& batch, Fn fn) {
  const int pixels = batch.rows * batch.cols;
  const int begin = blockIdx.x * kPiecePixels;
  const int end = min(begin + kPiecePixels, pixels);
#pragma unroll 4
  for (int pixel = begin + threadIdx.x; pixel < end; pixel += kThreads) fn(pixel);
}

// First pixel of the measured frame of point `j` of the batch.
template <typename Pixel>
__device__ const Pixel* FrameOf(const Batch& batch, const Pixel* pixels, int j) {
  return pixels + static_cast<std::int64_t>(batch.points[j].slot) * batch.rows * batch.cols;
}

__device__ inline void AddFit(float counts, float modulus, FitSums& sums) {
  if (!IsTrusted(counts)) return;
  const float error = AmplitudeError(counts, modulus);
  sums.abs_deviation += error;
  sums.amplitude += sqrtf(counts);
  sums.squared_deviation += static_cast<double>(error) * error;
  sums.intensity += counts;
}

// The sum over the block into `*result`, by thread 0.
__device__ inline void StoreBlockSum(const FitSums& sums, FitSums* result) {
  double v[] = {sums.abs_deviation, sums.amplitude,      sums.squared_deviation,
                sums.intensity,     sums.step_numerator, sums.step_denominator};
  BlockSums(v);
  if (threadIdx.x == 0) *result = {v[0], v[1], v[2], v[3], v[4], v[5]};
}

}  // namespace ptychoserve::cuda

#endif  // PTYCHOSERVE_ENGINE_BACKEND_CUDA_FRAME_PIECES_CUH_
