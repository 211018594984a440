#ifndef PTYCHOSERVE_ENGINE_BACKEND_CUDA_FUSED_LANE_FFT_CUH_
#define PTYCHOSERVE_ENGINE_BACKEND_CUDA_FUSED_LANE_FFT_CUH_

#include "engine/backend/cuda/device_math.cuh"

// Fourier transforms of 64, 128, 256 or 512 points held in registers: 16 complex values in each of
// kLanes = length / 16 threads, which exchange them once through shared memory. Unnormalised.
//
// Spatial order: lane t holds the samples t + kLanes j in value j, j = 0..15.
// Spectral order: lane t holds FirstFrequency(t) + k kFrequencyStep in value k, k = 0..15.
//
// With n = t + T j and k = k1 + 16 k2 (T = kLanes, L = 16 T):
//
//   X[k1 + 16 k2] = Σ_t w_T^(t k2) [ w_L^(t k1) Σ_j w_16^(j k1) x[t + T j] ]
//
// so that a thread transforms over j, turns by w_L^(t k1), hands k1 to its new owner, and the
// owner transforms over t. For T <= 16 an owner has 16 / T values of k1, all in one thread, and
// the spectral order equals the spatial one. For T = 32 two threads share a k1; each takes every
// second t, and one butterfly between the two joins them. The inverse of that case runs the same
// steps backwards.
//
// How the exchange finds its place in shared memory and what a "lane" is differs between rows and
// columns: see RowLanes and ColumnLanes.
namespace ptychoserve::cuda {

inline constexpr int kLaneValues = 16;

enum class Direction { kForward = -1, kInverse = 1 };

// (cos, sin) of the angle, sin with the sign of the direction.
template <Direction kDirection>
__device__ inline float2 Rotated(float2 v, float cosine, float sine) {
  const float s = kDirection == Direction::kForward ? -sine : sine;
  return {fmaf(v.x, cosine, -v.y * s), fmaf(v.y, cosine, v.x * s)};
}

// v * exp(±2πi m / 16); m is a constant once loops are unrolled.
template <Direction kDirection>
__device__ inline float2 TurnedBySixteenths(float2 v, int m) {
  constexpr float kCos1 = 0.92387953251128675613f, kSin1 = 0.38268343236508977173f;
  constexpr float kHalfRoot = 0.70710678118654752440f;
  constexpr bool kForward = kDirection == Direction::kForward;
  switch (m) {
    case 1:
      return Rotated<kDirection>(v, kCos1, kSin1);
    case 2:
      return kForward ? float2{kHalfRoot * (v.x + v.y), kHalfRoot * (v.y - v.x)}
                      : float2{kHalfRoot * (v.x - v.y), kHalfRoot * (v.y + v.x)};
    case 3:
      return Rotated<kDirection>(v, kSin1, kCos1);
    case 4:
      return kForward ? float2{v.y, -v.x} : float2{-v.y, v.x};
    case 6:
      return kForward ? float2{kHalfRoot * (v.y - v.x), -kHalfRoot * (v.x + v.y)}
                      : float2{-kHalfRoot * (v.x + v.y), kHalfRoot * (v.x - v.y)};
    case 9:
      return Rotated<kDirection>(v, -kCos1, -kSin1);
    default:
      return v;
  }
}

template <Direction kDirection>
__device__ inline void Dft4(float2& a, float2& b, float2& c, float2& d) {
  const float2 t0 = a + c, t1 = a - c, t2 = b + d, u = b - d;
  const float2 t3 = kDirection == Direction::kForward ? float2{u.y, -u.x} : float2{-u.y, u.x};
  a = t0 + t2;
  c = t0 - t2;
  b = t1 + t3;
  d = t1 - t3;
}

// Where Dft16 leaves frequency k.
__host__ __device__ constexpr int Place16(int k) { return ((k & 3) << 2) | (k >> 2); }

template <Direction kDirection>
__device__ inline void Dft16(float2 (&x)[16]) {
#pragma unroll
  for (int b = 0; b < 4; ++b) Dft4<kDirection>(x[b], x[4 + b], x[8 + b], x[12 + b]);
#pragma unroll
  for (int c = 1; c < 4; ++c) {
#pragma unroll
    for (int b = 1; b < 4; ++b) x[4 * c + b] = TurnedBySixteenths<kDirection>(x[4 * c + b], b * c);
  }
#pragma unroll
  for (int c = 0; c < 4; ++c) {
    Dft4<kDirection>(x[4 * c], x[4 * c + 1], x[4 * c + 2], x[4 * c + 3]);
  }
}

// Where Dft8 leaves frequency k.
__host__ __device__ constexpr int Place8(int k) { return k < 4 ? 2 * k : 2 * (k - 4) + 1; }

// Of x[0..7].
template <Direction kDirection>
__device__ inline void Dft8(float2* x) {
  Dft4<kDirection>(x[0], x[2], x[4], x[6]);
  Dft4<kDirection>(x[1], x[3], x[5], x[7]);
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    const float2 odd = TurnedBySixteenths<kDirection>(x[2 * k + 1], 2 * k);
    x[2 * k + 1] = x[2 * k] - odd;
    x[2 * k] = x[2 * k] + odd;
  }
}

