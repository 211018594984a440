#include "engine/base/physical_memory.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/temporary_directory.h"

namespace ptychoserve {
namespace {

TEST(PhysicalMemory, TheLeastLimitOfAllGroupsAboveCounts) {
  const TemporaryDirectory folder;
  const std::string root = folder.path();
  std::filesystem::create_directories(root + "/slice/unit/part");
  EXPECT_EQ(MemoryLimitBytes(root, "/slice/unit/part"), 0);
  std::ofstream(root + "/slice/unit/part/memory.max") << "max\n";
  EXPECT_EQ(MemoryLimitBytes(root, "/slice/unit/part"), 0);
  std::ofstream(root + "/slice/unit/memory.max") << "2000000\n";
  std::ofstream(root + "/slice/memory.max") << "3000000\n";
  EXPECT_EQ(MemoryLimitBytes(root, "/slice/unit/part"), 2'000'000);
  EXPECT_EQ(MemoryLimitBytes(root, "/slice"), 3'000'000);
  // Within a container its own group is the root.
  std::ofstream(root + "/memory.max") << "1000000\n";
  EXPECT_EQ(MemoryLimitBytes(root, "/slice/unit/part"), 1'000'000);
  EXPECT_EQ(MemoryLimitBytes(root, "/"), 1'000'000);
}

TEST(PhysicalMemory, IsThere) { EXPECT_GT(PhysicalMemoryBytes(), 1 << 20); }

}  // namespace
}  // namespace ptychoserve
