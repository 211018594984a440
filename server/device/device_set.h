#ifndef PTYCHOSERVE_SERVER_DEVICE_DEVICE_SET_H_
#define PTYCHOSERVE_SERVER_DEVICE_DEVICE_SET_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/config.h"
#include "server/device/device_worker.h"
#include "server/device/memory_admission.h"

namespace ptychoserve::server {

// A device in use: what it can do, who has reserved its memory, and the thread that drives it.
struct ServingDevice {
  ServingDevice(std::unique_ptr<Device> device_in, std::function<void()> on_lost_in)
      : on_lost(std::move(on_lost_in)),
        device(std::move(device_in)),
        memory(device->name(), device->usable_bytes()),
        worker(device->name()) {}
  // Nothing on it can be read any more, whoever tries. Thread-safe.
  void NoteLost(const absl::Status& why);
  bool lost() const { return lost_; }

  const std::function<void()> on_lost;  // Called each time that somebody notes it.
  const std::unique_ptr<Device> device;
  MemoryAdmission memory;
  DeviceWorker worker;

 private:
  std::atomic<bool> lost_ = false;
};

// The devices of this process. Thread-safe.
class DeviceSet {
 public:
  // Sessions get `host_bytes` for frames on their way to a device. `on_lost` is called, on any
  // thread, once or more often, when a device is lost for good.
  DeviceSet(std::vector<std::unique_ptr<Device>> devices, std::int64_t host_bytes,
            const std::function<void()>& on_lost);

  struct Placement {
    ServingDevice* device = nullptr;
    MemoryAdmission::Reservation memory;
    MemoryAdmission::Reservation staging;  // On the host.
  };
  // Reserves memory for a session of `config` (valid and resolved) on the device with the most
  // free memory on which it fits, and for its staging memory of at most `staging_bytes`.
  // Errors: kResourceExhausted with the bytes needed and free.
  absl::StatusOr<Placement> Place(const ReconstructionConfig& config, std::int64_t staging_bytes);

  const std::vector<std::unique_ptr<ServingDevice>>& devices() const { return devices_; }
  const MemoryAdmission& host_memory() const { return host_memory_; }
  // Ends all workers.
  void Stop();

 private:
  MemoryAdmission host_memory_;
  std::vector<std::unique_ptr<ServingDevice>> devices_;
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_DEVICE_DEVICE_SET_H_
