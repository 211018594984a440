#ifndef PTYCHOSERVE_ENGINE_BACKEND_CPU_LANE_SUMS_H_
#define PTYCHOSERVE_ENGINE_BACKEND_CPU_LANE_SUMS_H_

#include <array>
#include <cstddef>
#include <cstdint>

namespace ptychoserve {

// Σ term(i) for i in [0, n), in double; term gives the addends of `K` sums as array<Real, K>.
//
// A floating-point sum has an order, which keeps the compiler from using vector registers. This
// one is defined as kLanes interleaved partial sums, added up at the end: fast, always the same,
// and more accurate than one long sum.
template <std::size_t K, typename Real, typename Term>
std::array<double, K> LaneSums(std::int64_t n, Term term) {
  constexpr int kLanes = 64;
  double lanes[K][kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    Real terms[K][kLanes];
    for (int lane = 0; lane < kLanes; ++lane) {
      const std::array<Real, K> value = term(i + lane);
      for (std::size_t k = 0; k < K; ++k) terms[k][lane] = value[k];
    }
    for (std::size_t k = 0; k < K; ++k) {
      for (int lane = 0; lane < kLanes; ++lane) lanes[k][lane] += double(terms[k][lane]);
    }
  }
  for (int lane = 0; i < n; ++i, ++lane) {
    const std::array<Real, K> value = term(i);
    for (std::size_t k = 0; k < K; ++k) lanes[k][lane] += double(value[k]);
  }
  std::array<double, K> sums = {};
  for (std::size_t k = 0; k < K; ++k) {
    for (const double lane : lanes[k]) sums[k] += lane;
  }
  return sums;
}

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_BACKEND_CPU_LANE_SUMS_H_
