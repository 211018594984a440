#include "server/device/make_devices.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/backend/cpu/cpu_device.h"
#include "engine/backend/cuda/cuda_device.h"
#include "server/telemetry/log.h"

namespace ptychoserve::server {
namespace {

std::unique_ptr<Device> MakeCpu(const ServerOptions& options) {
  CpuDeviceOptions cpu;
  cpu.threads = options.threads;
  cpu.memory_limit_bytes = static_cast<std::int64_t>(options.cpu_memory_limit);
  return CreateCpuDevice(cpu);
}

}  // namespace

absl::StatusOr<std::vector<std::unique_ptr<Device>>> MakeDevices(const ServerOptions& options) {
  std::vector<std::unique_ptr<Device>> out;
  if (options.device != "cpu") {
    CudaDeviceList gpus = CudaDevices();
    for (std::unique_ptr<Device>& gpu : gpus.devices) {
      const bool wanted =
          options.device == "auto" || options.device == "cuda" || options.device == gpu->name();
      if (wanted) out.push_back(std::move(gpu));
    }
    if (!out.empty()) {
      if (!gpus.reason.empty()) {
        Log(LogLevel::kWarning, "some GPUs are not used", {{"reason", gpus.reason}});
      }
      return out;
    }
    if (options.device != "auto") {
      return absl::FailedPreconditionError(
          absl::StrCat("--device ", options.device, ": there is no such device",
                       gpus.reason.empty() ? "" : ": ", gpus.reason));
    }
    Log(LogLevel::kInfo, "no GPU, using the CPU", {{"reason", gpus.reason}});
  }
  out.push_back(MakeCpu(options));
  return out;
}

}  // namespace ptychoserve::server
