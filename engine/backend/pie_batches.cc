#include "engine/backend/pie_batches.h"

#include <algorithm>
#include <compare>
#include <cstdlib>
#include <iterator>
#include <limits>
#include <numeric>

namespace ptychoserve {
namespace {

constexpr int kNoBatch = -1;

int FloorQuotient(int value, int divisor) {
  return value / divisor - (value % divisor < 0 ? 1 : 0);
}

// Finds the points close to a given one, by cells of one spacing a side.
class Neighbourhood {
 public:
  Neighbourhood(std::span<const PointWindow> points, Shape frame)
      : points_(points), rows_(PieSpacing(frame.rows)), cols_(PieSpacing(frame.cols)) {
    places_.reserve(points.size());
    for (std::size_t i = 0; i < points.size(); ++i) {
      places_.push_back({CellOf(points[i]), static_cast<int>(i), points[i].row, points[i].col});
    }
    std::ranges::sort(places_);
  }

  // Calls fn(j) for every other point j that is too close to point i for one batch.
  template <typename Fn>
  void ForEachClose(int i, Fn fn) const {
    const PointWindow& point = points_[static_cast<std::size_t>(i)];
    const Cell centre = CellOf(point);
    for (int row = centre.row - 1; row <= centre.row + 1; ++row) {
      // Cells of one row lie side by side in the list.
      const Cell last{row, centre.col + 1};
      auto place = std::ranges::lower_bound(places_, Cell{row, centre.col - 1}, {}, &Place::cell);
      for (; place != places_.end() && place->cell <= last; ++place) {
        if (place->point != i && std::abs(place->row - point.row) < rows_ &&
            std::abs(place->col - point.col) < cols_) {
          fn(place->point);
        }
      }
    }
  }

 private:
  struct Cell {
    int row, col;
    auto operator<=>(const Cell&) const = default;
  };
  struct Place {
    Cell cell;
    int point;
    int row, col;  // Of its window, once more: neighbours are looked at one after the other.
    auto operator<=>(const Place&) const = default;
  };
  Cell CellOf(const PointWindow& point) const {
    return {FloorQuotient(point.row, rows_), FloorQuotient(point.col, cols_)};
  }

  std::span<const PointWindow> points_;
  int rows_, cols_;
  std::vector<Place> places_;
};

class Dealer {
 public:
  Dealer(std::span<const PointWindow> points, Shape frame, int max_batch)
      : neighbourhood_(points, frame),
        points_(static_cast<int>(points.size())),
        limit_(max_batch > 0 ? max_batch : std::numeric_limits<int>::max()),
        batch_of_(points.size(), kNoBatch) {}

  void Deal() {
    for (int i = 0; i < points_; ++i) {
      MarkTaken(i);
      std::size_t b = 0;
      while (b < sizes_.size() && (IsTaken(b) || sizes_[b] >= limit_)) ++b;
      if (b == sizes_.size()) {
        sizes_.push_back(0);
        taken_by_.push_back(kNoMark);
      }
      Move(i, b);
    }
  }

  // What the first batches have too many, the last ones, which got only what was left, take.
  void Balance() {
    const int batches = static_cast<int>(sizes_.size());
    if (batches == 0) return;
    const int fair = (points_ + batches - 1) / batches;
    for (int i = points_ - 1; i >= 0; --i) {
      if (sizes_[static_cast<std::size_t>(batch_of_[static_cast<std::size_t>(i)])] <= fair) {
        continue;
      }
      MarkTaken(i);
      std::size_t smallest = sizes_.size();
      for (std::size_t b = 0; b < sizes_.size(); ++b) {
        if (IsTaken(b) || sizes_[b] >= fair) continue;
        if (smallest == sizes_.size() || sizes_[b] < sizes_[smallest]) smallest = b;
      }
      if (smallest < sizes_.size()) Move(i, smallest);
    }
  }

  PointBatches Result() const {
    PointBatches batches;
    batches.begins.assign(1, 0);
    std::partial_sum(sizes_.begin(), sizes_.end(), std::back_inserter(batches.begins));
    batches.order.resize(batch_of_.size());
    std::vector<int> next = batches.begins;
    for (int i = 0; i < points_; ++i) {
      const auto b = static_cast<std::size_t>(batch_of_[static_cast<std::size_t>(i)]);
      batches.order[static_cast<std::size_t>(next[b]++)] = i;
    }
    return batches;
  }

 private:
  static constexpr int kNoMark = -1;

  // Marks the batches of the points that are close to point i.
  void MarkTaken(int i) {
    ++mark_;
    neighbourhood_.ForEachClose(i, [&](int j) {
      const int b = batch_of_[static_cast<std::size_t>(j)];
      if (b != kNoBatch) taken_by_[static_cast<std::size_t>(b)] = mark_;
    });
  }
  bool IsTaken(std::size_t b) const { return taken_by_[b] == mark_; }

  void Move(int i, std::size_t b) {
    int& batch = batch_of_[static_cast<std::size_t>(i)];
    if (batch != kNoBatch) --sizes_[static_cast<std::size_t>(batch)];
    batch = static_cast<int>(b);
    ++sizes_[b];
  }

  Neighbourhood neighbourhood_;
  int points_;
  int limit_;
  std::vector<int> batch_of_;  // By point.
  std::vector<int> sizes_;     // By batch.
  std::vector<int> taken_by_;  // By batch: the last mark that found it among close points.
  int mark_ = kNoMark;
};

}  // namespace

PointBatches MakePieBatches(std::span<const PointWindow> points, Shape frame, int max_batch) {
  if (max_batch == 1) {
    PointBatches batches;
    batches.order.resize(points.size());
    std::iota(batches.order.begin(), batches.order.end(), 0);
    batches.begins.resize(points.size() + 1);
    std::iota(batches.begins.begin(), batches.begins.end(), 0);
    return batches;
  }
  Dealer dealer(points, frame, max_batch);
  dealer.Deal();
  dealer.Balance();
  return dealer.Result();
}

}  // namespace ptychoserve