// Keeps the compiler from computing what depends on `w` before this point and holding it in
// registers all along.
__device__ inline void Forget(float2& w) { asm volatile("" : "+f"(w.x), "+f"(w.y)); }

// Multiplies value k, at x[kPlace(k)], by w^k, with the powers made on the way. `w` is
// exp(-2πi ..); the inverse takes its conjugate.
template <Direction kDirection, int (*kPlace)(int)>
__device__ inline void Twiddle(float2 (&x)[16], float2 w) {
  Forget(w);
  if (kDirection == Direction::kInverse) w.y = -w.y;
  const float2 w2 = Product(w, w);
  const float2 w3 = Product(w2, w);
  const float2 w4 = Product(w2, w2);
  x[kPlace(1)] = Product(x[kPlace(1)], w);
  x[kPlace(2)] = Product(x[kPlace(2)], w2);
  x[kPlace(3)] = Product(x[kPlace(3)], w3);
  float2 q = w4;
#pragma unroll
  for (int a = 4; a < 16; a += 4) {
    x[kPlace(a)] = Product(x[kPlace(a)], q);
    x[kPlace(a + 1)] = Product(x[kPlace(a + 1)], Product(q, w));
    x[kPlace(a + 2)] = Product(x[kPlace(a + 2)], Product(q, w2));
    x[kPlace(a + 3)] = Product(x[kPlace(a + 3)], Product(q, w3));
    if (a < 12) q = Product(q, w4);
  }
}

// exp(-2πi part / whole)
__device__ inline float2 UnitRoot(int part, int whole) {
  float sine, cosine;
  sincospif(-2.0f * static_cast<float>(part) / static_cast<float>(whole), &sine, &cosine);
  return {cosine, sine};
}

// Lanes along a row: consecutive threads of a warp, which need no more than __syncwarp. Shared
// memory: kGroupPitch elements of T (float2, or float to exchange one component after the other)
// for each group of kLanes threads. With these pitches the accesses of a warp fall into different
// banks.
template <int kLength, typename T>
struct RowLanes {
  using Element = T;
  static constexpr int kLanes = kLength / kLaneValues;
  static constexpr int kPitch = kLanes == 32 ? (sizeof(T) == 4 ? 34 : 33) : kLanes + 1;
  static constexpr int kGroupPitch = kLanes == 4 ? 84 : (kLanes == 8 ? 152 : kLaneValues * kPitch);

  // With 32 lanes: the k1 that lane t shares, and its half.
  __device__ static int OwnedOf(int t) { return t & 15; }
  __device__ static int HalfOf(int t) { return t >> 4; }
  static constexpr int kStrideK1 = kPitch, kStrideT = 1;  // Of the element (k1, t) in the memory.
  __device__ static void Synchronise() { __syncwarp(); }
  // The memory may still be read from when a transform begins.
  static constexpr bool kFreshMemory = false;
};

