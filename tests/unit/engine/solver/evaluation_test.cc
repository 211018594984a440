// How well object and probe explain the frames, while the run goes on, and frames held out for it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>

#include "tests/unit/engine/solver/fake_session.h"
#include "tests/unit/engine/solver/phantom.h"

namespace ptychoserve {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class EvaluationTest : public FakeSessionTest {
 protected:
  std::vector<int> SlotsOf(const std::vector<PointWindow>& points) {
    std::vector<int> slots;
    for (const PointWindow& point : points) slots.push_back(point.slot);
    return slots;
  }
};

TEST_F(EvaluationTest, ASnapshotComesWithOneOfItsOwn) {
  Start(Config());
  Send(0, 8);
  session_->RunTurn();
  session_->RunTurn();
  const auto snapshot = session_->latest_snapshot();
  ASSERT_TRUE(snapshot->metrics.evaluation.has_value());
  EXPECT_EQ(snapshot->metrics.evaluation->iteration, snapshot->iteration);
  EXPECT_EQ(snapshot->metrics.evaluation->fit.r_factor, 0.25);
  EXPECT_EQ(snapshot->metrics.evaluation->fit.poisson_nll, 1.5);
  EXPECT_FALSE(snapshot->metrics.evaluation->held_out.has_value());
  for (const SnapshotPoint& point : snapshot->points) {
    EXPECT_EQ(point.fit.r_factor, 0.25f);
    EXPECT_EQ(point.fit.poisson_nll, 1.5f);
  }
  EXPECT_EQ(session_->history()[0].evaluation->iteration, 1);
}

TEST_F(EvaluationTest, TheyTakeNoMoreThanATwentiethOfTheTime) {
  ReconstructionConfig config = Config();
  config.snapshots.every_iterations = 1;
  record().r_factor = [this](int) {
    clock_.Advance(std::chrono::milliseconds(10));
    return 0.5;
  };
  record().on_evaluate = [this] { clock_.Advance(std::chrono::milliseconds(1)); };
  Start(config);
  Send(0, 8);
  RunTurns(4000);
  // One more than has fit into a twentieth of 40 s of iterations and of their own time.
  EXPECT_NEAR(record().evaluations, 0.05 * 4000 * 10 / 0.95, 3);
  const auto snapshot = session_->latest_snapshot();
  EXPECT_LT(snapshot->metrics.evaluation->iteration, snapshot->iteration);
}

TEST_F(EvaluationTest, TheLastSnapshotAlwaysHasOne) {
  ReconstructionConfig config = Config();
  record().on_evaluate = [this] { clock_.Advance(std::chrono::hours(1)); };
  Start(config);
  Send(0, 8);
  ASSERT_TRUE(session_->FinishScan(std::nullopt).ok());
  RunTurns();
  EXPECT_EQ(record().evaluations, 2);
  const auto snapshot = session_->latest_snapshot();
  EXPECT_EQ(snapshot->metrics.evaluation->iteration, snapshot->iteration);
  EXPECT_EQ(progress().last->evaluation->iteration, snapshot->iteration);
}

TEST_F(EvaluationTest, PointsThatHaveComeSinceHaveNone) {
  ReconstructionConfig config = Config();
  config.snapshots.every_iterations = 1;
  record().on_evaluate = [this] { clock_.Advance(std::chrono::milliseconds(20)); };
  Start(config);
  Send(0, 8);
  RunTurns(2);
  Send(8, 4);
  RunTurns(3);
  const auto snapshot = session_->latest_snapshot();
  ASSERT_EQ(snapshot->points.size(), 12U);
  EXPECT_EQ(snapshot->points[7].fit.r_factor, 0.25f);
  EXPECT_TRUE(std::isnan(snapshot->points[8].fit.r_factor));
  EXPECT_TRUE(std::isnan(snapshot->points[8].fit.poisson_nll));
}

TEST_F(EvaluationTest, HeldOutFramesAreLookedAtAndNotUsed) {
  ReconstructionConfig config = Config();
  config.quality.held_out_every = 5;
  config.scan.first_frame_id = 3;
  config.scan.expected_points = 12;
  Start(config);
  Send(3, 12);  // 7 and 12 are held out.
  RunTurns();
  const Progress p = progress();
  EXPECT_EQ(p.state, SessionState::kCompleted);
  EXPECT_EQ(p.active_points, 10);
  EXPECT_EQ(p.held_out_points, 2);
  EXPECT_FALSE(p.partial);
  EXPECT_THAT(record().active_counts, ElementsAre(10));
  EXPECT_THAT(SlotsOf(record().evaluated), ElementsAre(4, 9));
  EXPECT_EQ(p.last->evaluation->held_out->poisson_nll, 1.5);
  for (const SnapshotPoint& point : session_->latest_snapshot()->points) {
    EXPECT_NE((point.frame_id - 3) % 5, 4);
  }
}

TEST_F(EvaluationTest, ASessionOfWhichAllIsHeldOutFailsAndSaysWhy) {
  ReconstructionConfig config = Config();
  config.quality.held_out_every = 4;
  Start(config);
  Send(3, 1);
  ASSERT_TRUE(session_->FinishScan(std::nullopt).ok());
  RunTurns();
  EXPECT_EQ(progress().state, SessionState::kFailed);
  EXPECT_THAT(progress().failure, HasSubstr("1 are held out"));
}

// Noise that the other frames do not have is not found in the held-out ones.
TEST(HeldOutTest, IsPredictedLessWellThanWhatWasFitted) {
  const Phantom phantom(
      {.points = 100, .frame_side = 64, .overlap = 0.75, .photons = 1e6, .seed = 3});
  ReconstructionConfig config = phantom.Config();
  config.quality.held_out_every = 5;
  const auto session = phantom.Run(config);
  const Evaluation evaluation = *session->progress().last->evaluation;
  ASSERT_TRUE(evaluation.held_out.has_value());
  EXPECT_GT(evaluation.held_out->poisson_nll, 1.05 * evaluation.fit.poisson_nll);
  EXPECT_LT(evaluation.held_out->r_factor, 3 * evaluation.fit.r_factor);
}

}  // namespace
}  // namespace ptychoserve
