#ifndef PTYCHOSERVE_TESTS_ROBUSTNESS_PROCESS_STATS_H_
#define PTYCHOSERVE_TESTS_ROBUSTNESS_PROCESS_STATS_H_

#include <sys/types.h>

#include <cstdint>

namespace ptychoserve::robustness {

// What a process holds, as the kernel tells it.
struct ProcessStats {
  std::int64_t resident_bytes = 0;
  int threads = 0;
  int descriptors = 0;
};
ProcessStats StatsOf(pid_t pid);

}  // namespace ptychoserve::robustness

#endif  // PTYCHOSERVE_TESTS_ROBUSTNESS_PROCESS_STATS_H_
