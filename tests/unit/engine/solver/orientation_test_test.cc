// A session finds out by itself, or when it is asked, which way its frames lie.
#include "engine/solver/orientation_test.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/scan/orientation.h"
#include "tests/unit/engine/solver/fake_session.h"
#include "tests/unit/engine/solver/orientation_conformance.h"
#include "tests/unit/engine/solver/phantom.h"

namespace ptychoserve {
namespace {

using ::testing::Each;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

const Phantom& ThePhantom() {
  static const Phantom phantom(
      {.points = 64, .frame_side = 64, .overlap = 0.75, .photons = 1e6, .seed = 3});
  return phantom;
}

// Its frames are as they should be when the orientation is the identity.
ReconstructionConfig Tested(const Phantom& phantom, Orientation declared) {
  ReconstructionConfig config = phantom.Config();
  config.detector.orientation = declared;
  config.quality.test_orientation = true;
  config.run.it_ends_after = 3;
  return config;
}

// Asked of a session that has all its points; what the session is like afterwards.
std::pair<OrientationRanking, Progress> Ask(const Phantom& phantom, ReconstructionConfig config) {
  config.quality.test_orientation = false;
  const auto session = phantom.Open(config);
  phantom.Send(*session, 0, phantom.simulation.points());
  std::optional<absl::StatusOr<OrientationRanking>> found;
  session->TestOrientation([&found](auto answer) { found = std::move(answer); });
  while (session->RunTurn()) {
  }
  return {found.value().value(), session->progress()};
}

bool SameClass(Orientation a, Orientation b) {
  return a == b || Compose(a, Orientation::kRot180) == b;
}

TEST(SessionOrientation, FindsEachOfTheEightWithoutAProbe) {
  for (const Orientation declared : kAllOrientations) {
    const auto [found, progress] = Ask(ThePhantom(), Tested(ThePhantom(), declared));
    EXPECT_EQ(progress.orientation, found);
    EXPECT_EQ(found.points, 32);
    EXPECT_THAT(found.trials, SizeIs(4));
    EXPECT_TRUE(SameClass(found.best().orientation, Orientation::kIdentity))
        << OrientationName(declared);
    EXPECT_TRUE(IsClear(found));
    const bool right = SameClass(declared, Orientation::kIdentity);
    EXPECT_EQ(IsConfirmed(found), right) << OrientationName(declared);
    if (right) {
      EXPECT_THAT(progress.warnings, Each(Not(HasSubstr("otherwise than declared"))));
    } else {
      EXPECT_THAT(progress.warnings, testing::Contains(HasSubstr("otherwise than declared")));
    }
  }
}

TEST(SessionOrientation, TellsTwinsApartByTheProbe) {
  for (const Orientation declared : kAllOrientations) {
    ReconstructionConfig config = Tested(ThePhantom(), declared);
    config.probe.initial = ThePhantom().simulation.initial_probe();
    const auto [found, progress] = Ask(ThePhantom(), config);
    EXPECT_THAT(found.trials, SizeIs(8));
    EXPECT_EQ(found.best().orientation, Orientation::kIdentity);
    EXPECT_EQ(IsConfirmed(found), declared == Orientation::kIdentity);
    if (declared == Orientation::kRot180) {
      EXPECT_THAT(progress.warnings,
                  testing::Contains(HasSubstr("the other sign of the phases of probe.initial")));
    }
  }
}

TEST(SessionOrientation, NearFieldHasNoTwins) {
  SimulationConfig scan;
  scan.points = 64;
  scan.frame_side = 64;
  scan.overlap = 0.8;
  scan.near_field = NearFieldConfig{.source_to_sample_m = 0.05};
  scan.distance_m = 1;
  scan.detector_pixel_size_m = 13e-6;
  const Phantom phantom(scan);
  for (const Orientation declared : {Orientation::kIdentity, Orientation::kRot180}) {
    const OrientationRanking found = Ask(phantom, Tested(phantom, declared)).first;
    EXPECT_THAT(found.trials, SizeIs(8));
    EXPECT_THAT(found.trials, Each(Field(&OrientationTrial::twin, std::optional<Orientation>())));
    EXPECT_EQ(found.best().orientation, Orientation::kIdentity);
    EXPECT_EQ(IsConfirmed(found), declared == Orientation::kIdentity);
  }
}

TEST(SessionOrientation, LeavesTheRunAsItWas) { ExpectTestLeavesRunAsItWas(ThePhantom()); }

class SessionOrientationRules : public FakeSessionTest {
 protected:
  ReconstructionConfig TestedConfig() {
    ReconstructionConfig config = Config();
    config.quality.test_orientation = true;
    config.scan.capacity = 300;
    config.run.it_ends_after = 50;
    return config;
  }
  // Points that are turned are explained worse by this part.
  void Answer(double margin) {
    record().evaluated_r = [this, margin](int) {
      const bool turned = std::ranges::any_of(record().evaluated, [](const PointWindow& p) {
        return p.row + 8 != p.slot / 8 * 4 || p.col + 8 != p.slot % 8 * 4;
      });
      turned_ += turned ? 1 : 0;
      return turned ? 1 + margin : 1;
    };
  }
  // Iterations of the run, which has no snapshots to evaluate.
  void RunTo(std::int64_t iteration) {
    while (progress().iteration < iteration) ASSERT_TRUE(session_->RunTurn());
  }
  int turned_ = 0;  // Trials of turned points.
};

TEST_F(SessionOrientationRules, WaitsForThirtyTwoPoints) {
  Answer(0.051);
  Start(TestedConfig());
  Send(0, 31);
  RunTo(2);
  EXPECT_FALSE(progress().orientation.has_value());
  Send(31, 1);
  RunTo(4);
  ASSERT_TRUE(progress().orientation.has_value());
  EXPECT_TRUE(IsClear(*progress().orientation));
}

TEST_F(SessionOrientationRules, AsksAgainOfFourTimesAsManyPointsUntilTheAnswerIsClear) {
  for (const double margin : {0.0499, 0.0501}) {
    Answer(margin);
    Start(TestedConfig());
    Send(0, 32);
    RunTo(2);
    ASSERT_TRUE(progress().orientation.has_value());
    EXPECT_EQ(IsClear(*progress().orientation), margin > 0.05);
    const int trials = turned_;
    Send(32, 4 * 32 - 32 - 1);
    RunTo(4);
    EXPECT_EQ(turned_, trials);
    Send(4 * 32 - 1, 1);
    RunTo(6);
    EXPECT_EQ(turned_ > trials, margin < 0.05);
  }
}

TEST_F(SessionOrientationRules, SmallScansAreTestedWhenTheyAreComplete) {
  for (const int points : {15, 16}) {
    Answer(0.5);
    Start(TestedConfig());
    Send(0, points);
    RunTo(2);
    EXPECT_FALSE(progress().orientation.has_value());
    ASSERT_TRUE(session_->FinishScan({}).ok());
    RunTo(4);
    EXPECT_EQ(progress().orientation.has_value(), points == 16);
  }
}

TEST_F(SessionOrientationRules, WaitsUntilItIsATenthOfTheTime) {
  // 8 trials of 10 iterations on 32 of 64 points are 40 iterations' worth.
  Answer(0.5);
  ReconstructionConfig config = TestedConfig();
  config.scan.expected_points = 64;
  config.run.it_ends_after = 1000;
  record().r_factor = [this](int) {
    clock_.Advance(std::chrono::milliseconds(100));
    return 0.5;
  };
  Start(config);
  Send(0, 64);
  RunTo(399);
  EXPECT_FALSE(progress().orientation.has_value());
  RunTo(401);
  EXPECT_TRUE(progress().orientation.has_value());
}

TEST_F(SessionOrientationRules, ASecondIsAlwaysThere) {
  for (const int iteration_us : {24'900, 25'100}) {
    Answer(0.5);
    ReconstructionConfig config = TestedConfig();
    config.scan.expected_points = 64;
    record().r_factor = [this, iteration_us](int) {
      clock_.Advance(std::chrono::microseconds(iteration_us));
      return 0.5;
    };
    Start(config);
    Send(0, 64);
    RunTo(2);
    EXPECT_EQ(progress().orientation.has_value(), 40 * iteration_us < 1'000'000);
  }
}

TEST_F(SessionOrientationRules, IsDoneWhenAskedWhateverItCosts) {
  ReconstructionConfig config = TestedConfig();
  config.quality.test_orientation = false;
  record().r_factor = [this](int) {
    clock_.Advance(std::chrono::seconds(100));
    return 0.5;
  };
  Start(config);
  Send(0, 20);
  std::optional<absl::StatusOr<OrientationRanking>> answer;
  session_->TestOrientation([&answer](auto found) { answer = std::move(found); });
  RunTo(3);
  EXPECT_FALSE(answer.has_value());  // There may be more points to come.
  ASSERT_TRUE(session_->FinishScan({}).ok());
  RunTo(5);
  ASSERT_TRUE(answer.has_value());
  ASSERT_TRUE(answer->ok()) << answer->status();
  EXPECT_EQ((*answer)->points, 20);
}

TEST_F(SessionOrientationRules, ASessionThatEndsSaysSo) {
  Start(TestedConfig());
  Send(0, 20);
  std::optional<absl::StatusOr<OrientationRanking>> answer;
  session_->TestOrientation([&answer](auto found) { answer = std::move(found); });
  RunTo(3);
  ASSERT_TRUE(session_->Stop(/*abort=*/false).ok());
  RunTurns();
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->status().code(), absl::StatusCode::kFailedPrecondition);
  answer.reset();
  session_->TestOrientation([&answer](auto found) { answer = std::move(found); });
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(SessionOrientationRules, AStopDuringTheTestKeepsTheResult) {
  Start(TestedConfig());
  Send(0, 40);
  RunTo(1);
  Answer(0.5);
  while (turned_ == 0) ASSERT_TRUE(session_->RunTurn());
  record().calls.clear();
  ASSERT_TRUE(session_->Stop(/*abort=*/false).ok());
  RunTurns();
  EXPECT_EQ(progress().state, SessionState::kStopped);
  // Object and probe are those of the run again.
  EXPECT_THAT(record().calls,
              testing::ElementsAre("points", "canvas", "object", "probe", "points"));
  EXPECT_FALSE(progress().orientation.has_value());
}

TEST_F(SessionOrientationRules, ACheckpointDuringTheTestIsThatFromBefore) {
  Start(TestedConfig());
  Send(0, 40);
  RunTo(1);
  Answer(0.5);
  while (turned_ == 0) ASSERT_TRUE(session_->RunTurn());
  std::shared_ptr<const Checkpoint> checkpoint;
  session_->MakeCheckpoint([&checkpoint](auto made) { checkpoint = std::move(made); });
  ASSERT_TRUE(session_->RunTurn());
  ASSERT_NE(checkpoint, nullptr);
  EXPECT_EQ(checkpoint->snapshot->iteration, 1);
}

// 40 points in a row of low frames: turned, they need more room than the canvas that is announced.
TEST_F(SessionOrientationRules, NoRoomForTheTurnedScanIsAnAnswer) {
  std::vector<PointWindow> row;
  for (int i = 0; i < 40; ++i) row.push_back({.slot = i, .row = 0, .col = 4 * i});
  OrientationTest::Start start;
  start.probe = ComplexStack(1, {16, 64});
  start.pixel_size = {1, 1};
  const OrientationTest test(Orientation::kIdentity, row, start);
  EXPECT_EQ(test.canvas_pixels(), (31 * 4 + 17) * 65);
  EXPECT_EQ(test.frame_iterations(), 4 * 10 * 32);
}

TEST(OrientationWarning, SaysWhatToChangeAndByHowMuch) {
  OrientationRanking ranking;
  ranking.points = 32;
  ranking.declared = Orientation::kIdentity;
  OrientationTrial best;
  best.orientation = Orientation::kFlipLr;
  best.twin = Orientation::kFlipUd;
  best.instead = "scan.x_sign reversed";
  best.r_factor = 0.1;
  OrientationTrial own;
  own.orientation = Orientation::kIdentity;
  own.twin = Orientation::kRot180;
  own.r_factor = 0.2;
  ranking.trials = {best, own};
  EXPECT_EQ(OrientationWarning(ranking),
            "32 neighbouring frames are explained better when they lie otherwise than declared: R "
            "is 0.100 with detector.orientation flip_lr or its twin, flip_ud, or with scan.x_sign "
            "reversed; with identity, as declared, it is 0.200");
}

}  // namespace
}  // namespace ptychoserve
