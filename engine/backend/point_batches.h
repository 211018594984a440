#ifndef PTYCHOSERVE_ENGINE_BACKEND_POINT_BATCHES_H_
#define PTYCHOSERVE_ENGINE_BACKEND_POINT_BATCHES_H_

#include <algorithm>
#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "engine/backend/backend.h"
#include "engine/base/array.h"
#include "engine/config.h"

// Which points an algorithm takes at the same time, and in which order it comes to them.
namespace ptychoserve {

struct PointBatches {
  std::vector<int> order;   // Indices of points, batch after batch, rising within each.
  std::vector<int> begins;  // Where the batches begin in `order`, and where the last one ends.

  int count() const { return static_cast<int>(begins.size()) - 1; }
  std::span<const int> Batch(int b) const {
    const auto begin = static_cast<std::size_t>(begins[static_cast<std::size_t>(b)]);
    const auto end = static_cast<std::size_t>(begins[static_cast<std::size_t>(b) + 1]);
    return std::span(order).subspan(begin, end - begin);
  }
};

// How an algorithm deals its points.
struct BatchRule {
  enum class Kind { kApart, kSparse, kCompact };  // kApart: see pie_batches.h.
  Kind kind = Kind::kApart;
  int size = 0;  // Points of a batch at most. 0: any number, or the curve's own; see below.

  bool operator==(const BatchRule&) const = default;
};
// Unset for an algorithm that takes all points at once.
std::optional<BatchRule> BatchRuleOf(const AlgorithmConfig& algorithm);

// The result depends on the points and their order alone.
PointBatches MakeBatches(const BatchRule& rule, std::span<const PointWindow> points, Shape frame);

// Batches by a curve through all windows' corners that keeps neighbours together (Hilbert, Math.
// Ann. 38, 459 (1891)). Compact batches are runs of it. Sparse ones take every so many-th of its
// points, so that each is an even sample of the scan. All are as large as each other, give or take
// a point.
PointBatches MakeCurveBatches(std::span<const PointWindow> points, BatchKind kind, int size);

// Points of a batch of the curve when `size` is 0: enough that the noise of the frames averages
// out, but some batches even of a small scan, and at most so many that they are worth the time of
// their updates.
constexpr int AutomaticBatchSize(int points) {
  constexpr int kFewestBatches = 5, kMostBatches = 16, kEnoughPoints = 16;
  const int most = (points + kFewestBatches - 1) / kFewestBatches;
  const int fewest = (points + kMostBatches - 1) / kMostBatches;
  return std::max({1, fewest, std::min(most, kEnoughPoints)});
}

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_BACKEND_POINT_BATCHES_H_
