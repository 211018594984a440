#ifndef PTYCHOSERVE_ENGINE_BACKEND_CUDA_COVERAGE_H_
#define PTYCHOSERVE_ENGINE_BACKEND_CUDA_COVERAGE_H_

#include <cuda_runtime.h>

#include <cstdint>

#include "engine/algorithms/refinement.h"
#include "engine/backend/cuda/device_types.h"

// How much light has fallen on each object pixel. Launchers enqueue on `stream`; errors show in
// cudaGetLastError.
namespace ptychoserve::cuda {

// |P|² of all modes together, with a border of zeros, so that the sum over points needs no bounds.
// Of a probe that varies, such an image of the product of each two of P, V_1, V_2, ..
inline constexpr int kPowerBorderRows = 17;
inline constexpr int kPowerBorderCols = 40;
__host__ __device__ constexpr std::int64_t ProbePowerPixels(int rows, int cols) {
  return static_cast<std::int64_t>(rows + 2 * kPowerBorderRows) * (cols + 2 * kPowerBorderCols);
}

__host__ __device__ constexpr int ProbePowerImages(int components) {
  return TriangleElements(1 + components);
}

struct CoverageArgs {
  Batch batch;
  Canvas canvas;
  const float2* probe;  // [modes, rows, cols]
  float* power;         // Scratch [ProbePowerImages(components), ProbePowerPixels(rows, cols)]
  float* coverage;      // Out: [canvas.rows, canvas.cols]
  float* largest;       // Out: its maximum; NaN when there is one.
};
// coverage = Σ_j Σ_m B_jᵀ|P_jm|² with B_j the bilinear interpolation at point j; every pixel is
// added up by one thread in the order of the points.
void LaunchCoverage(const CoverageArgs& args, cudaStream_t stream);

}  // namespace ptychoserve::cuda

#endif  // PTYCHOSERVE_ENGINE_BACKEND_CUDA_COVERAGE_H_
