#ifndef PTYCHOSERVE_ENGINE_SIMULATION_RANDOM_H_
#define PTYCHOSERVE_ENGINE_SIMULATION_RANDOM_H_

#include <array>
#include <cstdint>

namespace ptychoserve {

// xoshiro256++ 1.0 (Blackman and Vigna, 2021), seeded through SplitMix64 by a seed and the number
// of a stream: streams are independent, so that work can be done in any order with one result.
// The distributions are our own, as those of the standard library differ between libraries.
class Random {
 public:
  Random(std::uint64_t seed, std::uint64_t stream);

  std::uint64_t Next();
  // In [0, 1), multiples of 2^-53.
  double Uniform();
  double Uniform(double low, double high) { return low + (high - low) * Uniform(); }
  // Zero mean, unit variance; polar method (Marsaglia and Bray, 1964).
  double Normal();
  // Counts of the given mean >= 0, at most 2^31.
  std::int64_t Poisson(double mean);

 private:
  std::int64_t PoissonByProducts(double mean);
  std::int64_t PoissonByRejection(double mean);

  std::array<std::uint64_t, 4> state_;
};

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_SIMULATION_RANDOM_H_
