#include "engine/simulation/random.h"

#include <bit>
#include <cmath>

namespace ptychoserve {
namespace {

// Hörmann's rejection is made for means from 10 on.
constexpr double kSmallMean = 10;

std::uint64_t SplitMix64(std::uint64_t& state) {
  state += 0x9e3779b97f4a7c15;
  std::uint64_t z = state;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

// ln k!. Not std::lgamma, which writes a global (signgam) and so is not thread-safe.
double LogFactorial(double k) {
  constexpr double kHalfLogTwoPi = 0.91893853320467274178;
  constexpr double kSeriesFrom = 10;
  // ln k! = ln (k + m)! - ln of the m factors between, with the Stirling series at x = k + m + 1,
  // where its next term is below 1e-11.
  double x = k + 1;
  double factors = 1;
  while (x < kSeriesFrom) {
    factors *= x;
    x += 1;
  }
  const double r = 1 / x;
  const double series = r * (1.0 / 12 - r * r * (1.0 / 360 - r * r * (1.0 / 1260 - r * r / 1680)));
  return (x - 0.5) * std::log(x) - x + kHalfLogTwoPi + series - std::log(factors);
}

}  // namespace

Random::Random(std::uint64_t seed, std::uint64_t stream) {
  std::uint64_t state = seed;
  state = SplitMix64(state) ^ stream;
  for (std::uint64_t& word : state_) word = SplitMix64(state);
}

std::uint64_t Random::Next() {
  const std::uint64_t result = std::rotl(state_[0] + state_[3], 23) + state_[0];
  const std::uint64_t t = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= t;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

double Random::Uniform() { return static_cast<double>(Next() >> 11) * 0x1p-53; }

double Random::Normal() {
  while (true) {
    const double u = Uniform(-1, 1);
    const double v = Uniform(-1, 1);
    const double s = u * u + v * v;
    if (s > 0 && s < 1) return u * std::sqrt(-2 * std::log(s) / s);
  }
}

std::int64_t Random::Poisson(double mean) {
  if (!(mean > 0)) return 0;
  return mean < kSmallMean ? PoissonByProducts(mean) : PoissonByRejection(mean);
}

// Knuth, The Art of Computer Programming 2, 3.4.1: count uniform factors until their product is
// below exp(-mean).
std::int64_t Random::PoissonByProducts(double mean) {
  const double limit = std::exp(-mean);
  double product = Uniform();
  std::int64_t count = 0;
  for (; product > limit; ++count) product *= Uniform();
  return count;
}

// Transformed rejection with squeeze, algorithm PTRS of W. Hörmann, "The transformed rejection
// method for generating Poisson random variables", Insurance: Mathematics and Economics 12 (1993).
std::int64_t Random::PoissonByRejection(double mean) {
  const double b = 0.931 + 2.53 * std::sqrt(mean);
  const double a = -0.059 + 0.02483 * b;
  const double inverse_alpha = 1.1239 + 1.1328 / (b - 3.4);
  const double v_r = 0.9277 - 3.6224 / (b - 2);
  const double log_mean = std::log(mean);
  while (true) {
    const double u = Uniform() - 0.5;
    const double v = Uniform();
    const double us = 0.5 - std::abs(u);
    const double k = std::floor((2 * a / us + b) * u + mean + 0.43);
    if (us >= 0.07 && v <= v_r) return static_cast<std::int64_t>(k);
    if (k < 0 || (us < 0.013 && v > us)) continue;
    if (std::log(v * inverse_alpha / (a / (us * us) + b)) <=
        k * log_mean - mean - LogFactorial(k)) {
      return static_cast<std::int64_t>(k);
    }
  }
}

}  // namespace ptychoserve
