#include "engine/base/physical_memory.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "absl/strings/match.h"

namespace ptychoserve {

std::int64_t MemoryLimitBytes(const std::string& root, std::string group) {
  std::int64_t least = 0;
  while (true) {
    std::int64_t limit = 0;
    // Reads nothing when the file is missing or says "max".
    if (std::ifstream(root + group + "/memory.max") >> limit && limit > 0) {
      least = least == 0 ? limit : std::min(least, limit);
    }
    if (group.find_first_not_of('/') == std::string::npos) return least;
    group.resize(group.rfind('/'));
  }
}

std::int64_t PhysicalMemoryBytes() {
  const std::int64_t bytes = std::int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE);
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    if (!absl::StartsWith(line, "0::")) continue;
    const std::int64_t limit = MemoryLimitBytes("/sys/fs/cgroup", line.substr(3));
    if (limit > 0) return std::min(bytes, limit);
  }
  return bytes;
}

}  // namespace ptychoserve
