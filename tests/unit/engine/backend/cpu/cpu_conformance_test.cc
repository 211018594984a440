#include "engine/backend/cpu/cpu_device.h"
#include "gtest/gtest.h"
#include "tests/unit/engine/backend/backend_conformance.h"
#include "tests/unit/engine/backend/refinement_conformance.h"

namespace ptychoserve {
namespace {

// Fewer frames per chunk than there are, and not a divisor of their number.
const DeviceFactory kCpu{"cpu",
                         [] { return CreateCpuDevice({.threads = 2, .frames_per_chunk = 3}); }};

INSTANTIATE_TEST_SUITE_P(Cpu, BackendConformance, ::testing::Values(kCpu));
INSTANTIATE_TEST_SUITE_P(Cpu, BackendReference, ::testing::ValuesIn(ReferencesOn(kCpu)),
                         ReferenceName);

}  // namespace
}  // namespace ptychoserve
