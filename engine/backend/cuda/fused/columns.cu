#include <cuda_pipeline.h>

#include "engine/algorithms/measurement.h"
#include "engine/backend/cuda/fused/kernel_choice.h"
#include "engine/backend/cuda/fused/lane_fft.cuh"
#include "engine/backend/cuda/fused/passes.h"
#include "engine/backend/cuda/stored_waves.cuh"

// Second pass: transform along columns, comparison with the counts, inverse transform.
//
// A block has kColumnsPerBlock columns of one point's wave: thread = 16 lane + column. The counts
// of these columns travel to shared memory while the waves are transformed.
// Grid: blocks of columns (fastest) of the points, in one dimension.
namespace ptychoserve::cuda {
namespace {

// Waits for this thread's copies to shared memory, too, so that all are there after the barrier.
template <int kRows>
struct Lanes : ColumnLanes<kRows> {
  __device__ static void Synchronise() {
    __pipeline_wait_prior(0);
    __syncthreads();
  }
};

template <int kRows>
__host__ __device__ constexpr int Threads() {
  return kRows / kLaneValues * kColumnsPerBlock;
}
constexpr int kThreadsPerMultiprocessor = 1024;  // At 64 registers each.

template <int kRows>
constexpr int SharedBytes(bool f32) {
  return kRows * kColumnsPerBlock * static_cast<int>(sizeof(float2) + (f32 ? 4 : 2));
}

// Copies 16 bytes to shared memory, asynchronously. They pass through the second-level cache as
// the first to make room: a frame is read once an iteration, the waves are wanted again at once.
__device__ inline void FetchOnce(void* to, const void* from, std::uint64_t policy) {
  asm volatile("cp.async.cg.shared.global.L2::cache_hint [%0], [%1], 16, %2;" ::"r"(
                   static_cast<unsigned>(__cvta_generic_to_shared(to))),
               "l"(from), "l"(policy)
               : "memory");
}

// Starts the copy of this block's part of a frame, [kRows, kColumnsPerBlock], in 16-byte pieces.
template <int kRows, typename Pixel>
__device__ void FetchCounts(const Pixel* frame, int cols, Pixel* to) {
  constexpr int kPerPiece = 16 / sizeof(Pixel);
  constexpr int kPiecesPerRow = kColumnsPerBlock / kPerPiece;
  constexpr int kPieces = kRows * kPiecesPerRow / Threads<kRows>();
  std::uint64_t policy;
  asm("createpolicy.fractional.L2::evict_first.b64 %0;" : "=l"(policy));
#pragma unroll
  for (int i = 0; i < kPieces; ++i) {
    const int piece = i * Threads<kRows>() + threadIdx.x;
    const int row = piece / kPiecesPerRow, col = piece % kPiecesPerRow * kPerPiece;
    FetchOnce(to + row * kColumnsPerBlock + col,
              frame + static_cast<std::int64_t>(row) * cols + col, policy);
  }
  __pipeline_commit();
}

// The GPU's approximate roots and quotients: relative error 2e-7, and no detours for numbers below
// 1e-38, which become 0.
__device__ inline float FastSqrt(float value) {
  float root;
  asm("sqrt.approx.ftz.f32 %0, %1;" : "=f"(root) : "f"(value));
  return root;
}
__device__ inline float FastInverseSqrt(float value) {
  float root;
  asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(root) : "f"(value));
  return root;
}
__device__ inline float FastQuotient(float numerator, float denominator) {
  float inverse;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(inverse) : "f"(denominator));
  return numerator * inverse;
}

// A measured pixel.
struct Measured {
  float counts;  // Of no meaning where untrusted, but finite.
  bool trusted;

  __device__ explicit Measured(std::uint16_t stored)
      : counts(stored), trusted(stored != kUnmeasuredPixel) {}
  __device__ explicit Measured(float stored)
      : counts(IsTrusted(stored) ? stored : 0.0f), trusted(IsTrusted(stored)) {}
};

// Keeps the quotient √I / |T| finite where T vanishes, and with it any product with T.
constexpr float kSmallestIntensity = 1e-30f;

// What a pixel says to the modulus: √I / |T|, 1 where it is untrusted, and |T|² (not 0).
struct Comparison {
  float ratio;
  float intensity;

  __device__ Comparison(const Measured& measured, float wave_intensity)
      : intensity(fmaxf(wave_intensity, kSmallestIntensity)) {
    const float quotient = FastSqrt(measured.counts) * FastInverseSqrt(intensity);
    ratio = measured.trusted ? quotient : 1.0f;
  }
  // (|T| - √I)²
  __device__ float SquaredDeviation() const {
    const float d = 1.0f - ratio;
    return intensity * d * d;
  }
};

