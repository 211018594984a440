#include "engine/scan/id_ranges.h"

#include <algorithm>
#include <iterator>

namespace ptychoserve {

bool IdRanges::Insert(std::int64_t id) {
  const auto next = ranges_.upper_bound(id);
  const auto prev = next == ranges_.begin() ? ranges_.end() : std::prev(next);
  if (prev != ranges_.end() && id <= prev->second) return false;
  // Written so that neither the smallest nor the largest id overflows.
  const bool joins_prev = prev != ranges_.end() && prev->second == id - 1;
  const bool joins_next = next != ranges_.end() && next->first - 1 == id;
  ++size_;
  if (joins_prev) {
    prev->second = joins_next ? next->second : id;
    if (joins_next) ranges_.erase(next);
  } else if (joins_next) {
    const std::int64_t last = next->second;
    ranges_.emplace_hint(ranges_.erase(next), id, last);
  } else {
    ranges_.emplace_hint(next, id, id);
  }
  return true;
}

void IdRanges::InsertRange(std::int64_t first, std::int64_t last) {
  if (last < first) return;
  auto it = ranges_.upper_bound(first);
  if (it != ranges_.begin() && std::prev(it)->second >= first) --it;
  // What overlaps is taken out, and goes in again as a part of the whole.
  while (it != ranges_.end() && it->first <= last) {
    first = std::min(first, it->first);
    last = std::max(last, it->second);
    size_ -= it->second - it->first + 1;
    it = ranges_.erase(it);
  }
  size_ += last - first + 1;
  const auto at = ranges_.emplace_hint(it, first, last);
  if (it != ranges_.end() && it->first - 1 == last) {
    at->second = it->second;
    ranges_.erase(it);
  }
  if (at != ranges_.begin() && std::prev(at)->second == first - 1) {
    std::prev(at)->second = at->second;
    ranges_.erase(at);
  }
}

bool IdRanges::Contains(std::int64_t id) const {
  const auto next = ranges_.upper_bound(id);
  return next != ranges_.begin() && id <= std::prev(next)->second;
}

std::int64_t IdRanges::ContiguousFrom(std::int64_t first) const {
  const auto next = ranges_.upper_bound(first);
  if (next == ranges_.begin() || std::prev(next)->second < first) return first - 1;
  return std::prev(next)->second;
}

std::vector<std::pair<std::int64_t, std::int64_t>> IdRanges::Missing(std::int64_t first,
                                                                     std::size_t limit) const {
  std::vector<std::pair<std::int64_t, std::int64_t>> gaps;
  std::int64_t expected = first;  // Every id in [first, expected) is in the set or in a gap.
  auto it = ranges_.upper_bound(first);
  if (it != ranges_.begin() && std::prev(it)->second >= first) {
    expected = std::prev(it)->second + 1;
  }
  for (; it != ranges_.end() && gaps.size() < limit; ++it) {
    gaps.emplace_back(expected, it->first - 1);
    expected = it->second + 1;
  }
  return gaps;
}

MissingIds IdRanges::MissingUpTo(std::int64_t first, std::size_t limit) const {
  MissingIds missing{.ranges = Missing(first, limit + 1), .known_up_to = first - 1};
  if (missing.ranges.size() > limit) {
    missing.known_up_to = missing.ranges.back().first - 1;
    missing.ranges.pop_back();
  } else if (size_ > 0 && last() >= first) {
    missing.known_up_to = last();
  }
  return missing;
}

}  // namespace ptychoserve
