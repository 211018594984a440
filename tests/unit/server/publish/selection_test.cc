#include "server/publish/selection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>

#include "server/publish/snapshot_cursor.h"

namespace ptychoserve::server {
namespace {

constexpr int kRows = 9;
constexpr int kCols = 11;

// Object row + i col, coverage = row; scanned area 5 x 7 at (2, 3).
std::shared_ptr<const Snapshot> MakeSnapshot() {
  auto s = std::make_shared<Snapshot>();
  s->version = 4;
  s->iteration = 40;
  s->canvas = {-20, 100, {kRows, kCols}};
  s->scanned = {2, 3, {5, 7}};
  s->pixel_size_y_m = 2e-9;
  s->pixel_size_x_m = 3e-9;
  s->object = ComplexStack(1, s->canvas.shape);
  s->coverage.shape = s->canvas.shape;
  for (int r = 0; r < kRows; ++r) {
    for (int c = 0; c < kCols; ++c) {
      s->object.data[static_cast<std::size_t>(r * kCols + c)] = {static_cast<float>(r),
                                                                 static_cast<float>(c)};
      s->coverage.data.push_back(static_cast<float>(r));
    }
  }
  s->probe = ComplexStack(2, {4, 4}, {1.0f, -1.0f});
  s->points = {{7, 2.5, 3.25, {0.5f, -0.25f, 1.5f}, {0.125f, 2.0f}, 12}};
  return s;
}

template <typename T>
std::vector<T> Values(const PreparedArray& array) {
  std::vector<T> out(array.bytes.size() / sizeof(T));
  std::memcpy(out.data(), array.bytes.data(), array.bytes.size());
  return out;
}

Selection Select(std::initializer_list<v1::ArrayKind> arrays) {
  Selection selection;
  selection.arrays = arrays;
  return selection;
}

TEST(Selection, CropsToTheScannedArea) {
  const PreparedSnapshot out = Prepare(MakeSnapshot(), Select({v1::ARRAY_KIND_OBJECT}), {});
  ASSERT_EQ(out.header.arrays_size(), 1);
  EXPECT_THAT(out.header.arrays(0).shape(), testing::ElementsAre(5, 7));
  const auto object = Values<Complex64>(out.arrays[0]);
  for (int r = 0; r < 5; ++r) {
    for (int c = 0; c < 7; ++c) {
      EXPECT_EQ(object[static_cast<std::size_t>(r * 7 + c)],
                Complex64(static_cast<float>(r + 2), static_cast<float>(c + 3)));
    }
  }
  EXPECT_EQ(out.header.area().row(), 2u);
  EXPECT_EQ(out.header.area().col(), 3u);
  EXPECT_DOUBLE_EQ(out.header.origin_y_m(), (-20 + 2) * 2e-9);
  EXPECT_DOUBLE_EQ(out.header.origin_x_m(), (100 + 3) * 3e-9);
}

TEST(Selection, WholeCanvasIsNotCopied) {
  const auto snapshot = MakeSnapshot();
  Selection selection =
      Select({v1::ARRAY_KIND_OBJECT, v1::ARRAY_KIND_COVERAGE, v1::ARRAY_KIND_PROBE});
  selection.whole_canvas = true;
  const PreparedSnapshot out = Prepare(snapshot, selection, {});
  EXPECT_EQ(static_cast<const void*>(out.arrays[0].bytes.data()), snapshot->object.data.data());
  EXPECT_EQ(static_cast<const void*>(out.arrays[1].bytes.data()), snapshot->coverage.data.data());
  EXPECT_EQ(static_cast<const void*>(out.arrays[2].bytes.data()), snapshot->probe.data.data());
  EXPECT_THAT(out.header.arrays(2).shape(), testing::ElementsAre(2, 4, 4));
}

TEST(Selection, UncoveredPixelsAreNanAndOnlyThey) {
  Selection selection = Select({v1::ARRAY_KIND_OBJECT});
  selection.whole_canvas = true;
  selection.uncovered_as_nan = true;
  selection.coverage_threshold = 0.5;  // Coverage is 0..8: rows 0..4 are at or below half.
  const auto object = Values<Complex64>(Prepare(MakeSnapshot(), selection, {}).arrays[0]);
  for (int r = 0; r < kRows; ++r) {
    const Complex64 value = object[static_cast<std::size_t>(r * kCols)];
    EXPECT_EQ(std::isnan(value.real()) && std::isnan(value.imag()), r <= 4) << "row " << r;
  }
}

TEST(Selection, DownsamplingIsTheMeanOfBlocksSmallerOnesAtTheEdgeIncluded) {
  Selection selection = Select({v1::ARRAY_KIND_OBJECT, v1::ARRAY_KIND_COVERAGE});
  selection.downsample = 3;
  const PreparedSnapshot out = Prepare(MakeSnapshot(), selection, {});
  EXPECT_THAT(out.header.arrays(0).shape(), testing::ElementsAre(2, 3));
  // Rows 2..4 and 5..6, columns 3..5, 6..8 and 9.
  const std::vector<float> rows = {3.0f, 5.5f};
  const std::vector<float> cols = {4.0f, 7.0f, 9.0f};
  const auto object = Values<Complex64>(out.arrays[0]);
  const auto coverage = Values<float>(out.arrays[1]);
  for (std::size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(object[i], Complex64(rows[i / 3], cols[i % 3]));
    EXPECT_EQ(coverage[i], rows[i / 3]);
  }
  EXPECT_DOUBLE_EQ(out.header.pixel_size_y_m(), 6e-9);
  EXPECT_DOUBLE_EQ(out.header.origin_y_m(), (-20 + 2 + 1) * 2e-9);
}

TEST(Selection, MeansLeaveUncoveredPixelsOut) {
  Selection selection = Select({v1::ARRAY_KIND_OBJECT});
  selection.whole_canvas = true;
  selection.uncovered_as_nan = true;
  selection.coverage_threshold = 0.5;
  selection.downsample = 3;
  const auto object = Values<Complex64>(Prepare(MakeSnapshot(), selection, {}).arrays[0]);
  ASSERT_EQ(object.size(), 12u);
  EXPECT_TRUE(std::isnan(object[0].real()));    // Rows 0..2: none is covered.
  EXPECT_EQ(object[4], Complex64(5.0f, 1.0f));  // Rows 3..5: only row 5.
  EXPECT_EQ(object[8], Complex64(7.0f, 1.0f));  // Rows 6..8: all.
}

TEST(Selection, CutsARegionOutOfTheCanvas) {
  v1::SnapshotSelection wanted;
  for (const auto kind : {v1::ARRAY_KIND_OBJECT, v1::ARRAY_KIND_COVERAGE, v1::ARRAY_KIND_POINTS}) {
    wanted.add_arrays(kind);
  }
  v1::Region& region = *wanted.mutable_region();
  const auto cut = [&](std::uint32_t row, std::uint32_t col, std::uint32_t rows,
                       std::uint32_t cols) {
    region.set_row(row);
    region.set_col(col);
    region.mutable_shape()->set_rows(rows);
    region.mutable_shape()->set_cols(cols);
    return Prepare(MakeSnapshot(), *ParseSelection(wanted), {});
  };
  const PreparedSnapshot out = cut(4, 5, 2, 3);
  const v1::SnapshotHeader& header = out.header;
  EXPECT_THAT(header.arrays(0).shape(), testing::ElementsAre(2, 3));
  EXPECT_EQ(Values<Complex64>(out.arrays[0])[4], Complex64(5, 6)) << "row 5, column 6";
  EXPECT_THAT(Values<float>(out.arrays[1]), testing::ElementsAre(4, 4, 4, 5, 5, 5));
  EXPECT_EQ(Values<double>(out.arrays[2])[1], 2.5 - 4);
  EXPECT_DOUBLE_EQ(header.origin_y_m(), (-20 + 4) * 2e-9);
  EXPECT_DOUBLE_EQ(header.origin_x_m(), (100 + 5) * 3e-9);
  EXPECT_EQ(header.area().row(), 4u);
  EXPECT_EQ(header.area().col(), 5u);

  // What lies beyond the canvas is not there, and the header says so.
  const PreparedSnapshot edge = cut(7, 9, 100, 2'000'000'000);
  EXPECT_EQ(edge.header.area().shape().rows(), 2u);
  EXPECT_EQ(edge.header.area().shape().cols(), 2u);
  EXPECT_EQ(Values<Complex64>(edge.arrays[0]).back(), Complex64(8, 10));
  const PreparedSnapshot beside = cut(0, 2'000'000'000, 3, 3);
  EXPECT_EQ(beside.header.area().shape().cols(), 0u);
  EXPECT_TRUE(beside.arrays[0].bytes.empty());

  wanted.set_downsample(2);
  EXPECT_THAT(cut(4, 5, 3, 3).header.arrays(0).shape(), testing::ElementsAre(2, 2));
}

TEST(Selection, ARegionHasPixelsAndStandsAlone) {
  v1::SnapshotSelection selection;
  selection.mutable_region()->set_row(1u << 31);
  selection.set_area(v1::OBJECT_AREA_CANVAS);
  const auto parsed = ParseSelection(selection);
  ASSERT_EQ(parsed.status().code(), absl::StatusCode::kInvalidArgument);
  for (const char* field : {"selection.region.row", "selection.region.shape.rows",
                            "selection.region.shape.cols", "selection.region:"}) {
    EXPECT_THAT(std::string(parsed.status().message()), testing::HasSubstr(field));
  }
}

TEST(Selection, PointsAreRelativeToWhatIsSentAtFullResolution) {
  Selection selection = Select({v1::ARRAY_KIND_POINTS});
  selection.downsample = 2;
  const auto points = Values<double>(Prepare(MakeSnapshot(), selection, {}).arrays[0]);
  EXPECT_THAT(points, testing::ElementsAre(7, 0.5, 0.25, 0.5, -0.25, 1.5, 0.125, 2, 12));
}

TEST(Selection, AProbeThatVariesComesWithComponentsAndCoefficients) {
  const Selection selection = Select({v1::ARRAY_KIND_POINTS, v1::ARRAY_KIND_PROBE_COMPONENTS});
  const PreparedSnapshot without = Prepare(MakeSnapshot(), selection, {});
  EXPECT_THAT(without.header.arrays(0).shape(), testing::ElementsAre(1, 9));
  EXPECT_THAT(without.header.arrays(1).shape(), testing::ElementsAre(0, 0, 0, 0));
  EXPECT_TRUE(without.arrays[1].bytes.empty());

  auto snapshot = std::make_shared<Snapshot>(*MakeSnapshot());
  snapshot->points[0].refined.variation = {0.25f, -0.5f};
  const ComplexStack& probe = snapshot->probe;
  snapshot->probe_components =
      std::make_shared<ComplexStack>(2 * probe.modes, probe.shape, Complex64(3, 4));
  const PreparedSnapshot with = Prepare(snapshot, selection, {});
  EXPECT_THAT(with.header.arrays(0).shape(), testing::ElementsAre(1, 11));
  EXPECT_THAT(
      Values<double>(with.arrays[0]),
      testing::ElementsAre(7, testing::_, testing::_, 0.5, -0.25, 1.5, 0.125, 2, 12, 0.25, -0.5));
  EXPECT_THAT(with.header.arrays(1).shape(),
              testing::ElementsAre(2, probe.modes, probe.shape.rows, probe.shape.cols));
  EXPECT_EQ(Values<Complex64>(with.arrays[1]), snapshot->probe_components->data);
}

TEST(Selection, ModesOfTheObjectAreCutAsTheObjectIs) {
  Selection selection = Select({v1::ARRAY_KIND_OBJECT, v1::ARRAY_KIND_OBJECT_MODES});
  const PreparedSnapshot one = Prepare(MakeSnapshot(), selection, {});
  EXPECT_THAT(one.header.arrays(1).shape(), testing::ElementsAre(0, 0, 0));
  EXPECT_TRUE(one.arrays[1].bytes.empty());

  auto snapshot = std::make_shared<Snapshot>(*MakeSnapshot());
  const auto pixels = static_cast<std::size_t>(snapshot->object.shape.pixels());
  snapshot->object.modes = 2;
  for (std::size_t i = 0; i < pixels; ++i) {
    snapshot->object.data.push_back(2.0f * snapshot->object.data[i]);
  }
  for (const bool whole : {false, true}) {
    for (const bool nan : {false, true}) {
      selection.whole_canvas = whole;
      selection.uncovered_as_nan = nan;
      const PreparedSnapshot with = Prepare(snapshot, selection, {});
      const auto object = Values<Complex64>(with.arrays[0]);
      const auto modes = Values<Complex64>(with.arrays[1]);
      const auto& shape = with.header.arrays(0).shape();
      EXPECT_EQ(static_cast<std::int64_t>(object.size()), shape[0] * shape[1]);
      EXPECT_THAT(with.header.arrays(1).shape(), testing::ElementsAre(2, shape[0], shape[1]));
      ASSERT_EQ(modes.size(), 2 * object.size());
      for (std::size_t i = 0; i < object.size(); ++i) {
        if (std::isnan(object[i].real())) {
          EXPECT_TRUE(std::isnan(modes[i].real()) && std::isnan(modes[object.size() + i].real()));
        } else {
          EXPECT_EQ(modes[i], object[i]);
          EXPECT_EQ(modes[object.size() + i], 2.0f * object[i]);
        }
      }
    }
  }
}

TEST(Selection, HistoryHasItsColumnsInOrder) {
  IterationRecord record;
  record.iteration = 3;
  record.active_points = 5;
  record.elapsed_s = 8;
  record.metrics = {.r_factor = 0.1,
                    .fourier_error = 0.2,
                    .object_change = 0.3,
                    .probe_change = 0.4,
                    .step = 0.5};
  record.evaluation = {
      .iteration = 3, .fit = {.poisson_nll = 1.25}, .held_out = FitMetrics{.poisson_nll = 1.75}};
  const auto history =
      Values<double>(Prepare(MakeSnapshot(), Select({v1::ARRAY_KIND_HISTORY}), {record}).arrays[0]);
  EXPECT_THAT(history, testing::ElementsAre(3, 5, 0.1, 0.2, 0.3, 0.4, 0.5, 8, 1.25, 1.75));
  record.evaluation.reset();
  const auto without =
      Values<double>(Prepare(MakeSnapshot(), Select({v1::ARRAY_KIND_HISTORY}), {record}).arrays[0]);
  EXPECT_TRUE(std::isnan(without[8]) && std::isnan(without[9]));
}

TEST(Selection, EachWrongFieldIsNamed) {
  v1::SnapshotSelection selection;
  selection.add_arrays(v1::ARRAY_KIND_OBJECT);
  selection.add_arrays(v1::ARRAY_KIND_OBJECT);
  selection.set_downsample(65);
  selection.set_coverage_threshold(std::nan(""));
  selection.set_area(static_cast<v1::ObjectArea>(9));
  const auto parsed = ParseSelection(selection);
  ASSERT_EQ(parsed.status().code(), absl::StatusCode::kInvalidArgument);
  const std::string message(parsed.status().message());
  for (const char* field : {"arrays[1]", "downsample", "coverage_threshold", "area"}) {
    EXPECT_THAT(message, testing::HasSubstr(field));
  }
  EXPECT_TRUE(ParseSelection({}).ok());
}

TEST(SnapshotCursor, ChunksJoinToTheArrays) {
  auto big = std::make_shared<Snapshot>(*MakeSnapshot());
  constexpr int kSide = 512;  // 2 MiB of object, a little less of it scanned.
  big->canvas = {0, 0, {kSide, kSide}};
  big->scanned = {0, 0, {kSide, kSide - 1}};
  big->object = ComplexStack(1, big->canvas.shape);
  for (std::size_t i = 0; i < big->object.data.size(); ++i) {
    big->object.data[i] = {static_cast<float>(i), 0.0f};
  }
  const Selection selection = Select({v1::ARRAY_KIND_OBJECT, v1::ARRAY_KIND_PROBE});
  const PreparedSnapshot expected = Prepare(big, selection, {});
  SnapshotCursor cursor(Prepare(big, selection, {}));
  v1::SnapshotChunk chunk;
  ASSERT_TRUE(cursor.Next(chunk));
  ASSERT_TRUE(chunk.has_header());
  std::vector<std::string> arrays(2);
  for (chunk.Clear(); cursor.Next(chunk); chunk.Clear()) {
    ASSERT_TRUE(chunk.has_data());
    EXPECT_LE(chunk.data().data().size(), 1u << 20);
    std::string& array = arrays.at(chunk.data().array());
    EXPECT_EQ(chunk.data().offset(), static_cast<std::int64_t>(array.size()));
    array += chunk.data().data();
  }
  for (std::size_t i = 0; i < 2; ++i) {
    const auto bytes = expected.arrays[i].bytes;
    EXPECT_EQ(arrays[i], std::string(bytes.begin(), bytes.end()));
    EXPECT_EQ(static_cast<std::int64_t>(arrays[i].size()),
              expected.header.arrays(static_cast<int>(i)).bytes());
  }
}

}  // namespace
}  // namespace ptychoserve::server
