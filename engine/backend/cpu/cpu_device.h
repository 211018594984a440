#ifndef PTYCHOSERVE_ENGINE_BACKEND_CPU_CPU_DEVICE_H_
#define PTYCHOSERVE_ENGINE_BACKEND_CPU_CPU_DEVICE_H_

#include <cstdint>
#include <memory>

#include "engine/backend/backend.h"

namespace ptychoserve {

struct CpuDeviceOptions {
  int threads = 0;                      // 0: one per core that this process may use.
  std::int64_t memory_limit_bytes = 0;  // For all sessions; 0: three quarters of the memory.
  // Frames whose waves are held at once by algorithms without a wave per frame. No result
  // depends on it. 0: enough to keep all threads busy.
  int frames_per_chunk = 0;
};

// The CPU as a place where sessions run, in single precision. Sessions share its threads.
// Thread-safe. Must outlive the backends that it creates.
std::unique_ptr<Device> CreateCpuDevice(const CpuDeviceOptions& options = {});

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_BACKEND_CPU_CPU_DEVICE_H_
