#include "engine/solver/refinement.h"

#include <cmath>
#include <cstddef>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ptychoserve {
namespace {

constexpr Shape kFrame{16, 16};
constexpr Region kCanvas{-50, -40, {200, 180}};
constexpr StageRefinement kPositions{.positions = true};
constexpr StageRefinement kIntensities{.intensities = true};
constexpr StageRefinement kBoth{.positions = true, .intensities = true};

// On a square of 10 x 10, five pixels apart.
std::vector<ActivePoint> Grid() {
  std::vector<ActivePoint> points;
  for (int j = 0; j < 100; ++j) {
    points.push_back({{j, j, {5 * (j / 10), 5 * (j % 10), 0.25f, 0.5f}}, {}});
  }
  return points;
}

// Of a point that is known by the information `fisher` of row, column and ln w, independent of each
// other, to be off by `step`.
RefinementSums Known(double row, double col, double log_intensity, double fisher = 1e6) {
  RefinementSums sums;
  const double step[] = {row, col, log_intensity};
  for (int i = 0; i < kRefinedBesideProbe; ++i) {
    sums.gradient[i] = fisher * step[i];
    sums.fisher[TrianglePlace(i, i)] = fisher;
  }
  return sums;
}

void Take(const RefinementConfig& config, const StageRefinement& which, double step,
          const std::vector<RefinementSums>& sums, std::vector<ActivePoint>& points) {
  TakeRefinementSteps(config, which, step, sums, kCanvas, kFrame, points);
}

TEST(RefinementTest, TakesItsPartOfTheFullStepWithoutItsMean) {
  std::vector<ActivePoint> points = Grid();
  std::vector<RefinementSums> sums(points.size(), Known(0.2, -0.1, 0.05));
  sums[7] = Known(0.3, 0.1, -0.05);
  sums[8] = Known(0.1, -0.3, 0.15);
  Take({}, kBoth, 0.5, sums, points);
  EXPECT_NEAR(points[7].refined.shift_row, 0.05, 1e-5);
  EXPECT_NEAR(points[7].refined.shift_col, 0.1, 1e-5);
  EXPECT_NEAR(std::log(points[7].refined.intensity), -0.05, 1e-5);
  EXPECT_NEAR(points[8].refined.shift_row, -0.05, 1e-5);
  EXPECT_NEAR(points[0].refined.shift_row, 0, 1e-5);
  EXPECT_NEAR(points[0].refined.intensity, 1, 1e-5);
}

TEST(RefinementTest, SolvesForAllThreeTogether) {
  std::vector<ActivePoint> points(2, Grid()[0]);
  RefinementSums sums;
  // F x = G with x = (0.1, -0.2, 0.04).
  const double f[3][3] = {{4e6, 1e6, 2e6}, {1e6, 3e6, -1e6}, {2e6, -1e6, 5e6}};
  const double x[3] = {0.1, -0.2, 0.04};
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 3; ++j) sums.gradient[i] += f[i][j] * x[j];
    for (int j = i; j < 3; ++j) sums.fisher[TrianglePlace(i, j)] = f[i][j];
  }
  RefinementSums against = sums;
  for (double& g : against.gradient) g = -g;
  std::vector<ActivePoint> both = points;
  Take({}, kBoth, 1, {sums, against}, both);
  EXPECT_NEAR(both[0].refined.shift_row, x[0], 1e-5);
  EXPECT_NEAR(both[0].refined.shift_col, x[1], 1e-5);
  EXPECT_NEAR(std::log(both[0].refined.intensity), x[2], 1e-5);
  // Alone, the positions take what the intensity would have explained.
  std::vector<ActivePoint> alone = points;
  Take({}, kPositions, 1, {sums, against}, alone);
  EXPECT_NEAR(alone[0].refined.shift_row, (3 * sums.gradient[0] - sums.gradient[1]) / 11e6, 1e-5);
  EXPECT_EQ(alone[0].refined.intensity, 1);
}

// Two points that are off the same way, of which one is known: the step of the other is smaller by
// what the prior, of half the limits, takes of it.
TEST(RefinementTest, WhatIsHardlyKnownIsHeldByThePrior) {
  const RefinementConfig config{.max_shift_px = 4, .max_intensity = 2};
  constexpr double kOff = 0.1, kFisher = 3;
  std::vector<ActivePoint> points(2, Grid()[0]);
  const std::vector<RefinementSums> sums = {Known(kOff, 0, kOff), Known(kOff, 0, kOff, kFisher)};
  Take(config, kBoth, 1, sums, points);
  // The mean of both is taken out.
  const auto lost = [](double limit) {
    const double prior = 1 / std::pow(0.5 * limit, 2);
    return kOff * (1 - kFisher / (kFisher + prior)) / 2;
  };
  EXPECT_NEAR(points[0].refined.shift_row / lost(4), 1, 1e-4);
  EXPECT_NEAR(std::log(points[0].refined.intensity) / lost(std::log(2.0)), 1, 1e-4);
}

