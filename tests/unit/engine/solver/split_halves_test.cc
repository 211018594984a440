// Reconstructions from half of the points each, after the run.
#include "engine/solver/split_halves.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/engine/solver/fake_session.h"
#include "tests/unit/engine/solver/phantom.h"

namespace ptychoserve {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class SplitHalvesTest : public FakeSessionTest {
 protected:
  static constexpr int kPoints = 49;

  ReconstructionConfig Config() {
    ReconstructionConfig config = FakeSessionTest::Config();
    config.quality.split_halves = true;
    config.scan.expected_points = kPoints;
    config.run.min_points_to_start = kPoints;
    config.schedule = {{.algorithm = DifferenceMapConfig{}}, {.algorithm = MlGradientConfig{}}};
    config.schedule[0].iterations = 3;
    return config;
  }
  // 7 x 7 points, five and a half pixels apart.
  void SendScan() {
    std::vector<double> x, y;
    for (int id = 0; id < kPoints; ++id) {
      x.push_back(id % 7 * 5.5 * kSmallPixel_m);
      y.push_back(id / 7 * 5.5 * kSmallPixel_m);
    }
    SendFrames(0, kPoints);
    ASSERT_TRUE(session_->AddPositions({.first_frame_id = 0, .x_m = x, .y_m = y}).ok());
  }
  // Turns until the halves have done some iterations.
  void RunToHalves(int iterations) {
    while (!progress().split_halves || progress().split_halves->iterations < iterations) {
      ASSERT_TRUE(session_->RunTurn());
    }
  }
};

TEST_F(SplitHalvesTest, KnowNothingOfWhatTheWholeHasRefined) {
  ReconstructionConfig config = Config();
  config.refinement.every = 1;
  config.schedule[1].refine = {
      .positions = true, .intensities = true, .background = true, .variation = true};
  record().refined.gradient[2] = 1e6;  // Every other point is brighter than thought.
  record().refined.fisher[5] = 1e6;
  Start(config);
  SendScan();
  RunToHalves(1);
  ASSERT_EQ(record().refinements, 2);
  for (const PointWindow& window : record().active) {
    EXPECT_EQ(window.intensity, 1);
    EXPECT_FALSE(Varies(window));
  }
  EXPECT_THAT(record().components.data, ::testing::Each(Complex64()));
  EXPECT_THAT(record().background.data, ::testing::Each(0));
  const auto whole = session_->latest_snapshot();
  EXPECT_GT(whole->points[0].refined.intensity, 1.05f);
  EXPECT_LT(whole->points[1].refined.intensity, 0.95f);
  EXPECT_GT(whole->background->data[0], 0);
  ASSERT_NE(whole->probe_components, nullptr);
  EXPECT_NE(whole->points[0].refined.variation[0], 0);
  RunTurns();
  EXPECT_EQ(record().refinements, 6);
}

TEST_F(SplitHalvesTest, RepeatTheScheduleOnEvenAndOnOddPoints) {
  Start(Config());
  SendScan();
  RunToHalves(1);
  EXPECT_EQ(progress().state, SessionState::kRefining);
  EXPECT_EQ(record().active.size(), 25u);
  EXPECT_EQ(record().active[1].slot, 2);
  RunToHalves(6);
  EXPECT_EQ(record().active.size(), 24u);
  EXPECT_EQ(record().active[0].slot, 1);
  RunTurns();

  const Progress p = progress();
  EXPECT_EQ(p.state, SessionState::kCompleted);
  EXPECT_EQ(p.completion, Completion::kItEndsAfter);
  EXPECT_EQ(p.iteration, 5) << "of the run";
  EXPECT_EQ(p.active_points, kPoints);
  ASSERT_TRUE(p.split_halves.has_value());
  EXPECT_EQ(p.split_halves->iterations, 10);
  EXPECT_EQ(p.split_halves->iterations_planned, 10);
  EXPECT_TRUE(p.split_halves->ring_correlation.has_value());
  EXPECT_THAT(p.warnings, IsEmpty());
  std::vector<std::size_t> stages;
  for (const AlgorithmConfig& a : record().algorithms) stages.push_back(a.index());
  EXPECT_THAT(stages, ElementsAre(0, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 1, 1));
  EXPECT_EQ(record().refinements, 0);
  // The probe is held back anew, as many iterations as at first.
  EXPECT_FALSE(record().options[5].update_probe);
  EXPECT_TRUE(record().options[7].update_probe);
  EXPECT_EQ(record().probes_set, 3);
  ASSERT_EQ(record().cleared.size(), 2u);
  EXPECT_EQ(record().cleared[0], record().canvas);
  EXPECT_EQ(record().destroyed, 1);
}

TEST_F(SplitHalvesTest, ResultAndFitAreThoseOfTheWholeRun) {
  Start(Config());
  SendScan();
  RunToHalves(1);
  const int evaluations = record().evaluations;
  RunTurns();
  const auto snapshot = session_->latest_snapshot();
  EXPECT_TRUE(snapshot->final);
  EXPECT_EQ(snapshot->object.data[0], Complex64(5)) << "the fake's object counts iterations";
  EXPECT_EQ(snapshot->points.size(), static_cast<std::size_t>(kPoints));
  EXPECT_EQ(progress().final_fit->r_factor, 0.25);
  EXPECT_EQ(record().evaluations, evaluations);
  EXPECT_EQ(session_->history().size(), 5u);
}

TEST_F(SplitHalvesTest, ComparisonHoldsNoTurnUp) {
  Start(Config());
  SendScan();
  RunToHalves(9);
  hold_ = true;
  RunTurns();
  EXPECT_FALSE(session_->RunTurn()) << "others may have the device meanwhile";
  EXPECT_EQ(progress().state, SessionState::kRefining);
  EXPECT_EQ(progress().split_halves->iterations, 10);
  RunHeld();
  EXPECT_TRUE(session_->RunTurn());
  EXPECT_EQ(progress().state, SessionState::kCompleted);
}

TEST_F(SplitHalvesTest, AStopEndsThemAndKeepsTheResult) {
  Start(Config());
  SendScan();
  RunToHalves(7);
  ASSERT_TRUE(session_->Stop(/*abort=*/false).ok());
  RunTurns();
  const Progress p = progress();
  EXPECT_EQ(p.state, SessionState::kStopped);
  EXPECT_EQ(p.split_halves->iterations, 7);
  EXPECT_FALSE(p.split_halves->ring_correlation.has_value());
  EXPECT_EQ(p.final_fit->r_factor, 0.25);
  EXPECT_TRUE(session_->latest_snapshot()->final);
  EXPECT_THAT(p.warnings, ElementsAre(HasSubstr("stopped before the split halves")));
}

TEST_F(SplitHalvesTest, ARunThatIsStoppedHasNone) {
  Start(Config());
  SendScan();
  session_->RunTurn();
  ASSERT_TRUE(session_->Stop(/*abort=*/false).ok());
  RunTurns();
  EXPECT_EQ(progress().state, SessionState::kStopped);
  EXPECT_FALSE(progress().split_halves.has_value());
}

TEST_F(SplitHalvesTest, ACheckpointMeanwhileIsThatOfTheEndOfTheRun) {
  Start(Config());
  SendScan();
  RunToHalves(4);
  const auto last = session_->latest_snapshot();
  std::shared_ptr<const Checkpoint> checkpoint;
  session_->MakeCheckpoint([&](auto made) { checkpoint = std::move(made); });
  session_->RunTurn();
  ASSERT_NE(checkpoint, nullptr);
  EXPECT_EQ(checkpoint->snapshot, last);
  EXPECT_EQ(checkpoint->snapshot->run.iteration, 5);
  EXPECT_EQ(session_->latest_snapshot(), last);

  // Another process does the halves again, and no iteration of the run.
  options_.restored = checkpoint;
  Start(Config());
  SendScan();
  RunTurns();
  EXPECT_EQ(progress().state, SessionState::kCompleted);
  EXPECT_EQ(progress().iteration, 5);
  EXPECT_EQ(progress().split_halves->iterations, 10);
  EXPECT_TRUE(progress().split_halves->ring_correlation.has_value());
}

TEST_F(SplitHalvesTest, InputIsLateMeanwhile) {
  ReconstructionConfig config = Config();
  config.scan.expected_points = 0;
  config.run.max_iterations = 4;
  Start(config);
  SendScan();
  RunToHalves(1);
  SendFrames(60, 2);
  EXPECT_EQ(progress().frames.rejected[static_cast<std::size_t>(Reject::kLate)], 2);
  RunTurns();
  EXPECT_EQ(progress().completion, Completion::kMaxIterations);
  EXPECT_EQ(progress().split_halves->iterations, 8) << "the cap is that of each half, too";
}

TEST_F(SplitHalvesTest, WhatCannotBeComparedIsAWarning) {
  Start(Config());
  SendFrames(0, kPoints);
  SendPositions(0, kPoints);  // 28 pixels wide.
  RunTurns();
  EXPECT_EQ(progress().state, SessionState::kCompleted);
  EXPECT_FALSE(progress().split_halves->ring_correlation.has_value());
  EXPECT_THAT(progress().warnings, ElementsAre(HasSubstr("could not be compared")));
}

TEST_F(SplitHalvesTest, ADivergenceIsAWarning) {
  record().is_nan = [](int iteration) { return iteration == 8; };
  Start(Config());
  SendScan();
  RunTurns();
  EXPECT_EQ(progress().state, SessionState::kCompleted);
  EXPECT_THAT(progress().warnings, ElementsAre(HasSubstr("even points diverged in iteration 4")));
}

TEST_F(SplitHalvesTest, WithoutIterationsThereIsNothingToRepeat) {
  ReconstructionConfig config = Config();
  config.run.it_ends_after = 0;
  Start(config);
  SendScan();
  RunTurns();
  EXPECT_EQ(progress().state, SessionState::kCompleted);
  EXPECT_THAT(progress().warnings, ElementsAre(HasSubstr("it_ends_after is 0")));
}

TEST(SplitHalves, AreWhatTwoSessionsOfHalfThePointsComeTo) {
  const Phantom phantom(
      {.points = 169, .frame_side = 64, .overlap = 0.75, .photons = 1e6, .seed = 3});
  ReconstructionConfig config = phantom.Config();
  const auto [x_min, x_max] =
      std::minmax_element(phantom.simulation.x_m().begin(), phantom.simulation.x_m().end());
  const auto [y_min, y_max] =
      std::minmax_element(phantom.simulation.y_m().begin(), phantom.simulation.y_m().end());
  config.scan.bounds = ScanBounds{*y_min, *y_max, *x_min, *x_max};
  config.run.min_points_to_start = config.scan.expected_points;
  config.schedule = {{.algorithm = DifferenceMapConfig{}}, {.algorithm = MlGradientConfig{}}};
  config.schedule[0].iterations = 27;
  config.run.it_ends_after = 40;
  config.probe.modes = 2;
  config.probe.recentre_every = 7;
  config.quality.split_halves = true;
  const auto whole = phantom.Run(config);
  ASSERT_TRUE(whole->progress().split_halves->ring_correlation.has_value());

  PlacedObject halves[2];
  config.quality.split_halves = false;
  for (const int half : {0, 1}) {
    config.scan.expected_points = config.run.min_points_to_start = half == 0 ? 85 : 84;
    const auto session = phantom.Open(config);
    for (int j = half; j < phantom.simulation.points(); j += 2) phantom.Send(*session, j, 1);
    while (session->RunTurn()) {
    }
    const auto snapshot = session->latest_snapshot();
    Region scanned = snapshot->scanned;
    scanned.row += snapshot->canvas.row;
    scanned.col += snapshot->canvas.col;
    halves[half] = {snapshot->canvas, snapshot->object, snapshot->coverage, scanned};
  }
  const auto expected = Compare(halves[0], halves[1], phantom.simulation.pixel_size());
  ASSERT_TRUE(expected.ok()) << expected.status();
  const Progress measured = whole->progress();
  const RingCorrelation& rings = *measured.split_halves->ring_correlation;
  EXPECT_EQ(rings.correlation, expected->correlation);
  EXPECT_GT(rings.half_bit_of_nyquist, 0.2);
  EXPECT_GT(rings.mean_to_half_nyquist, 0.5);
}

}  // namespace
}  // namespace ptychoserve
