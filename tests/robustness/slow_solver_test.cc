// A detector that is faster than the solver waits, and costs the server no memory meanwhile.

#include <atomic>
#include <thread>
#include <vector>

#include "tests/robustness/robustness_test.h"

namespace ptychoserve::robustness {
namespace {

using integration::Api;
using integration::FrameInput;
using integration::IsOk;
using integration::PositionInput;
using integration::TestScan;

constexpr std::int64_t kStagingBytes = 1 << 20;

class SlowSolverTest : public RobustnessTest {
 protected:
  static void SetUpTestSuite() {
    StartServer({"--staging-bytes", std::to_string(kStagingBytes), "--max-message-bytes",
                 std::to_string(kStagingBytes)});
  }
};

TEST_F(SlowSolverTest, ReadsPauseMemoryIsBoundedAndAllGoesThrough) {
  static const TestScan scan(196, 128, 6);  // Six times the staging memory.
  constexpr int kStreams = 4, kBatch = 8;
  const std::string name = Create(scan.StreamingConfig(1));
  const std::int64_t before = ResidentBytes();
  PositionInput positions(api(), name);
  positions.Send(scan.Positions(0, scan.points()));
  EXPECT_THAT(positions.Finish(), IsOk());
  std::atomic<int> sending = kStreams;
  std::vector<std::thread> senders;
  for (int k = 0; k < kStreams; ++k) {
    senders.emplace_back([&, k] {
      Api own(server().address());
      FrameInput frames(own, name);  // Whatever the credit.
      for (int j = k * kBatch; j < scan.points(); j += kStreams * kBatch) {
        EXPECT_TRUE(frames.Send(scan.Frames(j, std::min(kBatch, scan.points() - j))));
      }
      EXPECT_THAT(frames.Finish(), IsOk());
      --sending;
    });
  }
  const auto staged_limit = kStagingBytes / static_cast<std::int64_t>(scan.frame_bytes());
  std::int64_t most_staged = 0, largest = 0;
  while (sending > 0) {
    most_staged = std::max(most_staged, api().Get(name).value.staged_frames());
    largest = std::max(largest, ResidentBytes());
  }
  for (std::thread& sender : senders) sender.join();
  EXPECT_LE(most_staged, staged_limit);
  const v1::Session session =
      api().Await(name, [&](const auto& s) { return s.active_points() == scan.points(); }).value;
  EXPECT_EQ(session.frames().accepted(), scan.points());
  EXPECT_EQ(session.frames().received(), scan.points());
  // Staging memory, what a stream may hold beside it, and as much again for what gRPC has read.
  constexpr std::int64_t kOfStreams = kStreams * 2 * ((4 << 20) + kStagingBytes);
  EXPECT_LT(largest - before, session.device_bytes() + kStagingBytes + kOfStreams);
}

}  // namespace
}  // namespace ptychoserve::robustness
