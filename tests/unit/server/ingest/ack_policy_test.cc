#include "server/ingest/ack_policy.h"

#include <gtest/gtest.h>

namespace ptychoserve::server {
namespace {

constexpr AckPolicy::TimePoint kStart{std::chrono::hours(1)};

TEST(AckPolicy, HoldsBackUntilTheIntervalHasPassed) {
  AckPolicy acks;
  acks.Sent(kStart, 1000);
  EXPECT_FALSE(acks.owed());
  acks.Add(10);
  EXPECT_TRUE(acks.owed());
  EXPECT_EQ(acks.WaitUntil(kStart), kStart + AckPolicy::kInterval);
  EXPECT_EQ(acks.WaitUntil(kStart + AckPolicy::kInterval), std::nullopt);
}

TEST(AckPolicy, IsDueWhenAQuarterOfTheWindowIsUsed) {
  AckPolicy acks;
  acks.Sent(kStart, 1000);
  acks.Add(249);
  EXPECT_NE(acks.WaitUntil(kStart), std::nullopt);
  acks.Add(1);
  EXPECT_EQ(acks.WaitUntil(kStart), std::nullopt);
}

TEST(AckPolicy, GrantOnlyGrowsAndAlwaysLeavesAWindow) {
  AckPolicy acks;
  acks.Sent(kStart, 1000);
  EXPECT_EQ(acks.granted_bytes(), 1000);
  acks.Add(300);
  acks.Sent(kStart, 500);
  EXPECT_EQ(acks.granted_bytes(), 1000) << "what has been granted stays granted";
  acks.Add(600);
  acks.Sent(kStart, 500);
  EXPECT_EQ(acks.granted_bytes(), 1400);
}

}  // namespace
}  // namespace ptychoserve::server
