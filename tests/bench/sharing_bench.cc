// How well do sessions share a device? Measures on a running server, one after the other:
//
//   throughput  frames times iterations a second of one session, and of several of the same size
//               together;
//   first turn  how long a small session that joins one of these waits for its first iteration,
//               from its last input's acknowledgement on.
//
// Prints one JSON line.
//
//   sharing_bench HOST:PORT [sessions] [points] [frame side] [seconds a measurement]
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cpp/client.h"
#include "engine/simulation/simulation.h"
#include "tests/bench/bench_session.h"

namespace ptychoserve {
namespace {

using SteadyClock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

constexpr int kSmallPoints = 64;
constexpr int kTurns = 9;

v1::Stage DifferenceMapStage() {
  v1::Stage stage;
  stage.mutable_difference_map();
  return stage;
}

std::int64_t FrameIterations(client::Client& client, const std::vector<std::string>& sessions) {
  std::int64_t sum = 0;
  for (const std::string& id : sessions) {
    const v1::Session session = client.GetSession(id).value();
    sum += session.iteration() * session.active_points();
  }
  return sum;
}

double FrameIterationsPerSecond(client::Client& client, const std::vector<std::string>& sessions,
                                double seconds) {
  const auto begin = SteadyClock::now();
  const std::int64_t first = FrameIterations(client, sessions);
  std::this_thread::sleep_for(Seconds(seconds));
  const std::int64_t last = FrameIterations(client, sessions);
  const Seconds span = SteadyClock::now() - begin;
  return static_cast<double>(last - first) / span.count();
}

// Seconds until `session` has done an iteration.
double WaitForFirstIteration(client::Client& client, const std::string& session) {
  const auto begin = SteadyClock::now();
  while (client.GetSession(session).value().iteration() == 0) {
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  return Seconds(SteadyClock::now() - begin).count();
}

int Run(const std::string& address, int sessions, int points, int side, double seconds) {
  const Simulation simulation({.points = points, .frame_side = side});
  const Simulation small({.points = kSmallPoints, .frame_side = side});
  auto client = client::Client::Connect(address).value();
  std::vector<std::string> ids;
  const auto add = [&] {
    ids.push_back(absl::StrCat("sharing-bench-", ids.size()));
    (void)client->CreateSession(ids.back(), EndlessSession(simulation, DifferenceMapStage()))
        .value();
    SendScan(*client, ids.back(), simulation);
    (void)WaitForFirstIteration(*client, ids.back());
  };
  add();
  const double alone = FrameIterationsPerSecond(*client, ids, seconds);
  const double iteration_s = simulation.points() / alone;

  std::vector<double> waits;
  for (int turn = 0; turn < kTurns; ++turn) {
    const std::string id = "sharing-bench-small";
    v1::SessionConfig config = EndlessSession(small, DifferenceMapStage());
    config.mutable_run()->set_min_points_to_start(static_cast<std::uint32_t>(small.points()));
    (void)client->CreateSession(id, config).value();
    SendScan(*client, id, small);
    waits.push_back(WaitForFirstIteration(*client, id));
    (void)client->DeleteSession(id, /*force=*/true);
  }
  std::sort(waits.begin(), waits.end());

  while (static_cast<int>(ids.size()) < sessions) add();
  const double together = FrameIterationsPerSecond(*client, ids, seconds);
  for (const std::string& id : ids) (void)client->DeleteSession(id, /*force=*/true);
  std::printf(
      "{\"sessions\": %d, \"points\": %d, \"frame_side\": %d, \"frames_per_s_alone\": %.0f, "
      "\"frames_per_s_together\": %.0f, \"ratio\": %.4f, \"iteration_ms\": %.3f, "
      "\"first_iteration_of_small_ms_median\": %.3f, \"first_iteration_of_small_ms_max\": %.3f}\n",
      sessions, simulation.points(), side, alone, together, together / alone, 1e3 * iteration_s,
      1e3 * waits[waits.size() / 2], 1e3 * waits.back());
  return 0;
}

}  // namespace
}  // namespace ptychoserve

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "sharing_bench HOST:PORT [sessions] [points] [frame side] [seconds]\n");
    return 2;
  }
  const auto number = [&](int i, double fallback) {
    return argc > i ? std::atof(argv[i]) : fallback;
  };
  return ptychoserve::Run(argv[1], static_cast<int>(number(2, 4)),
                          static_cast<int>(number(3, 1024)), static_cast<int>(number(4, 256)),
                          number(5, 5));
}
