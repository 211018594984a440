#include <memory>
#include <utility>

#include "engine/backend/cuda/cuda_device.h"
#include "gtest/gtest.h"
#include "tests/unit/engine/backend/backend_conformance.h"
#include "tests/unit/engine/backend/refinement_conformance.h"

namespace ptychoserve {
namespace {

const DeviceFactory kCuda{"cuda", [] {
                            CudaDeviceList list = CudaDevices();
                            EXPECT_FALSE(list.devices.empty()) << list.reason;
                            return std::move(list.devices.at(0));
                          }};

INSTANTIATE_TEST_SUITE_P(Cuda, BackendConformance, ::testing::Values(kCuda));
INSTANTIATE_TEST_SUITE_P(Cuda, BackendReference, ::testing::ValuesIn(ReferencesOn(kCuda)),
                         ReferenceName);

}  // namespace
}  // namespace ptychoserve
