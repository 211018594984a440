#include "engine/scan/id_ranges.h"

#include <limits>
#include <random>
#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ptychoserve {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

TEST(IdRangesTest, EmptySet) {
  const IdRanges ids;
  EXPECT_EQ(ids.size(), 0);
  EXPECT_FALSE(ids.Contains(0));
  EXPECT_EQ(ids.ContiguousFrom(7), 6);
  EXPECT_THAT(ids.Missing(0, 10), IsEmpty());
}

TEST(IdRangesTest, SecondInsertionIsReported) {
  IdRanges ids;
  EXPECT_TRUE(ids.Insert(5));
  EXPECT_FALSE(ids.Insert(5));
  EXPECT_EQ(ids.size(), 1);
}

TEST(IdRangesTest, IdBetweenTwoRangesJoinsThem) {
  IdRanges ids;
  for (const int id : {1, 2, 4, 5}) ids.Insert(id);
  EXPECT_EQ(ids.ContiguousFrom(1), 2);
  EXPECT_THAT(ids.Missing(1, 10), ElementsAre(Pair(3, 3)));
  ids.Insert(3);
  EXPECT_EQ(ids.ContiguousFrom(1), 5);
  EXPECT_THAT(ids.Missing(1, 10), IsEmpty());
}

TEST(IdRangesTest, MissingStartsAtTheFirstIdAndIsLimited) {
  IdRanges ids;
  for (const int id : {2, 4, 8, 20}) ids.Insert(id);
  EXPECT_THAT(ids.Missing(0, 10), ElementsAre(Pair(0, 1), Pair(3, 3), Pair(5, 7), Pair(9, 19)));
  EXPECT_THAT(ids.Missing(0, 2), ElementsAre(Pair(0, 1), Pair(3, 3)));
  EXPECT_THAT(ids.Missing(4, 10), ElementsAre(Pair(5, 7), Pair(9, 19)));
  EXPECT_THAT(ids.Missing(20, 10), IsEmpty());
  EXPECT_THAT(ids.Missing(21, 10), IsEmpty());
}

TEST(IdRangesTest, LargestIdIsNoMatterAndAnEmptyIntervalHoldsNothing) {
  constexpr std::int64_t kLargest = std::numeric_limits<std::int64_t>::max();
  IdRanges ids;
  ids.Insert(kLargest);
  EXPECT_THAT(ids.Missing(kLargest - 2, 10), ElementsAre(Pair(kLargest - 2, kLargest - 1)));
  EXPECT_THAT(ids.Missing(kLargest, 10), IsEmpty());
  ids.InsertRange(3, 9);
  EXPECT_THAT(ids.Within(6, 5), IsEmpty());
}

TEST(IdRangesTest, MissingIsKnownUpToTheLargestIdOrTheFirstGapThatIsLeftOut) {
  IdRanges ids;
  EXPECT_THAT(ids.MissingUpTo(3, 10).ranges, IsEmpty());
  EXPECT_EQ(ids.MissingUpTo(3, 10).known_up_to, 2);
  for (const int id : {2, 4, 8, 20}) ids.Insert(id);
  EXPECT_EQ(ids.last(), 20);
  EXPECT_EQ(ids.MissingUpTo(0, 4).ranges.size(), 4u);
  EXPECT_EQ(ids.MissingUpTo(0, 4).known_up_to, 20);
  EXPECT_THAT(ids.MissingUpTo(0, 2).ranges, ElementsAre(Pair(0, 1), Pair(3, 3)));
  EXPECT_EQ(ids.MissingUpTo(0, 2).known_up_to, 4);
  EXPECT_EQ(ids.MissingUpTo(0, 0).known_up_to, -1);
  EXPECT_EQ(ids.MissingUpTo(2, 0).known_up_to, 2);
  EXPECT_EQ(ids.MissingUpTo(30, 10).known_up_to, 29);
}

TEST(IdRangesTest, WhatIsSaidToBeMissingAndKnownAgreesWithASet) {
  std::mt19937 random(2);
  for (int round = 0; round < 200; ++round) {
    IdRanges ids;
    std::set<std::int64_t> expected;
    std::uniform_int_distribution<int> pick(0, 60);
    for (int i = pick(random); i > 0; --i) {
      const int id = pick(random);
      ids.Insert(id);
      expected.insert(id);
    }
    const int first = pick(random) / 4;
    const auto limit = static_cast<std::size_t>(pick(random) / 4);
    const MissingIds missing = ids.MissingUpTo(first, limit);
    EXPECT_LE(missing.ranges.size(), limit);
    std::set<std::int64_t> said;
    for (const auto& [from, to] : missing.ranges) {
      for (std::int64_t id = from; id <= to; ++id) said.insert(id);
    }
    std::size_t gaps = 0;  // Within what is known.
    for (std::int64_t id = first; id <= missing.known_up_to; ++id) {
      EXPECT_EQ(said.erase(id) == 1, !expected.contains(id)) << id;
      gaps += !expected.contains(id) && (id == first || expected.contains(id - 1));
    }
    EXPECT_THAT(said, IsEmpty()) << "beyond known_up_to";
    EXPECT_EQ(gaps, missing.ranges.size());
    // It goes as far as it can.
    const bool all = expected.empty() || missing.known_up_to >= *expected.rbegin();
    EXPECT_TRUE(all || gaps == limit);
    EXPECT_TRUE(all || !expected.contains(missing.known_up_to + 1));
  }
}