TEST(RefinementTest, LightTakesStepsOfAFifthAtMost) {
  std::vector<ActivePoint> points(2, Grid()[0]);
  Take({}, kIntensities, 1, {Known(0, 0, 0.6), Known(0, 0, 0)}, points);
  EXPECT_NEAR(std::log(points[0].refined.intensity), 0.2 / 2, 1e-5) << "less the mean of both";
}

// Of a point whose c_1 and c_2 are known to be off.
RefinementSums KnownVariation(double c1, double c2, double fisher = 1e6) {
  RefinementSums sums;
  const double step[] = {c1, c2};
  for (int k = 0; k < 2; ++k) {
    sums.gradient[kRefinedBesideProbe + k] = fisher * step[k];
    sums.fisher[TrianglePlace(kRefinedBesideProbe + k, kRefinedBesideProbe + k)] = fisher;
  }
  return sums;
}

TEST(RefinementTest, CoefficientsOfTheVariationTakeStepsWithoutTheirMean) {
  std::vector<ActivePoint> points = Grid();
  std::vector<RefinementSums> sums(points.size(), KnownVariation(0.05, 0.1));
  sums[7] = KnownVariation(0.15, 0.0);
  sums[8] = KnownVariation(-0.05, 0.2);
  constexpr StageRefinement kVariation{.variation = true};
  Take({}, kVariation, 0.5, sums, points);
  EXPECT_NEAR(points[7].refined.variation[0], 0.05, 1e-5);
  EXPECT_NEAR(points[7].refined.variation[1], -0.05, 1e-5);
  EXPECT_NEAR(points[8].refined.variation[0], -0.05, 1e-5);
  EXPECT_NEAR(points[0].refined.variation[0], 0, 1e-5);
  EXPECT_EQ(points[7].refined.variation[2], 0);
  EXPECT_EQ(points[7].refined.shift_row, 0);

  const RefinementFigures figures = FiguresOf({}, points, {});
  ASSERT_EQ(figures.variation_powers.size(), 2U);
  EXPECT_NEAR(figures.variation_powers[0], 2 * 0.05 * 0.05 / 100, 1e-8);
  EXPECT_EQ(figures.variations_at_limit, 0);

  sums.assign(points.size(), RefinementSums());
  sums[3] = KnownVariation(3, 4);
  sums[4] = KnownVariation(-3, -4);
  for (ActivePoint& p : points) p.refined = {};
  Take({}, kVariation, 1, sums, points);
  EXPECT_NEAR(points[3].refined.variation[0], 0.15, 1e-4);  // A quarter at a time.
  EXPECT_NEAR(points[3].refined.variation[1], 0.2, 1e-4);
  for (int i = 0; i < 20; ++i) Take({}, kVariation, 1, sums, points);
  EXPECT_NEAR(std::hypot(points[3].refined.variation[0], points[3].refined.variation[1]), 1, 1e-5);
  EXPECT_EQ(FiguresOf({}, points, {}).variations_at_limit, 2);
}

// Nothing is known of a component that is 0 everywhere: its coefficients are those it begins with.
TEST(RefinementTest, CoefficientsWithoutInformationStay) {
  std::vector<ActivePoint> points = Grid();
  points[3].refined.variation[1] = 0.5f;
  points[4].refined.variation[1] = -0.5f;
  Take({}, {.variation = true}, 1, std::vector<RefinementSums>(points.size()), points);
  EXPECT_EQ(points[3].refined.variation[1], 0.5f);
  EXPECT_EQ(points[4].refined.variation[1], -0.5f);
}

TEST(RefinementTest, WhatIsNotRefinedStays) {
  std::vector<ActivePoint> points = Grid();
  points[3].refined = {0.5f, -0.25f, 1.2f};
  std::vector<RefinementSums> sums(points.size());
  sums[3] = Known(0.2, 0.2, 0.1);
  std::vector<ActivePoint> with_light = points;
  Take({}, kIntensities, 1, sums, with_light);
  EXPECT_EQ(with_light[3].refined.shift_row, 0.5f);
  EXPECT_GT(with_light[3].refined.intensity, 1.2f);
  std::vector<ActivePoint> background_only = points;
  Take({}, {.background = true}, 1, sums, background_only);
  for (std::size_t j = 0; j < points.size(); ++j) {
    EXPECT_EQ(background_only[j].refined, points[j].refined);
  }
}

// Nothing in such a frame tells where it was taken: it goes back to where it was measured.
TEST(RefinementTest, PointsWithoutInformationStayWhereTheyWereMeasured) {
  std::vector<ActivePoint> points = Grid();
  points[3].refined = {1, 0, 1};
  points[4].refined = {-1, 0, 1};
  const std::vector<RefinementSums> sums(points.size());
  for (int i = 0; i < 20; ++i) Take({}, kBoth, 1, sums, points);
  EXPECT_NEAR(points[3].refined.shift_row, 0, 1e-3);
  RefinementSums nan;
  nan.gradient[0] = nan.fisher[0] = NAN;
  std::vector<RefinementSums> broken(points.size());
  broken[5] = nan;
  Take({}, kBoth, 1, broken, points);
  EXPECT_EQ(points[5].refined.shift_row, 0);
}

