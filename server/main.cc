#include <malloc.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>

#include "server/options.h"
#include "server/server.h"
#include "server/service_manager.h"
#include "server/signals.h"
#include "server/telemetry/log.h"

namespace {

namespace server = ptychoserve::server;

// Beyond the orderly shutdown's own time-out.
constexpr std::chrono::seconds kWatchdogMargin{5};

constexpr int kDeviceLostExitCode = 4;

// Message buffers come and go all the time. Giving their pages back to the kernel after each one
// costs more than half of the receiving thread's time; blocks larger than any message, such as a
// session's frames, are still mapped and unmapped.
void TuneAllocator() {
  constexpr int kTrimThreshold = 1 << 30;
  constexpr int kMmapThreshold = 64 << 20;
  constexpr int kOldMmapThreshold = 32 << 20;  // The largest that older libraries take.
  constexpr int kTopPad = 64 << 20;
  mallopt(M_TRIM_THRESHOLD, kTrimThreshold);
  if (mallopt(M_MMAP_THRESHOLD, kMmapThreshold) == 0) mallopt(M_MMAP_THRESHOLD, kOldMmapThreshold);
  mallopt(M_TOP_PAD, kTopPad);
}

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "ptychoserved: %s\n", std::string(status.message()).c_str());
  return 1;
}

// What may change while the server runs. An error leaves it as it was, and says so.
void Reload(const server::ParsedOptions& parsed, server::Server& running) {
  absl::Status read = parsed.exit
                          ? absl::InvalidArgumentError("the configuration cannot be read")
                          : server::InitLog(parsed.options.log_level, parsed.options.log_format);
  read.Update(running.Reload());
  if (read.ok()) {
    server::Log(server::LogLevel::kInfo, "configuration read again");
  } else {
    server::Log(server::LogLevel::kError, "the configuration stays as it was",
                {{"reason", std::string(read.message())}});
  }
}

}  // namespace

int main(int argc, char** argv) {
  TuneAllocator();
  const server::ParsedOptions parsed = server::ParseOptions(argc, argv);
  if (parsed.exit) return parsed.exit_code;
  const server::ServerOptions& options = parsed.options;
  if (const absl::Status log = server::InitLog(options.log_level, options.log_format); !log.ok()) {
    return Fail(log);
  }
  if (parsed.check_config) {
    const absl::Status checked = server::CheckOptions(options);
    if (!checked.ok()) return Fail(checked);
    std::puts("the configuration is valid");
    return 0;
  }
  server::SignalWatcher signals(std::chrono::duration_cast<std::chrono::milliseconds>(
                                    std::chrono::duration<double>(options.shutdown_timeout_s)) +
                                kWatchdogMargin);
  std::atomic<bool> device_lost = false;
  auto running = server::Server::Start(options, [&device_lost, &signals] {
    device_lost = true;
    signals.Raise();
  });
  if (!running.ok()) return Fail(running.status());
  server::ServiceManager manager;
  manager.Ready([&] { return (*running)->Healthy(); });
  signals.Wait([&] {
    server::ServiceManager::Reloading();
    Reload(server::ParseOptions(argc, argv), **running);
    server::ServiceManager::Reloaded();
  });
  manager.Stopping();
  (*running)->Shutdown();
  running->reset();  // Workers and sessions end while the watchdog still looks on.
  signals.Done();
  return device_lost ? kDeviceLostExitCode : 0;
}
