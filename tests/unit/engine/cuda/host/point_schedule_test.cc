#include "engine/backend/cuda/fused/point_schedule.h"

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace ptychoserve::cuda {
namespace {

constexpr int kChunk = 8;

// `side` x `side` points, `step` pixels apart, lines one after the other.
std::vector<PointWindow> Raster(int side, int step) {
  std::vector<PointWindow> points;
  for (int i = 0; i < side * side; ++i) {
    points.push_back({.slot = i, .row = i / side * step - 100, .col = i % side * step + 7});
  }
  return points;
}

std::vector<int> Counting(std::size_t count) {
  std::vector<int> numbers(count);
  std::iota(numbers.begin(), numbers.end(), 0);
  return numbers;
}

// Every point is in one chunk and one group, and lies in the window of its group, which fits into
// shared memory.
void ExpectComplete(const PointSchedule& schedule, const std::vector<PointWindow>& points,
                    Shape frame, int chunk_points) {
  std::vector<int> sorted = schedule.order;
  std::ranges::sort(sorted);
  EXPECT_EQ(sorted, Counting(points.size()));
  const int beyond = PixelsBeyond(schedule.kind);
  int next_point = 0, next_group = 0;
  for (const PointChunk& chunk : schedule.chunks) {
    EXPECT_EQ(chunk.first, next_point);
    EXPECT_EQ(chunk.first_group, next_group);
    EXPECT_LE(chunk.count, chunk_points);
    int in_chunk = 0;
    for (int g = 0; g < chunk.group_count; ++g, ++next_group) {
      const PointGroup& group = schedule.groups.at(static_cast<std::size_t>(next_group));
      EXPECT_EQ(group.first, in_chunk);
      EXPECT_GE(group.count, 1);
      EXPECT_LE(group.count, kMaxGroupPoints);
      EXPECT_LE(std::int64_t{group.rows} * WindowPitch(frame.cols, group.cols), kWindowPixels);
      EXPECT_GE(WindowPitch(frame.cols, group.cols), group.cols);
      for (int k = 0; k < group.count; ++k) {
        const int place = chunk.first + group.first + k;
        const PointWindow& point =
            points.at(static_cast<std::size_t>(schedule.order.at(static_cast<std::size_t>(place))));
        EXPECT_GE(point.row, group.row);
        EXPECT_GE(point.col, group.col);
        EXPECT_LE(point.row + RowsPerBlock(frame.cols) + beyond, group.row + group.rows);
        EXPECT_LE(point.col + frame.cols + beyond, group.col + group.cols);
      }
      in_chunk += group.count;
    }
    EXPECT_EQ(in_chunk, chunk.count);
    next_point += chunk.count;
  }
  EXPECT_EQ(next_point, static_cast<int>(points.size()));
  EXPECT_EQ(next_group, static_cast<int>(schedule.groups.size()));
}

TEST(PointSchedule, EveryPointHasItsPlaceWhateverTheFrame) {
  std::mt19937 rng(3);
  for (const int rows : {64, 512}) {
    for (const int cols : {64, 128, 256, 512}) {
      for (const int step : {1, 5, 26, 300}) {
        SCOPED_TRACE(testing::Message() << rows << " x " << cols << ", step " << step);
        std::vector<PointWindow> points = Raster(9, step);
        for (const bool shuffled : {false, true}) {
          if (shuffled) std::ranges::shuffle(points, rng);
          ExpectComplete(SchedulePoints(points, {rows, cols}, kChunk), points, {rows, cols},
                         kChunk);
          points.front().frac_col = 0.5f;
          ExpectComplete(SchedulePoints(points, {rows, cols}, kChunk), points, {rows, cols},
                         kChunk);
          points.front().frac_col = 0;
        }
      }
    }
  }
}

TEST(PointSchedule, RasterKeepsItsOrderAndNeighboursShareABlock) {
  const std::vector<PointWindow> points = Raster(16, 10);
  const PointSchedule schedule = SchedulePoints(points, {256, 256}, kChunk);
  EXPECT_EQ(schedule.order, Counting(points.size()));
  EXPECT_EQ(schedule.groups.size(), points.size() / kMaxGroupPoints);
}

TEST(PointSchedule, PointsInAnyOrderFollowTheCurve) {
  std::mt19937 rng(4);
  std::vector<PointWindow> points = Raster(32, 6);
  std::ranges::shuffle(points, rng);
  const PointSchedule schedule = SchedulePoints(points, {256, 256}, kChunk);
  ExpectComplete(schedule, points, {256, 256}, kChunk);
  EXPECT_NE(schedule.order, Counting(points.size()));
  // Hilbert's curve has no jumps: its neighbours nearly always fit together.
  EXPECT_LT(schedule.groups.size(), points.size() / (kMaxGroupPoints - 1));
}

TEST(PointSchedule, OnlyFractionalPositionsAreSubpixel) {
  std::vector<PointWindow> points = Raster(3, 4);
  EXPECT_EQ(SchedulePoints(points, {64, 64}, kChunk).kind, PointKind::kWhole);
  points.back().frac_row = 0.25f;
  EXPECT_EQ(SchedulePoints(points, {64, 64}, kChunk).kind, PointKind::kFractional);
}

TEST(PointSchedule, NoPointsAndFarPoints) {
  EXPECT_TRUE(SchedulePoints({}, {64, 64}, kChunk).chunks.empty());
  constexpr std::int32_t kFar = 1'000'000'000;
  const std::vector<PointWindow> far = {
      {.slot = 0, .row = -kFar, .col = kFar}, {.slot = 1, .row = kFar, .col = -kFar}, {.slot = 2}};
  const PointSchedule schedule = SchedulePoints(far, {64, 64}, kChunk);
  ExpectComplete(schedule, far, {64, 64}, kChunk);
  EXPECT_EQ(schedule.groups.size(), far.size());
}

}  // namespace
}  // namespace ptychoserve::cuda
