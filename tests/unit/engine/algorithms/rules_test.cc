// The rules for single pixels that all backends share, at the places where they branch.

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "engine/algorithms/background.h"
#include "engine/algorithms/difference_map.h"
#include "engine/algorithms/epie.h"
#include "engine/algorithms/lsq_ml.h"
#include "engine/algorithms/measurement.h"
#include "engine/algorithms/ml_gradient.h"
#include "engine/algorithms/momentum.h"
#include "engine/algorithms/projections.h"
#include "engine/algorithms/refinement.h"
#include "engine/algorithms/rpie.h"
#include "engine/algorithms/update.h"
#include "engine/backend/backend.h"
#include "gtest/gtest.h"

namespace ptychoserve {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

TEST(MeasurementTest, NegativeAndNanAreNotTrusted) {
  EXPECT_TRUE(IsTrusted(0.0));
  EXPECT_TRUE(IsTrusted(3.5));
  EXPECT_FALSE(IsTrusted(-1.0));
  EXPECT_FALSE(IsTrusted(kNan));
}

TEST(MeasurementTest, ShotNoiseIsAQuarterOrAllThereIs) {
  EXPECT_EQ(ShotNoisePower(0.0), 0);
  EXPECT_EQ(ShotNoisePower(0.1), 0.1);
  EXPECT_EQ(ShotNoisePower(7.0), 0.25);
}

TEST(MeasurementTest, AmplitudeErrorIsZeroWhereUntrusted) {
  EXPECT_DOUBLE_EQ(AmplitudeError(9.0, 5.0), 2);
  EXPECT_DOUBLE_EQ(AmplitudeError(9.0, 1.0), 2);
  EXPECT_EQ(AmplitudeError(-1.0, 5.0), 0);
}

TEST(ProbeSampleTest, Is512PointsOrMore) {
  EXPECT_EQ(ProbeSampleStride(1023), 1);
  EXPECT_EQ(ProbeSampleStride(1024), 2);
  EXPECT_EQ(ProbeSampleStride(1535), 2);
  EXPECT_EQ(ProbeSampleStride(1536), 3);
}

TEST(FitSampleTest, IsEvenAndOfLimitedSize) {
  EXPECT_EQ(FitSampleStride(0), 1);
  EXPECT_EQ(FitSampleStride(1), 1);
  EXPECT_EQ(FitSampleStride(128), 1);
  EXPECT_EQ(FitSampleStride(129), 2);
  EXPECT_EQ(FitSampleStride(256), 2);
  EXPECT_EQ(FitSampleStride(257), 3);
  EXPECT_EQ(FitSampleStride(516), 5);
  for (int points = 1; points < 2000; ++points) {
    const int stride = FitSampleStride(points);
    const int sampled = (points + stride - 1) / stride;
    EXPECT_LE(sampled, kFitSamplePoints) << points;
    EXPECT_GE(sampled, std::min(points, kFitSamplePoints / 2)) << points;
  }
}

TEST(DifferenceMapRuleTest, DeviationBelowTheToleranceIsKept) {
  EXPECT_EQ(KeptDeviation(0.2, 0.2), 1);
  EXPECT_EQ(KeptDeviation(0.1, 0.2), 1);
  EXPECT_DOUBLE_EQ(KeptDeviation(0.8, 0.2), 0.5);
  EXPECT_EQ(KeptDeviation(0.8, 0.0), 0);
  EXPECT_EQ(KeptDeviation(0.0, 0.0), 1);
}

TEST(DifferenceMapRuleTest, ModulusMovesTowardsTheMeasuredOne) {
  EXPECT_DOUBLE_EQ(RelaxedModulusFactor(16.0, 2.0, 0.0), 2);    // 4 / 2
  EXPECT_DOUBLE_EQ(RelaxedModulusFactor(16.0, 2.0, 0.5), 1.5);  // (4 - 1) / 2
  EXPECT_DOUBLE_EQ(RelaxedModulusFactor(16.0, 2.0, 1.0), 1);
  EXPECT_EQ(RelaxedModulusFactor(-1.0, 2.0, 0.0), 1);  // Untrusted: as it is.
  EXPECT_EQ(RelaxedModulusFactor(16.0, 0.0, 0.0), 0);  // No phase.
}

TEST(MlGradientRuleTest, PoissonGradientIsCappedAboveOnly) {
  const auto term = PoissonGradient(6.0, 2.0, 0.0, 5.0);
  EXPECT_DOUBLE_EQ(term.gradient, 2);
  EXPECT_DOUBLE_EQ(term.step_numerator, 4 * 2.0);
  EXPECT_DOUBLE_EQ(term.step_denominator, 4 * 8.0);
  EXPECT_DOUBLE_EQ(PoissonGradient(100.0, 1.0, 0.0, 5.0).gradient, 5);
  EXPECT_DOUBLE_EQ(PoissonGradient(0.0, 4.0, 1.0, 5.0).gradient, -0.8);
  const auto untrusted = PoissonGradient(-1.0, 4.0, 1.0, 5.0);
  EXPECT_EQ(untrusted.gradient, 0);
  EXPECT_EQ(untrusted.step_numerator, 0);
  EXPECT_EQ(untrusted.step_denominator, 0);
}

TEST(MlGradientRuleTest, GaussianGradientIsInAmplitudes) {
  const auto term = GaussianGradient(9.0, 4.0, 0.0, 5.0);
  EXPECT_DOUBLE_EQ(term.gradient, 0.5);
  EXPECT_DOUBLE_EQ(term.step_numerator, 0.5 * 2 * 1);
  EXPECT_DOUBLE_EQ(term.step_denominator, 0.25 * 4);
  EXPECT_EQ(GaussianGradient(9.0, 0.01, 0.0, 5.0).gradient, 5);
  EXPECT_EQ(GaussianGradient(-1.0, 4.0, 0.1, 5.0).gradient, 0);
}

TEST(MlGradientRuleTest, StepIsZeroWithoutCurvatureAndSharedWhenGaussian) {
  MlGradientConfig config;
  config.step = 0.5;
  EXPECT_EQ(NewtonStep(config, 0, 0, true), 0);
  EXPECT_DOUBLE_EQ(NewtonStep(config, 3, 4, true), 0.375);
  config.likelihood = Likelihood::kGaussian;
  EXPECT_DOUBLE_EQ(NewtonStep(config, 3, 4, false), 0.375);
  EXPECT_DOUBLE_EQ(NewtonStep(config, 3, 4, true), 0.1875);
}

TEST(EpieRuleTest, CorrectionMovesTheModulusToTheMeasuredOne) {
  EXPECT_DOUBLE_EQ(ModulusCorrectionFactor(9.0, 2.0), 0.5);
  EXPECT_DOUBLE_EQ(ModulusCorrectionFactor(0.0, 2.0), -1);
  EXPECT_EQ(ModulusCorrectionFactor(-1.0, 2.0), 0);
  EXPECT_EQ(ModulusCorrectionFactor(9.0, 0.0), 0);
}

TEST(RpieRuleTest, DivisorLiesBetweenTheLightOfThePixelAndTheLargest) {
  EXPECT_DOUBLE_EQ(BatchStep(0.8, 10.0, 4.0, 1.0), 0.08);
  EXPECT_DOUBLE_EQ(BatchStep(0.8, 10.0, 4.0, 0.25), 0.8 / (0.75 * 4 + 0.25 * 10));
  EXPECT_DOUBLE_EQ(BatchStep(0.8, 10.0, 16.0, 1.0), 0.05) << "beams that meet";
  EXPECT_DOUBLE_EQ(BatchStep(0.8, 10.0, 16.0, 0.25), 0.05);
  EXPECT_EQ(BatchStep(0.8, 0.0, 0.0, 0.25), 0);
}

TEST(MomentumRuleTest, GrowsToItsLimitAndIsNesterovs) {
  EXPECT_EQ(MomentumFactor(0.9, 0), 0);
  EXPECT_DOUBLE_EQ(MomentumFactor(0.9, 2), 0.5);
  EXPECT_DOUBLE_EQ(MomentumFactor(0.9, 100), 0.9);
  double velocity = 2;
  EXPECT_DOUBLE_EQ(AcceleratedValue(10.0, 1.0, 0.5, velocity), 10 + 1 + 0.5 * 2);
  EXPECT_DOUBLE_EQ(velocity, 0.5 * 2 + 1);
  EXPECT_DOUBLE_EQ(AcceleratedValue(10.0, 1.0, 0.0, velocity), 11);
  EXPECT_DOUBLE_EQ(velocity, 1);
}

// One pixel with the modulus projection as a factor f of the trial wave.
double NewExitWave(const ProjectionUpdate& update, double wave, double model, double f) {
  const double trial = update.reflects ? 2 * model - wave : model;
  return (update.modulus * f + update.trial) * trial + update.model * model;
}

TEST(ProjectionRuleTest, UpdatesAreThoseOfThePapers) {
  const double psi = 3, p = 2, f = 1.75, beta = 0.6;
  const double projected = f * (2 * p - psi);
  EXPECT_DOUBLE_EQ(NewExitWave(DifferenceMapUpdate(beta), psi, p, f), psi + beta * (projected - p));
  const double reflected = 2 * projected - (2 * p - psi);
  EXPECT_DOUBLE_EQ(NewExitWave(RaarUpdate(beta), psi, p, f),
                   beta / 2 * (reflected + psi) + (1 - beta) * p);
  EXPECT_DOUBLE_EQ(NewExitWave(RaarUpdate(1), psi, p, f),
                   NewExitWave(DifferenceMapUpdate(1), psi, p, f));
  EXPECT_DOUBLE_EQ(NewExitWave(AlternatingProjectionsUpdate(), psi, p, f), f * p);
}

TEST(ProjectionRuleTest, AlgorithmsThatKeepExitWavesAreProjections) {
  EXPECT_TRUE(KeepsExitWaves(DifferenceMapConfig{}));
  EXPECT_TRUE(KeepsExitWaves(RaarConfig{}));
  EXPECT_TRUE(KeepsExitWaves(AlternatingProjectionsConfig{}));
  EXPECT_FALSE(KeepsExitWaves(MlGradientConfig{}));
  EXPECT_FALSE(KeepsExitWaves(EpieConfig{}));
  EXPECT_FALSE(KeepsExitWaves(LsqMlConfig{}));
}

// What is left of χ by given steps, less ‖χ‖².
double Misfit(const StepSums& sums, double object, double probe) {
  constexpr double kRidge = 1e-3;
  return (1 + kRidge) * (object * object * sums.object_norm + probe * probe * sums.probe_norm) +
         2 * object * probe * sums.overlap -
         2 * (object * sums.object_gain + probe * sums.probe_gain);
}

TEST(LsqStepsTest, AreTheBestOfAllThatAreNotNegative) {
  const std::vector<StepSums> cases = {
      {.object_gain = 3, .object_norm = 2, .probe_gain = 5, .probe_norm = 4, .overlap = 1},
      {.object_gain = 3, .object_norm = 2, .probe_gain = 5, .probe_norm = 4, .overlap = -2.5},
      {.object_gain = 1, .object_norm = 2, .probe_gain = 5, .probe_norm = 4, .overlap = 2.5},
      {.object_gain = 5, .object_norm = 2, .probe_gain = 1, .probe_norm = 4, .overlap = 2.5},
      // Both call for the same.
      {.object_gain = 2, .object_norm = 2, .probe_gain = 2, .probe_norm = 2, .overlap = 2}};
  for (const StepSums& sums : cases) {
    const LsqSteps steps = SolveSteps(sums);
    EXPECT_GE(steps.object, 0);
    EXPECT_GE(steps.probe, 0);
    const double least = Misfit(sums, steps.object, steps.probe);
    for (const double object : {0.9, 0.99, 1.01, 1.1}) {
      for (const double probe : {0.9, 0.99, 1.01, 1.1}) {
        EXPECT_GE(Misfit(sums, object * steps.object, probe * steps.probe), least);
      }
    }
    EXPECT_GE(Misfit(sums, steps.object + 0.01, steps.probe), least);
    EXPECT_GE(Misfit(sums, steps.object, steps.probe + 0.01), least);
  }
  EXPECT_EQ(SolveSteps(cases[2]).object, 0);
  EXPECT_EQ(SolveSteps(cases[3]).probe, 0);
}

TEST(LsqStepsTest, WhatRestsTakesNoStep) {
  const LsqSteps object = SolveSteps({.object_gain = 3, .object_norm = 2});
  EXPECT_NEAR(object.object, 1.5, 2e-3);
  EXPECT_EQ(object.probe, 0);
  const LsqSteps probe = SolveSteps({.probe_gain = 3, .probe_norm = 2});
  EXPECT_EQ(probe.object, 0);
  EXPECT_NEAR(probe.probe, 1.5, 2e-3);
  const LsqSteps none = SolveSteps({});
  EXPECT_EQ(none.object, 0);
  EXPECT_EQ(none.probe, 0);
}

TEST(UpdateRuleTest, RelativeRegulariserHasInertiaAndAbsoluteHasNot) {
  Regularisation config;
  config.relative = 0.1;
  const UpdateRule relative{MakeRegulariser(config, 50), std::nullopt};
  EXPECT_DOUBLE_EQ(relative.Apply(2, 30, 5), (30 + 5 * 2) / (5.0 + 5));
  config.absolute = 1;
  const UpdateRule absolute{MakeRegulariser(config, 50), std::nullopt};
  EXPECT_DOUBLE_EQ(absolute.Apply(2, 30, 5), 30 / 6.0);
  const UpdateRule step{MakeRegulariser(config, 50), 0.5};
  EXPECT_DOUBLE_EQ(step.Apply(2, 30, 5), 2 + 0.5 * 30 / 6.0);
}

TEST(UpdateRuleTest, WithoutLightTheOldValueStaysExactly) {
  const double old = 0.1 + 1e-9;
  Regularisation config;
  EXPECT_EQ((UpdateRule{MakeRegulariser(config, 7), std::nullopt}.Apply(old, 0, 0)), old);
  EXPECT_EQ((UpdateRule{MakeRegulariser(config, 0), std::nullopt}.Apply(old, 0, 0)), old);
  EXPECT_EQ((UpdateRule{MakeRegulariser(config, 0), 0.5}.Apply(old, 0, 0)), old);
  config.absolute = 0;
  EXPECT_EQ((UpdateRule{MakeRegulariser(config, 7), std::nullopt}.Apply(old, 0, 0)), old);
}

struct Value {
  double re, im;
};
Value Limited(const ObjectLimits<double>& limits, double re, double im) {
  ApplyLimits(limits, re, im);
  return {re, im};
}

TEST(LimitsTest, AmplitudeKeepsThePhase) {
  const auto limits = MakeObjectLimits<double>(AmplitudeLimits{0.5, 2}, std::nullopt);
  EXPECT_NEAR(Limited(limits, 3, -4).re, 1.2, 1e-15);
  EXPECT_NEAR(Limited(limits, 3, -4).im, -1.6, 1e-15);
  EXPECT_NEAR(Limited(limits, 0, 1e-300).im, 0.5, 1e-15);
  EXPECT_EQ(Limited(limits, 0, 0).re, 0.5);  // No phase: phase 0.
  EXPECT_EQ(Limited(limits, 0, 0).im, 0);
  EXPECT_EQ(Limited(limits, 1, 1).re, 1);
  EXPECT_TRUE(std::isnan(Limited(limits, kNan, 0).re));  // Not hidden.
}

TEST(LimitsTest, PhaseKeepsTheAmplitude) {
  const auto limits = MakeObjectLimits<double>(std::nullopt, PhaseLimits{-1, 0.5});
  const Value high = Limited(limits, 0, 2);
  EXPECT_NEAR(std::atan2(high.im, high.re), 0.5, 1e-15);
  EXPECT_NEAR(std::hypot(high.re, high.im), 2, 1e-15);
  const Value low = Limited(limits, 0, -2);
  EXPECT_NEAR(std::atan2(low.im, low.re), -1, 1e-15);
  EXPECT_EQ(Limited(limits, 1, -0.5).im, -0.5);
}

TEST(RefinementRuleTest, CountsWeighByTheirNoiseAndAreCapped) {
  const auto w = WeightsOfPixel(10.0, 7.0);
  EXPECT_DOUBLE_EQ(w.information, 1 / 7.5);
  EXPECT_DOUBLE_EQ(w.gradient, 3 / 7.5);
  EXPECT_EQ(WeightsOfPixel(1000.0, 1.0).gradient, 5);
  EXPECT_EQ(WeightsOfPixel(-1.0, 7.0).information, 0);
}

TEST(BackgroundRuleTest, BrightPixelsCountLittle) {
  const auto w = BackgroundWeights(10.0, 7.0);
  const double information = 1 / (7.5 + 0.09 * 49);
  EXPECT_DOUBLE_EQ(w.information, information);
  EXPECT_DOUBLE_EQ(w.gradient, 3 * information);
  EXPECT_EQ(BackgroundWeights(-1.0, 7.0).information, 0);
}

TEST(BackgroundRuleTest, OnePixelIsFollowedUpToNinePixelsAway) {
  constexpr int kSide = 41, kMiddle = 20;
  std::vector<double> old(kSide * kSide, 2.0);
  std::vector<BackgroundSums> sums(kSide * kSide);
  sums[kMiddle * kSide + kMiddle] = {.gradient = 3, .information = 1};
  const auto at = [&](int row) {
    return RefinedBackground(old.data(), sums.data(), kSide, kSide, row, kMiddle, 1.0);
  };
  // Weights cancel: with ridge r, [1, y; y, y² + r] (b, slope) = (5, 5 y), so b = 5 r / r.
  EXPECT_NEAR(at(kMiddle), 5, 1e-9);
  EXPECT_NEAR(at(kMiddle + 9), 5, 1e-6);
  EXPECT_EQ(at(kMiddle + 10), 2) << "nothing is known there";
}

// Two pixels of unlike values and weights on one side: the ridge keeps the slope from following
// them alone.
TEST(BackgroundRuleTest, SlopesAreHeldByAThousandthOfTheWeights) {
  constexpr int kSide = 41, kMiddle = 20;
  std::vector<double> old(kSide * kSide, 0.0);
  std::vector<BackgroundSums> sums(kSide * kSide);
  const auto gauss = [](int d) { return std::exp(-d * d / (2 * 9.0)); };
  double w = 0, wy = 0, wyy = 0, b = 0, by = 0;
  for (const int y : {4, 5}) {
    const double value = y == 4 ? 10.0 : 9.0, weight = gauss(y);
    sums[(kMiddle + y) * kSide + kMiddle] = {.gradient = value, .information = 1};
    w += weight;
    wy += weight * y;
    wyy += weight * y * y;
    b += weight * value;
    by += weight * value * y;
  }
  wyy += 1e-3 * w;
  EXPECT_NEAR(RefinedBackground(old.data(), sums.data(), kSide, kSide, kMiddle, kMiddle, 1.0),
              (b * wyy - wy * by) / (w * wyy - wy * wy), 1e-9);
}

}  // namespace
}  // namespace ptychoserve
