#include <cuda_pipeline.h>

#include "engine/algorithms/measurement.h"
#include "engine/backend/cuda/fused/kernel_choice.h"
#include "engine/backend/cuda/fused/lane_fft.cuh"
#include "engine/backend/cuda/fused/passes.h"
#include "engine/backend/cuda/stored_waves.cuh"

// Second pass: transform along columns, comparison with the counts, inverse transform.
//
// A block has kColumnsPerBlock columns of one point's waves: thread = 16 lane + column. The counts
// of these columns travel to shared memory while the waves are transformed.
//
// With several waves of a point the factor needs the sum of all their intensities first. The
// transforms do not fit into a block's memory until then; all but the last one's are made again,
// which costs less than to store them.
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
// At 64 registers each, or 80 where sums over modes are kept as well.
constexpr int ThreadsPerMultiprocessor(bool modes) { return modes ? 768 : 1024; }
template <int kRows>
constexpr int BlocksPerMultiprocessor(bool modes) {
  return ThreadsPerMultiprocessor(modes) / Threads<kRows>();
}

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
      // modulus (kept + (1 - kept) ratio) + trial
      const float kept = args.kept_deviation[slot];
      constant_ = args.scale * fmaf(args.modulus, kept, args.trial);
      slope_ = args.scale * args.modulus * (1.0f - kept);
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

// One mode of a point's waves, in the columns of a thread.
template <int kRows, bool kHalf>
class Column {
 public:
  using Fft = LaneFft<kRows, Lanes<kRows>>;
  using Stored = StoredWave<kHalf>;

  // `first`: value 0 of this thread.
  __device__ Column(void* waves, std::int64_t first, int cols)
      : first_(static_cast<Stored*>(waves) + first), step_(Fft::kLanes * cols) {}

  // The transform of mode `m`. The exchange must not be in use.
  __device__ void Forward(float2 (&x)[kLaneValues], std::int64_t mode, float2* exchange,
                          int lane) const {
    const Stored* const wave = first_ + mode;
#pragma unroll
    for (int i = 0; i < kLaneValues; ++i) x[i] = Widened(__ldcg(wave + i * step_));
    Fft::Forward(x, exchange, lane, Fft::ForwardRoots(lane));
  }

  // Stores the inverse transform of `y`. Follows Forward.
  __device__ void Inverse(float2 (&y)[kLaneValues], std::int64_t mode, float2* exchange, int lane) {
    Fft::Inverse(y, exchange, lane, Fft::InverseRoots(lane));
    // The addresses are made anew: kept since the loads, they would take half the registers.
    asm volatile("" : "+l"(first_), "+r"(step_));
    Stored* const wave = first_ + mode;
#pragma unroll
    for (int i = 0; i < kLaneValues; ++i) {
      __stcg(wave + i * step_, Narrowed<Stored>(y[Fft::InversePlace(i)]));
    }
  }

 private:
  Stored* first_;
  int step_;
};

// Frames that are square, and have one wave, have a kernel of their own: with the distance of rows
// known, addresses cost nothing. The one for several modes also adds a background, which is like
// one mode more.
template <int kRows, bool kSquare, bool kModes, bool kHalf, ColumnRule kRule, typename Pixel>
__global__ void __launch_bounds__(Threads<kRows>(), BlocksPerMultiprocessor<kRows>(kModes))
    ColumnsKernel(ColumnsArgs args) {
  using Fft = LaneFft<kRows, Lanes<kRows>>;
  constexpr int kWarps = Threads<kRows>() / kWarp;
  extern __shared__ __align__(16) unsigned char shared[];
  float2* const exchange = reinterpret_cast<float2*>(shared);
  Pixel* const counts = reinterpret_cast<Pixel*>(exchange + kRows * kColumnsPerBlock);
  __shared__ ColumnSums by_warp[kWarps];

  const int modes = kModes ? args.batch.waves() : 1;
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
  Column<kRows, kHalf> column(args.waves, j * modes * frame_pixels + lane * cols + first_col + col,
                              cols);
  float2 x[kLaneValues];
  [[maybe_unused]] float by_pixel[kLaneValues] = {};  // Σ |T|² over modes, then the factor.
  if constexpr (kModes) {
    for (int m = 0; m < modes; ++m) {
      if (m > 0) __syncthreads();  // The exchange has been read.
      column.Forward(x, m * frame_pixels, exchange + col, lane);
#pragma unroll
      for (int k = 0; k < kLaneValues; ++k) by_pixel[k] += Norm(x[Fft::ForwardPlace(k)]);
    }
  } else {
    column.Forward(x, 0, exchange + col, lane);
  }

  const Pixel* const my_counts = counts + Fft::FirstFrequency(lane) * kColumnsPerBlock + col;
  ColumnSums sums{};
  float2 y[kLaneValues];
  [[maybe_unused]] const Factor<kRule> factor(args, slot);
  const float unit = UnitOf<kHalf>(args.figures, slot);
  const float power = unit * unit * __ldg(&args.batch.points[j].intensity);
  [[maybe_unused]] const float* const background = args.batch.background;
  [[maybe_unused]] const int my_pixel = Fft::FirstFrequency(lane) * cols + first_col + col;
#pragma unroll
  for (int k = 0; k < kLaneValues; ++k) {
    const float2 value = x[Fft::ForwardPlace(k)];
    const Measured measured(my_counts[k * Fft::kFrequencyStep * kColumnsPerBlock]);
    float intensity = power * (kModes ? by_pixel[k] : Norm(value));
    if constexpr (kModes) {
      if (background != nullptr) {
        intensity += __ldg(background + my_pixel + k * Fft::kFrequencyStep * cols);
      }
    }
    if constexpr (kRule == ColumnRule::kFit) {
      AddFit(Comparison(measured, intensity), sums);
    } else if constexpr (kModes) {
      by_pixel[k] = factor(measured, intensity, sums);
    } else {
      y[k] = factor(measured, intensity, sums) * value;
    }
  }
  StoreWarpSum<kRule>(sums, by_warp);
  if constexpr (kRule == ColumnRule::kFit) {
    __syncthreads();
  } else if constexpr (kModes) {
    for (int m = modes - 1;; --m) {
#pragma unroll
      for (int k = 0; k < kLaneValues; ++k) y[k] = by_pixel[k] * x[Fft::ForwardPlace(k)];
      column.Inverse(y, m * frame_pixels, exchange + col, lane);
      if (m == 0) break;
      __syncthreads();
      column.Forward(x, (m - 1) * frame_pixels, exchange + col, lane);
    }
  } else {
    column.Inverse(y, 0, exchange + col, lane);
  }
  if (threadIdx.x != 0) return;  // What all warps have stored: a barrier has passed since.
  ColumnSums total{};
  for (const ColumnSums& one : by_warp) {
    total.first += one.first;
    total.second += one.second;
  }
  args.sums[blockIdx.x] = total;
}

