// How much do clients that poll snapshots cost the iterations? Runs one session on a server,
// measures its iteration rate by turns with and without pollers, and prints one JSON line.
//
//   polling_bench HOST:PORT [pollers] [points] [frame side] [seconds a turn] [turns]
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "client/cpp/client.h"
#include "engine/simulation/simulation.h"
#include "tests/bench/bench_session.h"

namespace ptychoserve {
namespace {

using Seconds = std::chrono::duration<double>;

double IterationsPerSecond(client::Client& client, const std::string& session, double seconds) {
  const auto begin = std::chrono::steady_clock::now();
  const std::int64_t first = client.GetSession(session).value().iteration();
  std::this_thread::sleep_for(Seconds(seconds));
  const std::int64_t last = client.GetSession(session).value().iteration();
  const Seconds span = std::chrono::steady_clock::now() - begin;
  return static_cast<double>(last - first) / span.count();
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

int Run(const std::string& address, int pollers, int points, int side, double seconds, int turns) {
  const Simulation simulation({.points = points, .frame_side = side});
  auto client = client::Client::Connect(address).value();
  const std::string session = "polling-bench";
  v1::Stage stage;
  stage.mutable_difference_map();
  (void)client->CreateSession(session, EndlessSession(simulation, stage)).value();
  SendScan(*client, session, simulation);
  while (client->GetSession(session).value().state() != v1::SESSION_STATE_REFINING) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }

  std::atomic<bool> poll = false, end = false;
  std::atomic<std::int64_t> snapshots = 0, bytes = 0;
  std::vector<std::jthread> threads;
  for (int i = 0; i < pollers; ++i) {
    threads.emplace_back([&] {
      auto own = client::Client::Connect(address).value();
      std::int64_t version = 0;
      while (!end) {
        if (!poll) {
          std::this_thread::sleep_for(std::chrono::milliseconds(5));
          continue;
        }
        const auto snapshot =
            own->GetSnapshot(session, {}, version, std::chrono::milliseconds(1000));
        if (!snapshot.ok() || snapshot->header.unchanged()) continue;
        version = snapshot->header.version();
        ++snapshots;
        for (const auto& array : snapshot->header.arrays()) bytes += array.bytes();
      }
    });
  }
  std::vector<double> alone, polled, ratios;
  for (int turn = 0; turn < turns; ++turn) {
    poll = false;
    alone.push_back(IterationsPerSecond(*client, session, seconds));
    poll = true;
    polled.push_back(IterationsPerSecond(*client, session, seconds));
    ratios.push_back(polled.back() / alone.back());
  }
  end = true;
  threads.clear();
  (void)client->DeleteSession(session, /*force=*/true);
  std::printf(
      "{\"pollers\": %d, \"points\": %d, \"frame_side\": %d, \"iterations_per_s_alone\": %.3f, "
      "\"iterations_per_s_polled\": %.3f, \"ratio\": %.4f, \"snapshots\": %lld, "
      "\"snapshot_bytes\": %lld}\n",
      pollers, simulation.points(), side, Median(alone), Median(polled), Median(ratios),
      static_cast<long long>(snapshots), static_cast<long long>(bytes));
  return 0;
}

}  // namespace
}  // namespace ptychoserve

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "polling_bench HOST:PORT [pollers] [points] [frame side] [s] [turns]\n");
    return 2;
  }
  const auto number = [&](int i, double fallback) {
    return argc > i ? std::atof(argv[i]) : fallback;
  };
  return ptychoserve::Run(argv[1], static_cast<int>(number(2, 10)),
                          static_cast<int>(number(3, 1024)), static_cast<int>(number(4, 128)),
                          number(5, 3), static_cast<int>(number(6, 5)));
}
