// The server, or the client, is killed at random moments of a scan that is being streamed, and
// started again. The client library gets over it by itself, and the scan ends as if nothing had
// happened.
//
// PTYCHOSERVE_KILL_ROUNDS sets how often (10), PTYCHOSERVE_KILL_SEED from which random numbers.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/io/cxi.h"
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

int Rounds() { return FromEnvironment("PTYCHOSERVE_KILL_ROUNDS", 10); }

// Moments in, before and after the streaming of `scan`.
class Moments {
 public:
  explicit Moments(const TestScan& scan)
      : random_(static_cast<unsigned>(FromEnvironment("PTYCHOSERVE_KILL_SEED", 1))),
        moment_ms_(0, static_cast<int>(1.5 * scan.points() * static_cast<double>(kPace.count()))) {}
  milliseconds Next() { return milliseconds(moment_ms_(random_)); }

 private:
  std::mt19937 random_;
  std::uniform_int_distribution<int> moment_ms_;
};

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
  v1::Stage& refining = *config.add_schedule();
  refining.mutable_ml_gradient();
  refining.mutable_refine()->set_positions(true);
  refining.mutable_refine()->set_intensities(true);
  refining.mutable_refine()->set_background(true);
  refining.mutable_refine()->set_variation(true);
  const v1::Session undisturbed = Run("undisturbed", config, scan, [] {}).session;
  ASSERT_EQ(undisturbed.state(), v1::SESSION_STATE_COMPLETED) << undisturbed.failure();
  const int rounds = Rounds();
  Moments moments(scan);
  double longest_gap_s = 0, r_change = 0, nll_change = 0;
  std::int64_t reconnects = 0, duplicates = 0;
  for (int round = 0; round < rounds; ++round) {
    const milliseconds moment = moments.Next();
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

// ptychoctl is the client that is killed. Its server goes on.
class ClientKillTest : public testing::Test {
 protected:
  void SetUp() override {
    server_ = ServerProcess::Start({"--state-dir", folder_.path() + "/state"});
    ASSERT_NE(server_, nullptr);
    api_ = std::make_unique<Api>(server_->address());
    WriteScan();
  }
  Api& api() { return *api_; }
  const TestScan& scan() const { return SmallScan(); }

  std::string spool() const { return folder_.path() + "/spool"; }

  std::unique_ptr<ChildProcess> Stream(const std::string& id, bool spool_always) const {
    const double rate = 1e3 / static_cast<double>(kPace.count());
    std::vector<std::string> arguments = {"stream",
                                          id,
                                          folder_.path() + "/scan.cxi",
                                          "--server",
                                          server_->address(),
                                          "--rate",
                                          absl::StrCat(rate),
                                          "--producer",
                                          "detector",
                                          "--spool-dir",
                                          spool()};
    if (spool_always) arguments.push_back("--spool-always");
    return std::make_unique<ChildProcess>(PTYCHOCTL_BINARY, arguments);
  }

 private:
  void WriteScan() const {
    CxiScanInfo info;
    const SimulationConfig& simulated = scan().simulation().config();
    info.frames = scan().points();
    info.frame_shape = {scan().side(), scan().side()};
    info.wavelength_m = simulated.wavelength_m;
    info.distance_m = simulated.distance_m;
    info.detector_pixel_size_y_m = info.detector_pixel_size_x_m = simulated.detector_pixel_size_m;
    info.x_m = scan().simulation().x_m();
    info.y_m = scan().simulation().y_m();
    auto file = CxiScanWriter::Create(folder_.path() + "/scan.cxi", info);
    ASSERT_TRUE(file.ok()) << file.status();
    for (int j = 0; j < scan().points(); ++j) {
      ASSERT_TRUE((*file)->Append(std::as_bytes(std::span(scan().frame(j))), 1).ok());
    }
    ASSERT_TRUE((*file)->Close().ok());
  }

  TemporaryDirectory folder_;
  std::unique_ptr<ServerProcess> server_;
  std::unique_ptr<Api> api_;
};

TEST_F(ClientKillTest, TheNextClientSendsWhatIsMissing) {
  constexpr int kIterations = 40;
  // Nothing is iterated before all has come, so that the result is the same to the last bit.
  const v1::SessionConfig config = scan().Config(kIterations);
  const auto result = [&](const std::string& id) {
    const v1::Session session = api().AwaitEnd(absl::StrCat("sessions/", id)).value;
    EXPECT_EQ(session.state(), v1::SESSION_STATE_COMPLETED) << session.failure();
    EXPECT_THAT(api().Delete(session.name()), IsOk());
    return session;
  };
  ASSERT_THAT(api().Create("undisturbed", config).status, IsOk());
  ASSERT_EQ(Stream("undisturbed", false)->Wait(), 0);
  const v1::Session undisturbed = result("undisturbed");
  const int rounds = Rounds();
  Moments moments(scan());
  std::int64_t acknowledged = 0, duplicates = 0;
  int under_way = 0;
  for (int round = 0; round < rounds; ++round) {
    const milliseconds moment = moments.Next();
    const bool spool_always = round % 2 == 1;
    SCOPED_TRACE(absl::StrCat("round ", round, ", killed after ", moment.count(), " ms, ",
                              spool_always ? "all in the spool" : "spool in need"));
    const std::string id = absl::StrCat("round-", round);
    const auto created = api().Create(id, config);
    ASSERT_THAT(created.status, IsOk());
    const auto first = Stream(id, spool_always);
    std::this_thread::sleep_for(moment);
    first->Signal(SIGKILL);
    under_way += first->Wait() == 128 + SIGKILL;
    const v1::Session at_kill = api().Get(created.value.name()).value;
    acknowledged += at_kill.frames().accepted();
    const auto second = Stream(id, spool_always);
    ASSERT_EQ(second->Wait(), 0) << second->log();
    const v1::Session session = result(id);
    EXPECT_EQ(session.active_points(), scan().points());
    for (const v1::IngestCounters& counters : {session.frames(), session.positions()}) {
      EXPECT_EQ(counters.accepted(), scan().points());
      EXPECT_EQ(counters.received() - counters.accepted(),
                Rejected(counters, v1::REJECT_REASON_DUPLICATE));
    }
    duplicates += Rejected(session.frames(), v1::REJECT_REASON_DUPLICATE);
    EXPECT_EQ(session.final_fit().r_factor(), undisturbed.final_fit().r_factor());
    EXPECT_EQ(session.final_fit().poisson_nll(), undisturbed.final_fit().poisson_nll());
    EXPECT_TRUE(std::filesystem::is_empty(spool()));
  }
  std::printf(
      "%d rounds: %d clients killed before their end, %lld of %lld frames had arrived by then, "
      "%lld came twice; each result the same to the last bit\n",
      rounds, under_way, static_cast<long long>(acknowledged),
      static_cast<long long>(rounds) * scan().points(), static_cast<long long>(duplicates));
}

}  // namespace
}  // namespace ptychoserve::integration
