#include "engine/solver/run_position.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "engine/schedule/schedule.h"
#include "tests/unit/engine/test_config.h"

namespace ptychoserve {
namespace {

TEST(RunPosition, ANewStageCountsFromNothing) {
  RunPosition position;
  for (int i = 0; i < 4; ++i) CountStageIteration(0.5, 21, position);
  EnterStage(1, position);
  EXPECT_EQ(position.stage, 1);
  EXPECT_EQ(position.stage_iterations, 0);
  EXPECT_EQ(position.clock_iterations, 4);
  EXPECT_TRUE(position.stage_r.empty());
}

TEST(RunPosition, KeepsNoMoreThanTheRulesOfTheScheduleNeed) {
  ReconstructionConfig config = SmallConfig();
  config.schedule = {{.algorithm = DifferenceMapConfig{}}, {.algorithm = MlGradientConfig{}}};
  EXPECT_EQ(RFactorsNeeded(config), 21u) << "the stall is looked for in any schedule";
  config.schedule[0].plateau = Plateau{.window = 33};
  EXPECT_EQ(RFactorsNeeded(config), 34u);
  RunPosition position;
  for (int i = 0; i < 500; ++i) CountStageIteration(0.5, RFactorsNeeded(config), position);
  EXPECT_EQ(position.stage_r.size(), 34u);
  EXPECT_EQ(position.stage_iterations, 500);
}

TEST(RunPosition, TheRulesSeeNoDifferenceToTheWholeStage) {
  std::mt19937 random(3);
  std::uniform_real_distribution<double> noise(0.9, 1.1);
  for (const int window : {2, 5, 20}) {
    const Plateau plateau{.window = window, .min_relative_change = 0.02};
    RunPosition position;
    std::vector<double> all;
    int on_plateau = 0;
    for (int i = 0; i < 300; ++i) {
      all.push_back(noise(random) * (0.1 + 1.0 / (i + 1)));
      CountStageIteration(all.back(), 21, position);
      ASSERT_EQ(OnPlateau(plateau, position.stage_r), OnPlateau(plateau, all)) << i;
      on_plateau += OnPlateau(plateau, all);
    }
    EXPECT_GT(on_plateau, 0);
    EXPECT_LT(on_plateau, 300);
  }
}

}  // namespace
}  // namespace ptychoserve
