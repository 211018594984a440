#ifndef PTYCHOSERVE_ENGINE_BACKEND_CUDA_DEVICE_TYPES_H_
#define PTYCHOSERVE_ENGINE_BACKEND_CUDA_DEVICE_TYPES_H_

#include <cuda_runtime_api.h>

#include <cstdint>

#include "engine/base/host_device.h"

// Plain types that host code and kernels share. All pointers are to device memory.
namespace ptychoserve::cuda {

// A PointWindow as the kernels read it.
struct DevicePoint {
  std::int32_t slot;
  std::int32_t row;  // Corner on the absolute object lattice.
  std::int32_t col;
  float frac_row;
  float frac_col;
  float intensity;  // w of engine/algorithms/refinement.h.
};

// The object and where it lies on the absolute lattice.
struct Canvas {
  float2* object;  // [modes, rows, cols]
  int row;         // Of the first pixel.
  int col;
  int rows;
  int cols;

  PS_HOST_DEVICE std::int64_t pixels() const { return static_cast<std::int64_t>(rows) * cols; }
  // Mode `mode` alone.
  PS_HOST_DEVICE Canvas Mode(int mode) const {
    return {object + mode * pixels(), row, col, rows, cols};
  }
};

// Measured frames, zero frequency at [0, 0].
struct FrameSlots {
  const void* pixels;  // [capacity, rows, cols], u16 or f32
  bool is_f32;
};

// How the probe differs from point to point: that of a point has Σ_k c_k V_km besides the mean.
struct ProbeVariation {
  const float2* components = nullptr;   // V, [count, modes, rows, cols]
  const float* coefficients = nullptr;  // c, [capacity, count]
  int count = 0;                        // 0: it does not.
};

// Mutually incoherent modes.
struct ModeCounts {
  int probe = 1;
  int object = 1;
  constexpr int waves() const { return probe * object; }  // Of a point.
};

// A run of points that a kernel works on; `count` of them from `points`. Arrays indexed by point
// "within the run" begin with the run's first point.
struct Batch {
  const DevicePoint* points;
  int count;
  int rows;  // Of a frame.
  int cols;
  int modes = 1;                      // Of the probe.
  const float* background = nullptr;  // [rows, cols], counts of every frame; null: none.
  ProbeVariation variation = {};
  int object_modes = 1;

  // Images that each point has among the waves, one after the other: that of object mode l and
  // probe mode m is number l * modes + m.
  PS_HOST_DEVICE int waves() const { return modes * object_modes; }
};

// Bytes of one pixel of a wave, by its precision.
constexpr int WaveBytes(bool half) { return half ? 4 : 8; }

// Sums over the trusted pixels of one piece of one frame, or of many frames.
struct FitSums {
  double abs_deviation;      // Σ ||Ψ| - √I|
  double amplitude;          // Σ √I
  double squared_deviation;  // Σ (|Ψ| - √I)²
  double intensity;          // Σ I
  double step_numerator;     // Of the gradient step; see ml_gradient.h.
  double step_denominator;
};

// What does not change about a frame: sums over its trusted pixels.
struct FrameFigures {
  float amplitude;  // Σ √I
  float intensity;  // Σ I
  float noise;      // Σ min(1/4, I), the expected squared error of √I.
  float wave_unit;  // Of waves in half precision; see stored_waves.cuh.
};

// The exit waves in their slots: complex pairs [capacity, waves, rows, cols] in single or half
// precision.
struct ExitWaves {
  void* data;
  bool half;
  const FrameFigures* figures;  // [capacity]; for half precision.
};

struct ChangeSums {
  double squared_change;  // Σ |new - old|²
  double squared_norm;    // Σ |new|²
};

// Of the likelihood gradient's momentum: what the kernels of an iteration and the next tell each
// other.
struct MomentumProgress {
  int iterations;  // Since the velocities were 0.
  float factor;    // μ of the present iteration.
};

// What the kernels of one iteration tell each other and, at its end, the host.
struct IterationState {
  FitSums fit;
  double squared_errors;  // Σ over frames with counts of Σ (|Ψ| - √I)² / Σ I.
  double lit_frames;      // Frames with counts.
  double step;            // Newton step of the gradient.
  ChangeSums object;
  ChangeSums probe;
  float max_probe_weight;  // max Σ |O_j|² over the probe.
  int non_finite;          // Not 0 when object or probe has a NaN or an infinity.
};

// Kernels that sum over a frame do so in pieces of this many pixels, one thread block each.
inline constexpr int kPiecePixels = 4096;
constexpr int PiecesOf(std::int64_t pixels) {
  return static_cast<int>((pixels + kPiecePixels - 1) / kPiecePixels);
}

}  // namespace ptychoserve::cuda

#endif  // PTYCHOSERVE_ENGINE_BACKEND_CUDA_DEVICE_TYPES_H_
