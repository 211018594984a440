#include "engine/backend/cuda/fused/kernel_choice.h"
#include "engine/backend/cuda/fused/row_blocks.cuh"
#include "engine/backend/cuda/stored_waves.cuh"

// Third pass: inverse transform along rows, new exit wave, sums over points.
//
// A block has RowsPerBlock(kCols) rows of one group of neighbouring points, two points at a time:
// threads 0..255 one, the rest the other. What the points add to the object is collected in shared
// memory, in the part of the canvas that their rows touch, and goes to device memory once for the
// whole group; what they add to the probe is collected in registers. Within one point no two
// threads of a phase add to the same object pixel, and a barrier parts the phases: the upper
// neighbours of the first point, of the second, and with fractional positions the lower ones.
// A block has one mode of the probe. Grid: (row blocks, groups, modes of the probe), for one mode
// of the object.
namespace ptychoserve::cuda {
namespace {

constexpr int kHalves = 2;
constexpr int kBlockThreads = kHalves * kRowThreads;

template <int kCols>
using Lanes = RowLanes<kCols, float>;

template <int kCols>
__host__ __device__ constexpr int ExchangeBytes() {
  constexpr int kBytes = kBlockThreads / Lanes<kCols>::kLanes * Lanes<kCols>::kGroupPitch *
                         static_cast<int>(sizeof(float));
  static_assert(kBytes >= kRowThreads * kLaneValues * static_cast<int>(sizeof(float2)),
                "The probe sums of one half pass through this memory");
  static_assert(kBytes % 16 == 0);
  return kBytes;
}

template <int kCols>
constexpr int SharedBytes() {
  return ExchangeBytes<kCols>() + kProbeBytes + kWindowPixels * static_cast<int>(sizeof(float2));
}

// Bᵀ along a row: value i becomes (1 - f) of itself and f of its left neighbour, which for lane 0
// is what the last lane holds of value i - 1. Returns what falls to the right of the row's end,
// for the last lane.
template <int kLanes, int (*kPlace)(int)>
__device__ inline float2 SpreadAlongRow(float2 (&x)[kLaneValues], int lane, float frac) {
  const float2 beyond = frac * x[kPlace(kLaneValues - 1)];
  const int source = lane == 0 ? kLanes - 1 : lane - 1;
#pragma unroll
  for (int i = kLaneValues - 1; i >= 0; --i) {
    const float2 own = x[kPlace(i)];
    const float2 before = i > 0 ? x[kPlace(i > 0 ? i - 1 : 0)] : float2{0, 0};
    const float2 given = lane == kLanes - 1 ? before : own;
    const float2 left = {__shfl_sync(0xffffffffu, given.x, source, kLanes),
                         __shfl_sync(0xffffffffu, given.y, source, kLanes)};
    x[kPlace(i)] = (1 - frac) * own + frac * left;
  }
  return beyond;
}

// Tells the second-level cache that nobody needs this row of waves any more, so that it is not
// written to device memory when its place is wanted. All lanes of the row have read it.
template <int kCols, typename Stored>
__device__ inline void DiscardRow(const Stored* row, int lane) {
  constexpr int kLineBytes = 128;
  constexpr int kPerLine = kLineBytes / sizeof(Stored);
  static_assert(kCols / kPerLine <= kCols / kLaneValues, "A lane discards one line at most");
  if (lane >= kCols / kPerLine) return;
  asm volatile("discard.global.L2 [%0], 128;" ::"l"(row + lane * kPerLine) : "memory");
}

template <int kCols, bool kExit, PointKind kKind, bool kHalf>
__global__ void __launch_bounds__(kBlockThreads, 1) RowsInverseKernel(RowsInverseArgs args) {
  using Fft = LaneFft<kCols, Lanes<kCols>>;
  using Stored = StoredWave<kHalf>;
  constexpr int kLanes = Fft::kLanes;
  constexpr bool kSubpixel = kKind != PointKind::kWhole;
  extern __shared__ __align__(16) unsigned char shared[];
  float* const exchange = reinterpret_cast<float*>(shared);
  float4* const probe_slots = reinterpret_cast<float4*>(shared + ExchangeBytes<kCols>());
  float2* const window = reinterpret_cast<float2*>(shared + ExchangeBytes<kCols>() + kProbeBytes);

  const int half = threadIdx.x / kRowThreads, thread = threadIdx.x % kRowThreads;
  const RowPlace<kCols> place(thread);
  const int row = blockIdx.x * RowsPerBlock(kCols) + place.group;
  // Of the waves of one point, and of this block's row among those of the object's mode.
  const std::int64_t point_pixels =
      static_cast<std::int64_t>(args.batch.rows) * kCols * args.batch.waves();
  const std::int64_t at = (static_cast<std::int64_t>(blockIdx.z) * args.batch.rows + row) * kCols;
  const typename Fft::Roots roots = Fft::InverseRoots(place.lane);
  float* const my_exchange = exchange + (threadIdx.x / kLanes) * Lanes<kCols>::kGroupPitch;

  const PointGroup group = args.groups[blockIdx.y];
  const int pitch = WindowPitch(kCols, group.cols);
  const bool sums_object = args.object_sum != nullptr;
  if (half == 0) LoadProbe<kLanes>(args.probe + at, place.lane, thread, probe_slots);
  if (sums_object) {
    for (int i = threadIdx.x; i < group.rows * pitch; i += kBlockThreads) window[i] = {0, 0};
  }
  __syncthreads();

  [[maybe_unused]] float2 probe_sum[kLaneValues] = {};  // Of the gradients only.
  for (int first = 0; first < group.count; first += kHalves) {
    const bool active = first + half < group.count;
    float2 x[kLaneValues];
    DevicePoint point{};
    Bilinear bilinear{};
    float unit = 1;  // Of x.
    if (active) {
      const int j = group.first + first + half;
      point = PointOf(args.batch, j);
      bilinear = BilinearOf(point);
      unit = UnitOf<kHalf>(args.exit_waves.figures, point.slot);
      const Stored* const waves = static_cast<const Stored*>(args.waves) + (j * point_pixels + at);
      const Stored* const wave = waves + Fft::FirstFrequency(place.lane);
#pragma unroll
      for (int k = 0; k < kLaneValues; ++k) x[k] = Widened(__ldcg(wave + k * Fft::kFrequencyStep));
      Fft::Inverse(x, my_exchange, place.lane, roots);
      DiscardRow<kCols>(waves, place.lane);

      const float2* const object = WindowRow(args.canvas, point, row, place.lane);
      Stored* const exit = kExit ? static_cast<Stored*>(args.exit_waves.data) +
                                       (point.slot * point_pixels + at + place.lane)
                                 : nullptr;
      const float model_factor = args.model_factor / unit;
      [[maybe_unused]] const OwnProbe own(args.batch, point.slot);
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
          float2 wave_value = x[Fft::InversePlace(value)];
          if constexpr (kExit) {
            wave_value = wave_value + model_factor * Product(probe, o);
            __stcs(exit + kLanes * value, Narrowed<Stored>(wave_value));
          } else {
            probe_sum[value] = probe_sum[value] + unit * ConjProduct(o, wave_value);
          }
          x[Fft::InversePlace(value)] = ConjProduct(probe, wave_value);
        }
      }
    }
    if (!sums_object) continue;
    float2 beyond{};
    if constexpr (kSubpixel) {
      beyond = SpreadAlongRow<kLanes, Fft::InversePlace>(x, place.lane, point.frac_col);
    }
    float2* const to = window + (point.row - group.row + place.group) * pitch +
                       (point.col - group.col) + place.lane;
    constexpr int kPhases = kSubpixel ? 2 * kHalves : kHalves;
#pragma unroll
    for (int phase = 0; phase < kPhases; ++phase) {
      __syncthreads();
      if (!active || half != phase % kHalves) continue;
      const bool lower = phase >= kHalves;
      const float weight =
          unit * (!kSubpixel ? 1.0f : (lower ? point.frac_row : 1.0f - point.frac_row));
      float2* const line = lower ? to + pitch : to;
#pragma unroll
      for (int i = 0; i < kLaneValues; ++i) {
        line[kLanes * i] = line[kLanes * i] + weight * x[Fft::InversePlace(i)];
      }
      if (kSubpixel && place.lane == kLanes - 1) {
        line[kLanes * (kLaneValues - 1) + 1] =
            line[kLanes * (kLaneValues - 1) + 1] + weight * beyond;
      }
    }
  }

