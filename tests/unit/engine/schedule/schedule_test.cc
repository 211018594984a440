#include "engine/schedule/schedule.h"

#include <gtest/gtest.h>

#include "tests/unit/engine/test_config.h"

namespace ptychoserve {
namespace {

StageConfig Dm() { return {.algorithm = DifferenceMapConfig{}}; }
StageConfig Ml() { return {.algorithm = MlGradientConfig{}}; }

ReconstructionConfig TwoStages(StageConfig first) {
  ReconstructionConfig config = SmallConfig();
  config.schedule = {std::move(first), Ml()};
  return config;
}

TEST(NextStage, AfterAFixedNumberOfCountedIterations) {
  StageConfig first = Dm();
  first.iterations = 10;
  const ReconstructionConfig config = TwoStages(first);
  EXPECT_EQ(NextStage(config, {.stage = 0, .stage_iterations = 9}), 0);
  EXPECT_EQ(NextStage(config, {.stage = 0, .stage_iterations = 10}), 1);
  EXPECT_EQ(NextStage(config, {.stage = 1, .stage_iterations = 1000}), 1);
}

TEST(NextStage, FractionIsOfTheIterationsAfterTheEndOfData) {
  StageConfig first = Dm();
  first.fraction = 0.25;
  ReconstructionConfig config = TwoStages(first);
  config.run.it_ends_after = 40;
  EXPECT_EQ(NextStage(config, {.stage = 0, .clock_iterations = 9}), 0);
  EXPECT_EQ(NextStage(config, {.stage = 0, .clock_iterations = 10}), 1);
}

TEST(NextStage, FractionsOfSeveralStagesAddUp) {
  StageConfig first = Dm(), second = Dm();
  first.fraction = 0.2;
  second.fraction = 0.5;
  ReconstructionConfig config = SmallConfig();
  config.schedule = {first, second, Ml()};
  config.run.it_ends_after = 100;
  EXPECT_EQ(NextStage(config, {.stage = 1, .clock_iterations = 69}), 1);
  EXPECT_EQ(NextStage(config, {.stage = 1, .clock_iterations = 70}), 2);
}

TEST(NextStage, FractionOfAnUnknownTotalNeverEnds) {
  StageConfig first = Dm();
  first.fraction = 0.1;
  ReconstructionConfig config = TwoStages(first);
  config.run.schedule_clock = ScheduleClock::kFromStart;
  config.run.max_iterations = 0;
  EXPECT_EQ(NextStage(config, {.stage = 0, .clock_iterations = 1'000'000}), 0);
  config.run.max_iterations = 100;
  EXPECT_EQ(NextStage(config, {.stage = 0, .clock_iterations = 10}), 1);
}

TEST(NextStage, PlateauComparesTheLastWindowWithEverythingBefore) {
  StageConfig first = Dm();
  first.plateau = Plateau{.window = 3, .min_relative_change = 0.01};
  const ReconstructionConfig config = TwoStages(first);
  const std::vector<double> falling = {1.0, 0.9, 0.8, 0.7, 0.6};
  const std::vector<double> flat = {1.0, 0.9, 0.8, 0.799, 0.8, 0.798};
  const std::vector<double> too_short = {0.5, 0.5, 0.5};
  EXPECT_EQ(NextStage(config, {.stage = 0, .stage_r = falling}), 0);
  EXPECT_EQ(NextStage(config, {.stage = 0, .stage_r = flat}), 1);
  EXPECT_EQ(NextStage(config, {.stage = 0, .stage_r = too_short}), 0);
}

TEST(WithScaledStep, ScalesWhatMovesObjectAndProbeAndNothingElse) {
  EXPECT_EQ(WithScaledStep(DifferenceMapConfig{.beta = 0.8}, 0.5),
            AlgorithmConfig(DifferenceMapConfig{.beta = 0.4}));
  EXPECT_EQ(WithScaledStep(MlGradientConfig{.step = 2, .momentum = 0.8}, 0.25),
            AlgorithmConfig(MlGradientConfig{.step = 0.5, .momentum = 0.2}));
  EXPECT_EQ(WithScaledStep(RaarConfig{.beta = 0.8}, 0.5), AlgorithmConfig(RaarConfig{.beta = 0.4}));
  EXPECT_EQ(WithScaledStep(AlternatingProjectionsConfig{}, 0.5),
            AlgorithmConfig(AlternatingProjectionsConfig{}));
  EXPECT_EQ(WithScaledStep(EpieConfig{.object_step = 1, .probe_step = 0.5}, 0.5),
            AlgorithmConfig(EpieConfig{.object_step = 0.5, .probe_step = 0.25}));
  EXPECT_EQ(
      WithScaledStep(LsqMlConfig{}, 0.5),
      AlgorithmConfig(LsqMlConfig{.object_step = 0.25, .probe_step = 0.25, .momentum = 0.45}));
  EXPECT_EQ(WithScaledStep(LsqMlConfig{.object_step = 1, .probe_step = 0.5, .momentum = 0.8}, 0.5),
            AlgorithmConfig(LsqMlConfig{.object_step = 0.5, .probe_step = 0.25, .momentum = 0.4}));
}

TEST(WithStepsFor, FewBrightFramesTakeWholeSteps) {
  const AlgorithmConfig half = LsqMlConfig{.object_step = 0.5, .probe_step = 0.5};
  const AlgorithmConfig whole = LsqMlConfig{.object_step = 1, .probe_step = 1};
  EXPECT_EQ(WithStepsFor(LsqMlConfig{}, 0.999e6, 79), half);
  EXPECT_EQ(WithStepsFor(LsqMlConfig{}, 1e6, 79), whole);
  EXPECT_EQ(WithStepsFor(LsqMlConfig{}, 1e6, 80), half);
}

TEST(WithStepsFor, WhatIsSetStays) {
  const LsqMlConfig set{.object_step = 0.3, .probe_step = 0.4};
  EXPECT_EQ(WithStepsFor(set, 1e9, 10), AlgorithmConfig(set));
  EXPECT_EQ(WithStepsFor(DifferenceMapConfig{}, 1e9, 10), AlgorithmConfig(DifferenceMapConfig{}));
}

TEST(CheckCompletion, RunsExactlyItEndsAfterIterationsAfterTheEndOfData) {
  RunConfig run;
  run.it_ends_after = 30;
  EXPECT_EQ(CheckCompletion(run, {.iteration = 1000}), Completion::kNone);
  EXPECT_EQ(CheckCompletion(run, {.iteration = 129, .iteration_at_end_of_data = 100}),
            Completion::kNone);
  EXPECT_EQ(CheckCompletion(run, {.iteration = 130, .iteration_at_end_of_data = 100}),
            Completion::kItEndsAfter);
}

TEST(CheckCompletion, MaxIterationsCapsTheRunWhileDataStillArrive) {
  RunConfig run;
  run.max_iterations = 50;
  EXPECT_EQ(CheckCompletion(run, {.iteration = 49}), Completion::kNone);
  EXPECT_EQ(CheckCompletion(run, {.iteration = 50}), Completion::kMaxIterations);
}

TEST(CheckCompletion, SnapshotHistoryHasNoSayInIt) {
  ReconstructionConfig deep = SmallConfig(), shallow = SmallConfig();
  deep.snapshots.history = 64;
  shallow.snapshots.history = 1;
  for (std::int64_t iteration = 0; iteration < 200; ++iteration) {
    const RunStatus status{.iteration = iteration, .iteration_at_end_of_data = 10};
    EXPECT_EQ(CheckCompletion(deep.run, status), CheckCompletion(shallow.run, status));
  }
}

TEST(CheckEndOfData, EachRuleFiresByItselfAndIsNamed) {
  ReconstructionConfig config = SmallConfig();
  config.scan.expected_points = 100;
  config.run.idle_timeout_s = 5;
  const InputStatus running{.joined_points = 99, .idle_s = 4.9, .any_input = true};
  EXPECT_EQ(CheckEndOfData(config, running), EndOfData::kNone);

  InputStatus input = running;
  input.finish_asked = true;
  EXPECT_EQ(CheckEndOfData(config, input), EndOfData::kFinishScan);
  input = running;
  input.joined_points = 100;
  EXPECT_EQ(CheckEndOfData(config, input), EndOfData::kExpectedPoints);
  input = running;
  input.joined_points = 90;
  input.skipped_frames = 9;
  EXPECT_EQ(CheckEndOfData(config, input), EndOfData::kNone);
  input.skipped_frames = 10;
  EXPECT_EQ(CheckEndOfData(config, input), EndOfData::kExpectedPoints);
  input = running;
  input.idle_s = 5;
  EXPECT_EQ(CheckEndOfData(config, input), EndOfData::kIdleTimeout);
}

TEST(CheckEndOfData, AFullStoreEndsTheDataOnlyWhenAskedFor) {
  ReconstructionConfig config = SmallConfig();
  const InputStatus full{.store_full = true, .any_input = true};
  EXPECT_EQ(CheckEndOfData(config, full), EndOfData::kNone);
  config.scan.over_capacity = OverCapacity::kEndScan;
  EXPECT_EQ(CheckEndOfData(config, full), EndOfData::kCapacity);
}

TEST(CheckEndOfData, IdleTimeNeedsInputAndALimit) {
  ReconstructionConfig config = SmallConfig();
  config.run.idle_timeout_s = 5;
  EXPECT_EQ(CheckEndOfData(config, {.idle_s = 1e6}), EndOfData::kNone);
  config.run.idle_timeout_s = 0;
  EXPECT_EQ(CheckEndOfData(config, {.idle_s = 1e6, .any_input = true}), EndOfData::kNone);
}

}  // namespace
}  // namespace ptychoserve
