#ifndef PTYCHOSERVE_ENGINE_BACKEND_CUDA_FIT_H_
#define PTYCHOSERVE_ENGINE_BACKEND_CUDA_FIT_H_

#include <cuda_runtime_api.h>

#include "engine/backend/cuda/device_types.h"
#include "engine/quality/frame_fit.h"

// How well predicted waves in the detector plane agree with the measured frames. All sums are
// taken in double precision and in a fixed order. Launchers enqueue on `stream`; errors show in
// cudaGetLastError.
namespace ptychoserve::cuda {

struct FitArgs {
  Batch batch;
  FrameSlots frames;
  const float2* waves;  // Ψ [batch.count, waves, rows, cols]
  FitSums* fit;         // Out: [batch.count, pieces]
};
void LaunchFit(const FitArgs& args, cudaStream_t stream);

// Everything there is to know of each frame's fit.
struct FrameFitArgs {
  Batch batch;
  FrameSlots frames;
  const float2* waves;  // Ψ [batch.count, waves, rows, cols]
  FrameFit* partials;   // Scratch [batch.count, pieces]
  FrameFit* fits;       // Out: [batch.count]
};
void LaunchFrameFit(const FrameFitArgs& args, cudaStream_t stream);

// Blocks of the first stage of LaunchReduceFit.
inline constexpr int kFitBlocks = 128;

// Sums of one block of the first stage.
struct FitPartial {
  FitSums fit;
  double squared_errors;
  double lit_frames;
};

// Which figures of the state LaunchReduceFit fills.
enum class ReducedSums {
  kFit,   // fit but for the step's sums, squared_errors, lit_frames.
  kStep,  // step and its sums.
  kFitAndStep,
};

struct ReduceFitArgs {
  ReducedSums what;
  const FitSums* fit;  // [points, pieces]
  int points;
  int pieces;
  int stride;            // Every so many-th point counts for the fit; the step is of all points.
  double step_scale;     // state.step = step_scale * numerator / denominator.
  FitPartial* partials;  // Scratch [kFitBlocks]
  IterationState* state;
};
void LaunchReduceFit(const ReduceFitArgs& args, cudaStream_t stream);

}  // namespace ptychoserve::cuda

#endif  // PTYCHOSERVE_ENGINE_BACKEND_CUDA_FIT_H_