  __syncthreads();
  float2* const second_half = reinterpret_cast<float2*>(exchange);
  if (!kExit && half == 1) {
#pragma unroll
    for (int i = 0; i < kLaneValues; ++i) second_half[i * kRowThreads + thread] = probe_sum[i];
  }
  if (sums_object) {
    const int first_row = group.row - args.canvas.row + blockIdx.x * RowsPerBlock(kCols);
    float2* const corner = args.object_sum +
                           static_cast<std::int64_t>(first_row) * args.canvas.cols +
                           (group.col - args.canvas.col);
    for (int r = threadIdx.x / kWarp; r < group.rows; r += kBlockThreads / kWarp) {
      for (int c = threadIdx.x % kWarp; c < group.cols; c += kWarp) {
        AddShared(corner + static_cast<std::int64_t>(r) * args.canvas.cols + c,
                  window[r * pitch + c]);
      }
    }
  }
  if (kExit || args.probe_sum == nullptr) return;
  __syncthreads();
  if (half != 0) return;
#pragma unroll
  for (int i = 0; i < kLaneValues; ++i) {
    AddShared(args.probe_sum + at + place.lane + kLanes * i,
              probe_sum[i] + second_half[i * kRowThreads + thread]);
  }
}

template <int kCols, bool kHalf>
KernelChoice<RowsInverseArgs> ChooseFor(bool exit, PointKind kind) {
  KernelChoice<RowsInverseArgs> choice;
  choice.threads = kBlockThreads;
  choice.shared_bytes = SharedBytes<kCols>();
  choice.kernel = ForKind(kind, [exit](auto constant) {
    constexpr PointKind kKind = constant();
    return exit ? RowsInverseKernel<kCols, true, kKind, kHalf>
                : RowsInverseKernel<kCols, false, kKind, kHalf>;
  });
  return choice;
}

