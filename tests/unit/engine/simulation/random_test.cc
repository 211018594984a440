#include "engine/simulation/random.h"

#include <cmath>

#include "gtest/gtest.h"

namespace ptychoserve {
namespace {

TEST(Random, SameSeedAndStreamSameNumbersOthersDiffer) {
  Random a(1, 2), b(1, 2), other_stream(1, 3), other_seed(2, 2);
  for (int i = 0; i < 100; ++i) {
    const std::uint64_t value = a.Next();
    EXPECT_EQ(value, b.Next());
    EXPECT_NE(value, other_stream.Next());
    EXPECT_NE(value, other_seed.Next());
  }
}

TEST(Random, UniformAndNormalHaveTheirMoments) {
  constexpr int kDraws = 200000;
  Random random(7, 0);
  double uniform = 0, normal = 0, normal2 = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double u = random.Uniform();
    ASSERT_GE(u, 0);
    ASSERT_LT(u, 1);
    uniform += u;
    const double n = random.Normal();
    normal += n;
    normal2 += n * n;
  }
  // Five standard errors.
  const double root = std::sqrt(kDraws);
  EXPECT_NEAR(uniform / kDraws, 0.5, 5 * std::sqrt(1.0 / 12) / root);
  EXPECT_NEAR(normal / kDraws, 0, 5 / root);
  EXPECT_NEAR(normal2 / kDraws, 1, 5 * std::sqrt(2.0) / root);
}

class RandomPoisson : public testing::TestWithParam<double> {};

// Mean, variance, and the probability of the mode against exp(-m) m^k / k!.
TEST_P(RandomPoisson, HasTheMomentsAndTheModeOfItsMean) {
  constexpr int kDraws = 200000;
  const double mean = GetParam();
  const double mode = std::floor(mean);
  Random random(3, static_cast<std::uint64_t>(mean * 1000));
  double sum = 0, sum2 = 0, at_mode = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double k = static_cast<double>(random.Poisson(mean));
    sum += k;
    sum2 += (k - mean) * (k - mean);
    at_mode += k == mode ? 1 : 0;
  }
  const double root = std::sqrt(kDraws);
  EXPECT_NEAR(sum / kDraws, mean, 5 * std::sqrt(mean) / root);
  EXPECT_NEAR(sum2 / kDraws, mean, 5 * std::sqrt(mean + 2 * mean * mean) / root);
  const double p = std::exp(mode * std::log(mean) - mean - std::lgamma(mode + 1));
  EXPECT_NEAR(at_mode / kDraws, p, 5 * std::sqrt(p * (1 - p)) / root);
}

INSTANTIATE_TEST_SUITE_P(Means, RandomPoisson,
                         testing::Values(0.01, 0.7, 5.5, 9.99, 10.0, 12.5, 100.25, 30000.5));

TEST(Random, PoissonOfZeroIsZero) {
  Random random(1, 1);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(random.Poisson(0), 0);
}

}  // namespace
}  // namespace ptychoserve
