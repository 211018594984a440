#include "client/cpp/internal/known_ids.h"

#include <algorithm>

namespace ptychoserve::client::internal {

KnownIds::KnownIds(const v1::IngestAck& first_ack) {
  if (first_ack.durability() == v1::DURABILITY_UNSPECIFIED) return;  // Its known_up_to is no id.
  up_to_ = first_ack.known_up_to();
  std::vector<Range> ranges;
  for (const v1::IdRange& range : first_ack.missing()) {
    if (range.first() <= range.last()) ranges.push_back({range.first(), range.last()});
  }
  std::ranges::sort(ranges, {}, &Range::first);
  for (const Range& range : ranges) {
    if (!missing_.empty() && range.first <= missing_.back().last) {
      missing_.back().last = std::max(missing_.back().last, range.last);
    } else {
      missing_.push_back(range);
    }
  }
}

bool KnownIds::Contains(std::int64_t first, std::int64_t last) const {
  if (last > up_to_) return false;
  // Ranges before this one end before `first`; if it begins after `last`, so do those behind it.
  const auto range = std::ranges::lower_bound(missing_, first, {}, &Range::last);
  return range == missing_.end() || range->first > last;
}

}  // namespace ptychoserve::client::internal
