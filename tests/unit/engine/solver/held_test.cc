// Sessions that take input in and wait for their release.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/engine/solver/fake_session.h"

namespace ptychoserve {
namespace {

class HeldTest : public FakeSessionTest {
 protected:
  HeldTest() { options_.held = true; }
};

TEST_F(HeldTest, LoadsFramesAndDoesNothingElse) {
  ReconstructionConfig config = Config();
  config.scan.expected_points = 8;
  options_.staging_bytes = 1;  // Room for the least number of frames, two.
  Start(config);
  for (int id = 0; id < 8; ++id) {
    Send(id, 1);  // Would not be taken if staging memory did not get free.
    EXPECT_TRUE(session_->RunTurn());
    EXPECT_FALSE(session_->RunTurn());
  }
  EXPECT_EQ(record().loaded_slots.size(), 8u);
  const Progress p = progress();
  EXPECT_EQ(p.state, SessionState::kReceiving);
  EXPECT_EQ(p.joined_points, 8);
  EXPECT_EQ(p.active_points, 0);
  EXPECT_EQ(p.iteration, 0);
  EXPECT_EQ(p.end_of_data, EndOfData::kNone);
}

TEST_F(HeldTest, GoesOnAfterItsReleaseAsIfNothingHadBeen) {
  Start(Config());
  Send(0, 8);
  ASSERT_TRUE(session_->FinishScan(std::nullopt).ok());
  RunTurns();
  EXPECT_EQ(progress().iteration, 0);
  session_->Release();
  session_->Release();
  EXPECT_TRUE(session_->RunTurn());
  RunTurns();
  EXPECT_EQ(progress().state, SessionState::kCompleted);
  EXPECT_EQ(progress().iteration, 5);
  session_->Release();
}

TEST_F(HeldTest, SuspendingPublishesTheLastIterationAndStopsThere) {
  options_.held = false;
  ReconstructionConfig config = Config();
  config.snapshots.every_iterations = 1000;
  config.run.max_iterations = 1000;
  config.run.it_ends_after = 1000;
  Start(config);
  Send(0, 8);
  RunTurns(7);
  const std::int64_t iteration = progress().iteration;
  ASSERT_GT(iteration, 1);
  int done = 0;
  std::shared_ptr<const Checkpoint> checkpoint;
  const TakeCheckpoint take = [&](std::shared_ptr<const Checkpoint> made) {
    ++done;
    checkpoint = std::move(made);
  };
  session_->Suspend(take);
  EXPECT_EQ(done, 0);
  RunTurns(5);
  EXPECT_EQ(done, 1);
  EXPECT_EQ(progress().iteration, iteration);
  ASSERT_NE(checkpoint, nullptr);
  EXPECT_EQ(checkpoint->snapshot, session_->latest_snapshot());
  ASSERT_NE(session_->latest_snapshot(), nullptr);
  EXPECT_EQ(session_->latest_snapshot()->iteration, iteration);
  EXPECT_EQ(session_->latest_snapshot()->run.iteration, iteration);
  ASSERT_TRUE(session_->Stop(/*abort=*/true).ok());
  RunTurns();
  session_->Suspend(take);  // It has ended.
  EXPECT_EQ(done, 2);
  EXPECT_EQ(checkpoint, nullptr);
}

TEST_F(HeldTest, IdleTimeBeginsWithTheRelease) {
  ReconstructionConfig config = Config();
  config.run.idle_timeout_s = 10;
  Start(config);
  Send(0, 8);
  clock_.Advance(std::chrono::seconds(60));
  RunTurns(5);
  EXPECT_EQ(progress().end_of_data, EndOfData::kNone);
  session_->Release();
  clock_.Advance(std::chrono::seconds(9));
  RunTurns(5);
  EXPECT_EQ(progress().end_of_data, EndOfData::kNone);
  clock_.Advance(std::chrono::seconds(1));
  RunTurns();
  EXPECT_EQ(progress().end_of_data, EndOfData::kIdleTimeout);
}

TEST_F(HeldTest, CanBeStoppedAndThenEndsWithWhatWasRestored) {
  auto snapshot = std::make_shared<Snapshot>();
  snapshot->version = 3;
  snapshot->iteration = snapshot->run.iteration = 20;
  snapshot->canvas = {0, 0, {32, 32}};
  snapshot->object = ComplexStack(1, {32, 32}, Complex64(0.5f));
  snapshot->probe = ComplexStack(1, {kSide, kSide}, Complex64(3));
  options_.restored = CheckpointOf(snapshot);
  for (const bool abort : {false, true}) {
    Start(Config());
    Send(0, 8);
    RunTurns();
    ASSERT_TRUE(session_->Stop(abort).ok());
    RunTurns();
    EXPECT_EQ(progress().state, SessionState::kStopped);
    EXPECT_EQ(progress().iteration, 20);
    const auto last = session_->latest_snapshot();
    EXPECT_EQ(last->final, !abort);
    EXPECT_EQ(last->version, abort ? 3 : 4);
    EXPECT_EQ(progress().snapshot_version, last->version);
    EXPECT_EQ(last->object.data, snapshot->object.data);
  }
}

}  // namespace
}  // namespace ptychoserve
