// Scans as detectors and stages really send them. What arrives is reconstructed as if nothing else
// had been there.

#include <cmath>
#include <cstring>
#include <limits>
#include <set>

#include "tests/robustness/robustness_test.h"

namespace ptychoserve::robustness {
namespace {

using integration::FrameInput;
using integration::IsOk;
using integration::PositionInput;
using integration::SmallScan;
using integration::TestScan;

constexpr int kFaultyScanIterations = 8;

class FaultyScanTest : public RobustnessTest {
 protected:
  // The end of a scan of which these frames are sent, and all positions.
  v1::Session Reconstruct(const std::string& suffix, const v1::SessionConfig& config,
                          const TestScan& scan,
                          const std::vector<v1::StreamFramesRequest>& batches) {
    const std::string name = Create(config, suffix);
    PositionInput positions(api(), name);
    FrameInput frames(api(), name);
    positions.Send(scan.Positions(0, scan.points()));
    for (const auto& batch : batches) frames.Send(batch);
    EXPECT_THAT(positions.Finish(), IsOk());
    EXPECT_THAT(frames.Finish(), IsOk());
    EXPECT_THAT(api().Finish(name).status, IsOk());
    return api().AwaitEnd(name).value;
  }
  // Frames of `scan`, one a message, but for those that are `lost`.
  static std::vector<v1::StreamFramesRequest> Without(const TestScan& scan,
                                                      const std::set<int>& lost) {
    std::vector<v1::StreamFramesRequest> out;
    for (int j = 0; j < scan.points(); ++j) {
      if (!lost.contains(j)) out.push_back(scan.Frames(j, 1));
    }
    return out;
  }
  static v1::StreamFramesRequest AsFloats(const v1::StreamFramesRequest& counts) {
    v1::StreamFramesRequest out = counts;
    const std::string& data = counts.batch().data();
    std::vector<std::uint16_t> pixels(data.size() / sizeof(std::uint16_t));
    std::memcpy(pixels.data(), data.data(), data.size());
    out.mutable_batch()->set_dtype(v1::DATA_TYPE_F32);
    out.mutable_batch()->set_data(
        integration::Bytes(std::vector<float>(pixels.begin(), pixels.end())));
    return out;
  }
};

TEST_F(FaultyScanTest, PositionsThatComeSevenHundredFramesLate) {
  static const TestScan scan(900, 32, 7);
  constexpr int kLate = 700;
  const v1::SessionConfig config = scan.Config(kFaultyScanIterations);
  const v1::Session in_time = RunScan(scan, kFaultyScanIterations, "in-time");
  const std::string name = Create(config, "late");
  PositionInput positions(api(), name);
  FrameInput frames(api(), name);
  for (int j = 0; j < scan.points(); ++j) {
    frames.Send(scan.Frames(j, 1));
    if (j >= kLate) positions.Send(scan.Positions(j - kLate, 1));
    if (j == kLate) {
      ASSERT_TRUE(frames.AwaitBatches(kLate));
      EXPECT_GE(api().Get(name).value.frames_without_position(), kLate - 1);
    }
  }
  positions.Send(scan.Positions(scan.points() - kLate, kLate));
  EXPECT_THAT(frames.Finish(), IsOk());
  EXPECT_THAT(positions.Finish(), IsOk());
  const v1::Session late = api().AwaitEnd(name).value;
  EXPECT_EQ(late.state(), v1::SESSION_STATE_COMPLETED) << late.failure();
  EXPECT_EQ(late.active_points(), scan.points());
  EXPECT_EQ(late.frames().received(), scan.points());
  EXPECT_EQ(late.positions().received(), scan.points());
  EXPECT_EQ(late.final_fit().r_factor(), in_time.final_fit().r_factor());
}

TEST_F(FaultyScanTest, EmptyAndSaturatedFramesAreAsIfTheyHadNotCome) {
  const TestScan& scan = SmallScan();
  constexpr int kEmpty = 11, kSaturated = 23;
  auto batches = Without(scan, {});
  batches[kEmpty].mutable_batch()->set_data(std::string(scan.frame_bytes(), '\0'));
  batches[kSaturated].mutable_batch()->set_data(std::string(scan.frame_bytes(), '\xff'));
  const v1::SessionConfig config = scan.Config(kFaultyScanIterations);
  const v1::Session broken = Reconstruct("broken", config, scan, batches);
  const v1::Session absent =
      Reconstruct("absent", config, scan, Without(scan, {kEmpty, kSaturated}));
  EXPECT_EQ(broken.state(), v1::SESSION_STATE_COMPLETED) << broken.failure();
  EXPECT_EQ(broken.active_points(), scan.points() - 2);
  EXPECT_EQ(broken.empty_frames(), 2);
  EXPECT_EQ(broken.frames().accepted(), scan.points());
  EXPECT_EQ(absent.positions_without_frame(), 2);
  EXPECT_EQ(broken.final_fit().r_factor(), absent.final_fit().r_factor());
}

TEST_F(FaultyScanTest, FramesWithNanAreRefusedAndTheOthersUsed) {
  const TestScan& scan = SmallScan();
  constexpr int kBroken = 17;
  v1::SessionConfig config = scan.Config(kFaultyScanIterations);
  config.mutable_detector()->set_dtype(v1::DATA_TYPE_F32);
  auto batches = Without(scan, {});
  for (auto& batch : batches) batch = AsFloats(batch);
  auto absent = batches;
  absent.erase(absent.begin() + kBroken);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  batches[kBroken].mutable_batch()->mutable_data()->replace(
      40, sizeof(nan), reinterpret_cast<const char*>(&nan), sizeof(nan));
  const v1::Session with = Reconstruct("with", config, scan, batches);
  const v1::Session without = Reconstruct("without", config, scan, absent);
  EXPECT_EQ(with.state(), v1::SESSION_STATE_COMPLETED) << with.failure();
  const v1::Rejection refused =
      integration::RejectionOf(with.frames(), v1::REJECT_REASON_NON_FINITE);
  EXPECT_EQ(refused.count(), 1);
  EXPECT_EQ(refused.first_frame_id(), kBroken);
  EXPECT_EQ(with.frames().accepted(), scan.points() - 1);
  EXPECT_EQ(with.frames().watermark(), scan.points() - 1) << "accounted for";
  EXPECT_EQ(with.active_points(), scan.points() - 1);
  EXPECT_EQ(with.final_fit().r_factor(), without.final_fit().r_factor());
}

TEST_F(FaultyScanTest, ScansOfDifferentSizesOneAfterTheOther) {
  static const TestScan larger(64, 64, 8);
  const v1::Session first = RunScan(SmallScan(), kFaultyScanIterations, "first");
  const v1::Session second = RunScan(larger, kFaultyScanIterations, "second");
  const v1::Session third = RunScan(SmallScan(), kFaultyScanIterations, "third");
  for (const v1::Session& session : {first, second, third}) {
    EXPECT_EQ(session.state(), v1::SESSION_STATE_COMPLETED) << session.failure();
  }
  EXPECT_EQ(second.active_points(), larger.points());
  EXPECT_EQ(first.final_fit().r_factor(), third.final_fit().r_factor());
}

TEST_F(FaultyScanTest, OneFrameIsAScan) {
  const v1::Session session = Reconstruct("", SmallScan().Config(kFaultyScanIterations),
                                          SmallScan(), {SmallScan().Frames(24, 1)});
  EXPECT_EQ(session.state(), v1::SESSION_STATE_COMPLETED) << session.failure();
  EXPECT_EQ(session.active_points(), 1);
  EXPECT_TRUE(session.partial());
  EXPECT_TRUE(std::isfinite(session.final_fit().r_factor()));
  const auto snapshot = api().Snapshot(session.name());
  ASSERT_THAT(snapshot.status, IsOk());
  for (const auto pixel : snapshot.value.object.values) {
    ASSERT_TRUE(std::isfinite(pixel.real()) && std::isfinite(pixel.imag()));
  }
}

}  // namespace
}  // namespace ptychoserve::robustness
