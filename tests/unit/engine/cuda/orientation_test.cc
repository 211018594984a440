// A test of the orientation borrows the device's state and gives it back.
#include <gtest/gtest.h>

#include <utility>

#include "engine/backend/cuda/cuda_device.h"
#include "tests/unit/engine/solver/orientation_conformance.h"

namespace ptychoserve {
namespace {

TEST(GpuOrientation, LeavesTheRunAsItWas) {
  CudaDeviceList list = CudaDevices();
  ASSERT_FALSE(list.devices.empty());
  Phantom phantom({.points = 64, .frame_side = 64, .overlap = 0.75, .photons = 1e6, .seed = 3});
  phantom.device = std::move(list.devices[0]);
  ExpectTestLeavesRunAsItWas(phantom);
}

}  // namespace
}  // namespace ptychoserve
