#include "engine/solver/frame_loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "engine/solver/reconstruction.h"
#include "tests/unit/engine/solver/fake_device.h"
#include "tests/unit/engine/test_config.h"

namespace ptychoserve {
namespace {

constexpr int kSide = 16;
constexpr std::int64_t kFrameBytes = kSide * kSide * 2;
constexpr int kPoints = 64;

// A session with room for four frames on their way to the device.
class FrameLoaderTest : public ::testing::Test {
 protected:
  void Start() {
    ReconstructionConfig config = SmallConfig(kSide);
    config.scan.capacity = kPoints;
    config.run.min_points_to_start = 1;
    config.run.it_ends_after = 3;
    config.probe.initial = ComplexStack(1, {kSide, kSide}, Complex64(1));
    auto created = Reconstruction::Create(config, device_, {.staging_bytes = 4 * kFrameBytes});
    ASSERT_TRUE(created.ok()) << created.status();
    session_ = *std::move(created);
    std::vector<double> metres(kPoints);
    ASSERT_TRUE(session_->AddPositions({.x_m = metres, .y_m = metres}).ok());
  }
  // How many of the frames are taken.
  int Send(int first, int count) {
    const std::vector<std::uint16_t> pixels(static_cast<std::size_t>(count * kSide * kSide), 7);
    FrameBatch batch;
    batch.first_frame_id = first;
    batch.frames = count;
    batch.shape = {kSide, kSide};
    batch.data = std::as_bytes(std::span(pixels));
    return session_->AddFrames(batch, 0).value_or(-1);
  }
  FakeRecord& record() { return device_.record; }
  std::int64_t active() { return session_->progress().active_points; }

  FakeDevice device_;
  std::unique_ptr<Reconstruction> session_;
};

TEST_F(FrameLoaderTest, FramesWaitForATurnWhereTheBackendTakesNoneBeside) {
  Start();
  EXPECT_EQ(Send(0, 10), 4);
  EXPECT_TRUE(record().loaded_slots.empty());
  session_->RunTurn();
  EXPECT_EQ(record().loaded_slots.size(), 4u);
  EXPECT_EQ(active(), 4);
}

TEST_F(FrameLoaderTest, FramesGetToTheDeviceWithoutATurnWhereItTakesThemBeside) {
  record().loads_beside = true;
  Start();
  EXPECT_EQ(Send(0, 10), 10) << "more than fit into staging memory";
  EXPECT_EQ(record().loaded_slots.size(), 10u);
  EXPECT_EQ(session_->free_staging_bytes(), 4 * kFrameBytes);
  EXPECT_EQ(active(), 0);
  session_->RunTurn();
  EXPECT_EQ(active(), 10);
}

TEST_F(FrameLoaderTest, AFullStagingMemoryWaitsForTheDeviceButNotForAllOfIt) {
  record().loads_beside = true;
  record().hold_copies = true;
  Start();
  EXPECT_EQ(Send(0, 4), 4);
  EXPECT_EQ(session_->free_staging_bytes(), 0);
  EXPECT_EQ(record().being_copied, 4);
  EXPECT_EQ(Send(4, 1), 1);
  EXPECT_EQ(session_->free_staging_bytes(), kFrameBytes);
  EXPECT_EQ(record().being_copied, 3);
}

TEST_F(FrameLoaderTest, AFrameIsActiveOnceItIsOnTheDeviceAndIterationsGoOnMeanwhile) {
  record().loads_beside = true;
  Start();
  Send(0, 2);
  session_->RunTurn();
  EXPECT_EQ(active(), 2);
  record().hold_copies = true;
  Send(2, 2);
  session_->RunTurn();
  session_->RunTurn();
  EXPECT_EQ(active(), 2);
  EXPECT_EQ(session_->progress().iteration, 3);
  record().hold_copies = false;
  session_->RunTurn();
  EXPECT_EQ(active(), 4);
}

TEST_F(FrameLoaderTest, TheFirstFramesAreWaitedFor) {
  record().hold_copies = true;
  Start();
  Send(0, 2);
  session_->RunTurn();
  EXPECT_EQ(active(), 2);
}

TEST_F(FrameLoaderTest, AFailureBesideEndsTheSessionInTheNextTurn) {
  record().loads_beside = true;
  Start();
  record().fail_to_load = true;
  EXPECT_EQ(Send(0, 6), 4) << "the rest has no place";
  bool told = false;
  session_->NotifyWhenSpace([&] { told = true; });
  EXPECT_FALSE(told);
  session_->RunTurn();
  EXPECT_TRUE(told);
  const Progress progress = session_->progress();
  EXPECT_EQ(progress.state, SessionState::kFailed);
  EXPECT_THAT(progress.failure, ::testing::HasSubstr("no copy"));
  EXPECT_EQ(Send(6, 1), -1);
}

TEST_F(FrameLoaderTest, ManyThreadsAndTheWorkerLoseNothing) {
  for (const bool abort : {false, true}) {
    record() = {};
    record().loads_beside = true;
    record().hold_copies = true;
    Start();
    std::atomic<int> sending = 2;
    std::vector<std::jthread> threads;
    for (int t = 0; t < 2; ++t) {
      threads.emplace_back([&, t] {
        for (int id = t; id < kPoints; id += 2) {
          while (Send(id, 1) == 0) std::this_thread::yield();
        }
        if (--sending == 0 && !abort) {
          EXPECT_TRUE(session_->FinishScan(kPoints).ok());
        }
      });
    }
    while (sending > 0 && !(abort && active() > kPoints / 4)) session_->RunTurn();
    if (abort) {
      ASSERT_TRUE(session_->Stop(/*abort=*/true).ok());
      session_->RunTurn();
      threads.clear();
    } else {
      threads.clear();
      record().hold_copies = false;
      while (session_->RunTurn()) {
      }
      EXPECT_EQ(active(), kPoints);
      EXPECT_EQ(session_->progress().iterations_after_end, 3);
    }
    EXPECT_EQ(session_->state(), abort ? SessionState::kStopped : SessionState::kCompleted);
    session_.reset();
  }
}

}  // namespace
}  // namespace ptychoserve