KernelChoice<RowsInverseArgs> Choose(int cols, bool half, bool exit, PointKind kind) {
  return ForLength(cols, [&](auto length) {
    return half ? ChooseFor<length(), true>(exit, kind) : ChooseFor<length(), false>(exit, kind);
  });
}

}  // namespace

void LaunchRowsInverse(const RowsInverseArgs& args, cudaStream_t stream) {
  const Batch& batch = args.batch;
  const dim3 grid(batch.rows / RowsPerBlock(batch.cols), args.group_count, batch.modes);
  const auto choice =
      Choose(batch.cols, args.exit_waves.half, args.exit_waves.data != nullptr, args.kind);
  for (int l = 0; l < batch.object_modes; ++l) {
    RowsInverseArgs one = ForObjectMode(args, l);
    if (one.object_sum != nullptr) one.object_sum += l * args.canvas.pixels();
    Launch(choice, grid, one, stream);
  }
}

int FusedSharedBytes() {
  int most = 0;
  for (const int cols : kFusedLengths) {
    most = std::max(most, Choose(cols, false, true, PointKind::kVaried).shared_bytes);
  }
  return most;
}

cudaError_t PrepareRowsInverse() {
  for (const PointKind kind : kPointKinds) {
    const cudaError_t error = PrepareInstances(
        [kind](int cols, bool half, bool exit) { return Choose(cols, half, exit, kind); });
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

}  // namespace ptychoserve::cuda
