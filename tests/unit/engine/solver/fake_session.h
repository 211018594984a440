#ifndef PTYCHOSERVE_TESTS_UNIT_ENGINE_SOLVER_FAKE_SESSION_H_
#define PTYCHOSERVE_TESTS_UNIT_ENGINE_SOLVER_FAKE_SESSION_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "engine/solver/reconstruction.h"
#include "tests/unit/engine/solver/fake_device.h"
#include "tests/unit/engine/test_config.h"

namespace ptychoserve {

inline constexpr int kSide = 16;

// A session on a device without arithmetic, fed by ids.
class FakeSessionTest : public ::testing::Test {
 protected:
  ReconstructionConfig Config() {
    ReconstructionConfig config = SmallConfig(kSide);
    config.run.min_points_to_start = 4;
    config.run.it_ends_after = 5;
    config.snapshots.min_interval_ms = 0;
    config.probe.initial = Spot();
    config.quality.test_orientation = false;
    return config;
  }
  // A beam that has nothing to be warned of: 9 of 16 pixels wide.
  static ComplexStack Spot() {
    ComplexStack probe(1, {kSide, kSide});
    for (int y = 4; y < 13; ++y) {
      for (int x = 4; x < 13; ++x) probe.data[static_cast<std::size_t>(y * kSide + x)] = 1;
    }
    return probe;
  }
  void Start(const ReconstructionConfig& config) {
    ReconstructionOptions options = options_;
    options.clock = &clock_;
    options.on_progress = [this] { ++progress_calls_; };
    options.run_beside = [this](std::function<void()> work) {
      held_.push_back(std::move(work));
      if (!hold_) RunHeld();
    };
    options.run_at_leisure = options.run_beside;
    auto created = Reconstruction::Create(config, device_, options);
    ASSERT_TRUE(created.ok()) << created.status();
    session_ = *std::move(created);
  }
  void SendFrames(int first, int count) {
    std::vector<std::uint16_t> pixels(static_cast<std::size_t>(count * kSide * kSide), 7);
    FrameBatch batch;
    batch.first_frame_id = first;
    batch.frames = count;
    batch.shape = {kSide, kSide};
    batch.data = std::as_bytes(std::span(pixels));
    const auto taken = session_->AddFrames(batch, 0);
    ASSERT_TRUE(taken.ok()) << taken.status();
    ASSERT_EQ(*taken, count);
  }
  void SendPositions(int first, int count) {
    std::vector<double> x, y;
    for (int id = first; id < first + count; ++id) {
      x.push_back(id % 8 * 4 * kSmallPixel_m);
      y.push_back(id / 8 * 4 * kSmallPixel_m);
    }
    ASSERT_TRUE(session_->AddPositions({.first_frame_id = first, .x_m = x, .y_m = y}).ok());
  }
  void Send(int first, int count) {
    SendFrames(first, count);
    SendPositions(first, count);
  }
  // Turns until there is nothing to do or the session is final; at most `limit`.
  int RunTurns(int limit = 10000) {
    int turns = 0;
    while (turns < limit && session_->RunTurn()) ++turns;
    return turns;
  }
  // What the session left to others.
  void RunHeld() {
    for (const auto& work : std::exchange(held_, {})) work();
  }
  Progress progress() { return session_->progress(); }
  FakeRecord& record() { return device_.record; }

  ManualClock clock_;
  ReconstructionOptions options_;  // But for its functions.
  FakeDevice device_;
  std::unique_ptr<Reconstruction> session_;
  int progress_calls_ = 0;
  bool hold_ = false;
  std::vector<std::function<void()>> held_;
};

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_TESTS_UNIT_ENGINE_SOLVER_FAKE_SESSION_H_
