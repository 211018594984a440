#ifndef PTYCHOSERVE_ENGINE_BACKEND_CUDA_CANVAS_H_
#define PTYCHOSERVE_ENGINE_BACKEND_CUDA_CANVAS_H_

#include <cuda_runtime_api.h>

#include <cstdint>

#include "engine/algorithms/object_start.h"
#include "engine/backend/cuda/device_types.h"

// Moves whole images about. Launchers enqueue on `stream`; errors show in cudaGetLastError.
namespace ptychoserve::cuda {

struct MoveObjectArgs {
  Canvas from;  // May be empty (rows == 0).
  Canvas to;    // Other memory than `from`.
  int shift_rows;
  int shift_cols;
  int modes;
  ObjectStart start;
};
// to(r, c) = from(r - shift_rows, c - shift_cols) on the absolute lattice, `start` outside.
void LaunchMoveObject(const MoveObjectArgs& args, cudaStream_t stream);

struct FillObjectArgs {
  Canvas canvas;
  int row, col, rows, cols;  // On the absolute lattice, inside the canvas.
  int modes;
  ObjectStart start;
};
void LaunchFillObject(const FillObjectArgs& args, cudaStream_t stream);

struct RollArgs {
  const void* in;
  void* out;                  // Other memory than `in`.
  bool half;                  // Pixels are complex pairs in half, or else single, precision.
  const DevicePoint* points;  // Gives the slots; null when neither side is by slot.
  bool in_by_slot;            // in is [capacity, modes, rows, cols], else [count, ..].
  bool out_by_slot;
  int count;
  int modes;
  int rows;
  int cols;
  int shift_rows;  // 0..rows-1
  int shift_cols;  // 0..cols-1
};
// Rolls images cyclically: out(r, c) = in(r - shift_rows, c - shift_cols).
void LaunchRoll(const RollArgs& args, cudaStream_t stream);

struct ScaleArgs {
  float2* images;  // [count, pixels]
  int count;
  std::int64_t pixels;
  float factor;
  const float* weights;  // [pixels]: only where this is not 0; null: everywhere.
};
void LaunchScale(const ScaleArgs& args, cudaStream_t stream);

struct MeanAmplitudeArgs {
  FrameSlots frames;
  const std::int32_t* slots;  // [count]
  int count;
  int pixels;  // Of a frame.
  float* out;  // [pixels]
};
void LaunchMeanAmplitude(const MeanAmplitudeArgs& args, cudaStream_t stream);

}  // namespace ptychoserve::cuda

#endif  // PTYCHOSERVE_ENGINE_BACKEND_CUDA_CANVAS_H_
