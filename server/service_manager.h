#ifndef PTYCHOSERVE_SERVER_SERVICE_MANAGER_H_
#define PTYCHOSERVE_SERVER_SERVICE_MANAGER_H_

#include <functional>
#include <thread>

#include "absl/status/status.h"

namespace ptychoserve::server {

// What systemd is told of the process, when it has started it (sd_notify(3)); otherwise nothing
// happens. Signs of life are given as often as its watchdog wants, for as long as `healthy` is OK.
class ServiceManager {
 public:
  void Ready(std::function<absl::Status()> healthy);
  // Before and after the files are read again.
  static void Reloading();
  static void Reloaded();
  // The process ends in order; no more signs of life are needed.
  void Stopping();

 private:
  std::jthread watchdog_;
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_SERVICE_MANAGER_H_
