#include "tests/robustness/process_stats.h"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "absl/strings/str_cat.h"

namespace ptychoserve::robustness {

ProcessStats StatsOf(pid_t pid) {
  ProcessStats out;
  const std::string folder = absl::StrCat("/proc/", pid);
  std::ifstream status(folder + "/status");
  std::string key;
  while (status >> key) {
    if (key == "VmRSS:") {
      status >> out.resident_bytes;
      out.resident_bytes *= 1024;  // It is told in kB.
    } else if (key == "Threads:") {
      status >> out.threads;
    }
  }
  std::error_code gone;
  const std::filesystem::directory_iterator descriptors(folder + "/fd", gone);
  if (!gone)
    out.descriptors = static_cast<int>(std::distance(begin(descriptors), end(descriptors)));
  return out;
}

}  // namespace ptychoserve::robustness
