#include "server/device/device_set.h"

#include <algorithm>
#include <string>

#include "absl/status/status.h"
#include "engine/base/status_macros.h"
#include "engine/solver/reconstruction.h"
#include "engine/store/frame_store.h"
#include "server/telemetry/log.h"

namespace ptychoserve::server {

void ServingDevice::NoteLost(const absl::Status& why) {
  lost_ = true;
  Log(LogLevel::kError, "a device is lost; the server ends, to be started again",
      {{"device", device->name()}, {"reason", std::string(why.message())}});
  on_lost();
}

DeviceSet::DeviceSet(std::vector<std::unique_ptr<Device>> devices, std::int64_t host_bytes,
                     const std::function<void()>& on_lost)
    : host_memory_("host", host_bytes) {
  for (std::unique_ptr<Device>& device : devices) {
    devices_.push_back(std::make_unique<ServingDevice>(std::move(device), on_lost));
  }
}

absl::StatusOr<DeviceSet::Placement> DeviceSet::Place(const ReconstructionConfig& config,
                                                      std::int64_t staging_bytes) {
  PS_ASSIGN_OR_RETURN(MemoryAdmission::Reservation staging,
                      host_memory_.Reserve(FrameStore::StagingBytes(config, staging_bytes)));
  const BackendConfig backend = Reconstruction::BackendConfigFor(config);
  std::vector<ServingDevice*> order;
  for (const auto& device : devices_) order.push_back(device.get());
  std::stable_sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return a->memory.free_bytes() > b->memory.free_bytes();
  });
  absl::Status refusal = absl::InternalError("no device");
  for (ServingDevice* device : order) {
    auto memory = device->memory.Reserve(device->device->EstimateBytes(backend));
    if (memory.ok()) return Placement{device, *std::move(memory), std::move(staging)};
    // The answer that counts is that of the device with the most room.
    if (device == order.front()) refusal = memory.status();
  }
  return refusal;
}

void DeviceSet::Stop() {
  for (const auto& device : devices_) device->worker.Stop();
}

}  // namespace ptychoserve::server
