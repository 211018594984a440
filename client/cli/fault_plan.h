#ifndef PTYCHOSERVE_CLIENT_CLI_FAULT_PLAN_H_
#define PTYCHOSERVE_CLIENT_CLI_FAULT_PLAN_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"

namespace ptychoserve::cli {

// What goes wrong on the way from the detector, on purpose.
struct FaultOptions {
  bool shuffle = false;   // Frames come in random order.
  double drop = 0;        // Fraction of the frames that never come, [0, 1).
  double duplicate = 0;   // Fraction of the frames that come that do so twice, [0, 1].
  std::int64_t late = 0;  // Frames held back to the end.
  std::uint64_t seed = 1;
};

// The frames in the order in which they are sent.
struct FeedPlan {
  std::vector<std::int64_t> order;    // With duplicates; the second comes after the first.
  std::vector<std::int64_t> dropped;  // Ascending.
  std::int64_t duplicates = 0;
};

// Errors: kInvalidArgument naming the option.
absl::Status CheckFaults(const FaultOptions& options);
// Frames 0 .. frames-1 with these faults. The same options give the same plan on any machine.
FeedPlan MakeFeedPlan(std::int64_t frames, const FaultOptions& options);
// Part `index` of `order` cut into `parts` as equal as possible.
std::span<const std::int64_t> Part(const std::vector<std::int64_t>& order, int index, int parts);

}  // namespace ptychoserve::cli

#endif  // PTYCHOSERVE_CLIENT_CLI_FAULT_PLAN_H_
