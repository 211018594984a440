// A server with a thousand idle sessions and fifty that work, for minutes: are sessions admitted
// exactly, are snapshots answered at once, and does anything grow? Prints figures, and a line for
// each violation; ends with 1 when there is one.
//
//   session_soak [MINUTES (10)] [IDLE (1000)] [ACTIVE (50)]
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/integration/input_stream.h"
#include "tests/integration/server_process.h"
#include "tests/robustness/process_stats.h"
#include "tests/robustness/streamed_scan.h"
#include "tests/robustness/tcp_relay.h"

namespace ptychoserve::robustness {
namespace {

using integration::Api;
using integration::SmallScan;
using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

constexpr double kIdlePart = 0.2;  // Of the time; then the active ones begin.
constexpr double kMostLatency_ms = 50;
// The server probes a client after 60 s of silence and gives it up 20 s later.
constexpr double kDeadClientFound_s = 80 + 20;
// By which the last quarter of the time may exceed the one before, on average. Active sessions come
// and go, each with connections and a fraction of a MiB of its own.
constexpr double kGrowth_bytes = 8 << 20, kGrowth_descriptors = 20, kGrowth_threads = 4;

int g_violations = 0;

void Require(bool holds, const std::string& what) {
  if (holds) return;
  ++g_violations;
  std::printf("VIOLATION: %s\n", what.c_str());
  std::fflush(stdout);
}

// The smallest canvas on which the scan fits, so that a thousand of them do.
v1::SessionConfig Small(v1::SessionConfig config) {
  config.mutable_object()->set_max_pixels(std::uint64_t{1} << 14);
  return config;
}

// How long an answer takes.
class Latencies {
 public:
  void Add(Seconds latency) { ms_.push_back(latency.count() * 1e3); }
  double Percentile(double p) {
    if (ms_.empty()) return 0;
    std::sort(ms_.begin(), ms_.end());
    return ms_[std::min(ms_.size() - 1, static_cast<std::size_t>(p * ms_.size()))];
  }
  std::string Describe() {
    return absl::StrCat(ms_.size(), " answers, p50 ", Percentile(0.5), " ms, p99 ",
                        Percentile(0.99), " ms, longest ", Percentile(1), " ms");
  }

 private:
  std::vector<double> ms_;
};

// One of the active sessions, again and again: created, streamed, fetched, deleted.
class Worker {
 public:
  Worker(const std::string& address, int number)
      : thread_([this, address, number] { Run(address, number); }) {}
  void End() { end_ = true; }
  std::int64_t Join() {
    thread_.join();
    return scans_;
  }

 private:
  void Run(const std::string& address, int number) {
    Api api(address);
    while (!end_) {
      const auto created =
          api.Create(absl::StrCat("active-", number), Small(SmallScan().Config(20)));
      Require(created.ok(), absl::StrCat("create: ", created.status.error_message()));
      if (!created.ok()) return;
      const std::string& name = created.value.name();
      {
        StreamedScan stream(address, name, SmallScan());
        stream.Send(0, SmallScan().points());
        stream.Close();
      }
      const v1::Session session = api.AwaitEnd(name).value;
      Require(session.state() == v1::SESSION_STATE_COMPLETED && session.iteration() == 20 &&
                  session.active_points() == SmallScan().points(),
              absl::StrCat(name, " ended as ", v1::SessionState_Name(session.state()), ": ",
                           session.failure()));
      Require(api.Snapshot(name).ok(), absl::StrCat("result of ", name));
      Require(api.Delete(name).ok(), absl::StrCat("delete ", name));
      ++scans_;
    }
  }

  std::atomic<bool> end_ = false;
  std::int64_t scans_ = 0;
  std::thread thread_;
};

// What the server holds, second by second.
class Growth {
 public:
  void Sample(const ProcessStats& stats) { samples_.push_back(stats); }
  // Of the last quarter against the one before.
  void Check() const {
    const auto mean = [&](double from, double to, auto value) {
      const auto begin = static_cast<std::size_t>(from * samples_.size());
      const auto end = static_cast<std::size_t>(to * samples_.size());
      double sum = 0;
      for (std::size_t k = begin; k < end; ++k) sum += static_cast<double>(value(samples_[k]));
      return sum / std::max<double>(1, static_cast<double>(end - begin));
    };
    const auto check = [&](const char* what, double unit, double limit, auto value) {
      const double third = mean(0.5, 0.75, value), last = mean(0.75, 1, value);
      std::printf("%s: %.1f, at the end %.1f\n", what, third / unit, last / unit);
      Require(last - third < limit, absl::StrCat(what, " grow by ", (last - third) / unit));
    };
    check("MiB", 1 << 20, kGrowth_bytes, [](const auto& s) { return s.resident_bytes; });
    check("descriptors", 1, kGrowth_descriptors, [](const auto& s) { return s.descriptors; });
    check("threads", 1, kGrowth_threads, [](const auto& s) { return s.threads; });
  }

