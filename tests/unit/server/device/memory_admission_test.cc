#include "server/device/memory_admission.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>

namespace ptychoserve::server {
namespace {

TEST(MemoryAdmission, AdmitsToTheLastByteAndNamesWhatIsMissing) {
  MemoryAdmission memory("cpu", 100);
  auto first = memory.Reserve(60);
  ASSERT_TRUE(first.ok());
  auto refused = memory.Reserve(41);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(refused.status().message()),
              testing::AllOf(testing::HasSubstr("41 bytes"), testing::HasSubstr("40 are free")));
  EXPECT_EQ(memory.free_bytes(), 40) << "a refusal reserves nothing";
  EXPECT_TRUE(memory.Reserve(40).ok());
}

TEST(MemoryAdmission, BytesComeBackOnce) {
  MemoryAdmission memory("cpu", 100);
  auto reserved = memory.Reserve(70);
  ASSERT_TRUE(reserved.ok());
  MemoryAdmission::Reservation held = *std::move(reserved);
  MemoryAdmission::Reservation moved = std::move(held);
  EXPECT_EQ(memory.reserved_bytes(), 70);
  EXPECT_EQ(moved.bytes(), 70);
  moved.Release();
  moved.Release();
  EXPECT_EQ(memory.reserved_bytes(), 0);
  EXPECT_EQ(moved.bytes(), 0);
}

TEST(MemoryAdmission, ReservationMayOutliveTheAdmission) {
  std::optional<MemoryAdmission> memory(std::in_place, "cpu", 100);
  auto reserved = memory->Reserve(70);
  ASSERT_TRUE(reserved.ok());
  memory.reset();
  EXPECT_EQ(reserved->bytes(), 70);
}

}  // namespace
}  // namespace ptychoserve::server
