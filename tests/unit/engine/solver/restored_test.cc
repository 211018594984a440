// Runs that go on from a snapshot in another session: how they stream, and what comes out.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "engine/object/modes.h"
#include "engine/solver/orientation_test.h"
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
    options_.restored = CheckpointOf(std::move(snapshot));
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

TEST_F(RestoredTest, WhatWasRefinedComesBack) {
  auto snapshot = Earlier();
  snapshot->points[3].refined = {0.5f, -0.25f, 1.25f, {0.125f, -0.5f}};
  snapshot->metrics.refinement = RefinementFigures{.shift_rms_px = 0.2};
  auto background = std::make_shared<FloatImage>();
  background->shape = {kSide, kSide};
  background->data.assign(kSide * kSide, 2.0f);
  snapshot->background = background;
  auto components = std::make_shared<ComplexStack>(2, Shape{kSide, kSide}, Complex64(3, 4));
  snapshot->probe_components = components;
  ReconstructionConfig config = TwoStages();
  config.schedule[1].refine.variation = true;
  config.refinement.every = 1000;
  Restore(config, snapshot);
  Send(0, 8);
  RunTurns(1);
  EXPECT_EQ(record().background.data, background->data);
  ASSERT_EQ(record().active.size(), 8u);
  for (const PointWindow& window : record().active) {
    EXPECT_EQ(window.intensity, window.slot == 3 ? 1.25f : 1.0f);
    EXPECT_EQ(window.variation,
              snapshot->points[static_cast<std::size_t>(window.slot)].refined.variation);
  }
  EXPECT_EQ(record().components.data, components->data);
  ASSERT_TRUE(session_->FinishScan(std::nullopt).ok());
  RunTurns();
  const auto last = session_->latest_snapshot();
  EXPECT_EQ(last->points[3].refined, snapshot->points[3].refined);
  EXPECT_EQ(last->points[2].refined, PointRefinement());
  ASSERT_NE(last->probe_components, nullptr);
  EXPECT_EQ(last->probe_components->data, components->data);
  ASSERT_NE(last->background, nullptr);
  EXPECT_EQ(last->background->data, background->data);
  EXPECT_EQ(last->metrics.refinement, snapshot->metrics.refinement);
}

