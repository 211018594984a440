#include "engine/quality/nelder_mead.h"

#include <gtest/gtest.h>

#include <cmath>

namespace ptychoserve {
namespace {

constexpr SimplexTolerance kFine{1e-9, 1e-12};

TEST(NelderMead, FindsTheBottomOfABowl) {
  const auto bowl = [](const Point2D& p) {
    return std::pow(p[0] - 3, 2) + 10 * std::pow(p[1] + 0.5, 2) + 7;
  };
  const Point2D found = Minimise(bowl, {{{0, 0}, {1, 0}, {0, 1}}}, kFine);
  EXPECT_NEAR(found[0], 3, 1e-6);
  EXPECT_NEAR(found[1], -0.5, 1e-6);
}

TEST(NelderMead, FollowsACurvedValley) {
  // Rosenbrock's function.
  const auto valley = [](const Point2D& p) {
    return 100 * std::pow(p[1] - p[0] * p[0], 2) + std::pow(1 - p[0], 2);
  };
  const Point2D found = Minimise(valley, {{{-1.2, 1}, {-1, 1}, {-1.2, 1.2}}}, kFine);
  EXPECT_NEAR(found[0], 1, 1e-6);
  EXPECT_NEAR(found[1], 1, 1e-6);
}

TEST(NelderMead, EndsOnAPlain) {
  int calls = 0;
  const auto plain = [&calls](const Point2D&) { return ++calls, 1.0; };
  Minimise(plain, {{{0, 0}, {1, 0}, {0, 1}}}, kFine);
  EXPECT_LT(calls, 2000);
}

}  // namespace
}  // namespace ptychoserve
