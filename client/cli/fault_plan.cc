#include "client/cli/fault_plan.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"

namespace ptychoserve::cli {
namespace {

using Ids = std::vector<std::int64_t>;

// std::shuffle and the standard distributions differ from library to library; these do not.
std::size_t Below(std::mt19937_64& random, std::size_t n) { return random() % n; }

void Shuffle(std::mt19937_64& random, Ids& ids) {
  for (std::size_t k = ids.size(); k > 1; --k) std::swap(ids[k - 1], ids[Below(random, k)]);
}

// `count` of `ids`, at random; in ascending order.
Ids Choose(std::mt19937_64& random, Ids ids, std::int64_t count) {
  Shuffle(random, ids);
  ids.resize(static_cast<std::size_t>(
      std::clamp<std::int64_t>(count, 0, static_cast<std::int64_t>(ids.size()))));
  std::sort(ids.begin(), ids.end());
  return ids;
}

std::int64_t Count(double fraction, std::size_t of) {
  return std::llround(fraction * static_cast<double>(of));
}

bool Contains(const Ids& sorted, std::int64_t id) {
  return std::binary_search(sorted.begin(), sorted.end(), id);
}

// Inserts the second copy of each id at a random place after its first one.
Ids WithDuplicates(std::mt19937_64& random, const Ids& order, const Ids& duplicates) {
  // Copies by the index of the frame after which they come.
  std::vector<Ids> after(order.size());
  for (std::size_t k = 0; k < order.size(); ++k) {
    if (Contains(duplicates, order[k])) {
      after[k + Below(random, order.size() - k)].push_back(order[k]);
    }
  }
  Ids out;
  for (std::size_t k = 0; k < order.size(); ++k) {
    out.push_back(order[k]);
    out.insert(out.end(), after[k].begin(), after[k].end());
  }
  return out;
}

}  // namespace

absl::Status CheckFaults(const FaultOptions& options) {
  if (!(options.drop >= 0 && options.drop < 1)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--drop is ", options.drop, "; a fraction of the frames in [0, 1) is allowed"));
  }
  if (!(options.duplicate >= 0 && options.duplicate <= 1)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--duplicate is ", options.duplicate, "; a fraction of the frames in [0, 1] is allowed"));
  }
  if (options.late < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("--late is ", options.late, "; a number of frames >= 0 is allowed"));
  }
  return absl::OkStatus();
}

FeedPlan MakeFeedPlan(std::int64_t frames, const FaultOptions& options) {
  std::mt19937_64 random(options.seed);
  Ids all(static_cast<std::size_t>(frames));
  std::iota(all.begin(), all.end(), 0);
  FeedPlan plan;
  plan.dropped = Choose(random, all, Count(options.drop, all.size()));
  Ids order;
  std::copy_if(all.begin(), all.end(), std::back_inserter(order),
               [&](std::int64_t id) { return !Contains(plan.dropped, id); });
  const Ids late = Choose(random, order, options.late);
  const Ids duplicates = Choose(random, order, Count(options.duplicate, order.size()));
  if (options.shuffle) Shuffle(random, order);
  std::stable_partition(order.begin(), order.end(),
                        [&](std::int64_t id) { return !Contains(late, id); });
  plan.order = WithDuplicates(random, order, duplicates);
  plan.duplicates = static_cast<std::int64_t>(duplicates.size());
  return plan;
}

std::span<const std::int64_t> Part(const std::vector<std::int64_t>& order, int index, int parts) {
  const std::size_t begin = order.size() * static_cast<std::size_t>(index) / parts;
  const std::size_t end = order.size() * (static_cast<std::size_t>(index) + 1) / parts;
  return std::span<const std::int64_t>(order).subspan(begin, end - begin);
}

}  // namespace ptychoserve::cli
