#include "engine/backend/point_batches.h"

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <limits>
#include <random>
#include <span>
#include <vector>

#include "engine/backend/pie_batches.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ptychoserve {
namespace {

using ::testing::ElementsAre;

PointWindow At(int row, int col) { return {.slot = 0, .row = row, .col = col}; }

std::vector<PointWindow> Raster(int side, int step) {
  std::vector<PointWindow> points;
  for (int y = 0; y < side; ++y) {
    for (int x = 0; x < side; ++x) points.push_back(At(y * step, x * step));
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

constexpr BatchKind kKinds[] = {BatchKind::kSparse, BatchKind::kCompact};

TEST(CurveBatchesTest, HaveEveryPointOnceInBatchesOfOneSizeGiveOrTakeOne) {
  constexpr int kFar = std::numeric_limits<int>::max() / 2;
  for (const std::vector<PointWindow>& points :
       {Raster(20, 7), Scattered(701, 300, 1), Scattered(100, kFar, 2), Scattered(1, 5, 3),
        std::vector<PointWindow>(9, At(-3, 5)), std::vector<PointWindow>()}) {
    for (const BatchKind kind : kKinds) {
      for (const int size : {1, 4, 50, 10000, 0}) {
        const PointBatches batches = MakeCurveBatches(points, kind, size);
        const auto n = static_cast<int>(points.size());
        const int most = size > 0 ? size : AutomaticBatchSize(n);
        ASSERT_EQ(batches.count(), (n + most - 1) / most);
        std::vector<int> sorted = batches.order;
        std::ranges::sort(sorted);
        for (int i = 0; i < n; ++i) ASSERT_EQ(sorted[static_cast<std::size_t>(i)], i);
        for (int b = 0; b < batches.count(); ++b) {
          const std::span<const int> batch = batches.Batch(b);
          EXPECT_LE(std::abs(n - batches.count() * std::ssize(batch)), batches.count());
          EXPECT_LE(std::ssize(batch), most);
          EXPECT_TRUE(std::ranges::is_sorted(batch));
        }
      }
    }
  }
}

TEST(CurveBatchesTest, CompactOnesAreNeighbours) {
  // 16 x 16 points, in batches of 16 squares of 4 x 4.
  const std::vector<PointWindow> points = Raster(16, 16);
  const PointBatches batches = MakeCurveBatches(points, BatchKind::kCompact, 16);
  ASSERT_EQ(batches.count(), 16);
  for (int b = 0; b < batches.count(); ++b) {
    const auto at = [&](int i) { return points[static_cast<std::size_t>(i)]; };
    const auto [top, bottom] =
        std::ranges::minmax(batches.Batch(b), {}, [&](int i) { return at(i).row; });
    const auto [left, right] =
        std::ranges::minmax(batches.Batch(b), {}, [&](int i) { return at(i).col; });
    EXPECT_EQ(at(bottom).row - at(top).row, 48);
    EXPECT_EQ(at(right).col - at(left).col, 48);
  }
}

TEST(CurveBatchesTest, SparseOnesAreEvenSamplesOfTheScan) {
  const std::vector<PointWindow> points = Raster(16, 16);
  const PointBatches batches = MakeCurveBatches(points, BatchKind::kSparse, 16);
  ASSERT_EQ(batches.count(), 16);
  for (int b = 0; b < batches.count(); ++b) {
    std::vector<int> squares(16);  // Of 4 x 4 points.
    for (const int i : batches.Batch(b)) {
      const PointWindow& point = points[static_cast<std::size_t>(i)];
      ++squares[static_cast<std::size_t>(point.row / 64 * 4 + point.col / 64)];
    }
    EXPECT_EQ(squares, std::vector<int>(16, 1)) << b;
  }
}

TEST(CurveBatchesTest, NeighboursOnTheCurveOfAFullRasterTouch) {
  const std::vector<PointWindow> points = Raster(32, 1);
  const PointBatches batches = MakeCurveBatches(points, BatchKind::kCompact, 1);
  for (std::size_t k = 1; k < batches.order.size(); ++k) {
    const PointWindow& a = points[static_cast<std::size_t>(batches.order[k - 1])];
    const PointWindow& b = points[static_cast<std::size_t>(batches.order[k])];
    EXPECT_EQ(std::abs(a.row - b.row) + std::abs(a.col - b.col), 1) << k;
  }
}

TEST(CurveBatchesTest, DoNotDependOnWhereTheScanLies) {
  std::vector<PointWindow> points = Scattered(300, 200, 4);
  for (const BatchKind kind : kKinds) {
    const PointBatches before = MakeCurveBatches(points, kind, 13);
    std::vector<PointWindow> moved = points;
    for (PointWindow& point : moved) {
      point.row -= 12345;
      point.col += 777;
    }
    EXPECT_EQ(MakeCurveBatches(moved, kind, 13).order, before.order);
  }
}

TEST(PointBatchesTest, FollowTheAlgorithm) {
  const std::vector<PointWindow> points = Raster(8, 9);
  const Shape frame{64, 64};
  EXPECT_FALSE(BatchRuleOf(DifferenceMapConfig{}).has_value());
  EXPECT_FALSE(BatchRuleOf(MlGradientConfig{}).has_value());
  const auto batches_of = [&](const AlgorithmConfig& algorithm) {
    return MakeBatches(*BatchRuleOf(algorithm), points, frame).order;
  };
  EXPECT_EQ(batches_of(EpieConfig{.max_batch = 3}), MakePieBatches(points, frame, 3).order);
  EXPECT_EQ(batches_of(LsqMlConfig{.batch_size = 5}),
            MakeCurveBatches(points, BatchKind::kSparse, 5).order);
  EXPECT_EQ(batches_of(LsqMlConfig{.batch_kind = BatchKind::kCompact}),
            MakeCurveBatches(points, BatchKind::kCompact, 0).order);
}

TEST(PointBatchesTest, AutomaticSizeIsASixteenthButNotTooFewAndOfASmallScanAFifth) {
  EXPECT_THAT((std::vector{AutomaticBatchSize(0), AutomaticBatchSize(1), AutomaticBatchSize(5),
                           AutomaticBatchSize(20), AutomaticBatchSize(75), AutomaticBatchSize(76),
                           AutomaticBatchSize(256), AutomaticBatchSize(257),
                           AutomaticBatchSize(4096), AutomaticBatchSize(4097)}),
              ElementsAre(1, 1, 1, 4, 15, 16, 16, 17, 256, 257));
}

}  // namespace
}  // namespace ptychoserve