// Lanes along a column: a block of 16 columns, thread = 16 lane + column. Shared memory: 16 kLength
// elements, which must not be in use when Forward begins; transforms get the address of the
// thread's column.
template <int kLength>
struct ColumnLanes {
  using Element = float2;
  static constexpr int kLanes = kLength / kLaneValues;

  __device__ static int OwnedOf(int t) { return kLanes == 32 ? t >> 1 : t; }
  __device__ static int HalfOf(int t) { return t & 1; }  // Partners are in one warp.
  static constexpr int kStrideK1 = 16 * kLanes, kStrideT = 16;
  __device__ static void Synchronise() { __syncthreads(); }
  static constexpr bool kFreshMemory = true;
};

template <int kLength, typename Lanes>
class LaneFft {
 public:
  static constexpr int kLanes = kLength / kLaneValues;
  static_assert(kLanes == 4 || kLanes == 8 || kLanes == 16 || kLanes == 32);

  // What the transforms of a lane turn by.
  struct Roots {
    float2 lane;  // exp(-2πi t / L)
    float2 half;  // With kShared: exp(-2πi h / 32)
    float2 turn;  // With kShared, inverse: exp(-2πi k1 h / 512)
    float sign;   // With kShared: 1, or -1 for h = 1.
  };
  __device__ static Roots ForwardRoots(int t) {
    Roots roots{UnitRoot(t, kLength), {}, {}, 1.0f};
    if constexpr (kShared) {
      roots.half = UnitRoot(Lanes::HalfOf(t), 32);
      roots.sign = Lanes::HalfOf(t) == 0 ? 1.0f : -1.0f;
    }
    return roots;
  }
  __device__ static Roots InverseRoots(int t) {
    Roots roots = ForwardRoots(t);
    if constexpr (kShared) {
      roots.lane = UnitRoot(Lanes::OwnedOf(t), 256);
      roots.turn = UnitRoot(Lanes::OwnedOf(t) * Lanes::HalfOf(t), 512);
    }
    return roots;
  }

  // The frequency of value 0 of lane t; that of value k is k kFrequencyStep higher.
  __device__ static int FirstFrequency(int t) {
    return kShared ? Lanes::OwnedOf(t) + 256 * Lanes::HalfOf(t) : t;
  }
  static constexpr int kFrequencyStep = kLanes == 32 ? 16 : kLanes;
  // Where Forward leaves value k.
  __host__ __device__ static constexpr int ForwardPlace(int k) {
    return kLanes == 8 ? 8 * (k & 1) + Place8(k >> 1) : Place16(k);
  }
  // Where Inverse leaves value j.
  __host__ __device__ static constexpr int InversePlace(int j) { return ForwardPlace(j); }

  // In: value j at x[j]. Out: value k at x[ForwardPlace(k)].
  __device__ static void Forward(float2 (&x)[16], typename Lanes::Element* memory, int t,
                                 const Roots& roots) {
    Transform<Direction::kForward, !Lanes::kFreshMemory>(x, memory, t, roots);
  }

  // In: value k at x[k]. Out: value j at x[InversePlace(j)]. On fresh memory it must follow
  // Forward.
  __device__ static void Inverse(float2 (&x)[16], typename Lanes::Element* memory, int t,
                                 const Roots& roots) {
    constexpr Direction kInverse = Direction::kInverse;
    if constexpr (kLanes < 16) {
      Transform<kInverse, true>(x, memory, t, roots);
    } else {
      // The steps of Forward in reverse order; each thread writes where it has read.
      if constexpr (kShared) {
        JoinHalves(x, roots.sign);
        Twiddle<kInverse, SamePlace>(x, roots.half);
      }
      Dft16<kInverse>(x);
      if constexpr (kShared) {
#pragma unroll
        for (int i = 0; i < 16; ++i) x[i] = ConjProduct(roots.turn, x[i]);
      }
      Twiddle<kInverse, Place16>(x, roots.lane);
      Exchange<!Lanes::kFreshMemory, OwnedOffset, GivenOffset>(x, memory + OwnedPlace(t),
                                                               memory + GivenPlace(t));
      Dft16<kInverse>(x);
    }
  }

