#include "server/service_manager.h"

#include <systemd/sd-daemon.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <utility>

namespace ptychoserve::server {

void ServiceManager::Ready(std::function<absl::Status()> healthy) {
  sd_notify(0, "READY=1");
  std::uint64_t timeout_us = 0;
  if (sd_watchdog_enabled(0, &timeout_us) <= 0) return;
  watchdog_ =
      std::jthread([healthy = std::move(healthy), interval = std::chrono::microseconds(timeout_us) /
                                                             2](const std::stop_token& stop) {
        std::mutex mu;
        std::condition_variable_any wake;
        std::unique_lock lock(mu);
        while (!stop.stop_requested()) {
          if (healthy().ok()) sd_notify(0, "WATCHDOG=1");
          wake.wait_for(lock, stop, interval, [] { return false; });
        }
      });
}

void ServiceManager::Reloading() { sd_notify(0, "RELOADING=1"); }

void ServiceManager::Reloaded() { sd_notify(0, "READY=1"); }

void ServiceManager::Stopping() {
  sd_notify(0, "STOPPING=1");
  watchdog_ = {};
}

}  // namespace ptychoserve::server
