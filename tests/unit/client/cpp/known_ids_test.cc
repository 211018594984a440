#include "client/cpp/internal/known_ids.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace ptychoserve::client::internal {
namespace {

void AddRange(std::int64_t first, std::int64_t last, v1::IngestAck& ack) {
  v1::IdRange& range = *ack.add_missing();
  range.set_first(first);
  range.set_last(last);
}

TEST(KnownIds, KnowNothingWithoutAnAnswer) {
  EXPECT_FALSE(KnownIds().Contains(0, 0));
  v1::IngestAck old;  // Its known_up_to is not set, and no id.
  EXPECT_FALSE(KnownIds(old).Contains(0, 0));
  old.set_durability(v1::DURABILITY_MEMORY);
  old.set_known_up_to(-1);
  EXPECT_FALSE(KnownIds(old).Contains(0, 0));
}

TEST(KnownIds, AreThoseUpToTheLastThatAreNotMissing) {
  std::mt19937 random(1);
  const auto draw = [&](int n) {
    return static_cast<std::int64_t>(random() % static_cast<unsigned>(n));
  };
  for (int round = 0; round < 300; ++round) {
    v1::IngestAck ack;
    ack.set_durability(v1::DURABILITY_JOURNAL);
    ack.set_known_up_to(draw(40));
    std::set<std::int64_t> known;
    for (std::int64_t id = -5; id <= ack.known_up_to(); ++id) known.insert(id);
    for (std::int64_t n = draw(6); n > 0; --n) {
      const std::int64_t first = draw(40), last = first + draw(8) - 1;  // Some are empty.
      AddRange(first, last, ack);
      for (std::int64_t id = first; id <= last; ++id) known.erase(id);
    }
    const KnownIds ids(ack);
    for (std::int64_t first = -2; first < 45; ++first) {
      bool all = true;
      for (std::int64_t last = first; last < 48; ++last) {
        all = all && known.contains(last);
        ASSERT_EQ(ids.Contains(first, last), all) << first << ".." << last;
      }
    }
  }
}

}  // namespace
}  // namespace ptychoserve::client::internal
