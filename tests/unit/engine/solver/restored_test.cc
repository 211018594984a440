// Runs that go on from a snapshot in another session: how they stream, and what comes out.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "tests/unit/engine/solver/fake_session.h"
#include "tests/unit/engine/solver/phantom.h"

namespace ptychoserve {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class RestoredTest : public FakeSessionTest {
 protected:
  // Of a run over the points 0 to 7 that has done some iterations of its second stage, 3 of them
  // after the end of data.
  std::shared_ptr<Snapshot> Earlier() {
    auto snapshot = std::make_shared<Snapshot>();
    snapshot->version = 7;
    snapshot->iteration = 40;
    snapshot->canvas = {-20, -20, {64, 80}};
    snapshot->object = ComplexStack(1, {64, 80}, Complex64(0.5f));
    snapshot->probe = ComplexStack(1, {kSide, kSide}, Complex64(3));
    snapshot->coverage = {{64, 80}, std::vector<float>(64 * 80, 1)};
    for (int id = 0; id < 8; ++id) snapshot->points.push_back({id, 0, 0});
    snapshot->metrics = {.iteration = 40, .stage = 1, .active_points = 8, .coverage = 0.75};
    snapshot->run = {.iteration = 40,
                     .stage = 1,
                     .stage_iterations = 2,
                     .clock_iterations = 3,
                     .iteration_at_end = 37,
                     .end_of_data = EndOfData::kFinishScan,
                     .stage_r = {0.2, 0.1},
                     .elapsed_s = 100};
    return snapshot;
  }
  ReconstructionConfig TwoStages() {
    ReconstructionConfig config = Config();
    config.run.it_ends_after = 10;
    StageConfig first{.algorithm = DifferenceMapConfig{}};
    first.iterations = 1;
    config.schedule = {first, {.algorithm = MlGradientConfig{}}};
    return config;
  }
  void Restore(const ReconstructionConfig& config, std::shared_ptr<const Snapshot> snapshot) {
    options_.restored = std::move(snapshot);
    Start(config);
  }
};

TEST_F(RestoredTest, IsReadableAtOnceAndShowsWhereItGoesOn) {
  Restore(TwoStages(), Earlier());
  ASSERT_NE(session_->latest_snapshot(), nullptr);
  EXPECT_EQ(session_->latest_snapshot()->version, 7);
  EXPECT_EQ(session_->snapshot(7), session_->latest_snapshot());
  const Progress p = progress();
  EXPECT_EQ(p.state, SessionState::kCreated);
  EXPECT_EQ(p.iteration, 40);
  EXPECT_EQ(p.iterations_after_end, 3);
  EXPECT_EQ(p.stage, 1);
  EXPECT_EQ(p.snapshot_version, 7);
  ASSERT_TRUE(p.last.has_value());
  EXPECT_EQ(p.last->coverage, 0.75);
}

TEST_F(RestoredTest, SetsProbeAndObjectBeforeThePointsAndThenTheCanvasOfNow) {
  Restore(TwoStages(), Earlier());
  Send(0, 8);
  RunTurns(1);
  EXPECT_THAT(record().calls, ElementsAre("probe", "canvas", "object", "canvas", "points"));
  EXPECT_EQ(record().probe.data, Earlier()->probe.data);
  EXPECT_EQ(record().object.data, Earlier()->object.data);
  EXPECT_NE(record().canvas, Earlier()->canvas);
}

TEST_F(RestoredTest, IterationsStagesVersionsAndTimeGoOn) {
  Restore(TwoStages(), Earlier());
  Send(0, 8);
  ASSERT_TRUE(session_->FinishScan(std::nullopt).ok());
  RunTurns();
  const Progress p = progress();
  EXPECT_EQ(p.state, SessionState::kCompleted);
  EXPECT_EQ(p.iteration, 47) << "10 iterations after the end of data in all";
  EXPECT_EQ(p.iterations_after_end, 10);
  for (const AlgorithmConfig& a : record().algorithms) {
    EXPECT_TRUE(std::holds_alternative<MlGradientConfig>(a));
  }
  const auto history = session_->history();
  ASSERT_EQ(history.size(), 7u);
  EXPECT_EQ(history.front().iteration, 41);
  EXPECT_EQ(history.front().elapsed_s, 100);
  const auto last = session_->latest_snapshot();
  EXPECT_GT(last->version, 7);
  EXPECT_EQ(last->run.stage_iterations, 9);
  EXPECT_EQ(last->run.clock_iterations, 10);
  EXPECT_THAT(last->run.stage_r, ElementsAre(0.2, 0.1, .5, .5, .5, .5, .5, .5, .5));
}

TEST_F(RestoredTest, PointsThatCameAfterTheSnapshotAreRefinedLikeAnyOther) {
  Restore(TwoStages(), Earlier());
  Send(0, 9);
  ASSERT_TRUE(session_->FinishScan(std::nullopt).ok());
  RunTurns();
  EXPECT_EQ(progress().iterations_after_end, 10);
  EXPECT_EQ(progress().iteration, 50);
}

TEST_F(RestoredTest, DoesNotEndBeforeItsPointsAreBack) {
  Restore(TwoStages(), Earlier());
  Send(0, 7);
  RunTurns(30);
  EXPECT_EQ(progress().state, SessionState::kReconstructing);
  Send(7, 1);
  ASSERT_TRUE(session_->FinishScan(std::nullopt).ok());
  RunTurns();
  EXPECT_EQ(progress().state, SessionState::kCompleted);
  EXPECT_EQ(progress().active_points, 8);
}

TEST_F(RestoredTest, AnIdleTimeoutBeforeTheRestartStands) {
  auto snapshot = Earlier();
  snapshot->run.end_of_data = EndOfData::kIdleTimeout;
  Restore(TwoStages(), snapshot);
  Send(0, 8);
  RunTurns();
  EXPECT_EQ(progress().state, SessionState::kCompleted);
  EXPECT_EQ(progress().end_of_data, EndOfData::kIdleTimeout);
  EXPECT_EQ(progress().iteration, 47);
}

TEST_F(RestoredTest, ClearRegionLeavesWhatComesBackAlone) {
  ReconstructionConfig config = TwoStages();
  config.clear_region = {.enabled = true, .min_pixels_per_point = 0};
  Restore(config, Earlier());
  Send(0, 5);
  RunTurns(1);
  Send(5, 3);
  RunTurns(1);
  EXPECT_THAT(record().cleared, IsEmpty());
  SendFrames(7, 2);  // 7 is there already.
  SendPositions(8, 1);
  RunTurns(1);
  ASSERT_EQ(record().cleared.size(), 1u);
  EXPECT_EQ(record().cleared[0].shape, (Shape{kSide + 1, kSide + 1})) << "of the new point alone";
}

TEST_F(RestoredTest, WhatDoesNotFitTheSessionIsRefused) {
  const auto refusal = [this](const std::shared_ptr<Snapshot>& snapshot) {
    ReconstructionOptions options;
    options.restored = snapshot;
    const auto created = Reconstruction::Create(TwoStages(), device_, options);
    EXPECT_EQ(created.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(created.status().message());
  };
  auto snapshot = Earlier();
  snapshot->probe = ComplexStack(2, {kSide, kSide});
  EXPECT_THAT(refusal(snapshot), HasSubstr("the restored probe is 2 x 16 x 16"));
  snapshot = Earlier();
  snapshot->object = ComplexStack(1, {64, 64});
  EXPECT_THAT(refusal(snapshot), HasSubstr("does not fill its canvas of 64 x 80"));
  snapshot = Earlier();
  snapshot->canvas.shape = {2000, 2000};
  snapshot->object = ComplexStack(1, {2000, 2000});
  EXPECT_THAT(refusal(snapshot), HasSubstr("not within 1 and 1048576 pixels"));
  snapshot = Earlier();
  snapshot->run.stage = 2;
  EXPECT_THAT(refusal(snapshot), HasSubstr("stage 2 of 2"));
}

// ---- With arithmetic --------------------------------------------------------------------------

const Phantom& SmallPhantom() {
  static const Phantom phantom(
      {.points = 100, .frame_side = 64, .overlap = 0.75, .photons = 1e6, .seed = 3});
  return phantom;
}

ReconstructionConfig DmThenMl() {
  ReconstructionConfig config = SmallPhantom().Config();
  StageConfig first{.algorithm = DifferenceMapConfig{}};
  first.iterations = 80;
  config.schedule = {first, {.algorithm = MlGradientConfig{}}};
  config.run.it_ends_after = 180;
  config.probe.initial = SmallPhantom().simulation.initial_probe();
  config.snapshots.every_iterations = 1;
  config.snapshots.history = 64;
  return config;
}

// Ends after `iterations`, as if killed; the snapshot of then.
std::shared_ptr<const Snapshot> KilledAfter(int iterations, const ReconstructionConfig& config) {
  const auto session = SmallPhantom().Open(config);
  SmallPhantom().Send(*session, 0, SmallPhantom().simulation.points());
  while (session->progress().iteration < iterations + 2) session->RunTurn();
  for (std::int64_t v = session->progress().snapshot_version; v > 0; --v) {
    if (auto s = session->snapshot(v); s->iteration <= iterations) return s;
  }
  return nullptr;
}

TEST(Restored, EndsWithTheSameFitAsAnUndisturbedRunWhereverItWasKilled) {
  const ReconstructionConfig config = DmThenMl();
  const auto whole = SmallPhantom().Run(config);
  const double fit = whole->progress().final_fit->r_factor;
  for (const int iterations : {5, 30, 50, 79, 100}) {
    ReconstructionOptions options;
    options.restored = KilledAfter(iterations, config);
    ASSERT_NE(options.restored, nullptr);
    ASSERT_EQ(options.restored->iteration, iterations);
    auto created = Reconstruction::Create(config, *SmallPhantom().device, options);
    ASSERT_TRUE(created.ok()) << created.status();
    const auto session = *std::move(created);
    SmallPhantom().Send(*session, 0, SmallPhantom().simulation.points());
    while (session->RunTurn()) {
    }
    const Progress p = session->progress();
    ASSERT_EQ(p.state, SessionState::kCompleted) << p.failure;
    EXPECT_EQ(p.iteration, whole->progress().iteration);
    EXPECT_NEAR(p.final_fit->r_factor / fit, 1, 1e-3) << iterations;
    EXPECT_THAT(p.warnings, IsEmpty());
  }
}

TEST(Restored, TheGradientGoesOnBitForBit) {
  ReconstructionConfig config = DmThenMl();
  const auto whole = SmallPhantom().Run(config);
  ReconstructionOptions options;
  options.restored = KilledAfter(100, config);
  const auto session = Reconstruction::Create(config, *SmallPhantom().device, options).value();
  SmallPhantom().Send(*session, 0, SmallPhantom().simulation.points());
  while (session->RunTurn()) {
  }
  EXPECT_EQ(session->latest_snapshot()->object.data, whole->latest_snapshot()->object.data);
  EXPECT_EQ(session->latest_snapshot()->probe.data, whole->latest_snapshot()->probe.data);
}

}  // namespace
}  // namespace ptychoserve
