// The server ends, in order or not, while many producers send, and comes back. Nothing is lost.

#include <atomic>
#include <chrono>
#include <csignal>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/eventually.h"
#include "tests/integration/server_test.h"
#include "tests/robustness/streamed_scan.h"
#include "tests/temporary_directory.h"

namespace ptychoserve::robustness {
namespace {

using integration::Api;
using integration::IsOk;
using integration::ServerProcess;
using integration::SmallScan;
using integration::TestScan;
using std::chrono::milliseconds;

constexpr int kProducers = 20;
constexpr int kRestartIterations = 5;

class RestartTest : public testing::Test {
 protected:
  void Start(const std::string& listen = "127.0.0.1:0") {
    server_ = ServerProcess::Start(
        {"--listen", listen, "--state-dir", folder_.path(), "--shutdown-timeout-s", "10"});
    ASSERT_NE(server_, nullptr);
    address_ = server_->address();
    api_ = std::make_unique<Api>(address_);
  }
  ServerProcess& server() { return *server_; }
  Api& api() { return *api_; }
  const std::string& folder() const { return folder_.path(); }

  // Ends the server by `end` while kProducers share the frames of a scan, and starts it again.
  template <typename End>
  void Run(End end) {
    static const TestScan scan(400, 32, 9);
    Start();
    const auto created = api().Create("scan", scan.Config(kRestartIterations));
    ASSERT_THAT(created.status, IsOk());
    const std::string name = created.value.name();
    {
      StreamedScan stream(address_, name, scan);
      for (int j = 0; j < scan.points(); ++j) {
        ASSERT_TRUE(stream.positions().Push(j, scan.x_m(j), scan.y_m(j)).ok());
      }
      ASSERT_TRUE(stream.positions().Close(integration::kCallDeadline).ok());
    }
    std::atomic<std::int64_t> reconnects = 0;
    std::vector<std::thread> producers;
    for (int k = 0; k < kProducers; ++k) {
      producers.emplace_back([&, k] {
        client::WriterOptions options;
        options.producer = absl::StrCat("detector-", k);
        options.linger = milliseconds(1);
        options.on_ack = [](const v1::IngestAck& ack) {
          EXPECT_LE(ack.durable_batches(), ack.batches());
          EXPECT_LE(ack.durable_watermark(), ack.counters().watermark());
        };
        StreamedScan stream(address_, name, scan, options);
        for (int j = k; j < scan.points(); j += kProducers) {
          const absl::Status pushed = stream.frames().Push(
              j, std::as_bytes(std::span(scan.frame(j))), integration::kCallDeadline);
          EXPECT_TRUE(pushed.ok()) << pushed;
          std::this_thread::sleep_for(milliseconds(5));
        }
        reconnects += stream.Close().reconnects;
      });
    }
    api().Await(name, [&](const auto& s) { return s.frames().accepted() >= scan.points() / 4; });
    end();
    Start(address_);
    for (std::thread& producer : producers) producer.join();
    const v1::Session session = api().AwaitEnd(name).value;
    EXPECT_EQ(session.state(), v1::SESSION_STATE_COMPLETED) << session.failure();
    EXPECT_EQ(session.restarts(), 1);
    ExpectEachPointOnce(session, scan);
    EXPECT_GT(reconnects, 0);
    const auto undisturbed = api().Create("undisturbed", scan.Config(kRestartIterations));
    ASSERT_THAT(undisturbed.status, IsOk());
    {
      StreamedScan stream(address_, undisturbed.value.name(), scan);
      stream.Send(0, scan.points());
      stream.Close();
    }
    EXPECT_EQ(session.final_fit().r_factor(),
              api().AwaitEnd(undisturbed.value.name()).value.final_fit().r_factor());
    EXPECT_EQ(server().Terminate(), 0);
  }

 private:
  TemporaryDirectory folder_;
  std::string address_;
  std::unique_ptr<ServerProcess> server_;
  std::unique_ptr<Api> api_;
};

TEST_F(RestartTest, KilledWithTwentyProducers) {
  Run([this] {
    server().Signal(SIGKILL);
    EXPECT_EQ(server().Wait(), 128 + SIGKILL);
  });
}

TEST_F(RestartTest, DrainedWithTwentyProducers) {
  Run([this] {
    EXPECT_EQ(server().Terminate(), 0);
    EXPECT_EQ(server().log().find("not all that was acknowledged"), std::string::npos)
        << server().log();
  });
}

TEST_F(RestartTest, ToldToEndAtAnyMomentOfItsStart) {
  Start();
  const auto created = api().Create("scan", SmallScan().Config(kRestartIterations));
  ASSERT_THAT(created.status, IsOk());
  {
    StreamedScan stream(server().address(), created.value.name(), SmallScan());
    stream.Send(0, 20);
    stream.Close();
  }
  server().Signal(SIGKILL);
  server().Wait();
  for (const int moment_ms : {0, 1, 2, 3, 5, 8, 12, 20, 30, 50}) {
    integration::ChildProcess starting(
        PTYCHOSERVED_BINARY,
        {"--device", "cpu", "--threads", "1", "--listen", "127.0.0.1:0", "--state-dir", folder()});
    std::this_thread::sleep_for(milliseconds(moment_ms));
    starting.Signal(SIGTERM);
    const int code = starting.Wait();
    // Before it has taken the signal over, it ends as any process does.
    EXPECT_TRUE(code == 0 || code == 128 + SIGTERM) << code << "\n" << starting.log();
  }
  Start();
  EXPECT_EQ(api().Get(created.value.name()).value.frames().accepted(), 20);
  EXPECT_EQ(server().Terminate(), 0);
}

}  // namespace
}  // namespace ptychoserve::robustness
