#include "engine/quality/frame_fit.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace ptychoserve {
namespace {

TEST(FrameFitTest, FiguresOfManyAreThoseOfTheirSums) {
  const std::vector<FrameFit> frames = {{.abs_deviation = 1,
                                         .amplitude = 10,
                                         .squared_deviation = 2,
                                         .counts = 8,
                                         .trusted = 16,
                                         .non_zero = 4,
                                         .excess = 3},
                                        {.abs_deviation = 2,
                                         .amplitude = 5,
                                         .squared_deviation = 1,
                                         .counts = 2,
                                         .trusted = 8,
                                         .non_zero = 4,
                                         .excess = 5},
                                        {.squared_deviation = 1, .trusted = 8, .excess = 1}};
  const FitMetrics fit = FitOf(frames);
  EXPECT_DOUBLE_EQ(fit.r_factor, 3.0 / 15);
  EXPECT_DOUBLE_EQ(fit.fourier_error, std::sqrt((2.0 / 8 + 1.0 / 2) / 2)) << "of lit frames";
  EXPECT_DOUBLE_EQ(fit.gaussian, 4.0 / 32);
  EXPECT_DOUBLE_EQ(fit.poisson_nll, 9.0 / 4);
}

TEST(FrameFitTest, WithoutDataAllIsZero) {
  const FitMetrics fit = FitOf({});
  EXPECT_EQ(fit.r_factor, 0);
  EXPECT_EQ(fit.fourier_error, 0);
  EXPECT_EQ(fit.gaussian, 0);
  EXPECT_EQ(fit.poisson_nll, 0);
}

TEST(FrameFitTest, PoissonExcessIsSmallestWhereTheModelIsRight) {
  EXPECT_NEAR(PoissonExcess(7, 7), 0, 1e-12);
  EXPECT_NEAR(PoissonExcess(7, 9), 9 - 7 + 7 * std::log(7.0 / 9), 1e-6);
  EXPECT_NEAR(PoissonExcess(0, 2.5), 2.5, 2e-6);
  // Light where the model has none: as much as a millionth of a count there costs.
  EXPECT_NEAR(PoissonExcess(1, 0), std::log(1e6) - 1, 1e-5);
}

}  // namespace
}  // namespace ptychoserve
