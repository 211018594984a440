#ifndef PTYCHOSERVE_ENGINE_BASE_PHYSICAL_MEMORY_H_
#define PTYCHOSERVE_ENGINE_BASE_PHYSICAL_MEMORY_H_

#include <cstdint>
#include <string>

namespace ptychoserve {

// Memory of this machine, or what the control groups (version 2) of this process allow, as those of
// a container, a systemd unit or a Slurm job do, when that is less.
std::int64_t PhysicalMemoryBytes();

// The least limit of a control group and those above it: `group` as in /proc/self/cgroup,
// "/system.slice/x.service", below the folder `root`. 0: there is none.
std::int64_t MemoryLimitBytes(const std::string& root, std::string group);

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_BASE_PHYSICAL_MEMORY_H_
