#ifndef PTYCHOSERVE_ENGINE_SCAN_ID_RANGES_H_
#define PTYCHOSERVE_ENGINE_SCAN_ID_RANGES_H_

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

namespace ptychoserve {

// What a set of ids lacks, as far as it is told.
struct MissingIds {
  std::vector<std::pair<std::int64_t, std::int64_t>> ranges;  // Closed.
  // All other ids from the first one to this one are in the set; the first one less one when there
  // is nothing to tell.
  std::int64_t known_up_to = -1;
};

// A set of frame ids, kept as ranges: memory grows with the number of gaps, not of ids.
// Not thread-safe.
class IdRanges {
 public:
  // Adds `id`; false when it was in the set already.
  bool Insert(std::int64_t id);
  // Adds all of [first, last]. Returns how many were not in the set.
  std::int64_t InsertRange(std::int64_t first, std::int64_t last);
  // Takes `id` out; false when it was not in the set.
  bool Erase(std::int64_t id);
  bool Contains(std::int64_t id) const;
  std::int64_t size() const { return size_; }
  std::size_t ranges() const { return ranges_.size(); }
  // The largest w such that all of [first, w] is in the set; first - 1 when `first` is not.
  std::int64_t ContiguousFrom(std::int64_t first) const;
  // The largest id; not when the set is empty.
  std::int64_t last() const { return ranges_.rbegin()->second; }
  // What of the set lies in [first, last], as closed ranges.
  std::vector<std::pair<std::int64_t, std::int64_t>> Within(std::int64_t first,
                                                            std::int64_t last) const;
  // Gaps between `first` and the largest id, as closed ranges, at most `limit` of them.
  std::vector<std::pair<std::int64_t, std::int64_t>> Missing(std::int64_t first,
                                                             std::size_t limit) const;
  // The same, with how far it goes: to the largest id, or to the first gap that is left out.
  MissingIds MissingUpTo(std::int64_t first, std::size_t limit) const;

 private:
  std::map<std::int64_t, std::int64_t> ranges_;  // First id -> last id, disjoint, not adjacent.
  std::int64_t size_ = 0;
};

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_SCAN_ID_RANGES_H_