 private:
  static constexpr bool kShared = kLanes == 32;  // Two lanes share a k1.

  __host__ __device__ static constexpr int SamePlace(int k) { return k; }

  // Elements are (k1, t). Lane t gives (i, t), and owns those of its k1; their places are that of
  // the first and an offset known to the compiler, which the addresses of instructions take in.
  __device__ static int GivenPlace(int t) { return t * Lanes::kStrideT; }
  __host__ __device__ static constexpr int GivenOffset(int i) { return i * Lanes::kStrideK1; }
  __device__ static int OwnedPlace(int t) {
    if constexpr (kShared) {
      return Lanes::OwnedOf(t) * Lanes::kStrideK1 + Lanes::HalfOf(t) * Lanes::kStrideT;
    }
    return t * Lanes::kStrideK1;
  }
  __host__ __device__ static constexpr int OwnedOffset(int i) {
    return kShared ? 2 * i * Lanes::kStrideT
                   : i / kLanes * kLanes * Lanes::kStrideK1 + i % kLanes * Lanes::kStrideT;
  }

  template <Direction kDirection, bool kInUse>
  __device__ static void Transform(float2 (&x)[16], typename Lanes::Element* memory, int t,
                                   const Roots& roots) {
    Dft16<kDirection>(x);
    Twiddle<kDirection, Place16>(x, roots.lane);
    Exchange<kInUse, GivenOffset, OwnedOffset>(x, memory + GivenPlace(t), memory + OwnedPlace(t));
    if constexpr (kLanes == 4) {
#pragma unroll
      for (int a = 0; a < 16; a += 4) Dft4<kDirection>(x[a], x[a + 1], x[a + 2], x[a + 3]);
    } else if constexpr (kLanes == 8) {
      Dft8<kDirection>(x);
      Dft8<kDirection>(x + 8);
    } else {
      Dft16<kDirection>(x);
    }
    if constexpr (kShared) {
      Twiddle<kDirection, Place16>(x, roots.half);
      JoinHalves(x, roots.sign);
    }
  }

  // Value i goes from x[Place16(i)] to to[kTo(i)], and what is at from[kFrom(i)] to x[i].
  template <bool kInUse, int (*kTo)(int), int (*kFrom)(int)>
  __device__ static void Exchange(float2 (&x)[16], float2* to, const float2* from) {
    if constexpr (kInUse) Lanes::Synchronise();
#pragma unroll
    for (int i = 0; i < 16; ++i) to[kTo(i)] = x[Place16(i)];
    Lanes::Synchronise();
#pragma unroll
    for (int i = 0; i < 16; ++i) x[i] = from[kFrom(i)];
  }
  template <bool kInUse, int (*kTo)(int), int (*kFrom)(int)>
  __device__ static void Exchange(float2 (&x)[16], float* to, const float* from) {
    float re[16];
    if constexpr (kInUse) Lanes::Synchronise();
#pragma unroll
    for (int i = 0; i < 16; ++i) to[kTo(i)] = x[Place16(i)].x;
    Lanes::Synchronise();
#pragma unroll
    for (int i = 0; i < 16; ++i) re[i] = from[kFrom(i)];
    Lanes::Synchronise();
#pragma unroll
    for (int i = 0; i < 16; ++i) to[kTo(i)] = x[Place16(i)].y;
    Lanes::Synchronise();
#pragma unroll
    for (int i = 0; i < 16; ++i) x[i] = {re[i], from[kFrom(i)]};
  }

  // Each lane's values plus or minus its partner's: the last butterfly, which two lanes share.
  __device__ static void JoinHalves(float2 (&x)[16], float sign) {
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      const float2 other = {__shfl_xor_sync(0xffffffffu, x[i].x, 16),
                            __shfl_xor_sync(0xffffffffu, x[i].y, 16)};
      x[i] = {fmaf(sign, x[i].x, other.x), fmaf(sign, x[i].y, other.y)};
    }
  }
};

}  // namespace ptychoserve::cuda

#endif  // PTYCHOSERVE_ENGINE_BACKEND_CUDA_FUSED_LANE_FFT_CUH_
