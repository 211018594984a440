// What one session, scan or reader does leaves the numbers of the others alone.

#include <atomic>
#include <random>
#include <thread>

#include "tests/integration/server_test.h"

namespace ptychoserve::integration {
namespace {

constexpr int kIsolationIterations = 15;

class IsolationTest : public ServerTest {
 protected:
  // Object and probe of a finished session, to the bit.
  std::pair<std::string, std::string> ResultOf(const std::string& name) {
    const auto snapshot = api().Snapshot(name);
    EXPECT_THAT(snapshot.status, IsOk());
    EXPECT_FALSE(snapshot.value.object.empty());
    return {Bytes(snapshot.value.object.values), Bytes(snapshot.value.probe.values)};
  }
};

TEST_F(IsolationTest, SessionsThatTakeTurnsGetTheResultsTheyGetAlone) {
  RunScan(SmallScan(), kIsolationIterations, "alone-a");
  RunScan(OtherScan(), kIsolationIterations, "alone-b");

  const std::string a = Create(SmallScan().Config(kIsolationIterations), "both-a");
  const std::string b = Create(OtherScan().Config(kIsolationIterations), "both-b");
  std::thread sender([&] { SendAll(a, SmallScan()); });
  SendAll(b, OtherScan());
  sender.join();
  EXPECT_EQ(api().AwaitEnd(a).value.iteration(), kIsolationIterations);
  EXPECT_EQ(api().AwaitEnd(b).value.iteration(), kIsolationIterations);

  EXPECT_TRUE(ResultOf(a) == ResultOf(Name("alone-a")));
  EXPECT_TRUE(ResultOf(b) == ResultOf(Name("alone-b")));
  EXPECT_FALSE(ResultOf(a) == ResultOf(b));
}

TEST_F(IsolationTest, SecondScanOnTheSameConnectionStartsClean) {
  RunScan(OtherScan(), kIsolationIterations, "reference");
  RunScan(SmallScan(), kIsolationIterations, "first");
  const v1::Session second = RunScan(OtherScan(), kIsolationIterations, "second");
  EXPECT_EQ(second.iteration(), kIsolationIterations);
  EXPECT_EQ(second.frames().received(), OtherScan().points());
  EXPECT_TRUE(ResultOf(Name("second")) == ResultOf(Name("reference")));
}

TEST_F(IsolationTest, OrderDuplicatesAndGapsDoNotMixUpFramesAndPositions) {
  const TestScan& scan = SmallScan();
  // Two points never come; the others come once, in order ...
  const auto lost = [](int j) { return j == 7 || j == 30; };
  std::vector<int> order;
  for (int j = 0; j < scan.points(); ++j) {
    if (!lost(j)) order.push_back(j);
  }
  const auto send = [&](const std::string& name, const std::vector<int>& frames,
                        const std::vector<int>& positions) {
    FrameInput frame_input(api(), name);
    PositionInput position_input(api(), name);
    for (const int j : frames) frame_input.Send(scan.Frames(j, 1));
    for (const int j : positions) position_input.Send(scan.Positions(j, 1));
    EXPECT_THAT(frame_input.Finish(), IsOk());
    EXPECT_THAT(position_input.Finish(), IsOk());
    EXPECT_THAT(api().Finish(name).status, IsOk());
    return api().AwaitEnd(name).value;
  };
  const std::string plain = Create(scan.Config(kIsolationIterations), "plain");
  const v1::Session first = send(plain, order, order);
  EXPECT_EQ(first.active_points(), scan.points() - 2);

  // ... or shuffled, each a second time with another frame's data under its id, as late copies.
  std::mt19937 random(5);
  std::vector<int> frames = order;
  std::vector<int> positions = order;
  std::shuffle(frames.begin(), frames.end(), random);
  std::shuffle(positions.begin(), positions.end(), random);
  const std::string mixed = Create(scan.Config(kIsolationIterations), "mixed");
  {
    FrameInput frame_input(api(), mixed);
    PositionInput position_input(api(), mixed);
    for (const int j : frames) {
      frame_input.Send(scan.Frames(j, 1));
      v1::StreamFramesRequest copy = scan.Frames((j + 1) % scan.points(), 1);
      copy.mutable_batch()->set_first_frame_id(j);
      frame_input.Send(copy);
    }
    for (const int j : positions) {
      position_input.Send(scan.Positions(j, 1));
      v1::StreamPositionsRequest copy = scan.Positions((j + 1) % scan.points(), 1);
      copy.mutable_batch()->set_first_frame_id(j);
      position_input.Send(copy);
    }
    EXPECT_THAT(frame_input.Finish(), IsOk());
    EXPECT_THAT(position_input.Finish(), IsOk());
  }
  EXPECT_THAT(api().Finish(mixed).status, IsOk());
  const v1::Session second = api().AwaitEnd(mixed).value;
  EXPECT_EQ(Rejected(second.frames(), v1::REJECT_REASON_DUPLICATE), scan.points() - 2);
  EXPECT_EQ(Rejected(second.positions(), v1::REJECT_REASON_DUPLICATE), scan.points() - 2);
  EXPECT_EQ(second.frames().watermark(), 6) << "id 7 is missing";
  EXPECT_TRUE(ResultOf(mixed) == ResultOf(plain));
}

TEST_F(IsolationTest, ReadersThatPollDoNotStopTheIterations) {
  const std::string name = StartEndlessSession();
  constexpr int kPollers = 10;
  std::atomic<bool> stop = false;
  std::atomic<std::int64_t> answers = 0;
  std::vector<std::thread> pollers;
  for (int i = 0; i < kPollers; ++i) {
    pollers.emplace_back([&] {
      Api own(server().address());
      v1::GetSnapshotRequest request;
      request.set_name(name);
      while (!stop) {
        const auto snapshot = own.Snapshot(request);
        EXPECT_THAT(snapshot.status, IsOk());
        EXPECT_GE(snapshot.value.header.version(), request.not_newer_than());
        EXPECT_EQ(snapshot.value.object.empty(), snapshot.value.header.unchanged());
        request.set_not_newer_than(snapshot.value.header.version());
        ++answers;
      }
    });
  }
  const std::int64_t begin = api().Get(name).value.iteration();
  const v1::Session later =
      api()
          .Await(
              name,
              [&](const auto& s) { return s.iteration() >= begin + 50 && answers >= 5 * kPollers; })
          .value;
  stop = true;
  for (std::thread& poller : pollers) poller.join();
  EXPECT_EQ(later.state(), v1::SESSION_STATE_RECONSTRUCTING);
  EXPECT_THAT(api().Delete(name, /*force=*/true), IsOk());
}

}  // namespace
}  // namespace ptychoserve::integration
