#include "engine/backend/pie_batches.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace ptychoserve {
namespace {

PointWindow At(int row, int col) { return {.slot = 0, .row = row, .col = col}; }

// A raster with 70 % overlap of beams a third of a frame wide, jittered by a tenth of a step.
std::vector<PointWindow> Raster(int rows, int cols, int side) {
  std::mt19937 random(7);
  const double step = 0.1 * side;
  std::uniform_real_distribution<double> jitter(-0.1 * step, 0.1 * step);
  std::vector<PointWindow> points;
  for (int y = 0; y < rows; ++y) {
    for (int x = 0; x < cols; ++x) {
      points.push_back(At(static_cast<int>(std::lround(y * step + jitter(random))),
                          static_cast<int>(std::lround(x * step + jitter(random)))));
    }
  }
  return points;
}

std::vector<PointWindow> Scattered(int count, int extent, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_int_distribution<int> place(-extent, extent);
  std::vector<PointWindow> points;
  for (int i = 0; i < count; ++i) points.push_back(At(place(random), place(random)));
  return points;
}

std::vector<PointWindow> Spiral(int count, double scale) {
  std::vector<PointWindow> points;
  for (int i = 0; i < count; ++i) {
    const double radius = scale * std::sqrt(i), angle = 2.399963 * i;
    points.push_back(At(static_cast<int>(std::lround(radius * std::sin(angle))),
                        static_cast<int>(std::lround(radius * std::cos(angle)))));
  }
  return points;
}

bool TooClose(const PointWindow& a, const PointWindow& b, Shape frame) {
  return std::abs(a.row - b.row) < PieSpacing(frame.rows) &&
         std::abs(a.col - b.col) < PieSpacing(frame.cols);
}

void ExpectEveryPointOnce(const PointBatches& batches, std::size_t points) {
  ASSERT_EQ(batches.order.size(), points);
  std::vector<bool> seen(points);
  for (const int i : batches.order) {
    ASSERT_GE(i, 0);
    ASSERT_LT(static_cast<std::size_t>(i), points);
    EXPECT_FALSE(seen[static_cast<std::size_t>(i)]) << "point " << i << " twice";
    seen[static_cast<std::size_t>(i)] = true;
  }
  EXPECT_EQ(batches.begins.front(), 0);
  EXPECT_EQ(static_cast<std::size_t>(batches.begins.back()), points);
}

struct Layout {
  std::string name;
  std::vector<PointWindow> points;
  Shape frame;
};

std::vector<Layout> Layouts() {
  return {{"raster", Raster(20, 30, 64), {64, 64}},
          {"spiral", Spiral(500, 5), {64, 48}},
          {"scattered", Scattered(700, 300, 1), {50, 70}},
          {"dense", Scattered(200, 20, 2), {64, 64}},
          {"one place", std::vector<PointWindow>(9, At(-3, 5)), {8, 8}},
          {"apart", {At(0, 0), At(1000, 0), At(0, -1000)}, {16, 16}},
          {"one", {At(4, 4)}, {16, 16}},
          {"none", {}, {16, 16}}};
}

TEST(PieBatchesTest, EveryPointOnceAndNoTwoOfABatchTooClose) {
  for (const Layout& layout : Layouts()) {
    for (const int max_batch : {0, 1, 2, 7}) {
      SCOPED_TRACE(layout.name + ", at most " + std::to_string(max_batch));
      const PointBatches batches = MakePieBatches(layout.points, layout.frame, max_batch);
      ExpectEveryPointOnce(batches, layout.points.size());
      for (int b = 0; b < batches.count(); ++b) {
        const std::span<const int> batch = batches.Batch(b);
        EXPECT_FALSE(batch.empty());
        EXPECT_TRUE(std::ranges::is_sorted(batch));
        if (max_batch > 0) {
          EXPECT_LE(batch.size(), static_cast<std::size_t>(max_batch));
        }
        for (std::size_t i = 0; i < batch.size(); ++i) {
          for (std::size_t j = 0; j < i; ++j) {
            EXPECT_FALSE(TooClose(layout.points[static_cast<std::size_t>(batch[i])],
                                  layout.points[static_cast<std::size_t>(batch[j])], layout.frame))
                << "points " << batch[j] << " and " << batch[i];
          }
        }
      }
    }
  }
}

TEST(PieBatchesTest, AtMostOneKeepsTheOrderOfThePoints) {
  const PointBatches batches = MakePieBatches(Scattered(5, 100, 3), {16, 16}, 1);
  EXPECT_EQ(batches.order, (std::vector<int>{0, 1, 2, 3, 4}));
  EXPECT_EQ(batches.begins, (std::vector<int>{0, 1, 2, 3, 4, 5}));
}

// Spacing 3: row distances of 3 and more, or column distances of 3 and more, may share a batch.
TEST(PieBatchesTest, FirstFreeBatchInTheOrderOfThePoints) {
  const std::vector<PointWindow> points = {At(0, 0), At(1, 2), At(0, 3), At(2, 5), At(3, 0)};
  const PointBatches batches = MakePieBatches(points, {9, 9}, 0);
  EXPECT_EQ(batches.order, (std::vector<int>{0, 2, 4, 1, 3}));
  EXPECT_EQ(batches.begins, (std::vector<int>{0, 3, 5}));
}

// Four points in a row of their own fill the first batch; the last of them moves to the second.
TEST(PieBatchesTest, LargerBatchesGiveToSmallerOnes) {
  const std::vector<PointWindow> points = {At(0, 0), At(0, 10), At(0, 20), At(0, 30), At(1, 1)};
  const PointBatches batches = MakePieBatches(points, {9, 9}, 0);
  EXPECT_EQ(batches.order, (std::vector<int>{0, 1, 2, 3, 4}));
  EXPECT_EQ(batches.begins, (std::vector<int>{0, 3, 5}));
}

// A beam overlaps with about (2 / 3 / 0.1)² / 4 = 11 others in one direction of each axis: so many
// batches are needed, and few more are made, all of nearly the same size whatever the scan's.
TEST(PieBatchesTest, RasterNeedsFewBatchesOfEvenSize) {
  for (const int side : {32, 64}) {
    const std::vector<PointWindow> points = Raster(side, side, 256);
    const PointBatches batches = MakePieBatches(points, {256, 256}, 0);
    EXPECT_LE(batches.count(), 20);
    const int fair = (side * side + batches.count() - 1) / batches.count();
    for (int b = 0; b < batches.count(); ++b) {
      EXPECT_LE(static_cast<int>(batches.Batch(b).size()), fair + 2);
      EXPECT_GE(static_cast<int>(batches.Batch(b).size()), fair * 3 / 4);
    }
  }
}

TEST(PieBatchesTest, DependOnThePointsAlone) {
  const std::vector<PointWindow> points = Scattered(400, 200, 5);
  std::vector<PointWindow> elsewhere = points;
  for (PointWindow& point : elsewhere) {
    point.slot = 399 - point.slot;
    point.frac_row = 0.5f;
  }
  const PointBatches one = MakePieBatches(points, {48, 48}, 0);
  const PointBatches other = MakePieBatches(elsewhere, {48, 48}, 0);
  EXPECT_EQ(one.order, other.order);
  EXPECT_EQ(one.begins, other.begins);
}

TEST(PieBatchesTest, FortyThousandPoints) {
  const std::vector<PointWindow> points = Raster(200, 200, 256);
  const PointBatches batches = MakePieBatches(points, {256, 256}, 0);
  ExpectEveryPointOnce(batches, points.size());
  EXPECT_LE(batches.count(), 20);
}

}  // namespace
}  // namespace ptychoserve
