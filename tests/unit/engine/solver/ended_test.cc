// Sessions that had ended when they were made.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/engine/solver/fake_session.h"

namespace ptychoserve {
namespace {

class EndedTest : public FakeSessionTest {
 protected:
  // What can be read of a session.
  static EndedRun Read(const Reconstruction& session) {
    return {.progress = session.progress(),
            .state_changes = session.state_changes(0),
            .history = session.history(),
            .snapshot = session.latest_snapshot()};
  }
};

TEST_F(EndedTest, IsReadAsBefore) {
  Start(Config());
  SendFrames(0, 9);
  SendFrames(3, 1);
  SendPositions(0, 8);
  ASSERT_TRUE(session_->FinishScan(20).ok());
  RunTurns();
  const EndedRun run = Read(*session_);
  ASSERT_EQ(run.progress.state, SessionState::kCompleted);
  auto created = Reconstruction::CreateEnded(Config(), run);
  ASSERT_TRUE(created.ok()) << created.status();
  const auto again = *std::move(created);

  const Progress p = again->progress();
  EXPECT_EQ(again->state(), SessionState::kCompleted);
  EXPECT_EQ(p.completion, Completion::kItEndsAfter);
  EXPECT_EQ(p.end_of_data, EndOfData::kFinishScan);
  EXPECT_EQ(p.frames.accepted, 9);
  EXPECT_EQ(p.frames.rejected[static_cast<std::size_t>(Reject::kDuplicate)], 1);
  EXPECT_EQ(p.positions.accepted, 8);
  EXPECT_EQ(p.joined_points, 8);
  EXPECT_EQ(p.frames_without_position, 1);
  EXPECT_EQ(p.iteration, 5);
  EXPECT_EQ(p.warnings, run.progress.warnings);
  EXPECT_EQ(p.final_fit->r_factor, 0.25);
  EXPECT_EQ(again->history().size(), 5u);
  EXPECT_EQ(again->latest_snapshot(), run.snapshot);
  EXPECT_EQ(again->snapshot(run.snapshot->version), run.snapshot);
  EXPECT_EQ(again->snapshot(run.snapshot->version + 1), nullptr);
  EXPECT_EQ(again->state_changes(0).size(), 5u);
  EXPECT_EQ(again->state_changes(4).front().time, run.state_changes.back().time);
  EXPECT_EQ(again->MissingFrames(10).known_up_to, 8);
  EXPECT_EQ(again->MissingPositions(10).known_up_to, 7);
  EXPECT_EQ(again->config().scan.capacity, Config().scan.capacity);
}

TEST_F(EndedTest, TakesNothingAndHoldsNothing) {
  auto ended =
      Reconstruction::CreateEnded(Config(), {.progress = {.state = SessionState::kFailed}});
  ASSERT_TRUE(ended.ok());
  session_ = *std::move(ended);
  EXPECT_EQ(session_->latest_snapshot(), nullptr);
  EXPECT_EQ(session_->AddFrames({}, 0).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(session_->AddPositions({}).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(session_->AddEncoderSamples({}).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(session_->FinishScan(std::nullopt).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(session_->Stop(false).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(session_->UpdateSettings([](ReconstructionConfig&) {}).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(session_->free_staging_bytes(), 0);
  EXPECT_EQ(session_->progress().device_bytes, 0);
  session_->Release();
  EXPECT_FALSE(session_->RunTurn());
  bool called = false;
  session_->NotifyWhenSpace([&] { called = true; });
  EXPECT_TRUE(called) << "somebody would wait for ever";
}

TEST_F(EndedTest, ACompletedOneLetsFinishScanBeRepeated) {
  const auto ended =
      Reconstruction::CreateEnded(Config(), {.progress = {.state = SessionState::kCompleted}});
  ASSERT_TRUE(ended.ok());
  EXPECT_TRUE((*ended)->FinishScan(std::nullopt).ok());
}

TEST_F(EndedTest, ARunThatHasNotEndedIsRefused) {
  EXPECT_EQ(Reconstruction::CreateEnded(Config(), {}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace ptychoserve
