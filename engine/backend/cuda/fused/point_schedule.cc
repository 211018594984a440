#include "engine/backend/cuda/fused/point_schedule.h"

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <utility>

namespace ptychoserve::cuda {
namespace {

// Distance along Hilbert's curve through the square of 2^kCurveBits cells a side.
constexpr int kCurveBits = 16;
std::uint64_t HilbertIndex(std::uint32_t row, std::uint32_t col) {
  std::uint64_t index = 0;
  for (std::uint32_t side = 1u << (kCurveBits - 1); side > 0; side /= 2) {
    const bool lower = (row & side) != 0, right = (col & side) != 0;
    index += std::uint64_t{side} * side * ((right ? 3 : 0) ^ (lower ? 1 : 0));
    if (!lower) {  // The quadrants at the ends of the curve are turned.
      if (right) {
        row = side - 1 - (row & (side - 1));
        col = side - 1 - (col & (side - 1));
      }
      std::swap(row, col);
    }
    row &= side - 1;
    col &= side - 1;
  }
  return index;
}

std::vector<int> CurveOrder(std::span<const PointWindow> points) {
  const auto [top, bottom] = std::ranges::minmax(points, {}, &PointWindow::row);
  const auto [left, right] = std::ranges::minmax(points, {}, &PointWindow::col);
  const std::int64_t extent =
      std::max(std::int64_t{bottom.row} - top.row, std::int64_t{right.col} - left.col) + 1;
  const std::int64_t cell = (extent >> kCurveBits) + 1;  // Pixels.
  std::vector<std::pair<std::uint64_t, int>> keyed;
  keyed.reserve(points.size());
  for (std::size_t i = 0; i < points.size(); ++i) {
    const auto row = static_cast<std::uint32_t>((std::int64_t{points[i].row} - top.row) / cell);
    const auto col = static_cast<std::uint32_t>((std::int64_t{points[i].col} - left.col) / cell);
    keyed.emplace_back(HilbertIndex(row, col), static_cast<int>(i));
  }
  std::ranges::sort(keyed);
  std::vector<int> order;
  order.reserve(keyed.size());
  for (const auto& [key, index] : keyed) order.push_back(index);
  return order;
}

// The part of the canvas that one row block of a group touches.
class GroupExtent {
 public:
  GroupExtent(Shape frame, PointKind kind) : frame_(frame), beyond_(PixelsBeyond(kind)) {}

  void Begin(const PointWindow& point) {
    top_ = bottom_ = point.row;
    left_ = right_ = point.col;
  }
  // Takes `point` in unless the group would need more than kWindowPixels.
  bool Extend(const PointWindow& point) {
    GroupExtent wider = *this;
    wider.top_ = std::min<std::int64_t>(top_, point.row);
    wider.bottom_ = std::max<std::int64_t>(bottom_, point.row);
    wider.left_ = std::min<std::int64_t>(left_, point.col);
    wider.right_ = std::max<std::int64_t>(right_, point.col);
    if (wider.Pixels() > kWindowPixels) return false;
    *this = wider;
    return true;
  }
  PointGroup Group(int first, int count) const {
    return {first,
            count,
            static_cast<int>(top_),
            static_cast<int>(left_),
            static_cast<int>(rows()),
            static_cast<int>(cols())};
  }

 private:
  std::int64_t rows() const { return bottom_ - top_ + RowsPerBlock(frame_.cols) + beyond_; }
  std::int64_t cols() const { return right_ - left_ + frame_.cols + beyond_; }
  std::int64_t Pixels() const {
    // Wide apart, the product alone could overflow.
    if (rows() > kWindowPixels || cols() > kWindowPixels) return kWindowPixels + 1;
    return rows() * WindowPitch(frame_.cols, static_cast<int>(cols()));
  }

  Shape frame_;
  int beyond_;
  std::int64_t top_ = 0, bottom_ = 0, left_ = 0, right_ = 0;
};

PointSchedule ScheduleInOrder(std::span<const PointWindow> points, std::vector<int> order,
                              Shape frame, int chunk_points, PointKind kind) {
  PointSchedule schedule;
  schedule.kind = kind;
  const int count = static_cast<int>(order.size());
  const auto point_at = [&](int place) -> const PointWindow& {
    return points[static_cast<std::size_t>(order[static_cast<std::size_t>(place)])];
  };
  for (int first = 0; first < count; first += chunk_points) {
    PointChunk chunk{first, std::min(chunk_points, count - first),
                     static_cast<int>(schedule.groups.size()), 0};
    for (int begin = 0; begin < chunk.count;) {
      GroupExtent extent(frame, kind);
      extent.Begin(point_at(first + begin));
      int end = begin + 1;
      while (end < chunk.count && end - begin < kMaxGroupPoints &&
             extent.Extend(point_at(first + end))) {
        ++end;
      }
      schedule.groups.push_back(extent.Group(begin, end - begin));
      ++chunk.group_count;
      begin = end;
    }
    schedule.chunks.push_back(chunk);
  }
  schedule.order = std::move(order);
  return schedule;
}

}  // namespace

PointKind PointKindOf(std::span<const PointWindow> points) {
  if (std::ranges::any_of(points, Varies)) return PointKind::kVaried;
  const bool fractional = std::ranges::any_of(
      points, [](const PointWindow& p) { return p.frac_row != 0 || p.frac_col != 0; });
  return fractional ? PointKind::kFractional : PointKind::kWhole;
}

PointSchedule SchedulePoints(std::span<const PointWindow> points, Shape frame, int chunk_points) {
  const PointKind kind = PointKindOf(points);
  std::vector<int> given(points.size());
  std::iota(given.begin(), given.end(), 0);
  PointSchedule as_given = ScheduleInOrder(points, std::move(given), frame, chunk_points, kind);
  // Three points to a block are as good as it gets with lines that end: no need to look further,
  // which while data arrive would be done again and again.
  if (as_given.groups.size() * (kMaxGroupPoints - 1) <= points.size()) return as_given;
  PointSchedule along_curve =
      ScheduleInOrder(points, CurveOrder(points), frame, chunk_points, kind);
  return along_curve.groups.size() < as_given.groups.size() ? along_curve : as_given;
}

}  // namespace ptychoserve::cuda