TEST(RefinementTest, StepsAndShiftsAreLimitedAndThoseAtTheLimitCounted) {
  std::vector<ActivePoint> points = Grid();
  std::vector<RefinementSums> sums(points.size());
  sums[3] = Known(30, 40, 9);
  sums[4] = Known(-30, -40, -9);
  RefinementConfig config;
  config.max_shift_px = 2;
  config.max_intensity = 1.5;
  Take(config, kBoth, 1, sums, points);
  EXPECT_NEAR(points[3].refined.shift_row, 0.3, 1e-4);  // Half a pixel at a time.
  EXPECT_NEAR(points[3].refined.shift_col, 0.4, 1e-4);
  EXPECT_EQ(FiguresOf(config, points, {}).positions_at_limit, 0);
  for (int i = 0; i < 20; ++i) Take(config, kBoth, 1, sums, points);
  EXPECT_NEAR(std::hypot(points[3].refined.shift_row, points[3].refined.shift_col), 2, 1e-3);
  EXPECT_NEAR(points[3].refined.intensity, 1.5, 1e-5);
  EXPECT_NEAR(points[4].refined.intensity, 1 / 1.5, 1e-5);
  EXPECT_EQ(FiguresOf(config, points, {}).positions_at_limit, 2);
}

TEST(RefinementTest, WindowsStayOnTheCanvas) {
  std::vector<ActivePoint> points = Grid();
  points[0].window = {kCanvas.row, kCanvas.col, 0, 0};
  points[1].window = {kCanvas.row + kCanvas.shape.rows - kFrame.rows - 2, kCanvas.col, 0.5f, 0};
  std::vector<RefinementSums> sums(points.size());
  sums[0] = Known(-9, -9, 0);
  sums[1] = Known(9, 9, 0);
  for (int i = 0; i < 20; ++i) Take({}, kPositions, 1, sums, points);
  EXPECT_EQ(points[0].refined.shift_row, 0);
  EXPECT_EQ(points[0].refined.shift_col, 0);
  EXPECT_NEAR(points[1].refined.shift_row, 0.5, 1e-6);
  EXPECT_GT(points[1].refined.shift_col, 1);
  const Window last = Shifted(points[1].window, points[1].refined);
  EXPECT_LE(last.row + kFrame.rows + 1, kCanvas.row + kCanvas.shape.rows);
}

TEST(RefinementTest, ShiftedWindowsKeepTheirFractions) {
  const Window window{-3, 7, 0.75f, 0.25f};
  const Window there = Shifted(window, {.shift_row = 0.5f, .shift_col = -2.5f});
  EXPECT_EQ(there.row, -2);
  EXPECT_FLOAT_EQ(there.frac_row, 0.25f);
  EXPECT_EQ(there.col, 4);
  EXPECT_FLOAT_EQ(there.frac_col, 0.75f);
  const Window rounded = Shifted({0, 0, 0, 0}, {.shift_row = -1e-9f, .shift_col = 0});
  EXPECT_EQ(rounded.row, 0);
  EXPECT_EQ(rounded.frac_row, 0);
}

TEST(RefinementTest, FiguresTellScaleRotationAndShear) {
  std::vector<ActivePoint> points = Grid();
  constexpr double kScaleRow = 0.02, kScaleCol = -0.01, kRotation = 0.004, kShear = 0.003;
  for (ActivePoint& p : points) {
    const double row = p.window.row - 22.5, col = p.window.col - 22.5;
    p.refined.shift_row = static_cast<float>(kScaleRow * row + (kShear - kRotation) * col);
    p.refined.shift_col = static_cast<float>((kShear + kRotation) * row + kScaleCol * col);
  }
  points[0].refined.intensity = 2;
  FloatImage background{{1, 2}, {3, 4}};
  const RefinementFigures figures = FiguresOf({}, points, background);
  EXPECT_NEAR(figures.scale_row, kScaleRow, 1e-6);
  EXPECT_NEAR(figures.scale_col, kScaleCol, 1e-6);
  EXPECT_NEAR(figures.rotation_rad, kRotation, 1e-6);
  EXPECT_NEAR(figures.shear_rad, kShear, 1e-6);
  EXPECT_NEAR(figures.intensity_rms, 0.0995, 1e-4);
  EXPECT_EQ(figures.background_counts, 7);
  EXPECT_GT(figures.shift_rms_px, 0.1);
}

TEST(RefinementTest, PointsOnALineHaveNoScale) {
  std::vector<ActivePoint> line;
  for (int j = 0; j < 5; ++j) line.push_back({{j, j, {0, 3 * j, 0, 0}}, {.shift_row = 0.5f}});
  const RefinementFigures figures = FiguresOf({}, line, {});
  EXPECT_EQ(figures.scale_row, 0);
  EXPECT_NEAR(figures.shift_rms_px, 0.5, 1e-6);
  EXPECT_EQ(FiguresOf({}, {}, {}).shift_rms_px, 0);
}

}  // namespace
}  // namespace ptychoserve