enum class Kind { kSquare, kRectangle, kModes };

template <int kRows, Kind kKind, bool kHalf, typename Pixel>
auto KernelFor(ColumnRule rule) {
  constexpr bool kSquare = kKind == Kind::kSquare, kModes = kKind == Kind::kModes;
  switch (rule) {
    case ColumnRule::kModulus:
      return ColumnsKernel<kRows, kSquare, kModes, kHalf, ColumnRule::kModulus, Pixel>;
    case ColumnRule::kPoisson:
      return ColumnsKernel<kRows, kSquare, kModes, kHalf, ColumnRule::kPoisson, Pixel>;
    case ColumnRule::kGaussian:
      return ColumnsKernel<kRows, kSquare, kModes, kHalf, ColumnRule::kGaussian, Pixel>;
    default:
      return ColumnsKernel<kRows, kSquare, kModes, kHalf, ColumnRule::kFit, Pixel>;
  }
}

template <int kRows, bool kHalf, typename Pixel>
KernelChoice<ColumnsArgs> ChooseFor(ColumnRule rule, Kind kind) {
  KernelChoice<ColumnsArgs> choice;
  choice.kernel = kind == Kind::kSquare ? KernelFor<kRows, Kind::kSquare, kHalf, Pixel>(rule)
                  : kind == Kind::kRectangle
                      ? KernelFor<kRows, Kind::kRectangle, kHalf, Pixel>(rule)
                      : KernelFor<kRows, Kind::kModes, kHalf, Pixel>(rule);
  choice.threads = Threads<kRows>();
  choice.shared_bytes = SharedBytes<kRows>(sizeof(Pixel) == 4);
  choice.blocks_per_multiprocessor = BlocksPerMultiprocessor<kRows>(kind == Kind::kModes);
  return choice;
}

template <bool kHalf>
KernelChoice<ColumnsArgs> ChooseFor(int rows, ColumnRule rule, bool f32, Kind kind) {
  return ForLength(rows, [&](auto length) {
    constexpr int kRows = length();
    return f32 ? ChooseFor<kRows, kHalf, float>(rule, kind)
               : ChooseFor<kRows, kHalf, std::uint16_t>(rule, kind);
  });
}

KernelChoice<ColumnsArgs> Choose(int rows, ColumnRule rule, Kind kind, bool half, bool f32) {
  return half ? ChooseFor<true>(rows, rule, f32, kind) : ChooseFor<false>(rows, rule, f32, kind);
}

}  // namespace

void LaunchColumns(const ColumnsArgs& args, cudaStream_t stream) {
  const Batch& batch = args.batch;
  const Kind kind = batch.waves() > 1 || batch.background != nullptr ? Kind::kModes
                    : batch.rows == batch.cols                       ? Kind::kSquare
                                                                     : Kind::kRectangle;
  Launch(Choose(batch.rows, args.rule, kind, args.half, args.frames.is_f32),
         dim3(batch.count * (batch.cols / kColumnsPerBlock)), args, stream);
}

cudaError_t PrepareColumns() {
  for (const ColumnRule rule :
       {ColumnRule::kModulus, ColumnRule::kPoisson, ColumnRule::kGaussian, ColumnRule::kFit}) {
    for (const Kind kind : {Kind::kSquare, Kind::kRectangle, Kind::kModes}) {
      const cudaError_t error = PrepareInstances(
          [&](int rows, bool half, bool f32) { return Choose(rows, rule, kind, half, f32); });
      if (error != cudaSuccess) return error;
    }
  }
  return cudaSuccess;
}

}  // namespace ptychoserve::cuda
