// A GPU whose context is broken, in a process of its own.
#include <cstdlib>
#include <memory>

#include "gtest/gtest.h"
#include "tests/unit/engine/cuda/cuda_problem.h"
#include "tests/unit/engine/cuda/fault_kernel.h"

namespace ptychoserve {
namespace {

// The exit code tells which call did not say that the device is lost; 0: all did.
[[noreturn]] void UseABrokenGpu() {
  const Problem problem = MakeProblem({.points = 4});
  const std::unique_ptr<Backend> gpu = MustCreate(FirstGpu(), problem.config);
  if (!Prepare(problem, *gpu).ok()) std::exit(1);
  if (!gpu->Iterate(DifferenceMapConfig{}, {}).ok()) std::exit(2);
  BreakGpu();
  if (!absl::IsDataLoss(gpu->Iterate(DifferenceMapConfig{}, {}).status())) std::exit(3);
  if (!absl::IsDataLoss(gpu->ReadExitWaves().status())) std::exit(4);
  if (!absl::IsDataLoss(gpu->StartReadback().status())) std::exit(5);
  if (!absl::IsDataLoss(FirstGpu().CreateBackend(problem.config).status())) std::exit(6);
  std::exit(0);
}

TEST(LostGpuDeathTest, EveryCallSaysSo) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(UseABrokenGpu(), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace ptychoserve
