// How many frames a second get from a client to the device while the solver runs, and what that
// costs? Streams a simulated scan into one session of a server, from memory, as fast as it is
// taken, and prints one JSON line:
//
//   acknowledged_frames_per_s   from the first frame until all were acknowledged
//   active_frames_per_s         until all were part of the iterations (of `none`: on the device)
//   gb_per_s                    the same in 1e9 bytes of pixels
//   client_cpu_s_per_gb         of this process, in that time
//   server_cpu_s_per_gb         of the server, solver included; null unless its PID is given
//   iterations_per_s            in that time
//
// The algorithm `none` keeps the positions back: then nothing but the way of the frames costs time.
//
// `share` sends frames from where they are (PushShared) in place of a copy.
//
//   ingest_bench HOST:PORT [streams] [points] [frame side] [dm | ml_grad | none] [server PID]
//                [copy | share]
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <optional>
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
constexpr char kSession[] = "ingest-bench";
constexpr int kDistinctFrames = 64;  // Sent again and again.
using Seconds = std::chrono::duration<double>;
using Clock = std::chrono::steady_clock;

struct Options {
  std::string address;
  int streams = 1;
  int points = 10'000;
  int side = 256;
  std::string algorithm = "dm";
  int server_pid = 0;
  bool copy = true;
};

[[noreturn]] void Fail(const absl::Status& status) {
  std::fprintf(stderr, "ingest_bench: %s\n", status.ToString().c_str());
  std::exit(EXIT_FAILURE);
}

// Processor time of this process, all threads.
double OwnCpu_s() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// The same of another process of this machine; nullopt when it cannot be seen.
std::optional<double> CpuOf_s(int pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text{std::istreambuf_iterator<char>(file), {}};
  const std::size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  unsigned long user = 0, system = 0;  // Fields 14 and 15, in clock ticks.
  if (std::sscanf(text.c_str() + name_end + 1,
                  " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2) {
    return std::nullopt;
  }
  return static_cast<double>(user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

void SendPositions(client::Client& client, const Simulation& simulation) {
  auto writer = client.OpenPositionWriter(kSession);
  for (int j = 0; j < simulation.points(); ++j) {
    const auto k = static_cast<std::size_t>(j);
    while (!writer->Push(j, simulation.x_m()[k], simulation.y_m()[k]).ok()) {
      if (!writer->status().ok()) Fail(writer->status());
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
  if (const auto closed = writer->Close(kPatience); !closed.ok()) Fail(closed.status());
}

void SendFrames(client::Client& client, const Options& options,
                const std::vector<std::vector<std::uint16_t>>& frames) {
  const client::FrameFormat format{.dtype = v1::DATA_TYPE_U16,
                                   .rows = static_cast<std::uint32_t>(options.side),
                                   .cols = static_cast<std::uint32_t>(options.side)};
  std::vector<std::jthread> threads;
  for (int s = 0; s < options.streams; ++s) {
    threads.emplace_back([&, s] {
      auto writer = client.OpenFrameWriter(kSession, format);
      for (int j = s; j < options.points; j += options.streams) {
        const auto& frame = frames[static_cast<std::size_t>(j) % frames.size()];
        const auto bytes = std::as_bytes(std::span(frame));
        const absl::Status pushed = options.copy ? writer->Push(j, bytes, kPatience)
                                                 : writer->PushShared(j, bytes, nullptr, kPatience);
        if (!pushed.ok()) Fail(pushed);
      }
      if (const auto closed = writer->Close(kPatience); !closed.ok()) Fail(closed.status());
    });
  }
}

int Run(Options options) {
  const Simulation simulation({.points = options.points, .frame_side = options.side});
  options.points = simulation.points();
  std::vector<std::vector<std::uint16_t>> frames;
  for (int j = 0; j < std::min(options.points, kDistinctFrames); ++j) {
    frames.push_back(simulation.Frame(j));
  }
  auto connected = client::Client::Connect(options.address);
  if (!connected.ok()) Fail(connected.status());
  client::Client& client = **connected;
  v1::Stage stage;
  if (options.algorithm == "dm") {
    stage.mutable_difference_map();
  } else {
    stage.mutable_ml_gradient();
  }
  const auto created = client.CreateSession(kSession, EndlessSession(simulation, stage));
  if (!created.ok()) Fail(created.status());
  const bool iterates = options.algorithm != "none";
  if (iterates) SendPositions(client, simulation);

  const auto begin = Clock::now();
  const double own_cpu_s = OwnCpu_s();
  const std::optional<double> server_cpu_s = CpuOf_s(options.server_pid);
  SendFrames(client, options, frames);
  const Seconds acknowledged = Clock::now() - begin;
  v1::Session state;
  const auto arrived = [&] {
    return iterates ? state.active_points() == options.points
                    : state.frames().accepted() == options.points && state.staged_frames() == 0;
  };
  do {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    auto answer = client.GetSession(kSession);
    if (!answer.ok()) Fail(answer.status());
    state = *std::move(answer);
  } while (!arrived() && state.state() < v1::SESSION_STATE_COMPLETED);
  const Seconds active = Clock::now() - begin;

  const double gb = 1e-9 * options.points * static_cast<double>(frames[0].size() * 2);
  const double client_cost = (OwnCpu_s() - own_cpu_s) / gb;
  std::string server_cost = "null";
  if (const auto now = CpuOf_s(options.server_pid); now && server_cpu_s) {
    server_cost = std::to_string((*now - *server_cpu_s) / gb);
  }
  (void)client.DeleteSession(kSession, /*force=*/true);
  std::printf(
      "{\"streams\": %d, \"points\": %d, \"frame_side\": %d, \"algorithm\": \"%s\", "
      "\"copies\": %s, "
      "\"acknowledged_frames_per_s\": %.0f, \"active_frames_per_s\": %.0f, \"gb_per_s\": %.3f, "
      "\"client_cpu_s_per_gb\": %.3f, \"server_cpu_s_per_gb\": %s, \"iterations\": %lld, "
      "\"iterations_per_s\": %.1f}\n",
      options.streams, options.points, options.side, options.algorithm.c_str(),
      options.copy ? "true" : "false", options.points / acknowledged.count(),
      options.points / active.count(), gb / active.count(), client_cost, server_cost.c_str(),
      static_cast<long long>(state.iteration()),
      static_cast<double>(state.iteration()) / active.count());
  return arrived() ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace
}  // namespace ptychoserve

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr,
                 "ingest_bench HOST:PORT [streams] [points] [frame side] [dm | ml_grad | none] "
                 "[server PID] [copy | share]\n");
    return 2;
  }
  ptychoserve::Options options{.address = argv[1]};
  if (argc > 2) options.streams = std::atoi(argv[2]);
  if (argc > 3) options.points = std::atoi(argv[3]);
  if (argc > 4) options.side = std::atoi(argv[4]);
  if (argc > 5) options.algorithm = argv[5];
  if (argc > 6) options.server_pid = std::atoi(argv[6]);
  if (argc > 7) options.copy = std::string(argv[7]) != "share";
  return ptychoserve::Run(options);
}
