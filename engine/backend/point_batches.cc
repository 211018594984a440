#include "engine/backend/point_batches.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <numeric>
#include <utility>
#include <variant>

#include "engine/backend/pie_batches.h"

namespace ptychoserve {
namespace {

// How far along the curve through a square of 2^bits pixels a side (row, col) lies.
std::uint64_t AlongCurve(std::uint32_t row, std::uint32_t col, int bits) {
  std::uint64_t along = 0;
  for (int bit = bits - 1; bit >= 0; --bit) {
    const std::uint32_t right = col >> bit & 1, down = row >> bit & 1;
    along = along << 2 | ((3 * right) ^ down);
    if (down == 0) {
      // The quarter's own curve is turned, or turned and mirrored.
      if (right == 1) {
        col = ~col;
        row = ~row;
      }
      std::swap(row, col);
    }
  }
  return along;
}

std::vector<int> AlongCurve(std::span<const PointWindow> points) {
  std::vector<int> order(points.size());
  if (points.empty()) return order;
  const int first_row = std::ranges::min(points, {}, &PointWindow::row).row;
  const int first_col = std::ranges::min(points, {}, &PointWindow::col).col;
  const auto row_of = [&](const PointWindow& p) {
    return static_cast<std::uint32_t>(p.row) - static_cast<std::uint32_t>(first_row);
  };
  const auto col_of = [&](const PointWindow& p) {
    return static_cast<std::uint32_t>(p.col) - static_cast<std::uint32_t>(first_col);
  };
  std::uint32_t extent = 0;
  for (const PointWindow& p : points) extent = std::max({extent, row_of(p), col_of(p)});
  std::vector<std::uint64_t> along;
  for (const PointWindow& p : points) {
    along.push_back(AlongCurve(row_of(p), col_of(p), std::bit_width(extent)));
  }
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, {}, [&](int i) { return along[static_cast<std::size_t>(i)]; });
  return order;
}

}  // namespace

std::optional<BatchRule> BatchRuleOf(const AlgorithmConfig& algorithm) {
  if (const auto* epie = std::get_if<EpieConfig>(&algorithm)) {
    return BatchRule{BatchRule::Kind::kApart, epie->max_batch};
  }
  if (const auto* lsq = std::get_if<LsqMlConfig>(&algorithm)) {
    return BatchRule{lsq->batch_kind == BatchKind::kSparse ? BatchRule::Kind::kSparse
                                                           : BatchRule::Kind::kCompact,
                     lsq->batch_size};
  }
  return std::nullopt;
}

PointBatches MakeBatches(const BatchRule& rule, std::span<const PointWindow> points, Shape frame) {
  switch (rule.kind) {
    case BatchRule::Kind::kSparse:
      return MakeCurveBatches(points, BatchKind::kSparse, rule.size);
    case BatchRule::Kind::kCompact:
      return MakeCurveBatches(points, BatchKind::kCompact, rule.size);
    case BatchRule::Kind::kApart:
      break;
  }
  return MakePieBatches(points, frame, rule.size);
}

PointBatches MakeCurveBatches(std::span<const PointWindow> points, BatchKind kind, int size) {
  const std::vector<int> curve = AlongCurve(points);
  const std::size_t n = points.size();
  const auto most =
      static_cast<std::size_t>(size > 0 ? size : AutomaticBatchSize(static_cast<int>(n)));
  const std::size_t count = (n + most - 1) / most;
  PointBatches batches;
  batches.begins.push_back(0);
  for (std::size_t b = 0; b < count; ++b) {
    if (kind == BatchKind::kSparse) {
      for (std::size_t k = b; k < n; k += count) batches.order.push_back(curve[k]);
    } else {
      for (std::size_t k = n * b / count; k < n * (b + 1) / count; ++k) {
        batches.order.push_back(curve[k]);
      }
    }
    std::sort(batches.order.begin() + batches.begins.back(), batches.order.end());
    batches.begins.push_back(static_cast<int>(batches.order.size()));
  }
  return batches;
}

}  // namespace ptychoserve
