#ifndef PTYCHOSERVE_SERVER_TELEMETRY_PROCESS_USAGE_H_
#define PTYCHOSERVE_SERVER_TELEMETRY_PROCESS_USAGE_H_

#include <cstdint>

namespace ptychoserve::server {

// What Linux says of this process.
struct ProcessUsage {
  double cpu_s = 0;  // User and system.
  std::int64_t resident_bytes = 0;
  int open_fds = 0;
  double start_time_s = 0;  // Since 1970.
};

ProcessUsage UsageOfThisProcess();

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_TELEMETRY_PROCESS_USAGE_H_
