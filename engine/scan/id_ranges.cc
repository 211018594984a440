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

std::int64_t IdRanges::InsertRange(std::int64_t first, std::int64_t last) {
  if (last < first) return 0;
  const std::int64_t before = size_;
  size_ += last - first + 1;
  auto it = ranges_.upper_bound(first);
  if (it != ranges_.begin()) {
    // Written so that neither the smallest nor the largest id overflows, here and below.
    if (const auto prev = std::prev(it); prev->second >= first || prev->second == first - 1) {
      it = prev;
    }
  }
  // All ranges that meet the new one, or lie beside it, become one with it.
  std::int64_t begin = first, end = last;
  while (it != ranges_.end() && (it->first <= last || it->first - 1 == last)) {
    begin = std::min(begin, it->first);
    end = std::max(end, it->second);
    const std::int64_t from = std::max(first, it->first), to = std::min(last, it->second);
    if (from <= to) size_ -= to - from + 1;
    it = ranges_.erase(it);
  }
  ranges_.emplace_hint(it, begin, end);
  return size_ - before;
}

bool IdRanges::Erase(std::int64_t id) {
  auto it = ranges_.upper_bound(id);
  if (it == ranges_.begin() || id > (--it)->second) return false;
  const auto [first, last] = *it;
  it = ranges_.erase(it);
  if (id < last) it = ranges_.emplace_hint(it, id + 1, last);
  if (id > first) ranges_.emplace_hint(it, first, id - 1);
  --size_;
  return true;
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

std::vector<std::pair<std::int64_t, std::int64_t>> IdRanges::Within(std::int64_t first,
                                                                    std::int64_t last) const {
  std::vector<std::pair<std::int64_t, std::int64_t>> parts;
  if (last < first) return parts;
  auto it = ranges_.upper_bound(first);
  if (it != ranges_.begin() && std::prev(it)->second >= first) --it;
  for (; it != ranges_.end() && it->first <= last; ++it) {
    parts.emplace_back(std::max(first, it->first), std::min(last, it->second));
  }
  return parts;
}

std::vector<std::pair<std::int64_t, std::int64_t>> IdRanges::Missing(std::int64_t first,
                                                                     std::size_t limit) const {
  std::vector<std::pair<std::int64_t, std::int64_t>> gaps;
  std::int64_t expected = first;  // Every id in [first, expected) is in the set or in a gap.
  auto it = ranges_.upper_bound(first);
  // After the last range there is no gap, and, when it ends with the largest id, no number either.
  if (it != ranges_.end() && it != ranges_.begin() && std::prev(it)->second >= first) {
    expected = std::prev(it)->second + 1;
  }
  for (; it != ranges_.end() && gaps.size() < limit; ++it) {
    gaps.emplace_back(expected, it->first - 1);
    if (std::next(it) != ranges_.end()) expected = it->second + 1;
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
