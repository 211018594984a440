// How many frames a second get from a client to the device while the solver runs? Streams a
// simulated scan into one session of a server, from memory, as fast as it is taken, and prints one
// JSON line: frames a second until the last one was acknowledged, and until the last one was
// active.
//
//   ingest_bench HOST:PORT [streams] [points] [frame side] [dm | ml_grad]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "client/cpp/client.h"
#include "engine/simulation/simulation.h"
#include "tests/bench/bench_session.h"

namespace ptychoserve {
namespace {

constexpr std::chrono::seconds kPatience{120};
constexpr int kDistinctFrames = 64;  // Sent again and again.
using Seconds = std::chrono::duration<double>;
using Clock = std::chrono::steady_clock;

int Run(const std::string& address, int streams, int points, int side, bool difference_map) {
  const Simulation simulation({.points = points, .frame_side = side});
  points = simulation.points();
  std::vector<std::vector<std::uint16_t>> frames;
  for (int j = 0; j < std::min(points, kDistinctFrames); ++j) frames.push_back(simulation.Frame(j));

  auto client = client::Client::Connect(address).value();
  const std::string session = "ingest-bench";
  v1::Stage stage;
  if (difference_map) {
    stage.mutable_difference_map();
  } else {
    stage.mutable_ml_gradient();
  }
  (void)client->CreateSession(session, EndlessSession(simulation, stage)).value();
  auto positions = client->OpenPositionWriter(session);
  for (int j = 0; j < points; ++j) {
    const auto k = static_cast<std::size_t>(j);
    while (!positions->Push(j, simulation.x_m()[k], simulation.y_m()[k]).ok()) {
      if (!positions->status().ok()) {
        std::fprintf(stderr, "%s\n", positions->status().ToString().c_str());
        return 1;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
  if (!positions->Close(kPatience).ok()) return 1;

  const client::FrameFormat format{.dtype = v1::DATA_TYPE_U16,
                                   .rows = static_cast<std::uint32_t>(side),
                                   .cols = static_cast<std::uint32_t>(side)};
  const auto begin = Clock::now();
  {
    std::vector<std::jthread> threads;
    for (int s = 0; s < streams; ++s) {
      threads.emplace_back([&, s] {
        auto writer = client->OpenFrameWriter(session, format);
        for (int j = s; j < points; j += streams) {
          const auto& frame = frames[static_cast<std::size_t>(j) % frames.size()];
          const absl::Status pushed = writer->Push(j, std::as_bytes(std::span(frame)), kPatience);
          if (!pushed.ok()) {
            std::fprintf(stderr, "%s\n", pushed.ToString().c_str());
            std::exit(EXIT_FAILURE);
          }
        }
        if (!writer->Close(kPatience).ok()) std::exit(EXIT_FAILURE);
      });
    }
  }
  const Seconds acknowledged = Clock::now() - begin;
  v1::Session state;
  do {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    state = client->GetSession(session).value();
  } while (state.active_points() < points && state.state() < v1::SESSION_STATE_COMPLETED);
  const Seconds active = Clock::now() - begin;
  (void)client->DeleteSession(session, /*force=*/true);
  std::printf(
      "{\"streams\": %d, \"points\": %d, \"frame_side\": %d, \"algorithm\": \"%s\", "
      "\"acknowledged_frames_per_s\": %.0f, \"active_frames_per_s\": %.0f, \"iterations\": %lld}\n",
      streams, points, side, difference_map ? "dm" : "ml_grad", points / acknowledged.count(),
      points / active.count(), static_cast<long long>(state.iteration()));
  return state.active_points() == points ? 0 : 1;
}

}  // namespace
}  // namespace ptychoserve

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "ingest_bench HOST:PORT [streams] [points] [frame side] [dm | ml_grad]\n");
    return 2;
  }
  const auto number = [&](int i, int fallback) { return argc > i ? std::atoi(argv[i]) : fallback; };
  return ptychoserve::Run(argv[1], number(2, 1), number(3, 10'000), number(4, 256),
                          argc <= 5 || std::string(argv[5]) == "dm");
}
