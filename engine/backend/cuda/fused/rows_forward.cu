#include "engine/backend/cuda/fused/kernel_choice.h"
#include "engine/backend/cuda/fused/row_blocks.cuh"
#include "engine/backend/cuda/stored_waves.cuh"

// First pass: t = P O_j or 2 P O_j - ψ_j, transformed along rows.
//
// A block has RowsPerBlock(kCols) rows of `points_per_block` neighbouring points, one after the
// other, with the rows of one mode of the probe in shared memory throughout. Grid: (row blocks,
// runs of points, modes of the probe), for one mode of the object.
namespace ptychoserve::cuda {
namespace {

template <int kCols>
using Lanes = RowLanes<kCols, float2>;

template <int kCols>
constexpr int SharedBytes() {
  constexpr int kGroups = kRowThreads / Lanes<kCols>::kLanes;
  return kProbeBytes + kGroups * Lanes<kCols>::kGroupPitch * static_cast<int>(sizeof(float2));
}

constexpr int kBlocks = 2;  // On a multiprocessor at a time.

template <int kCols, bool kReflect, PointKind kKind, bool kHalf>
__global__ void __launch_bounds__(kRowThreads, kBlocks) RowsForwardKernel(RowsForwardArgs args) {
  using Fft = LaneFft<kCols, Lanes<kCols>>;
  using Stored = StoredWave<kHalf>;
  constexpr int kLanes = Fft::kLanes;
  constexpr bool kSubpixel = kKind != PointKind::kWhole;
  extern __shared__ __align__(16) unsigned char shared[];
  float4* const probe_slots = reinterpret_cast<float4*>(shared);
  float2* const exchange = reinterpret_cast<float2*>(shared + kProbeBytes);

  const int thread = threadIdx.x;
  const RowPlace<kCols> place(thread);
  const int row = blockIdx.x * RowsPerBlock(kCols) + place.group;
  // Of the waves of one point, and of this block's row among those of the object's mode.
  const std::int64_t point_pixels =
      static_cast<std::int64_t>(args.batch.rows) * kCols * args.batch.waves();
  const std::int64_t at = (static_cast<std::int64_t>(blockIdx.z) * args.batch.rows + row) * kCols;
  LoadProbe<kLanes>(args.probe + at, place.lane, thread, probe_slots);
  const typename Fft::Roots roots = Fft::ForwardRoots(place.lane);

  const int begin = blockIdx.y * args.points_per_block;
  const int end = min(begin + args.points_per_block, args.batch.count);
  for (int j = begin; j < end; ++j) {
    const DevicePoint point = PointOf(args.batch, j);
    const Bilinear bilinear = BilinearOf(point);
    const float2* const object = WindowRow(args.canvas, point, row, place.lane);
    const float scale = args.scale / UnitOf<kHalf>(args.exit_waves.figures, point.slot);
    const Stored* const exit = kReflect ? static_cast<const Stored*>(args.exit_waves.data) +
                                              (point.slot * point_pixels + at + place.lane)
                                        : nullptr;
    [[maybe_unused]] const OwnProbe own(args.batch, point.slot);
    float2 x[kLaneValues];
#pragma unroll
    for (int i = 0; i < kLaneValues / 2; ++i) {
      const float4 pair = probe_slots[i * kRowThreads + thread];
#pragma unroll
      for (int k = 0; k < 2; ++k) {
        const int value = 2 * i + k;
        float2 probe = k == 0 ? float2{pair.x, pair.y} : float2{pair.z, pair.w};
        if constexpr (kKind == PointKind::kVaried) {
          probe = probe + own.At(at + place.lane + kLanes * value);
        }
        const float2 o =
            WindowValue<kSubpixel>(object + kLanes * value, args.canvas.cols, bilinear);
        float2 product = scale * Product(probe, o);
        if constexpr (kReflect) {
          const float2 psi = Widened(__ldcs(exit + kLanes * value));
          product = {fmaf(-args.scale, psi.x, 2 * product.x),
                     fmaf(-args.scale, psi.y, 2 * product.y)};
        }
        x[value] = product;
      }
    }
    Fft::Forward(x, exchange + place.group * Lanes<kCols>::kGroupPitch, place.lane, roots);
    Stored* const out = static_cast<Stored*>(args.waves) +
                        (j * point_pixels + at + Fft::FirstFrequency(place.lane));
#pragma unroll
    for (int k = 0; k < kLaneValues; ++k) {
      __stcg(out + k * Fft::kFrequencyStep, Narrowed<Stored>(x[Fft::ForwardPlace(k)]));
    }
  }
}

template <int kCols, bool kHalf>
KernelChoice<RowsForwardArgs> ChooseFor(bool reflect, PointKind kind) {
  KernelChoice<RowsForwardArgs> choice;
  choice.threads = kRowThreads;
  choice.shared_bytes = SharedBytes<kCols>();
  choice.blocks_per_multiprocessor = kBlocks;
  choice.kernel = ForKind(kind, [reflect](auto constant) {
    constexpr PointKind kKind = constant();
    return reflect ? RowsForwardKernel<kCols, true, kKind, kHalf>
                   : RowsForwardKernel<kCols, false, kKind, kHalf>;
  });
  return choice;
}

KernelChoice<RowsForwardArgs> Choose(int cols, bool half, bool reflect, PointKind kind) {
  return ForLength(cols, [&](auto length) {
    return half ? ChooseFor<length(), true>(reflect, kind)
                : ChooseFor<length(), false>(reflect, kind);
  });
}

}  // namespace

void LaunchRowsForward(const RowsForwardArgs& args, cudaStream_t stream) {
  const Batch& batch = args.batch;
  const dim3 grid(batch.rows / RowsPerBlock(batch.cols),
                  (batch.count + args.points_per_block - 1) / args.points_per_block, batch.modes);
  const auto choice =
      Choose(batch.cols, args.exit_waves.half, args.exit_waves.data != nullptr, args.kind);
  for (int l = 0; l < batch.object_modes; ++l) {
    Launch(choice, grid, ForObjectMode(args, l), stream);
  }
}

cudaError_t PrepareRowsForward() {
  for (const PointKind kind : kPointKinds) {
    const cudaError_t error = PrepareInstances(
        [kind](int cols, bool half, bool reflect) { return Choose(cols, half, reflect, kind); });
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

}  // namespace ptychoserve::cuda
