#include "server/base/rate_limit.h"

#include <gtest/gtest.h>

namespace ptychoserve::server {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class RateLimitTest : public testing::Test {
 protected:
  double WaitSeconds() { return std::chrono::duration<double>(limit_.Wait(now_)).count(); }

  RateLimit limit_;
  RateLimit::Clock::time_point now_ = RateLimit::Clock::time_point() + std::chrono::hours(1);
};

TEST_F(RateLimitTest, NoLimitNeverWaits) {
  limit_.Take(1e12, now_);
  EXPECT_EQ(WaitSeconds(), 0);
}

TEST_F(RateLimitTest, ABurstThenTheRate) {
  limit_.Set(100);
  limit_.Take(60, now_);
  EXPECT_EQ(WaitSeconds(), 0) << "a second's worth may be taken at once";
  limit_.Take(90, now_);
  EXPECT_NEAR(WaitSeconds(), 0.5, 1e-6) << "50 too many";
  now_ += milliseconds(400);
  EXPECT_NEAR(WaitSeconds(), 0.1, 1e-6);
  now_ += milliseconds(100);
  EXPECT_NEAR(WaitSeconds(), 0, 1e-6);
}

TEST_F(RateLimitTest, WhatIsNotTakenIsNotSavedUp) {
  limit_.Set(100);
  now_ += seconds(1000);
  limit_.Take(150, now_);
  EXPECT_NEAR(WaitSeconds(), 0.5, 1e-6);
}

TEST_F(RateLimitTest, LimitsChangeWhileItRuns) {
  limit_.Set(10);
  limit_.Take(110, now_);
  EXPECT_NEAR(WaitSeconds(), 10, 1e-6);
  limit_.Set(100);
  EXPECT_NEAR(WaitSeconds(), 1, 1e-6);
  limit_.Set(std::nullopt);
  EXPECT_EQ(WaitSeconds(), 0);
}

}  // namespace
}  // namespace ptychoserve::server
