#include "client/cli/fault_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

namespace ptychoserve::cli {
namespace {

using Ids = std::vector<std::int64_t>;

Ids InOrder(std::int64_t n) {
  Ids ids(static_cast<std::size_t>(n));
  std::iota(ids.begin(), ids.end(), 0);
  return ids;
}

TEST(FeedPlan, WithoutFaultsIsTheScanItself) {
  const FeedPlan plan = MakeFeedPlan(5, {});
  EXPECT_EQ(plan.order, InOrder(5));
  EXPECT_TRUE(plan.dropped.empty());
  EXPECT_EQ(plan.duplicates, 0);
}

TEST(FeedPlan, DropsAndDuplicatesExactlyTheFractionsAskedFor) {
  FaultOptions options;
  options.drop = 0.1;
  options.duplicate = 0.05;
  options.shuffle = true;
  const FeedPlan plan = MakeFeedPlan(200, options);
  EXPECT_EQ(plan.dropped.size(), 20);
  EXPECT_EQ(plan.duplicates, 9);
  std::map<std::int64_t, int> count;
  for (const std::int64_t id : plan.order) ++count[id];
  EXPECT_EQ(count.size(), 180);
  EXPECT_EQ(plan.order.size(), 189);
  for (const std::int64_t id : plan.dropped) EXPECT_EQ(count.count(id), 0);
  for (const auto& [id, times] : count) EXPECT_LE(times, 2);
}

TEST(FeedPlan, ShufflesTheOrderAndKeepsTheFrames) {
  FaultOptions options;
  options.shuffle = true;
  FeedPlan plan = MakeFeedPlan(100, options);
  EXPECT_NE(plan.order, InOrder(100));
  std::sort(plan.order.begin(), plan.order.end());
  EXPECT_EQ(plan.order, InOrder(100));
}

TEST(FeedPlan, HoldsLateFramesBackToTheEnd) {
  FaultOptions options;
  options.late = 7;
  const FeedPlan plan = MakeFeedPlan(50, options);
  ASSERT_EQ(plan.order.size(), 50);
  EXPECT_TRUE(std::is_sorted(plan.order.begin(), plan.order.end() - 7));
  EXPECT_TRUE(std::is_sorted(plan.order.end() - 7, plan.order.end()));
  EXPECT_FALSE(std::is_sorted(plan.order.begin(), plan.order.end()));
}

TEST(FeedPlan, FollowsTheSeed) {
  FaultOptions options;
  options.shuffle = true;
  options.drop = 0.2;
  const FeedPlan first = MakeFeedPlan(100, options);
  EXPECT_EQ(MakeFeedPlan(100, options).order, first.order);
  options.seed = 2;
  EXPECT_NE(MakeFeedPlan(100, options).order, first.order);
  EXPECT_NE(MakeFeedPlan(100, options).dropped, first.dropped);
}

TEST(FeedPlan, PartsAreEqualAndMakeUpTheWhole) {
  const Ids order = InOrder(23);
  Ids joined;
  for (int k = 0; k < 5; ++k) {
    const auto part = Part(order, k, 5);
    EXPECT_GE(part.size(), 4);
    EXPECT_LE(part.size(), 5);
    joined.insert(joined.end(), part.begin(), part.end());
  }
  EXPECT_EQ(joined, order);
}

TEST(FaultOptions, OutOfRangeNameTheFlag) {
  const auto message = [](const FaultOptions& o) { return std::string(CheckFaults(o).message()); };
  EXPECT_TRUE(CheckFaults({}).ok());
  FaultOptions drop;
  drop.drop = 1.0;
  EXPECT_THAT(message(drop), ::testing::HasSubstr("--drop is 1;"));
  FaultOptions duplicate;
  duplicate.duplicate = -0.5;
  EXPECT_THAT(message(duplicate), ::testing::HasSubstr("--duplicate is -0.5;"));
  FaultOptions late;
  late.late = -1;
  EXPECT_THAT(message(late), ::testing::HasSubstr("--late is -1;"));
}

}  // namespace
}  // namespace ptychoserve::cli
