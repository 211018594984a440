#include "server/telemetry/log.h"

#include <gtest/gtest.h>

namespace ptychoserve::server {
namespace {

TEST(LogLimit, OneALineASecondAndHowManyWereLeftOut) {
  LogLimit limit;
  auto now = LogLimit::Clock::time_point() + std::chrono::hours(1);
  EXPECT_EQ(limit.Next(now), 0);
  EXPECT_EQ(limit.Next(now), std::nullopt);
  now += std::chrono::milliseconds(999);
  EXPECT_EQ(limit.Next(now), std::nullopt);
  now += std::chrono::milliseconds(1);
  EXPECT_EQ(limit.Next(now), 2);
  EXPECT_EQ(limit.Next(now + std::chrono::seconds(1)), 0);
}

TEST(FormatLogLine, WhatACallerSendsDoesNotBreakTheLine) {
  const std::string line =
      FormatLogLine(LogFormat::kJson, "audit", {{"session", "a\"b\nc\x01"}, {"n", 3}});
  EXPECT_EQ(line, R"("event":"audit","session":"a\"b\nc\u0001","n":3)");
}

}  // namespace
}  // namespace ptychoserve::server
