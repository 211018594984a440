#include "engine/solver/reconstruction.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "engine/probe/modes.h"
#include "tests/unit/engine/solver/fake_session.h"

namespace ptychoserve {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ReconstructionTest : public FakeSessionTest {};

TEST_F(ReconstructionTest, WaitsForEnoughPointsThenStartsInTheNextTurn) {
  Start(Config());
  EXPECT_EQ(progress().state, SessionState::kCreated);
  Send(0, 3);
  EXPECT_EQ(progress().state, SessionState::kReceiving);
  RunTurns();
  EXPECT_EQ(progress().iteration, 0);
  Send(3, 1);
  EXPECT_TRUE(session_->RunTurn());
  EXPECT_EQ(progress().state, SessionState::kReconstructing);
  EXPECT_EQ(progress().iteration, 1);
  EXPECT_EQ(progress().active_points, 4);
}

TEST_F(ReconstructionTest, ThresholdIsTwoFastLinesUnlessGiven) {
  ReconstructionConfig config = Config();
  config.run.min_points_to_start = 0;
  config.scan.fast_axis_points = 20;
  Start(config);
  Send(0, 39);
  RunTurns();
  EXPECT_EQ(progress().iteration, 0);
  Send(39, 1);
  session_->RunTurn();
  EXPECT_EQ(progress().iteration, 1);
}

TEST_F(ReconstructionTest, ActivePointsAreThoseWithBothAndOnlyGrow) {
  Start(Config());
  SendFrames(0, 10);
  SendPositions(0, 6);
  session_->RunTurn();
  EXPECT_EQ(progress().active_points, 6);
  EXPECT_EQ(progress().frames_without_position, 4);
  SendPositions(6, 1);
  session_->RunTurn();
  EXPECT_EQ(progress().active_points, 7);
  SendPositions(7, 13);
  session_->RunTurn();
  EXPECT_EQ(progress().active_points, 10);
  EXPECT_EQ(progress().positions_without_frame, 10);
  EXPECT_THAT(record().active_counts, ElementsAre(6, 7, 10));
}

TEST_F(ReconstructionTest, PointsAreUsedInTheOrderOfTheirIds) {
  Start(Config());
  for (const int id : {5, 1, 7, 3}) Send(id, 1);
  session_->RunTurn();
  for (const int id : {6, 0, 2}) Send(id, 1);
  session_->RunTurn();
  std::vector<int> columns;
  for (const PointWindow& w : record().active) columns.push_back((w.col + kSide / 2) / 4);
  EXPECT_THAT(columns, ElementsAre(0, 1, 2, 3, 5, 6, 7));
}

TEST_F(ReconstructionTest, FinishScanIsFollowedByExactlyItEndsAfterIterations) {
  ReconstructionConfig config = Config();
  config.run.it_ends_after = 30;
  Start(config);
  Send(0, 8);
  RunTurns(17);
  const std::int64_t before = progress().iteration;
  EXPECT_GT(before, 0);
  ASSERT_TRUE(session_->FinishScan(std::nullopt).ok());
  RunTurns();
  const Progress p = progress();
  EXPECT_EQ(p.state, SessionState::kCompleted);
  EXPECT_EQ(p.end_of_data, EndOfData::kFinishScan);
  EXPECT_EQ(p.completion, Completion::kItEndsAfter);
  EXPECT_EQ(p.iteration, before + 30);
  EXPECT_EQ(p.iterations_after_end, 30);
  EXPECT_FALSE(p.partial);
}

TEST_F(ReconstructionTest, FramesStillStagedAtTheEndOfDataTakePartInEveryRefinement) {
  Start(Config());
  Send(0, 8);
  RunTurns(3);
  Send(8, 20);
  ASSERT_TRUE(session_->FinishScan(std::nullopt).ok());
  RunTurns();
  for (const IterationRecord& r : session_->history()) {
    EXPECT_EQ(r.active_points, r.iteration > 3 ? 28 : 8);
  }
  EXPECT_EQ(progress().iterations_after_end, 5);
}

TEST_F(ReconstructionTest, ExpectedPointsEndTheData) {
  ReconstructionConfig config = Config();
  config.scan.expected_points = 12;
  Start(config);
  Send(0, 11);
  RunTurns(50);
  EXPECT_EQ(progress().state, SessionState::kReconstructing);
  Send(11, 1);
  RunTurns();
  EXPECT_EQ(progress().end_of_data, EndOfData::kExpectedPoints);
  EXPECT_EQ(progress().state, SessionState::kCompleted);
  EXPECT_FALSE(progress().partial);
}

TEST_F(ReconstructionTest, FramesDeclaredLostCountTowardsTheExpectedPoints) {
  ReconstructionConfig config = Config();
  config.scan.expected_points = 12;
  Start(config);
  ASSERT_TRUE(session_->SkipFrames(3, 1).ok());
  EXPECT_EQ(progress().state, SessionState::kReceiving);
  Send(0, 3);
  Send(4, 7);
  RunTurns(20);
  EXPECT_EQ(progress().end_of_data, EndOfData::kNone);
  ASSERT_TRUE(session_->SkipFrames(10, 2).ok());  // 10 is there.
  ASSERT_TRUE(session_->FinishScan(12).ok());
  RunTurns();
  EXPECT_EQ(progress().frames.skipped, 2);
  EXPECT_EQ(progress().active_points, 10);
  EXPECT_TRUE(progress().partial);
  EXPECT_THAT(progress().warnings, IsEmpty()) << "the loss is told by the counter";
  EXPECT_EQ(session_->SkipFrames(20, 1).code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(ReconstructionTest, FramesDeclaredLostLetTheDataEnd) {
  ReconstructionConfig config = Config();
  config.scan.expected_points = 12;
  Start(config);
  Send(0, 10);
  RunTurns(5);
  ASSERT_TRUE(session_->SkipFrames(10, 2).ok());
  RunTurns();
  EXPECT_EQ(progress().end_of_data, EndOfData::kExpectedPoints);
  EXPECT_EQ(progress().state, SessionState::kCompleted);
}

TEST_F(ReconstructionTest, AutoCentreDoesNotWaitForFramesDeclaredLost) {
  for (const bool before : {true, false}) {
    ReconstructionConfig config = Config();
    config.detector.auto_centre = AutoCentreConfig{.crop_shape = {kSide, kSide}, .frames = 64};
    config.scan.expected_points = 8;
    Start(config);
    if (before) {
      ASSERT_TRUE(session_->SkipFrames(6, 2).ok());
    }
    Send(0, 6);
    if (!before) {
      ASSERT_TRUE(session_->SkipFrames(6, 2).ok());
    }
    RunTurns();
    EXPECT_EQ(progress().end_of_data, EndOfData::kExpectedPoints);
    EXPECT_EQ(progress().active_points, 6);
  }
}

TEST_F(ReconstructionTest, AStreamThatStopsHalfwayEndsByTimeoutAndIsCalledPartial) {
  ReconstructionConfig config = Config();
  config.scan.expected_points = 20;
  config.run.idle_timeout_s = 10;
  Start(config);
  Send(0, 10);
  RunTurns(20);
  clock_.Advance(std::chrono::seconds(9));
  RunTurns(20);
  EXPECT_EQ(progress().end_of_data, EndOfData::kNone);
  clock_.Advance(std::chrono::seconds(1));
  RunTurns();
  const Progress p = progress();
  EXPECT_EQ(p.end_of_data, EndOfData::kIdleTimeout);
  EXPECT_EQ(p.state, SessionState::kCompleted);
  EXPECT_TRUE(p.partial);
}

TEST_F(ReconstructionTest, InputPutsTheIdleTimeoutOff) {
  ReconstructionConfig config = Config();
  config.run.idle_timeout_s = 10;
  Start(config);
  Send(0, 4);
  for (int i = 4; i < 10; ++i) {
    clock_.Advance(std::chrono::seconds(8));
    RunTurns(1);
    Send(i, 1);
  }
  RunTurns(1);
  EXPECT_EQ(progress().end_of_data, EndOfData::kNone);
}

TEST_F(ReconstructionTest, AFullStoreEndsTheSessionOnlyWhenConfigured) {
  for (const OverCapacity policy : {OverCapacity::kReject, OverCapacity::kEndScan}) {
    ReconstructionConfig config = Config();
    config.scan.capacity = 9;
    config.scan.over_capacity = policy;
    Start(config);
    Send(0, 16);
    RunTurns(100);
    EXPECT_EQ(progress().active_points, 9);
    const bool ended = policy == OverCapacity::kEndScan;
    EXPECT_EQ(progress().state, ended ? SessionState::kCompleted : SessionState::kReconstructing);
    EXPECT_EQ(progress().end_of_data, ended ? EndOfData::kCapacity : EndOfData::kNone);
  }
}

TEST_F(ReconstructionTest, AFullStoreWaitsForThePositionsOfItsFrames) {
  ReconstructionConfig config = Config();
  config.scan.capacity = 9;
  config.scan.over_capacity = OverCapacity::kEndScan;
  Start(config);
  SendFrames(0, 9);
  RunTurns(20);
  EXPECT_EQ(progress().end_of_data, EndOfData::kNone);
  SendPositions(0, 9);
  RunTurns();
  EXPECT_EQ(progress().end_of_data, EndOfData::kCapacity);
  EXPECT_EQ(progress().active_points, 9);
}

TEST_F(ReconstructionTest, AutoCentreLooksAtNoMoreFramesThanAreExpected) {
  ReconstructionConfig config = Config();
  config.detector.auto_centre = AutoCentreConfig{.crop_shape = {kSide, kSide}, .frames = 64};
  config.scan.expected_points = 8;
  Start(config);
  Send(0, 4);
  EXPECT_EQ(progress().state, SessionState::kReceiving) << "frames held back are input";
  Send(4, 4);
  RunTurns();
  EXPECT_EQ(progress().end_of_data, EndOfData::kExpectedPoints);
  EXPECT_EQ(progress().active_points, 8);
}

TEST_F(ReconstructionTest, RecentringComesAtItsIterationWhateverTheSnapshotDoes) {
  hold_ = true;
  ReconstructionConfig config = Config();
  config.probe.recentre_every = 5;
  config.probe.start_update = 0;
  config.probe.initial = ComplexStack(1, {kSide, kSide}, Complex64(0));
  config.probe.initial.data[0] = Complex64(16);
  Start(config);
  Send(0, 8);
  RunTurns(12);
  EXPECT_EQ(record().probes_read, 2);
  EXPECT_EQ(progress().snapshot_version, 0);
  RunHeld();
}

TEST_F(ReconstructionTest, ABackgroundAloneLeavesThePointsAsTheyAre) {
  ReconstructionConfig config = Config();
  config.refinement.every = 1;
  config.refinement.later_stages.background = true;
  Start(config);
  Send(0, 8);
  ASSERT_TRUE(session_->FinishScan(std::nullopt).ok());
  RunTurns();
  EXPECT_GT(record().refinements, 0);
  EXPECT_EQ(record().active_counts.size(), 1U);
}

TEST_F(ReconstructionTest, EveryChangeOfStateIsWrittenDown) {
  Start(Config());
  Send(0, 8);
  ASSERT_TRUE(session_->FinishScan(std::nullopt).ok());
  RunTurns();
  std::vector<SessionState> states;
  for (const StateChange& c : session_->state_changes(0)) states.push_back(c.state);
  EXPECT_THAT(states, ElementsAre(SessionState::kCreated, SessionState::kReceiving,
                                  SessionState::kReconstructing, SessionState::kRefining,
                                  SessionState::kCompleted));
}

TEST_F(ReconstructionTest, MaxIterationsEndsTheRunWhileDataStillArrive) {
  ReconstructionConfig config = Config();
  config.run.max_iterations = 7;
  Start(config);
  Send(0, 8);
  RunTurns();
  const Progress p = progress();
  EXPECT_EQ(p.state, SessionState::kCompleted);
  EXPECT_EQ(p.completion, Completion::kMaxIterations);
  EXPECT_EQ(p.end_of_data, EndOfData::kNone);
  EXPECT_EQ(p.iteration, 7);
  const auto last = session_->latest_snapshot();
  ASSERT_NE(last, nullptr);
  EXPECT_TRUE(last->final);
  EXPECT_EQ(last->iteration, 7);
}

// The fake's mean amplitude is 1, of which noise makes 0.4.
TEST_F(ReconstructionTest, ARunIsStalledAtTwoAndAHalfTimesTheNoise) {
  for (const double r : {0.997, 1.003}) {
    record() = FakeRecord();
    record().r_factor = [=](int) { return r; };
    ReconstructionConfig config = Config();
    config.run.it_ends_after = 100;
    config.schedule = {{.algorithm = MlGradientConfig{}}};
    Start(config);
    Send(0, 8);
    ASSERT_TRUE(session_->FinishScan(std::nullopt).ok());
    RunTurns();
    if (r < 1) {
      EXPECT_THAT(progress().warnings, IsEmpty());
    } else {
      ASSERT_EQ(progress().warnings.size(), 1U);
      EXPECT_THAT(progress().warnings[0], HasSubstr("noise alone would leave about 0.400"));
    }
  }
}

TEST_F(ReconstructionTest, PixelsWithAHundredthOfTheLightAreCovered) {
  record().coverage = [](int i) { return i == 0 ? 1.0f : i % 2 == 0 ? 0.01003f : 0.00998f; };
  Start(Config());
  Send(0, 8);
  RunTurns(2);
  EXPECT_NEAR(session_->latest_snapshot()->metrics.coverage, 0.5, 0.1);
}

TEST_F(ReconstructionTest, PointsThatCameTooLateForTheMaximumAreWarnedOf) {
  ReconstructionConfig config = Config();
  config.run.max_iterations = 12;
  config.run.it_ends_after = 8;
  Start(config);
  Send(0, 8);
  RunTurns(6);
  Send(8, 4);
  RunTurns();
  EXPECT_EQ(progress().iteration, 12);
  ASSERT_EQ(progress().warnings.size(), 1U);
  EXPECT_THAT(progress().warnings[0], HasSubstr("took part in 6 iterations"));
}

TEST_F(ReconstructionTest, PointsThatAllHadTheirIterationsAreNotWarnedOf) {
  ReconstructionConfig config = Config();
  config.run.max_iterations = 12;
  config.run.it_ends_after = 8;
  Start(config);
  Send(0, 8);
  RunTurns();
  EXPECT_EQ(progress().iteration, 12);
  EXPECT_THAT(progress().warnings, IsEmpty());
}

TEST_F(ReconstructionTest, LimitsCanBeChangedWhileRunning) {
  Start(Config());
  Send(0, 8);
  RunTurns(10);
  const auto change = [](ReconstructionConfig& c) { c.run.max_iterations = 15; };
  const auto violations = session_->UpdateSettings(change);
  ASSERT_TRUE(violations.ok() && violations->empty());
  RunTurns();
  EXPECT_EQ(progress().iteration, 15);
  EXPECT_EQ(session_->UpdateSettings(change).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST_F(ReconstructionTest, ABadLiveSettingIsRefusedAndChangesNothing) {
  Start(Config());
  const auto violations =
      session_->UpdateSettings([](ReconstructionConfig& c) { c.snapshots.history = 0; });
  ASSERT_TRUE(violations.ok());
  ASSERT_EQ(violations->size(), 1u);
  EXPECT_EQ((*violations)[0].field, "snapshots.history");
  EXPECT_EQ(session_->config().snapshots.history, 1);
}

TEST_F(ReconstructionTest, StagesAreCountedAfterTheEndOfData) {
  ReconstructionConfig config = Config();
  config.run.it_ends_after = 6;
  StageConfig first{.algorithm = DifferenceMapConfig{}};
  first.iterations = 4;
  config.schedule = {first, {.algorithm = MlGradientConfig{}}};
  Start(config);
  Send(0, 8);
  RunTurns(20);
  ASSERT_TRUE(session_->FinishScan(std::nullopt).ok());
  RunTurns();
  const std::size_t n = record().algorithms.size();
  for (std::size_t i = 0; i < n; ++i) {
    EXPECT_EQ(std::holds_alternative<MlGradientConfig>(record().algorithms[i]), i >= n - 2) << i;
  }
}

TEST_F(ReconstructionTest, StagesCanBeCountedFromTheStart) {
  ReconstructionConfig config = Config();
  config.run.schedule_clock = ScheduleClock::kFromStart;
  StageConfig first{.algorithm = DifferenceMapConfig{}};
  first.iterations = 4;
  config.schedule = {first, {.algorithm = EpieConfig{}}};
  Start(config);
  Send(0, 8);
  RunTurns(10);
  EXPECT_TRUE(std::holds_alternative<DifferenceMapConfig>(record().algorithms[3]));
  EXPECT_TRUE(std::holds_alternative<EpieConfig>(record().algorithms[4]));
  EXPECT_EQ(progress().stage, 1);
}

TEST_F(ReconstructionTest, ADifferenceMapThatFollowsAnotherAlgorithmStartsItsExitWavesAnew) {
  ReconstructionConfig config = Config();
  config.run.schedule_clock = ScheduleClock::kFromStart;
  StageConfig dm{.algorithm = DifferenceMapConfig{}}, ml{.algorithm = MlGradientConfig{}};
  dm.iterations = 2;
  ml.iterations = 2;
  config.schedule = {dm, ml, {.algorithm = DifferenceMapConfig{}}};
  Start(config);
  Send(0, 8);
  RunTurns(8);
  // Activated once; then taken out and put back before the second difference map, once.
  EXPECT_THAT(record().active_counts, ElementsAre(8, 0, 8));
}

TEST_F(ReconstructionTest, UpdatesBeginWhenConfiguredAndAFrozenProbeNever) {
  ReconstructionConfig config = Config();
  config.object.start_update = 1;
  config.probe.start_update = 3;
  Start(config);
  Send(0, 8);
  RunTurns(5);
  for (std::size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(record().options[i].update_object, i >= 1);
    EXPECT_EQ(record().options[i].update_probe, i >= 3);
  }
  record() = FakeRecord();
  config.probe.frozen = true;
  Start(config);
  Send(0, 8);
  RunTurns(5);
  for (const IterationOptions& o : record().options) EXPECT_FALSE(o.update_probe);
}

TEST_F(ReconstructionTest, DeviceIsToldWhetherResultsMustRepeat) {
  ReconstructionConfig config = Resolve(Config());
  EXPECT_FALSE(Reconstruction::BackendConfigFor(config).deterministic);
  config.deterministic = true;
  EXPECT_TRUE(Reconstruction::BackendConfigFor(config).deterministic);
}

TEST_F(ReconstructionTest, SnapshotsComeAtTheirCadenceAsPairsOfOneIteration) {
  ReconstructionConfig config = Config();
  config.snapshots.every_iterations = 3;
  config.snapshots.history = 64;
  Start(config);
  Send(0, 8);
  RunTurns(20);
  std::int64_t last_iteration = 0;
  for (std::int64_t v = 1; v <= progress().snapshot_version; ++v) {
    const auto s = session_->snapshot(v);
    ASSERT_NE(s, nullptr);
    EXPECT_GE(s->iteration, last_iteration + (v > 1 ? 3 : 1));
    last_iteration = s->iteration;
    EXPECT_EQ(s->object.data[0].real(), static_cast<float>(s->iteration));
    EXPECT_EQ(s->probe.data[0].real(), static_cast<float>(s->iteration));
    EXPECT_EQ(s->points.size(), 8u);
    EXPECT_EQ(s->metrics.iteration, s->iteration);
  }
  EXPECT_GE(progress().snapshot_version, 6);
}

TEST_F(ReconstructionTest, EverySnapshotSaysWhereTheRunWasWhenItWasBegun) {
  hold_ = true;
  record().r_factor = [](int n) { return 1.0 / (n + 1); };
  ReconstructionConfig config = Config();
  config.run.it_ends_after = 8;
  config.snapshots.every_iterations = 1;
  config.snapshots.history = 64;
  StageConfig first{.algorithm = DifferenceMapConfig{}};
  first.iterations = 3;
  config.schedule = {first, {.algorithm = MlGradientConfig{}}};
  Start(config);
  Send(0, 8);
  RunTurns(4);
  ASSERT_TRUE(session_->FinishScan(std::nullopt).ok());
  RunTurns(3);
  RunHeld();  // The one of iteration 1.
  RunTurns(1);
  EXPECT_EQ(session_->latest_snapshot()->run, (RunPosition{.iteration = 1}));
  hold_ = false;
  RunHeld();
  RunTurns();
  // The schedule's clock runs from the end of data on.
  const RunPosition at_last = session_->latest_snapshot()->run;
  EXPECT_EQ(at_last.iteration, 12);
  EXPECT_EQ(at_last.stage, 1);
  EXPECT_EQ(at_last.stage_iterations, 5);
  EXPECT_EQ(at_last.clock_iterations, 8);
  EXPECT_EQ(at_last.iteration_at_end, 4);
  EXPECT_EQ(at_last.end_of_data, EndOfData::kFinishScan);
  EXPECT_THAT(at_last.stage_r, ElementsAre(1.0 / 8, 1.0 / 9, 1.0 / 10, 1.0 / 11, 1.0 / 12));
  for (std::int64_t v = 1; v <= progress().snapshot_version; ++v) {
    EXPECT_EQ(session_->snapshot(v)->run.iteration, session_->snapshot(v)->iteration);
  }
}

TEST_F(ReconstructionTest, MissingModesAreMadeFromTheGivenOnes) {
  ReconstructionConfig config = Config();
  config.probe.modes = 3;
  Start(config);
  Send(0, 8);
  RunTurns(1);
  EXPECT_EQ(record().probe.modes, 3);
  EXPECT_EQ(record().probe.data, WithModes(config.probe.initial, 3).data);
}

TEST_F(ReconstructionTest, SnapshotsShowOrthogonalModesAndTheirPowersUnlessFrozen) {
  for (const bool frozen : {false, true}) {
    ReconstructionConfig config = Config();
    config.probe.modes = 2;
    config.probe.frozen = frozen;
    Start(config);
    Send(0, 8);
    ASSERT_TRUE(session_->FinishScan({}).ok());
    RunTurns();
    const auto snapshot = session_->latest_snapshot();
    ASSERT_EQ(snapshot->probe.modes, 2);
    // The device says that both are the same, and so are one.
    EXPECT_THAT(snapshot->metrics.mode_powers,
                ElementsAre(DoubleNear(1, 1e-6), DoubleNear(0, 1e-6)));
    EXPECT_EQ(progress().last->mode_powers, snapshot->metrics.mode_powers);
    EXPECT_NEAR(std::abs(snapshot->probe.data.back()), frozen ? snapshot->iteration : 0, 1e-4);
  }
}

TEST_F(ReconstructionTest, SnapshotsShowOrthogonalModesOfTheObjectAndTheirPowers) {
  ReconstructionConfig config = Config();
  config.object.modes = 2;
  Start(config);
  Send(0, 8);
  ASSERT_TRUE(session_->FinishScan({}).ok());
  RunTurns();
  const auto snapshot = session_->latest_snapshot();
  ASSERT_EQ(snapshot->object.modes, 2);
  // The device says that both are the same, and so are one.
  EXPECT_THAT(snapshot->metrics.object_mode_powers,
              ElementsAre(DoubleNear(1, 1e-6), DoubleNear(0, 1e-6)));
  EXPECT_EQ(progress().last->object_mode_powers, snapshot->metrics.object_mode_powers);
  EXPECT_NEAR(std::abs(snapshot->object.data.front()),
              std::sqrt(2.0) * static_cast<double>(snapshot->iteration), 1e-4);
  EXPECT_NEAR(std::abs(snapshot->object.data.back()), 0, 1e-4);
}

TEST_F(ReconstructionTest, OneModeHasNoPowersToTell) {
  Start(Config());
  Send(0, 8);
  ASSERT_TRUE(session_->FinishScan({}).ok());
  RunTurns();
  EXPECT_THAT(progress().last->mode_powers, IsEmpty());
  EXPECT_THAT(progress().last->object_mode_powers, IsEmpty());
}

TEST_F(ReconstructionTest, SnapshotsKeepTheirLeastInterval) {
  ReconstructionConfig config = Config();
  config.snapshots.every_iterations = 1;
  config.snapshots.min_interval_ms = 100;
  Start(config);
  Send(0, 8);
  RunTurns(50);
  EXPECT_EQ(progress().snapshot_version, 1);
  clock_.Advance(std::chrono::milliseconds(100));
  RunTurns(50);
  EXPECT_EQ(progress().snapshot_version, 2);
}

TEST_F(ReconstructionTest, ASlowReadBackHoldsNoIterationUp) {
  hold_ = true;
  Start(Config());
  Send(0, 8);
  RunTurns(40);
  EXPECT_EQ(progress().iteration, 40);
  EXPECT_EQ(progress().snapshot_version, 0);
  ASSERT_EQ(held_.size(), 1u) << "one snapshot at a time";
  hold_ = false;
  RunHeld();
  RunTurns(1);
  EXPECT_EQ(progress().snapshot_version, 1);
  EXPECT_EQ(session_->latest_snapshot()->iteration, 1) << "of the moment it was begun";
  ASSERT_TRUE(session_->Stop(/*abort=*/false).ok());
  RunTurns();
  EXPECT_TRUE(session_->latest_snapshot()->final);
}

TEST_F(ReconstructionTest, HistoryKeepsTheNewestSnapshotsAndDoesNotShapeTheRun) {
  for (const int depth : {1, 4}) {
    ReconstructionConfig config = Config();
    config.snapshots.every_iterations = 1;
    config.snapshots.history = depth;
    config.run.it_ends_after = 20;
    Start(config);
    Send(0, 8);
    ASSERT_TRUE(session_->FinishScan(std::nullopt).ok());
    RunTurns();
    EXPECT_EQ(progress().iteration, 20);
    const std::int64_t newest = progress().snapshot_version;
    for (std::int64_t v = 1; v <= newest; ++v) {
      EXPECT_EQ(session_->snapshot(v) != nullptr, v > newest - depth);
    }
  }
}

TEST_F(ReconstructionTest, SnapshotIsCutToTheScannedAreaOfTheAnnouncedBounds) {
  ReconstructionConfig config = Config();
  config.scan.bounds = ScanBounds{0, 40 * kSmallPixel_m, 0, 60 * kSmallPixel_m};
  config.object.padding_px = 4;
  Start(config);
  Send(0, 8);
  RunTurns(3);
  const auto s = session_->latest_snapshot();
  ASSERT_NE(s, nullptr);
  EXPECT_EQ(s->canvas.shape, (Shape{kSide + 40 + 4, kSide + 60 + 4}));
  EXPECT_EQ(s->scanned, (Region{(kSide + 4) / 2, (kSide + 4) / 2, {40, 60}}));
}

TEST_F(ReconstructionTest, DivergenceFailsTheSessionAndKeepsTheLastGoodSnapshot) {
  record().is_nan = [](int n) { return n >= 12; };
  ReconstructionConfig config = Config();
  config.snapshots.every_iterations = 1;
  Start(config);
  Send(0, 8);
  RunTurns();
  const Progress p = progress();
  EXPECT_EQ(p.state, SessionState::kFailed);
  EXPECT_EQ(p.completion, Completion::kFailed);
  EXPECT_THAT(p.failure, HasSubstr("iteration 16, after going back to a snapshot 3 times"));
  const auto s = session_->latest_snapshot();
  ASSERT_NE(s, nullptr);
  EXPECT_LE(s->iteration, 12);
  for (const Complex64 v : s->object.data) EXPECT_TRUE(std::isfinite(v.real()));
  EXPECT_EQ(record().destroyed, 1) << "the device memory is still held";
}

TEST_F(ReconstructionTest, NoIterationComesBetweenTheLastPointAndTheEndOfData) {
  ReconstructionConfig config = Config();
  config.scan.expected_points = 8;
  config.run.min_points_to_start = 8;
  // The last position comes while the first turn is under way.
  record().on_load = [this, sent = false]() mutable {
    if (!std::exchange(sent, true)) SendPositions(7, 1);
  };
  Start(config);
  SendPositions(0, 7);
  SendFrames(0, 8);
  RunTurns();
  EXPECT_EQ(progress().state, SessionState::kCompleted);
  EXPECT_EQ(progress().iteration, config.run.it_ends_after);
}

TEST_F(ReconstructionTest, ADeviceErrorFailsTheSessionWithItsReason) {
  record().fail_at_iteration = 2;
  Start(Config());
  Send(0, 8);
  RunTurns();
  EXPECT_EQ(progress().state, SessionState::kFailed);
  EXPECT_THAT(progress().failure, HasSubstr("device lost"));
  EXPECT_FALSE(session_->RunTurn());
}

TEST_F(ReconstructionTest, ALostDeviceIsReportedAndFailsASessionThatIsNotKept) {
  record().fail_at_iteration = 2;
  record().failure = absl::DataLossError("fallen off the bus");
  std::vector<std::string> lost;
  options_.on_device_lost = [&](const absl::Status& why) { lost.emplace_back(why.message()); };
  Start(Config());
  Send(0, 8);
  RunTurns();
  EXPECT_THAT(lost, ElementsAre("fallen off the bus"));
  EXPECT_EQ(progress().state, SessionState::kFailed);
}

TEST_F(ReconstructionTest, ASessionThatIsKeptOutlivesItsDeviceWithWhatTheHostHas) {
  for (const bool difference_map : {false, true}) {
    record().fail_at_iteration = 3;
    record().failure = absl::DataLossError("fallen off the bus");
    options_.outlives_device = true;
    ReconstructionConfig config = Config();
    config.snapshots.every_iterations = 1;
    config.schedule = {{.algorithm = MlGradientConfig{}}};
    if (difference_map) config.schedule[0].algorithm = DifferenceMapConfig{};
    Start(config);
    Send(0, 8);
    RunTurns();
    EXPECT_EQ(progress().state, SessionState::kReconstructing);
    EXPECT_THAT(progress().warnings, ElementsAre(HasSubstr("fallen off the bus")));
    EXPECT_FALSE(session_->RunTurn());
    int made = 0;
    std::shared_ptr<const Checkpoint> checkpoint;
    session_->Suspend([&](std::shared_ptr<const Checkpoint> c) {
      ++made;
      checkpoint = std::move(c);
    });
    session_->RunTurn();
    EXPECT_EQ(made, 1);
    // Exit waves are gone, so that an earlier checkpoint of a difference map is the better one.
    if (difference_map) {
      EXPECT_EQ(checkpoint, nullptr);
    } else {
      ASSERT_NE(checkpoint, nullptr);
      EXPECT_EQ(checkpoint->snapshot, session_->latest_snapshot());
      EXPECT_GE(checkpoint->snapshot->iteration, 1);
    }
  }
}

// What ReadFrame gives in the next turn.
absl::StatusOr<MeasuredFrame> FrameOf(Reconstruction& session,
                                      std::optional<std::int64_t> frame_id) {
  std::optional<absl::StatusOr<MeasuredFrame>> found;
  session.ReadFrame(frame_id, [&](absl::StatusOr<MeasuredFrame> frame) {
    EXPECT_FALSE(found.has_value()) << "given twice";
    found = std::move(frame);
  });
  if (!found) session.RunTurn();
  return found ? *found : absl::InternalError("not given");
}

TEST_F(ReconstructionTest, FramesAreReadAsSoonAsTheyAreOnTheDeviceAndTheLastOneAfterTheEnd) {
  Start(Config());
  EXPECT_EQ(FrameOf(*session_, std::nullopt).status().code(), absl::StatusCode::kNotFound);
  SendFrames(5, 2);
  session_->RunTurn();
  auto frame = FrameOf(*session_, std::nullopt);
  ASSERT_TRUE(frame.ok()) << "without a position: " << frame.status();
  EXPECT_EQ(frame->frame_id, 6);
  EXPECT_EQ(frame->counts.data[0], 1) << "of slot 1";
  EXPECT_EQ(FrameOf(*session_, 5)->counts.data[0], 0);
  const absl::Status missing = FrameOf(*session_, 17).status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(missing.message(), HasSubstr("17"));
  EXPECT_FALSE(session_->FindExpectedFrame(5));

  Send(0, 4);
  ASSERT_TRUE(session_->FinishScan(std::nullopt).ok());
  RunTurns(3);
  // One that is asked for while the session ends is given, too.
  std::vector<std::int64_t> given;
  ASSERT_TRUE(session_->Stop(/*abort=*/true).ok());
  session_->ReadFrame(3, [&](absl::StatusOr<MeasuredFrame> f) { given.push_back(f->frame_id); });
  RunTurns();
  ASSERT_EQ(progress().state, SessionState::kStopped);
  EXPECT_THAT(given, ElementsAre(3));
  EXPECT_EQ(FrameOf(*session_, std::nullopt)->frame_id, 3);
  EXPECT_TRUE(FrameOf(*session_, 3).ok());
  const absl::Status gone = FrameOf(*session_, 5).status();
  EXPECT_EQ(gone.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(gone.message(), HasSubstr("frame 3"));
  EXPECT_TRUE(session_->FindExpectedFrame(3)) << "by the last snapshot";
}

TEST_F(ReconstructionTest, FramesOfALostDeviceAreNotWaitedFor) {
  record().fail_at_iteration = 2;
  record().failure = absl::DataLossError("fallen off the bus");
  options_.outlives_device = true;
  Start(Config());
  Send(0, 8);
  RunTurns();
  EXPECT_EQ(FrameOf(*session_, 3).status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(ReconstructionTest, StopKeepsTheResultAndFreesTheDevice) {
  Start(Config());
  EXPECT_GT(progress().device_bytes, 0);
  Send(0, 8);
  RunTurns(7);
  ASSERT_TRUE(session_->Stop(/*abort=*/false).ok());
  RunTurns();
  const Progress p = progress();
  EXPECT_EQ(p.state, SessionState::kStopped);
  EXPECT_EQ(p.completion, Completion::kStopped);
  EXPECT_EQ(p.device_bytes, 0);
  ASSERT_TRUE(p.final_fit.has_value());
  EXPECT_EQ(session_->latest_snapshot()->iteration, 7);
  EXPECT_TRUE(session_->latest_snapshot()->final);
  EXPECT_EQ(session_->Stop(false).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(session_->FinishScan(std::nullopt).code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(ReconstructionTest, AbortTakesNoLastSnapshot) {
  Start(Config());
  Send(0, 8);
  RunTurns(7);
  const std::int64_t version = progress().snapshot_version;
  ASSERT_TRUE(session_->Stop(/*abort=*/true).ok());
  RunTurns();
  EXPECT_EQ(progress().state, SessionState::kStopped);
  EXPECT_EQ(progress().snapshot_version, version);
}

TEST_F(ReconstructionTest, AFinalSessionTakesNoInput) {
  Start(Config());
  Send(0, 8);
  ASSERT_TRUE(session_->FinishScan(std::nullopt).ok());
  RunTurns();
  ASSERT_EQ(progress().state, SessionState::kCompleted);
  FrameBatch batch;
  EXPECT_EQ(session_->AddFrames(batch, 0).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(session_->AddPositions({}).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(session_->FinishScan(std::nullopt).ok()) << "FinishScan is idempotent";
}

TEST_F(ReconstructionTest, EndOfDataWithFewPointsStillGivesAResult) {
  Start(Config());
  Send(0, 2);
  ASSERT_TRUE(session_->FinishScan(std::nullopt).ok());
  RunTurns();
  EXPECT_EQ(progress().state, SessionState::kCompleted);
  EXPECT_EQ(progress().active_points, 2);
}

TEST_F(ReconstructionTest, EndOfDataWithoutAPointFailsAndSaysWhy) {
  Start(Config());
  SendFrames(0, 5);
  ASSERT_TRUE(session_->FinishScan(std::nullopt).ok());
  RunTurns();
  EXPECT_EQ(progress().state, SessionState::kFailed);
  EXPECT_THAT(progress().failure, HasSubstr("5 frames and 0 positions"));
}

TEST_F(ReconstructionTest, AWrongNumberOfExpectedFramesIsAWarning) {
  Start(Config());
  Send(0, 8);
  ASSERT_TRUE(session_->FinishScan(10).ok());
  RunTurns();
  ASSERT_EQ(progress().warnings.size(), 1u);
  EXPECT_THAT(progress().warnings[0], ::testing::AllOf(HasSubstr("10"), HasSubstr("8")));
}

TEST_F(ReconstructionTest, ClearRegionIsOffByDefaultAndGatedByTheDensityOfTheScan) {
  Start(Config());
  Send(0, 8);
  RunTurns(1);
  Send(8, 8);
  RunTurns(1);
  EXPECT_TRUE(record().cleared.empty());

  // 28 x 28 scanned pixels: 49 points are 16 pixels each, the gate's limit.
  for (const int points : {49, 48}) {
    record().cleared.clear();
    ReconstructionConfig config = Config();
    config.scan.bounds = ScanBounds{0, 28 * kSmallPixel_m, 0, 28 * kSmallPixel_m};
    config.scan.expected_points = points;
    config.clear_region.enabled = true;
    Start(config);
    Send(0, 8);
    RunTurns(1);
    Send(8, 8);
    RunTurns(1);
    EXPECT_EQ(record().cleared.size(), points == 48 ? 1u : 0u);
  }
}

TEST_F(ReconstructionTest, ASecondSessionStartsFromNothing) {
  Start(Config());
  Send(0, 8);
  RunTurns(20);
  Start(Config());
  EXPECT_EQ(progress().iteration, 0);
  EXPECT_EQ(progress().frames.received, 0);
  EXPECT_EQ(progress().state, SessionState::kCreated);
  EXPECT_EQ(session_->latest_snapshot(), nullptr);
}

TEST_F(ReconstructionTest, HistoryHasEveryIteration) {
  record().r_factor = [](int n) { return 1.0 / (n + 1); };
  Start(Config());
  Send(0, 8);
  RunTurns(10);
  const auto history = session_->history();
  ASSERT_EQ(history.size(), 10u);
  for (std::size_t i = 0; i < history.size(); ++i) {
    EXPECT_EQ(history[i].iteration, static_cast<std::int64_t>(i) + 1);
    EXPECT_DOUBLE_EQ(history[i].metrics.r_factor, 1.0 / (static_cast<double>(i) + 1));
  }
}

}  // namespace
}  // namespace ptychoserve
