#ifndef PTYCHOSERVE_SERVER_DEVICE_MAKE_DEVICES_H_
#define PTYCHOSERVE_SERVER_DEVICE_MAKE_DEVICES_H_

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "server/options.h"

namespace ptychoserve::server {

// The devices that --device asks for, at least one. Logs why "auto" falls back to the CPU.
// Errors: kFailedPrecondition when a GPU is asked for and cannot be used, saying why.
absl::StatusOr<std::vector<std::unique_ptr<Device>>> MakeDevices(const ServerOptions& options);

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_DEVICE_MAKE_DEVICES_H_