__device__ inline void AddFit(const Comparison& comparison, ColumnSums& sums) {
  const float squared = comparison.SquaredDeviation();
  sums.first += squared;
  sums.second += FastSqrt(squared);
}

// The factor on one pixel, as the functions of engine/algorithms define it, and what it adds to
// the sums.
template <ColumnRule kRule>
class Factor {
 public:
  __device__ Factor(const ColumnsArgs& args, std::int64_t slot) {
    if constexpr (kRule == ColumnRule::kModulus) {
      // β (kept + (1 - kept) ratio) - 1
      const float kept = args.kept_deviation[slot];
      constant_ = args.scale * fmaf(args.beta, kept, -1.0f);
      slope_ = args.scale * args.beta * (1.0f - kept);
    } else {
      constant_ = args.epsilon;
      slope_ = args.scale;
      max_gradient_ = args.max_gradient;
    }
  }

  __device__ float operator()(const Measured& measured, float intensity, ColumnSums& sums) const {
    if constexpr (kRule == ColumnRule::kModulus) {
      const Comparison comparison(measured, intensity);
      sums.first += comparison.SquaredDeviation();
      return fmaf(slope_, comparison.ratio, constant_);
    }
    if constexpr (kRule == ColumnRule::kPoisson) {
      float g =
          fminf(FastQuotient(measured.counts - intensity, intensity + constant_), max_gradient_);
      g = measured.trusted ? g : 0.0f;
      const float g2 = g * g;
      sums.first = fmaf(g2, intensity, sums.first);
      sums.second = fmaf(g2, intensity + measured.counts, sums.second);
      return slope_ * g;
    }
    const float amplitude = FastSqrt(intensity);
    const float missing = measured.trusted ? FastSqrt(measured.counts) - amplitude : 0.0f;
    const float g = fminf(FastQuotient(missing, amplitude + constant_), max_gradient_);
    sums.first = fmaf(g * amplitude, missing, sums.first);
    sums.second = fmaf(g * g, intensity, sums.second);
    return slope_ * g;
  }

 private:
  float constant_, slope_, max_gradient_ = 0;
};

// The sum of each warp into `by_warp`.
template <ColumnRule kRule>
__device__ inline void StoreWarpSum(ColumnSums sums, ColumnSums* by_warp) {
#pragma unroll
  for (int offset = kWarp / 2; offset > 0; offset /= 2) {
    sums.first += __shfl_down_sync(0xffffffffu, sums.first, offset);
    if (kRule != ColumnRule::kModulus) {
      sums.second += __shfl_down_sync(0xffffffffu, sums.second, offset);
    }
  }
  if (threadIdx.x % kWarp == 0) by_warp[threadIdx.x / kWarp] = sums;
}

