// Sets of ids kept as ranges, beside a plain set.
#include "engine/scan/id_ranges.h"

#include <cstddef>
#include <cstdint>
#include <limits>
#include <set>
#include <utility>
#include <vector>

#include "tests/fuzz/fuzz_input.h"

namespace ptychoserve {
namespace {

using Ranges = std::vector<std::pair<std::int64_t, std::int64_t>>;

constexpr std::int64_t kLargest = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kWidth = 64;  // Ids of one input: few, so that they meet.
constexpr int kMaxSteps = 200;
constexpr std::int64_t kBases[] = {0, -kWidth / 2, std::numeric_limits<std::int64_t>::min(),
                                   kLargest - kWidth + 1};

// The ids of [first, last] for which `in_set` holds, as closed ranges.
template <class InSet>
Ranges RangesOf(std::int64_t first, std::int64_t last, InSet in_set) {
  Ranges ranges;
  bool open = false;
  for (std::int64_t id = first; id <= last; ++id) {
    const bool in = in_set(id);
    if (in && open) ranges.back().second = id;
    if (in && !open) ranges.emplace_back(id, id);
    open = in;
    if (id == kLargest) break;
  }
  return ranges;
}

// The same set twice: as it is kept, and as anyone would write it down.
class Pair {
 public:
  explicit Pair(std::int64_t base) : base_(base) {}

  void Step(FuzzInput* input) {
    const int what = input->Below(7);
    const std::int64_t a = Id(input), b = Id(input);
    switch (what) {
      case 0:
        FUZZ_CHECK(ranges_.Insert(a) == ids_.insert(a).second);
        break;
      case 1:
        FUZZ_CHECK(ranges_.InsertRange(a, b) == InsertAll(a, b));
        break;
      case 2:
        FUZZ_CHECK(ranges_.Erase(a) == (ids_.erase(a) > 0));
        break;
      case 3:
        FUZZ_CHECK(ranges_.Within(a, b) == RangesOf(a, b, [this](auto id) { return Has(id); }));
        break;
      case 4:
        CheckContiguous(a);
        break;
      default:
        CheckMissing(a, static_cast<std::size_t>(b - base_) % 8);
    }
    FUZZ_CHECK(ranges_.Contains(b) == Has(b));
    FUZZ_CHECK(ranges_.size() == static_cast<std::int64_t>(ids_.size()));
    FUZZ_CHECK(ids_.empty() || ranges_.last() == *ids_.rbegin());
    FUZZ_CHECK(ranges_.ranges() ==
               RangesOf(base_, base_ + (kWidth - 1), [this](auto id) { return Has(id); }).size());
  }

 private:
  std::int64_t Id(FuzzInput* input) const { return base_ + input->Below(kWidth); }
  bool Has(std::int64_t id) const { return ids_.contains(id); }

  std::int64_t InsertAll(std::int64_t first, std::int64_t last) {
    std::int64_t added = 0;
    for (std::int64_t id = first; id <= last; ++id) {
      added += ids_.insert(id).second;
      if (id == kLargest) break;
    }
    return added;
  }
  void CheckContiguous(std::int64_t first) const {
    if (first == std::numeric_limits<std::int64_t>::min()) return;  // Nothing is before it.
    const Ranges from_first =
        RangesOf(first, base_ + (kWidth - 1), [this](auto i) { return Has(i); });
    const bool in = !from_first.empty() && from_first.front().first == first;
    FUZZ_CHECK(ranges_.ContiguousFrom(first) == (in ? from_first.front().second : first - 1));
  }
  void CheckMissing(std::int64_t first, std::size_t limit) const {
    Ranges gaps;
    if (!ids_.empty()) {
      gaps = RangesOf(first, *ids_.rbegin(), [this](auto id) { return !Has(id); });
    }
    const bool all = gaps.size() <= limit;
    const std::int64_t first_left_out = all ? 0 : gaps[limit].first;
    if (!all) gaps.resize(limit);
    FUZZ_CHECK(ranges_.Missing(first, limit) == gaps);
    if (first == std::numeric_limits<std::int64_t>::min()) return;
    const MissingIds missing = ranges_.MissingUpTo(first, limit);
    FUZZ_CHECK(missing.ranges == gaps);
    const bool any = !ids_.empty() && *ids_.rbegin() >= first;
    FUZZ_CHECK(missing.known_up_to == (!all  ? first_left_out - 1
                                       : any ? *ids_.rbegin()
                                             : first - 1));
  }

  const std::int64_t base_;
  IdRanges ranges_;
  std::set<std::int64_t> ids_;
};

}  // namespace
}  // namespace ptychoserve

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ptychoserve;
  FuzzInput input(data, size);
  Pair pair(kBases[input.Below(4)]);
  for (int step = 0; step < kMaxSteps && !input.empty(); ++step) pair.Step(&input);
  return 0;
}
