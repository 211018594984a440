// Peers that connect and then say little or nothing do not keep what they hold.

#include <memory>
#include <vector>

#include "tests/robustness/raw_http2.h"
#include "tests/robustness/robustness_test.h"

namespace ptychoserve::robustness {
namespace {

using integration::IsOk;

using SlowPeersTest = RobustnessTest;

TEST_F(SlowPeersTest, ConnectionsThatNeverBecomeOneOfHttp2AreClosed) {
  constexpr int kOfEach = 32;
  const int before = StatsOf(server().pid()).descriptors;
  std::vector<std::unique_ptr<RawConnection>> silent, preface_only, dribbling;
  for (int k = 0; k < kOfEach; ++k) {
    for (auto* kind : {&silent, &preface_only, &dribbling}) {
      kind->push_back(std::make_unique<RawConnection>(server().address()));
    }
    EXPECT_TRUE(preface_only.back()->Send(Preface()));
  }
  EXPECT_TRUE(
      Eventually([&] { return StatsOf(server().pid()).descriptors >= before + 3 * kOfEach; }));
  EXPECT_THAT(api().Info().status, IsOk()) << "others are served meanwhile";
  // One byte a second until the server has enough of it.
  const std::string words = Preface() + Frame(FrameType::kSettings, 0, 0);
  for (const char byte : words) {
    for (const auto& connection : dribbling) connection->Send(std::string(1, byte));
    if (Eventually([&] { return dribbling.back()->closed(); }, std::chrono::seconds(1))) break;
  }
  for (const auto* kind : {&silent, &preface_only, &dribbling}) {
    for (const auto& connection : *kind) EXPECT_TRUE(connection->AwaitClosed());
  }
  EXPECT_TRUE(Eventually([&] { return StatsOf(server().pid()).descriptors <= before; }));
}

TEST_F(SlowPeersTest, ConnectionsThatFallSilentHoldTheEndUpNoLongerThanIsAllowed) {
  const auto ending = integration::ServerProcess::Start({"--shutdown-timeout-s", "1"});
  ASSERT_NE(ending, nullptr);
  RawConnection silent(ending->address());
  ASSERT_TRUE(silent.Send(Preface() + Frame(FrameType::kSettings, 0, 0)));
  ASSERT_TRUE(silent.AwaitReceived(FrameType::kSettings));
  EXPECT_EQ(ending->Terminate(std::chrono::seconds(15)), 0);
  EXPECT_TRUE(silent.AwaitClosed());
}

TEST_F(SlowPeersTest, StreamsWithoutAFirstMessageAreEnded) {
  const auto impatient = integration::ServerProcess::Start({"--open-timeout-s", "0.5"});
  ASSERT_NE(impatient, nullptr);
  integration::Api other(impatient->address());
  constexpr int kStreams = 100;
  std::vector<std::unique_ptr<integration::FrameInput>> streams;
  for (int k = 0; k < kStreams; ++k) {
    streams.push_back(std::make_unique<integration::FrameInput>(other));
  }
  for (const auto& stream : streams) {
    EXPECT_THAT(stream->Status(), integration::FailsWith(grpc::StatusCode::DEADLINE_EXCEEDED,
                                                         "FIRST_MESSAGE_TIMEOUT"));
  }
  EXPECT_THAT(other.Info().status, IsOk());
  EXPECT_EQ(impatient->Terminate(), 0);
  EXPECT_NE(impatient->log().find("streams=0"), std::string::npos) << impatient->log();
}

}  // namespace
}  // namespace ptychoserve::robustness