 private:
  std::vector<ProcessStats> samples_;
};

// Asks for a snapshot fifty times a second until `end`, and looks at the server once a second.
Latencies Watch(Api& api, const std::string& viewed, pid_t server, Clock::time_point end,
                Growth* growth) {
  Latencies latencies;
  constexpr std::chrono::milliseconds kInterval{20};
  constexpr int kAnswersPerSample = 50;
  for (int k = 0; Clock::now() < end; ++k) {
    const auto asked = Clock::now();
    const auto answer = api.Snapshot(viewed);
    latencies.Add(Clock::now() - asked);
    Require(answer.ok() && !answer.value.object.empty(), "a snapshot without an object");
    if (growth != nullptr && k % kAnswersPerSample == 0) growth->Sample(StatsOf(server));
    std::this_thread::sleep_until(asked + kInterval);
  }
  return latencies;
}

int Run(double minutes, int idle, int active) {
  const auto server = integration::ServerProcess::Start(
      {"--max-sessions", absl::StrCat(idle + active), "--staging-bytes", "1048576",
       "--max-message-bytes", "1048576"});
  if (server == nullptr) return 1;
  Api api(server->address());

  // One of the idle sessions has a result, and is looked at.
  const v1::SessionConfig config = Small(SmallScan().Config(20));
  std::int64_t reserved = 0;
  const auto reserved_now = [&] { return api.Info().value.devices(0).reserved_bytes(); };
  for (int k = 0; k + 1 < idle; ++k) {
    const auto created = api.Create(absl::StrCat("idle-", k), config);
    Require(created.ok(), absl::StrCat("create: ", created.status.error_message()));
    reserved += created.value.device_bytes();
  }
  Require(reserved_now() == reserved,
          absl::StrCat(reserved_now(), " bytes are reserved, not ", reserved));
  const std::string viewed = api.Create("viewed", config).value.name();
  {
    StreamedScan stream(server->address(), viewed, SmallScan());
    stream.Send(0, SmallScan().points());
    stream.Close();
  }
  api.AwaitEnd(viewed);
  for (int k = 0; k < active; ++k) {
    Require(api.Create(absl::StrCat("active-", k), config).ok(), "admission below the limit");
  }
  Require(api.Create("one-too-many", config).status.error_code() ==
              grpc::StatusCode::RESOURCE_EXHAUSTED,
          "admission beyond the limit");
  for (int k = 0; k < active; ++k) {
    Require(api.Delete(absl::StrCat("sessions/active-", k), /*force=*/true).ok(), "deletion");
  }

  // Clients of the library that only listen must not be turned away for their probes, and one that
  // has vanished must be found.
  auto listener = client::Client::Connect(server->address()).value();
  std::atomic<int> turned_away = 0;
  std::vector<std::unique_ptr<client::Watch>> watches;
  for (int k = 0; k < std::min(20, idle - 1); ++k) {
    watches.push_back(listener->WatchSession(
        absl::StrCat("idle-", k), std::chrono::milliseconds(0), [](const auto&) {},
        [&turned_away](const absl::Status&) { ++turned_away; }));
  }
  TcpRelay relay(server->address());
  Api vanished(relay.address());
  integration::FrameInput input(vanished, "sessions/idle-0");
  input.AwaitBatches(0);
  relay.LoseClients();

  const auto begin = Clock::now();
  const auto at = [&](double part) {
    return begin + std::chrono::duration_cast<Clock::duration>(Seconds(60 * minutes * part));
  };
  std::printf("%d idle sessions: %.1f MiB, %d descriptors, %d threads\n", idle,
              static_cast<double>(StatsOf(server->pid()).resident_bytes) / (1 << 20),
              StatsOf(server->pid()).descriptors, StatsOf(server->pid()).threads);
  Latencies alone = Watch(api, viewed, server->pid(), at(kIdlePart), nullptr);
  std::printf("idle: %s\n", alone.Describe().c_str());
  std::fflush(stdout);
  Require(alone.Percentile(0.99) < kMostLatency_ms, "snapshots are slow");

  std::vector<std::unique_ptr<Worker>> workers;
  for (int k = 0; k < active; ++k) {
    workers.push_back(std::make_unique<Worker>(server->address(), k));
  }
  Growth growth;
  Latencies loaded = Watch(api, viewed, server->pid(), at(1), &growth);
  for (const auto& worker : workers) worker->End();
  std::int64_t scans = 0;
  for (const auto& worker : workers) scans += worker->Join();
  std::printf("with %d active: %lld scans, snapshots: %s\n", active, static_cast<long long>(scans),
              loaded.Describe().c_str());
  growth.Check();
  Require(scans >= active, "an active session has not come to its end");
  Require(reserved_now() == reserved, "memory was not given back exactly");
  Require(turned_away == 0, absl::StrCat(turned_away.load(), " listeners were turned away"));
  watches.clear();
  if (Seconds(Clock::now() - begin).count() > kDeadClientFound_s) {
    Require(server->log().find("input stream closed session=idle-0") != std::string::npos,
            "a client that has vanished was not found");
  }
  const std::string log = server->log();
  Require(log.find(" error ") == std::string::npos, "the log has errors");
  Require(server->Terminate() == 0, "the server does not end in order");
  std::printf("%d violations\n", g_violations);
  return g_violations == 0 ? 0 : 1;
}

}  // namespace
}  // namespace ptychoserve::robustness

int main(int argc, char** argv) {
  const double minutes = argc > 1 ? std::atof(argv[1]) : 10;
  const int idle = argc > 2 ? std::atoi(argv[2]) : 1000;
  const int active = argc > 3 ? std::atoi(argv[3]) : 50;
  return ptychoserve::robustness::Run(minutes, idle, active);
}
