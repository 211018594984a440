// The network between the client library and the server breaks in the midst of a scan. The client
// goes on when it can, and the result is that of a scan that nothing has disturbed.

#include <atomic>
#include <chrono>
#include <functional>
#include <string>

#include "tests/robustness/robustness_test.h"
#include "tests/robustness/streamed_scan.h"
#include "tests/robustness/tcp_relay.h"

namespace ptychoserve::robustness {
namespace {

using integration::IsOk;
using integration::TestScan;
using std::chrono::milliseconds;

constexpr int kNetworkIterations = 10;
constexpr milliseconds kKeepalive{1'000}, kKeepaliveTimeout{1'000};
// Without the keepalive a black hole is noticed only when the kernel gives up, after minutes.
constexpr std::chrono::seconds kFound{20};

class NetworkTest : public RobustnessTest {
 protected:
  static const TestScan& Scan() {
    static const TestScan scan(64, 64, 4);  // 8 KiB a frame: more than fits into one message.
    return scan;
  }
  static client::WriterOptions Options() {
    client::WriterOptions options;
    options.message_bytes = 2 * Scan().frame_bytes();
    options.linger = milliseconds(1);
    options.retry_initial = milliseconds(10);
    options.retry_max = milliseconds(100);
    return options;
  }
  // R-factor of the scan, sent by a network that works.
  double Undisturbed() {
    const v1::Session session = RunScan(Scan(), kNetworkIterations, "undisturbed");
    EXPECT_EQ(session.state(), v1::SESSION_STATE_COMPLETED) << session.failure();
    return session.final_fit().r_factor();
  }

  // Sends one half of the scan, lets `disturb` do what it does, sends the other. `disturb` is given
  // whether the connection of the frames is broken.
  client::WriterReport Stream(TcpRelay& relay,
                              const std::function<void(const std::function<bool()>&)>& disturb) {
    const std::string name = Create(Scan().Config(kNetworkIterations));
    std::atomic<bool> broken = false;
    client::WriterOptions options = Options();
    options.on_connection = [&](bool connected, const absl::Status&) { broken = !connected; };
    client::ClientOptions connection;
    connection.keepalive_time = kKeepalive;
    connection.keepalive_timeout = kKeepaliveTimeout;
    StreamedScan stream(relay.address(), name, Scan(), options, connection);
    const int half = Scan().points() / 2;
    stream.Send(0, half);
    EXPECT_TRUE(Eventually([&] { return stream.frames().report().last_ack.batches() > 0; }));
    disturb([&] { return broken.load(); });
    stream.Send(half, Scan().points());
    const client::WriterReport report = stream.Close();
    const v1::Session session = api().AwaitEnd(name).value;
    EXPECT_EQ(session.state(), v1::SESSION_STATE_COMPLETED) << session.failure();
    ExpectEachPointOnce(session, Scan());
    EXPECT_EQ(session.final_fit().r_factor(), Undisturbed());
    EXPECT_EQ(server().log().find("too_many_pings"), std::string::npos);
    return report;
  }
};

TEST_F(NetworkTest, ConnectionsThatAreReset) {
  TcpRelay relay(server().address());
  const auto report = Stream(relay, [&](const auto& broken) {
    relay.Reset();
    EXPECT_TRUE(Eventually(broken));
  });
  EXPECT_EQ(report.reconnects, 1);
}

TEST_F(NetworkTest, ServerThatCannotBeReachedForAWhile) {
  TcpRelay relay(server().address());
  const auto report = Stream(relay, [&](const auto& broken) {
    relay.Set(TcpRelay::Mode::kRefuse);
    relay.Reset();
    EXPECT_TRUE(Eventually(broken));
    EXPECT_TRUE(Eventually([&] { return relay.refused() >= 4; }));
    relay.Set(TcpRelay::Mode::kPass);
  });
  EXPECT_EQ(report.reconnects, 1);
}

TEST_F(NetworkTest, BlackHoleIsFoundByTheKeepalive) {
  TcpRelay relay(server().address());
  const auto report = Stream(relay, [&](const auto& broken) {
    relay.Set(TcpRelay::Mode::kBlackHole);
    EXPECT_TRUE(Eventually(broken, kFound));
    relay.Set(TcpRelay::Mode::kPass);
  });
  EXPECT_GE(report.reconnects, 1);
}

TEST_F(NetworkTest, ServerThatDoesNotKnowThatItsClientHasGone) {
  TcpRelay relay(server().address());
  const auto report = Stream(relay, [&](const auto& broken) {
    relay.LoseClients();
    EXPECT_TRUE(Eventually(broken));
  });
  EXPECT_EQ(report.reconnects, 1);
  EXPECT_NE(server().log().find("status=ABORTED"), std::string::npos)
      << "the stream that is half dead is ended by its successor";
}

TEST_F(NetworkTest, DelayIsNoBreak) {
  TcpRelay relay(server().address());
  relay.Delay(milliseconds(20));
  const auto report = Stream(relay, [](const auto&) {});
  EXPECT_EQ(report.reconnects, 0);
}

TEST_F(NetworkTest, NarrowLineIsNoBreak) {
  TcpRelay relay(server().address());
  constexpr std::int64_t kBytesPerSecond = 1 << 20;  // Twice the scan.
  relay.Throttle(kBytesPerSecond);
  const auto report = Stream(relay, [](const auto&) {});
  EXPECT_EQ(report.reconnects, 0);
}

}  // namespace
}  // namespace ptychoserve::robustness
