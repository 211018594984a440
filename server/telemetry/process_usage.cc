#include "server/telemetry/process_usage.h"

#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>

namespace ptychoserve::server {
namespace {

double Seconds(const timeval& time) {
  constexpr double kMicro = 1e-6;
  return static_cast<double>(time.tv_sec) + kMicro * static_cast<double>(time.tv_usec);
}

double NowSinceEpoch() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// As near as need be: when this library was loaded.
const double g_start_time_s = NowSinceEpoch();

}  // namespace

ProcessUsage UsageOfThisProcess() {
  ProcessUsage usage;
  rusage times{};
  if (getrusage(RUSAGE_SELF, &times) == 0) {
    usage.cpu_s = Seconds(times.ru_utime) + Seconds(times.ru_stime);
  }
  std::int64_t pages = 0;
  std::int64_t resident = 0;
  if (std::ifstream("/proc/self/statm") >> pages >> resident) {
    usage.resident_bytes = resident * sysconf(_SC_PAGESIZE);
  }
  std::error_code ignored;
  const std::filesystem::directory_iterator open("/proc/self/fd", ignored);
  if (!ignored) usage.open_fds = static_cast<int>(std::distance(begin(open), end(open)));
  usage.start_time_s = g_start_time_s;
  return usage;
}

}  // namespace ptychoserve::server