TEST_F(RestoredTest, AnObjectOfFewerModesIsTheFirstOfThem) {
  auto snapshot = Earlier();
  ReconstructionConfig config = TwoStages();
  config.object.modes = 3;
  Restore(config, snapshot);
  Send(0, 8);
  RunTurns(1);
  EXPECT_EQ(record().object.data,
            WithObjectModes(snapshot->object, snapshot->canvas,
                            MakeObjectStart(InitialObject(config.object), {kSide, kSide}), 3)
                .data);
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
    options.restored = CheckpointOf(snapshot);
    const auto created = Reconstruction::Create(TwoStages(), device_, options);
    EXPECT_EQ(created.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(created.status().message());
  };
  auto snapshot = Earlier();
  snapshot->probe = ComplexStack(2, {kSide, kSide});
  EXPECT_THAT(refusal(snapshot), HasSubstr("the restored probe is 2 x 16 x 16"));
  for (const PointRefinement& bad :
       {PointRefinement{NAN, 0, 1}, {0, 65, 1}, {0, 0, 0}, {0, 0, 1, {NAN}}}) {
    snapshot = Earlier();
    snapshot->points[2].refined = bad;
    EXPECT_THAT(refusal(snapshot), HasSubstr("the restored frame 2 is shifted by"));
  }
  snapshot = Earlier();
  snapshot->background = std::make_shared<FloatImage>(FloatImage{{1, 1}, {0}});
  EXPECT_THAT(refusal(snapshot), HasSubstr("the restored background of 1 x 1"));
  snapshot = Earlier();
  snapshot->probe_components = std::make_shared<ComplexStack>(1, Shape{kSide, kSide});
  EXPECT_THAT(refusal(snapshot), HasSubstr("components of the probe's variation are 1 x 16 x 16"));
  snapshot = Earlier();
  snapshot->object = ComplexStack(1, {64, 64});
  EXPECT_THAT(refusal(snapshot), HasSubstr("does not fill its canvas of 64 x 80"));
  snapshot = Earlier();
  snapshot->object = ComplexStack(2, {64, 80});
  EXPECT_THAT(refusal(snapshot), HasSubstr("the restored object of 2 x 64 x 80"));
  snapshot = Earlier();
  snapshot->canvas.shape = {2000, 2000};
  snapshot->object = ComplexStack(1, {2000, 2000});
  EXPECT_THAT(refusal(snapshot), HasSubstr("not within 1 and 1048576 pixels"));
  snapshot = Earlier();
  snapshot->run.stage = 2;
  EXPECT_THAT(refusal(snapshot), HasSubstr("stage 2 of 2"));

  Checkpoint checkpoint = *CheckpointOf(Earlier());
  checkpoint.exit_waves = ExitWaveState{ComplexStack(7, {kSide, kSide}), std::vector<double>(8)};
  ReconstructionOptions options;
  options.restored = std::make_shared<Checkpoint>(checkpoint);
  EXPECT_THAT(
      std::string(Reconstruction::Create(TwoStages(), device_, options).status().message()),
      HasSubstr("the restored exit waves are 7 x 16 x 16; those of 8 points with 1 modes are"));

  checkpoint.exit_waves.reset();
  checkpoint.momentum = MomentumState{.object_velocity = ComplexStack(1, {64, 80}),
                                      .probe_velocity = ComplexStack(2, {kSide, kSide}),
                                      .iterations = 3};
  options.restored = std::make_shared<Checkpoint>(checkpoint);
  EXPECT_THAT(
      std::string(Reconstruction::Create(TwoStages(), device_, options).status().message()),
      HasSubstr("the restored velocities are 1 x 64 x 80 and 2 x 16 x 16, of 3 iterations; object "
                "and probe are 1 x 64 x 80 and 1 x 16 x 16"));
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

// What is saved after `iterations` of a run that is then killed.
std::shared_ptr<const Checkpoint> KilledAfter(int iterations, const ReconstructionConfig& config,
                                              ReconstructionOptions options = {}) {
  auto created = Reconstruction::Create(config, *SmallPhantom().device, std::move(options));
  EXPECT_TRUE(created.ok()) << created.status();
  const auto session = *std::move(created);
  SmallPhantom().Send(*session, 0, SmallPhantom().simulation.points());
  while (session->progress().iteration < iterations) session->RunTurn();
  std::shared_ptr<const Checkpoint> saved;
  session->MakeCheckpoint([&](std::shared_ptr<const Checkpoint> made) { saved = std::move(made); });
  session->RunTurn();
  EXPECT_NE(saved, nullptr);
  EXPECT_EQ(saved->snapshot->iteration, iterations);
  return saved;
}

std::unique_ptr<Reconstruction> GoesOnFrom(std::shared_ptr<const Checkpoint> checkpoint,
                                           const ReconstructionConfig& config) {
  ReconstructionOptions options;
  options.restored = std::move(checkpoint);
  auto created = Reconstruction::Create(config, *SmallPhantom().device, std::move(options));
  EXPECT_TRUE(created.ok()) << created.status();
  auto session = *std::move(created);
  SmallPhantom().Send(*session, 0, SmallPhantom().simulation.points());
  while (session->RunTurn()) {
  }
  EXPECT_EQ(session->progress().state, SessionState::kCompleted) << session->progress().failure;
  EXPECT_THAT(session->progress().warnings, IsEmpty());
  return session;
}

TEST(Restored, EndsWithTheSameBitsAsAnUndisturbedRunWhereverItWasKilled) {
  for (const auto& [modes, object_modes] : {std::pair(1, 1), {2, 1}, {2, 2}}) {
    ReconstructionConfig config = DmThenMl();
    config.probe.modes = modes;
    config.object.modes = object_modes;
    config.schedule[0].iterations = 12;
    config.run.it_ends_after = 18;
    const auto whole = SmallPhantom().Run(config);
    for (const int iterations : {1, 7, 12, 14}) {
      const auto session = GoesOnFrom(KilledAfter(iterations, config), config);
      EXPECT_EQ(session->progress().iteration, whole->progress().iteration);
      EXPECT_EQ(session->latest_snapshot()->object.data, whole->latest_snapshot()->object.data)
          << iterations;
      EXPECT_EQ(session->latest_snapshot()->probe.data, whole->latest_snapshot()->probe.data);
    }
  }
}

TEST(Restored, LsqMlGoesOnWithTheSameBitsFromItsOwnMomentumAndFromAnothers) {
  ReconstructionConfig config = DmThenMl();
  StageConfig gradient{.algorithm = MlGradientConfig{}};
  gradient.iterations = 6;
  config.schedule = {gradient, {.algorithm = LsqMlConfig{}}};
  config.run.it_ends_after = 12;
  const auto whole = SmallPhantom().Run(config);
  for (const int iterations : {3, 6, 9}) {
    const auto checkpoint = KilledAfter(iterations, config);
    ASSERT_TRUE(checkpoint->momentum.has_value()) << iterations;
    EXPECT_EQ(checkpoint->momentum->of,
              iterations > 6 ? Accelerated::kLsqMl : Accelerated::kMlGradient);
    const auto session = GoesOnFrom(checkpoint, config);
    EXPECT_EQ(session->latest_snapshot()->object.data, whole->latest_snapshot()->object.data)
        << iterations;
    EXPECT_EQ(session->latest_snapshot()->probe.data, whole->latest_snapshot()->probe.data);
  }
}

TEST(Restored, ExitWavesAreSavedInADifferenceMapUnlessTheyAreTooLarge) {
  const ReconstructionConfig config = DmThenMl();
  EXPECT_TRUE(KilledAfter(5, config)->exit_waves.has_value());
  EXPECT_FALSE(KilledAfter(82, config)->exit_waves.has_value());
  const std::int64_t bytes = std::int64_t{SmallPhantom().simulation.points()} * 64 * 64 * 8;
  for (const std::int64_t most : {bytes, bytes - 1}) {
    ReconstructionOptions options;
    options.most_checkpoint_wave_bytes = most;
    EXPECT_EQ(KilledAfter(5, config, options)->exit_waves.has_value(), most == bytes);
  }
}

TEST(Restored, ExitWavesThatTheScheduleDoesNotNeedAreLeftOut) {
  const auto killed = KilledAfter(5, DmThenMl());
  ReconstructionConfig config = DmThenMl();
  config.schedule.erase(config.schedule.begin());
  config.run.it_ends_after = 10;
  EXPECT_EQ(GoesOnFrom(killed, config)->progress().iteration, 10);
}

TEST(Restored, ARunThatKeepsNoExitWavesCanTestItsOrientationBeforeItGoesOn) {
  ReconstructionConfig config = DmThenMl();
  config.schedule.erase(config.schedule.begin());
  config.run.it_ends_after = 10;
  const auto undisturbed = SmallPhantom().Run(config);
  ReconstructionOptions options;
  options.restored = KilledAfter(5, config);
  auto created = Reconstruction::Create(config, *SmallPhantom().device, std::move(options));
  ASSERT_TRUE(created.ok()) << created.status();
  const auto session = *std::move(created);
  absl::StatusOr<OrientationRanking> found = absl::UnknownError("not asked");
  session->TestOrientation([&](absl::StatusOr<OrientationRanking> f) { found = std::move(f); });
  SmallPhantom().Send(*session, 0, SmallPhantom().simulation.points());
  while (session->RunTurn()) {
  }
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_TRUE(IsConfirmed(*found));
  EXPECT_EQ(session->progress().state, SessionState::kCompleted) << session->progress().failure;
  EXPECT_EQ(session->latest_snapshot()->object.data, undisturbed->latest_snapshot()->object.data);
}

TEST(Restored, WithoutExitWavesTheFitIsTheSame) {
  const ReconstructionConfig config = DmThenMl();
  const double fit = SmallPhantom().Run(config)->progress().final_fit->r_factor;
  for (const int iterations : {5, 50}) {
    const auto session =
        GoesOnFrom(CheckpointOf(KilledAfter(iterations, config)->snapshot), config);
    EXPECT_NEAR(session->progress().final_fit->r_factor / fit, 1, 1e-3) << iterations;
  }
}

}  // namespace
}  // namespace ptychoserve
