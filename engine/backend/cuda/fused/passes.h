#ifndef PTYCHOSERVE_ENGINE_BACKEND_CUDA_FUSED_PASSES_H_
#define PTYCHOSERVE_ENGINE_BACKEND_CUDA_FUSED_PASSES_H_

#include <cuda_runtime.h>

#include "engine/backend/cuda/device_types.h"

// One iteration over a chunk of points in three passes, whose intermediates stay in the
// second-level cache:
//
//   rows forward    t = P O_j  or  2 P O_j - ψ_j;   waves = transform of t along its rows
//   columns         waves: transform along columns, times a real factor that compares the
//                   modulus with the measured counts, inverse transform along columns
//   rows inverse    v = inverse transform of waves along rows;  w = ψ_j = model P O_j + v, or
//                   w = v; sums over points into the object and, of v, into the probe
//
// With T = F t a factor m(|T|, counts) covers the projections, model p + F⁻¹[(modulus d/|T| +
// trial) T] with the numbers of a ProjectionUpdate, as well as the gradients, F⁻¹[g Ψ]. Several
// modes of probe and object have a wave for each pair of them, one after the other for each point
// (see Batch::waves), and the factor in common: it compares the root of Σ |T|² over the waves.
//
// The waves between the passes and the exit waves are in single precision, or in half precision:
// half the traffic. See stored_waves.cuh.
//
// Both dimensions of a frame are 64, 128, 256 or 512. Chunks are independent of each other but for
// the sums, which are added with atomics: their order, and so the last bits, differ between runs.
// Launchers enqueue on `stream`; errors show in cudaGetLastError. Nothing synchronises with the
// host; a pass begins when the one before it on the same stream has ended.
namespace ptychoserve::cuda {

constexpr bool FusedLength(int length) {
  return length == 64 || length == 128 || length == 256 || length == 512;
}
constexpr bool FusedShape(int rows, int cols) { return FusedLength(rows) && FusedLength(cols); }

// Columns that one block of the second pass handles, and so the pieces of a frame in its sums.
inline constexpr int kColumnsPerBlock = 16;
// Rows that one block of the first and the third pass handles.
__host__ __device__ constexpr int RowsPerBlock(int cols) { return 4096 / cols; }

// What the kernels of the first and the third pass have to reckon with, each kind with all before
// it. They are made for each.
enum class PointKind {
  kWhole,       // All points lie on whole pixels, and see the mean probe.
  kFractional,  // Some have fractional positions,
  kVaried,      // or probes of their own.
};
inline constexpr PointKind kPointKinds[] = {PointKind::kWhole, PointKind::kFractional,
                                            PointKind::kVaried};
// Rows and columns beyond a window that its pixels are interpolated from.
constexpr int PixelsBeyond(PointKind kind) { return kind == PointKind::kWhole ? 0 : 1; }

struct RowsForwardArgs {
  Batch batch;
  Canvas canvas;
  const float2* probe;   // [modes, rows, cols]
  float scale;           // Multiplies the result.
  ExitWaves exit_waves;  // data null: P O_j alone.
  void* waves;  // Out: [batch.count, waves, rows, cols], [row, frequency], as exit_waves.half.
  PointKind kind;
  int points_per_block;  // Neighbours that share a block's probe rows, >= 1.
};
void LaunchRowsForward(const RowsForwardArgs& args, cudaStream_t stream);

enum class ColumnRule {
  kModulus,  // `modulus` times the relaxed modulus projection, plus `trial`; see difference_map.h.
  kPoisson,  // Gradients; see ml_gradient.h.
  kGaussian,
  kFit,  // Only sums; `waves` are left as they are.
};

// Sums over the trusted pixels of one block of columns of one frame, by rule.
struct ColumnSums {
  float first;   // kModulus, kFit: Σ (|T| - √I)²; gradients: numerator of the step.
  float second;  // kFit: Σ ||T| - √I|; gradients: denominator of the step. kModulus: unused.
};

struct ColumnsArgs {
  Batch batch;
  FrameSlots frames;
  void* waves;                  // In and out: [batch.count, waves, rows, cols]
  bool half;                    // The precision of `waves`, in units of
  const FrameFigures* figures;  // [capacity]
  ColumnRule rule;
  float scale;    // Multiplies the factor.
  float modulus;  // Of kModulus; see ProjectionUpdate.
  float trial;
  const float* kept_deviation;  // [capacity], of kModulus; see difference_map.h.
  float epsilon;                // Of the gradients.
  float max_gradient;
  ColumnSums* sums;  // Out: [batch.count, cols / kColumnsPerBlock]
};
void LaunchColumns(const ColumnsArgs& args, cudaStream_t stream);

// A run of neighbouring points that one block of the third pass handles, and the part of the
// canvas that the first RowsPerBlock rows of their windows touch; that of a later block of rows
// lies as many rows further down.
struct PointGroup {
  int first;  // Within the batch.
  int count;
  int row;  // On the absolute lattice.
  int col;
  int rows;
  int cols;
};
// Complex pixels of shared memory for a group's part of the canvas: rows x WindowPitch(cols).
inline constexpr int kWindowPixels = 8192;
inline constexpr int kMaxGroupPoints = 4;

struct RowsInverseArgs {
  Batch batch;
  Canvas canvas;
  const float2* probe;   // [modes, rows, cols]
  const void* waves;     // [batch.count, waves, rows, cols], [row, frequency], as exit_waves.half.
  ExitWaves exit_waves;  // Overwritten; data null: v alone.
  float model_factor;    // ProjectionUpdate::model, with ψ.
  const PointGroup* groups;  // [group_count]
  int group_count;
  PointKind kind;
  // += Σ_j Σ_m B_jᵀ(conj(P_jm) w_jlm) [object modes, canvas]; null when not wanted.
  float2* object_sum;
  // += Σ_j Σ_l conj(O_lj) v_jlm [modes, rows, cols]; null when not wanted, or with ψ.
  float2* probe_sum;
};
void LaunchRowsInverse(const RowsInverseArgs& args, cudaStream_t stream);

// Elements between rows of the group's part of the canvas in shared memory: such that the rows
// that a quarter of a warp's lanes write at a time fall into different banks.
__host__ __device__ constexpr int WindowPitch(int frame_cols, int window_cols) {
  const int lanes = frame_cols / 16;
  return lanes >= 16 ? window_cols : (window_cols + 15 - lanes) / 16 * 16 + lanes;
}

// Shared memory that the most demanding block of the passes needs.
int FusedSharedBytes();

// Give the kernels of a pass the shared memory that they need, on the current device.
cudaError_t PrepareRowsForward();
cudaError_t PrepareColumns();
cudaError_t PrepareRowsInverse();

}  // namespace ptychoserve::cuda

#endif  // PTYCHOSERVE_ENGINE_BACKEND_CUDA_FUSED_PASSES_H_
