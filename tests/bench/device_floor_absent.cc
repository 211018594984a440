// What device_floor.h promises, in a build without the CUDA backend.
#include "absl/status/status.h"
#include "tests/bench/device_floor.h"

namespace ptychoserve {
namespace {

absl::Status CpuOnly() { return absl::UnimplementedError("this is a CPU-only build"); }

}  // namespace

absl::StatusOr<FftFloor> MeasureFftFloor(int, int, int) { return CpuOnly(); }
absl::StatusOr<double> MeasureCopyBandwidth(int) { return CpuOnly(); }
absl::StatusOr<std::int64_t> FreeDeviceMemory(int) { return CpuOnly(); }

}  // namespace ptychoserve