// Square frames have a kernel of their own: with the distance of rows known, addresses cost
// nothing.
template <int kRows, bool kSquare, bool kHalf, ColumnRule kRule, typename Pixel>
__global__ void __launch_bounds__(Threads<kRows>(), kThreadsPerMultiprocessor / Threads<kRows>())
    ColumnsKernel(ColumnsArgs args) {
  using Fft = LaneFft<kRows, Lanes<kRows>>;
  using Stored = StoredWave<kHalf>;
  constexpr int kWarps = Threads<kRows>() / kWarp;
  extern __shared__ __align__(16) unsigned char shared[];
  float2* const exchange = reinterpret_cast<float2*>(shared);
  Pixel* const counts = reinterpret_cast<Pixel*>(exchange + kRows * kColumnsPerBlock);
  __shared__ ColumnSums by_warp[kWarps];

  const int cols = kSquare ? kRows : args.batch.cols;
  const int blocks = cols / kColumnsPerBlock;
  const int j = blockIdx.x / blocks;
  const int first_col = (blockIdx.x - j * blocks) * kColumnsPerBlock;
  const int col = threadIdx.x % kColumnsPerBlock, lane = threadIdx.x / kColumnsPerBlock;
  const std::int64_t frame_pixels = static_cast<std::int64_t>(kRows) * cols;
  const std::int64_t slot = args.batch.points[j].slot;

  FetchCounts<kRows>(
      static_cast<const Pixel*>(args.frames.pixels) + slot * frame_pixels + first_col, cols,
      counts);
  float2 x[kLaneValues];
  Stored* wave =
      static_cast<Stored*>(args.waves) + (j * frame_pixels + lane * cols + first_col + col);
#pragma unroll
  for (int i = 0; i < kLaneValues; ++i) x[i] = Widened(__ldcg(wave + i * Fft::kLanes * cols));
  Fft::Forward(x, exchange + col, lane, Fft::ForwardRoots(lane));

  const Pixel* const my_counts = counts + Fft::FirstFrequency(lane) * kColumnsPerBlock + col;
  ColumnSums sums{};
  float2 y[kLaneValues];
  [[maybe_unused]] const Factor<kRule> factor(args, slot);
  const float unit = UnitOf<kHalf>(args.figures, slot);
  const float unit_power = unit * unit;
#pragma unroll
  for (int k = 0; k < kLaneValues; ++k) {
    const float2 value = x[Fft::ForwardPlace(k)];
    const Measured measured(my_counts[k * Fft::kFrequencyStep * kColumnsPerBlock]);
    if constexpr (kRule == ColumnRule::kFit) {
      AddFit(Comparison(measured, unit_power * Norm(value)), sums);
    } else {
      y[k] = factor(measured, unit_power * Norm(value), sums) * value;
    }
  }
  StoreWarpSum<kRule>(sums, by_warp);
  if constexpr (kRule == ColumnRule::kFit) {
    __syncthreads();
  } else {
    Fft::Inverse(y, exchange + col, lane, Fft::InverseRoots(lane));
    // The addresses are made anew: kept since the loads, they would take half the registers.
    int step = Fft::kLanes * cols;
    asm volatile("" : "+l"(wave), "+r"(step));
#pragma unroll
    for (int i = 0; i < kLaneValues; ++i) {
      __stcg(wave + i * step, Narrowed<Stored>(y[Fft::InversePlace(i)]));
    }
  }
  if (threadIdx.x != 0) return;  // What all warps have stored: a barrier has passed since.
  ColumnSums total{};
  for (const ColumnSums& one : by_warp) {
    total.first += one.first;
    total.second += one.second;
  }
  args.sums[blockIdx.x] = total;
}

template <int kRows, bool kSquare, bool kHalf, typename Pixel>
auto KernelFor(ColumnRule rule) {
  switch (rule) {
    case ColumnRule::kModulus:
      return ColumnsKernel<kRows, kSquare, kHalf, ColumnRule::kModulus, Pixel>;
    case ColumnRule::kPoisson:
      return ColumnsKernel<kRows, kSquare, kHalf, ColumnRule::kPoisson, Pixel>;
    case ColumnRule::kGaussian:
      return ColumnsKernel<kRows, kSquare, kHalf, ColumnRule::kGaussian, Pixel>;
    default:
      return ColumnsKernel<kRows, kSquare, kHalf, ColumnRule::kFit, Pixel>;
  }
}

template <int kRows, bool kHalf, typename Pixel>
KernelChoice<ColumnsArgs> ChooseFor(ColumnRule rule, bool square) {
  KernelChoice<ColumnsArgs> choice;
  choice.kernel = square ? KernelFor<kRows, true, kHalf, Pixel>(rule)
                         : KernelFor<kRows, false, kHalf, Pixel>(rule);
  choice.threads = Threads<kRows>();
  choice.shared_bytes = SharedBytes<kRows>(sizeof(Pixel) == 4);
  choice.blocks_per_multiprocessor = kThreadsPerMultiprocessor / choice.threads;
  return choice;
}

template <bool kHalf>
KernelChoice<ColumnsArgs> ChooseFor(int rows, ColumnRule rule, bool f32, bool square) {
  return ForLength(rows, [&](auto length) {
    constexpr int kRows = length();
    return f32 ? ChooseFor<kRows, kHalf, float>(rule, square)
               : ChooseFor<kRows, kHalf, std::uint16_t>(rule, square);
  });
}

KernelChoice<ColumnsArgs> Choose(int rows, ColumnRule rule, bool half, bool f32, bool square) {
  return half ? ChooseFor<true>(rows, rule, f32, square)
              : ChooseFor<false>(rows, rule, f32, square);
}

}  // namespace

void LaunchColumns(const ColumnsArgs& args, cudaStream_t stream) {
  const Batch& batch = args.batch;
  Launch(Choose(batch.rows, args.rule, args.half, args.frames.is_f32, batch.rows == batch.cols),
         dim3(batch.count * (batch.cols / kColumnsPerBlock)), args, stream);
}

cudaError_t PrepareColumns() {
  for (const ColumnRule rule :
       {ColumnRule::kModulus, ColumnRule::kPoisson, ColumnRule::kGaussian, ColumnRule::kFit}) {
    const cudaError_t error = PrepareInstances([rule](int rows, bool half, bool f32, bool square) {
      return Choose(rows, rule, half, f32, square);
    });
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

}  // namespace ptychoserve::cuda