TEST(IdRangesTest, RangesAddedAndIdsTakenOutAgreeWithASet) {
  std::mt19937 random(4);
  std::uniform_int_distribution<int> pick(0, 40);
  for (int round = 0; round < 200; ++round) {
    IdRanges ids;
    std::set<std::int64_t> expected;
    for (int i = 0; i < 30; ++i) {
      const std::int64_t first = pick(random), last = first + pick(random) / 8;
      if (i % 3 == 0) {
        std::int64_t added = 0;
        for (std::int64_t id = first; id <= last; ++id) added += expected.insert(id).second;
        ASSERT_EQ(ids.InsertRange(first, last), added);
      } else {
        ASSERT_EQ(ids.Erase(first), expected.erase(first) == 1);
      }
      ASSERT_EQ(ids.size(), static_cast<std::int64_t>(expected.size()));
      std::size_t ranges = 0;
      for (std::int64_t id = 0; id <= 50; ++id) {
        ASSERT_EQ(ids.Contains(id), expected.contains(id));
        ranges += expected.contains(id) && !expected.contains(id - 1);
      }
      ASSERT_EQ(ids.ranges(), ranges) << "neighbours must be one range";
      std::set<std::int64_t> within;
      for (const auto& [from, to] : ids.Within(first, last)) {
        for (std::int64_t id = from; id <= to; ++id) within.insert(id);
      }
      ASSERT_EQ(within,
                (std::set<std::int64_t>(expected.lower_bound(first), expected.upper_bound(last))));
    }
  }
}

TEST(IdRangesTest, ExtremeIds) {
  constexpr std::int64_t kMin = std::numeric_limits<std::int64_t>::min();
  constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
  IdRanges ids;
  EXPECT_TRUE(ids.Insert(kMax));
  EXPECT_TRUE(ids.Insert(kMin));
  EXPECT_TRUE(ids.Insert(kMax - 1));
  EXPECT_TRUE(ids.Insert(kMin + 1));
  EXPECT_FALSE(ids.Insert(kMin));
  EXPECT_FALSE(ids.Insert(kMax));
  EXPECT_EQ(ids.ContiguousFrom(kMax - 1), kMax);
  EXPECT_EQ(ids.size(), 4);
  EXPECT_EQ(ids.InsertRange(kMax - 5, kMax), 4);
  EXPECT_EQ(ids.InsertRange(kMin, kMin + 5), 4);
  EXPECT_EQ(ids.ranges(), 2u);
  EXPECT_TRUE(ids.Erase(kMax));
  EXPECT_TRUE(ids.Erase(kMin));
  EXPECT_EQ(ids.size(), 10);
}

TEST(IdRangesTest, AgreesWithASetInAnyOrder) {
  std::mt19937 random(1);
  for (int round = 0; round < 20; ++round) {
    IdRanges ids;
    std::set<std::int64_t> expected;
    std::uniform_int_distribution<int> pick(0, 60);
    for (int i = 0; i < 60; ++i) {
      const int id = pick(random);
      EXPECT_EQ(ids.Insert(id), expected.insert(id).second);
    }
    EXPECT_EQ(ids.size(), static_cast<std::int64_t>(expected.size()));
    std::int64_t missing = 0;
    for (const auto& [first, last] : ids.Missing(0, 1000)) {
      EXPECT_LE(first, last);
      for (std::int64_t id = first; id <= last; ++id, ++missing)
        EXPECT_FALSE(expected.contains(id));
    }
    EXPECT_EQ(missing, *expected.rbegin() + 1 - ids.size());
    for (int id = 0; id <= 60; ++id) {
      EXPECT_EQ(ids.Contains(id), expected.contains(id));
      std::int64_t end = id;
      while (expected.contains(end)) ++end;
      EXPECT_EQ(ids.ContiguousFrom(id), end - 1);
    }
  }
}

TEST(IdRangesTest, RangesAgreeWithASet) {
  std::mt19937 random(2);
  std::uniform_int_distribution<int> pick(0, 60), length(0, 12);
  for (int round = 0; round < 200; ++round) {
    IdRanges ids;
    std::set<std::int64_t> expected;
    for (int i = 0; i < 12; ++i) {
      const int first = pick(random), last = first + length(random) - 1;
      ids.InsertRange(first, last);
      for (int id = first; id <= last; ++id) expected.insert(id);
      const int one = pick(random);
      EXPECT_EQ(ids.Insert(one), expected.insert(one).second);
    }
    ASSERT_EQ(ids.size(), static_cast<std::int64_t>(expected.size()));
    std::size_t ranges = 0;
    for (int id = 0; id <= 80; ++id) {
      ASSERT_EQ(ids.Contains(id), expected.contains(id)) << id;
      ranges += expected.contains(id) && !expected.contains(id - 1);
    }
    ASSERT_EQ(ids.ranges(), ranges);  // Neighbours are joined.
  }
}

}  // namespace
}  // namespace ptychoserve
