#include "engine/io/colour.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ptychoserve {
namespace {

using ::testing::ElementsAre;

constexpr double kPi = std::numbers::pi;
constexpr int kSteps = 360;

double PhaseOf(int step) { return 2 * kPi * step / kSteps - kPi; }

// Values published with the definition of OKLab: white, and the sRGB primaries by their inverses.
TEST(Colour, OkLabOfKnownColours) {
  EXPECT_THAT(ToSrgb8({1, 0, 0}), ElementsAre(255, 255, 255));
  EXPECT_THAT(ToSrgb8({0, 0, 0}), ElementsAre(0, 0, 0));
  EXPECT_THAT(ToSrgb8({0.6279554, 0.2248631, 0.1258463}), ElementsAre(255, 0, 0));
  EXPECT_THAT(ToSrgb8({0.8664396, -0.2338876, 0.1794985}), ElementsAre(0, 255, 0));
  EXPECT_THAT(ToSrgb8({0.4520137, -0.0324570, -0.3115281}), ElementsAre(0, 0, 255));
}

TEST(Colour, AllColoursCanBeShown) {
  for (int step = 0; step < kSteps; ++step) {
    for (const OkLab& colour : {PhaseColour(PhaseOf(step)), ComplexColour(PhaseOf(step), 1),
                                ComplexColour(PhaseOf(step), 0.3)}) {
      for (double channel : ToLinearSrgb(colour)) {
        EXPECT_GE(channel, 0) << step;
        EXPECT_LE(channel, 1) << step;
      }
    }
  }
}

TEST(Colour, EqualPhaseStepsLookEquallyLarge) {
  double smallest = 1, largest = 0;
  for (int step = 0; step < kSteps; ++step) {  // The last step closes the circle.
    const OkLab a = PhaseColour(PhaseOf(step)), b = PhaseColour(PhaseOf(step + 1));
    const double distance = std::hypot(a.lightness - b.lightness, a.a - b.a, a.b - b.b);
    smallest = std::min(smallest, distance);
    largest = std::max(largest, distance);
  }
  EXPECT_GT(smallest, 0);
  EXPECT_LT(largest / smallest, 1.001);
}

TEST(Colour, LightnessRisesWithPhaseAboutZero) {
  EXPECT_LT(PhaseColour(-kPi / 2).lightness, 0.5);
  EXPECT_GT(PhaseColour(kPi / 2).lightness, 0.8);
  for (int step = kSteps / 4; step < 3 * kSteps / 4; ++step) {
    EXPECT_LT(PhaseColour(PhaseOf(step)).lightness, PhaseColour(PhaseOf(step + 1)).lightness);
  }
}

TEST(Colour, ComplexColourHasTheLightnessOfItsBrightnessAlone) {
  for (int step = 0; step < kSteps; ++step) {
    EXPECT_DOUBLE_EQ(ComplexColour(PhaseOf(step), 0.5).lightness, ComplexColour(0, 0.5).lightness);
  }
  EXPECT_THAT(ToSrgb8(ComplexColour(1, 0)), ElementsAre(0, 0, 0));
}

}  // namespace
}  // namespace ptychoserve
