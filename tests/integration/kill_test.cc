// The server is killed at random moments of a scan that is being streamed, and started again. The
// client library gets over it by itself, and the scan ends as if nothing had happened.
//
// PTYCHOSERVE_KILL_ROUNDS sets how often (10), PTYCHOSERVE_KILL_SEED from which random numbers.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/integration/server_test.h"
#include "tests/temporary_directory.h"

namespace ptychoserve::integration {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr int kDifferenceMap = 80, kGradient = 300;
constexpr milliseconds kPace{4};  // Between two frames.
constexpr double kLongestGap_s = 5;
constexpr double kRTolerance = 1e-3, kNllTolerance = 1e-3;

int FromEnvironment(const char* name, int otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::atoi(text) : otherwise;
}

class KillTest : public testing::Test {
 protected:
  KillTest() { Start("127.0.0.1:0"); }

  void Start(const std::string& listen) {
    server_ = ServerProcess::Start(
        {"--listen", listen, "--state-dir", folder_.path(), "--checkpoint-interval-s", "0.1"});
    ASSERT_NE(server_, nullptr);
    address_ = server_->address();
    api_ = std::make_unique<Api>(address_);
  }
  void KillAndStartAgain() {
    server_->Signal(SIGKILL);
    server_->Wait();
    Start(address_);
  }
  Api& api() { return *api_; }

  // What came out of a scan that was sent while `disturb` ran.
  struct Outcome {
    v1::Session session;
    std::int64_t reconnects = 0;
    double gap_s = 0;  // The longest time between two acknowledgements of frames.
  };
  template <typename Disturb>
  Outcome Run(const std::string& id, const v1::SessionConfig& config, const TestScan& scan,
              Disturb disturb) {
    Outcome outcome;
    const auto created = api().Create(id, config);
    EXPECT_THAT(created.status, IsOk());
    const std::string name = created.value.name();
    const auto client = client::Client::Connect(address_);
    EXPECT_TRUE(client.ok()) << client.status();
    std::atomic<std::int64_t> durable = -1;
    std::atomic<Clock::rep> last_ack = Clock::now().time_since_epoch().count();
    std::atomic<Clock::rep> gap = 0;
    client::WriterOptions options;
    options.linger = milliseconds(1);
    options.on_ack = [&](const v1::IngestAck& ack) {
      durable = std::max(durable.load(), ack.durable_watermark());
      const Clock::rep now = Clock::now().time_since_epoch().count();
      gap = std::max(gap.load(), now - last_ack.exchange(now));
    };
    const auto side = static_cast<std::uint32_t>(scan.side());
    auto frames = (*client)->OpenFrameWriter(name, {v1::DATA_TYPE_U16, side, side}, options);
    options.on_ack = nullptr;
    auto positions = (*client)->OpenPositionWriter(name, options);
    std::thread sender([&] {
      for (int j = 0; j < scan.points(); ++j) {
        EXPECT_TRUE(positions->Push(j, scan.x_m(j), scan.y_m(j)).ok());
        const absl::Status pushed =
            frames->Push(j, std::as_bytes(std::span(scan.frame(j))), kCallDeadline);
        EXPECT_TRUE(pushed.ok()) << pushed;
        std::this_thread::sleep_for(kPace);
      }
    });
    disturb();
    const std::int64_t claimed = durable;
    EXPECT_GE(api().Get(name).value.frames().watermark(), claimed);
    sender.join();
    const auto sent_positions = positions->Close(kCallDeadline);
    EXPECT_TRUE(sent_positions.ok()) << sent_positions.status();
    const auto sent = frames->Close(kCallDeadline);
    EXPECT_TRUE(sent.ok()) << sent.status();
    if (sent.ok()) outcome.reconnects = sent->reconnects;
    if (config.scan().expected_points() == 0) {
      EXPECT_THAT(api().Finish(name).status, IsOk());
    }
    outcome.session = api().AwaitEnd(name).value;
    outcome.gap_s = std::chrono::duration<double>(Clock::duration(gap.load())).count();
    EXPECT_THAT(api().Delete(name), IsOk());
    return outcome;
  }

 private:
  TemporaryDirectory folder_;
  std::string address_;
  std::unique_ptr<ServerProcess> server_;
  std::unique_ptr<Api> api_;
};

TEST_F(KillTest, NothingIsLostWhateverTheMoment) {
  const TestScan& scan = SmallScan();
  // Long enough for a run to come back to where it was after a checkpoint in its midst, which has
  // no exit waves.
  v1::SessionConfig config = scan.Config(kDifferenceMap + kGradient);
  config.mutable_schedule(0)->set_iterations(kDifferenceMap);
  config.add_schedule()->mutable_ml_gradient();
  const v1::Session undisturbed = Run("undisturbed", config, scan, [] {}).session;
  ASSERT_EQ(undisturbed.state(), v1::SESSION_STATE_COMPLETED) << undisturbed.failure();
  const int rounds = FromEnvironment("PTYCHOSERVE_KILL_ROUNDS", 10);
  std::mt19937 random(static_cast<unsigned>(FromEnvironment("PTYCHOSERVE_KILL_SEED", 1)));
  std::uniform_int_distribution<int> moment_ms(
      0, static_cast<int>(1.5 * scan.points() * static_cast<double>(kPace.count())));
  double longest_gap_s = 0, r_change = 0, nll_change = 0;
  std::int64_t reconnects = 0, duplicates = 0;
  for (int round = 0; round < rounds; ++round) {
    const milliseconds moment(moment_ms(random));
    SCOPED_TRACE(absl::StrCat("round ", round, ", killed after ", moment.count(), " ms"));
    const Outcome outcome = Run(absl::StrCat("round-", round), config, scan, [&] {
      std::this_thread::sleep_for(moment);
      KillAndStartAgain();
    });
    const v1::Session& session = outcome.session;
    ASSERT_EQ(session.state(), v1::SESSION_STATE_COMPLETED) << session.failure();
    EXPECT_EQ(session.active_points(), scan.points());
    EXPECT_EQ(session.frames().accepted(), scan.points());
    EXPECT_EQ(session.positions().accepted(), scan.points());
    EXPECT_EQ(session.frames().received() - session.frames().accepted(),
              Rejected(session.frames(), v1::REJECT_REASON_DUPLICATE));
    duplicates += Rejected(session.frames(), v1::REJECT_REASON_DUPLICATE);
    reconnects += outcome.reconnects;
    longest_gap_s = std::max(longest_gap_s, outcome.gap_s);
    const v1::FitMetrics& fit = session.final_fit();
    const v1::FitMetrics& expected = undisturbed.final_fit();
    r_change = std::max(r_change, std::abs(fit.r_factor() / expected.r_factor() - 1));
    nll_change = std::max(nll_change, std::abs(fit.poisson_nll() / expected.poisson_nll() - 1));
  }
  std::printf(
      "%d rounds: %lld reconnections, longest gap %.2f s, largest change of R %.2g, of NLL %.2g, "
      "%lld frames came twice\n",
      rounds, static_cast<long long>(reconnects), longest_gap_s, r_change, nll_change,
      static_cast<long long>(duplicates));
  EXPECT_LT(longest_gap_s, kLongestGap_s);
  EXPECT_LT(r_change, kRTolerance);
  EXPECT_LT(nll_change, kNllTolerance);
}

}  // namespace
}  // namespace ptychoserve::integration
