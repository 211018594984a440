#include "engine/backend/cpu/cpu_device.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/backend/cpu/cpu_backend.h"
#include "engine/base/physical_memory.h"
#include "engine/base/status_macros.h"
#include "engine/base/thread_pool.h"

namespace ptychoserve {
namespace {

class CpuDevice final : public Device {
 public:
  explicit CpuDevice(const CpuDeviceOptions& options)
      : total_bytes_(PhysicalMemoryBytes()),
        usable_bytes_(options.memory_limit_bytes > 0 ? options.memory_limit_bytes
                                                     : total_bytes_ / 4 * 3),
        pool_(options.threads > 0 ? options.threads
                                  : std::max(1U, std::thread::hardware_concurrency())),
        frames_per_chunk_(options.frames_per_chunk > 0 ? options.frames_per_chunk
                                                       : DefaultFramesPerChunk(pool_.threads())) {}

  std::string name() const override { return "cpu"; }
  std::string description() const override {
    return absl::StrFormat("CPU, %d threads", pool_.threads());
  }
  std::int64_t EstimateBytes(const BackendConfig& config) const override {
    return CpuBackend<float>::BytesFor(config, pool_.threads(), frames_per_chunk_);
  }
  std::int64_t total_bytes() const override { return total_bytes_; }
  std::int64_t usable_bytes() const override { return usable_bytes_; }

  absl::StatusOr<std::unique_ptr<Backend>> CreateBackend(const BackendConfig& config) override {
    PS_ASSIGN_OR_RETURN(std::unique_ptr<CpuBackend<float>> backend,
                        CpuBackend<float>::Create(config, pool_, frames_per_chunk_));
    return backend;
  }

 private:
  // Enough to share out evenly, few enough to stay in the cache.
  static int DefaultFramesPerChunk(int threads) { return std::max(32, 4 * threads); }

  const std::int64_t total_bytes_;
  const std::int64_t usable_bytes_;
  ThreadPool pool_;
  const int frames_per_chunk_;
};

}  // namespace

std::unique_ptr<Device> CreateCpuDevice(const CpuDeviceOptions& options) {
  return std::make_unique<CpuDevice>(options);
}

}  // namespace ptychoserve
