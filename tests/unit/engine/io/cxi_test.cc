#include "engine/io/cxi.h"

#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <thread>

#include "engine/io/cxi_mask.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ptychoserve {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string TempPath(const std::string& name) {
  return testing::TempDir() + "ptychoserve_cxi_" + name;
}

ComplexStack Ramp(int modes, Shape shape) {
  ComplexStack stack(modes, shape);
  for (std::size_t i = 0; i < stack.data.size(); ++i) {
    stack.data[i] = Complex64(static_cast<float>(i) + 0.25f, -static_cast<float>(i));
  }
  return stack;
}

CxiScanInfo SmallScan() {
  CxiScanInfo info;
  info.frames = 5;
  info.frame_shape = {4, 6};
  info.dtype = DataType::kU16;
  info.wavelength_m = 1.5e-10;
  info.distance_m = 2.5;
  info.detector_pixel_size_y_m = 75e-6;
  info.detector_pixel_size_x_m = 50e-6;
  info.bad_pixels.assign(24, 0);
  info.bad_pixels[7] = 1;
  for (int j = 0; j < 5; ++j) {
    info.x_m.push_back(1e-6 * j);
    info.y_m.push_back(-2e-6 * j);
  }
  info.title = "five small frames, µm";
  return info;
}

std::vector<std::uint16_t> SmallFrames() {
  std::vector<std::uint16_t> frames(5 * 24);
  for (std::size_t i = 0; i < frames.size(); ++i) frames[i] = static_cast<std::uint16_t>(i * 521);
  return frames;
}

void WriteSmallScan(const std::string& path, const CxiScanInfo& info) {
  const std::vector<std::uint16_t> frames = SmallFrames();
  auto writer = CxiScanWriter::Create(path, info);
  ASSERT_TRUE(writer.ok()) << writer.status();
  const auto bytes = std::as_bytes(std::span(frames));
  ASSERT_TRUE((*writer)->Append(bytes.subspan(0, 2 * 48), 2).ok());
  ASSERT_TRUE((*writer)->Append(bytes.subspan(2 * 48), 3).ok());
  ASSERT_TRUE((*writer)->WriteInitialProbe(Ramp(1, {4, 6})).ok());
  const absl::Status closed = (*writer)->Close();
  ASSERT_TRUE(closed.ok()) << closed;
}

TEST(CxiScan, RoundTrip) {
  const std::string path = TempPath("scan.cxi");
  CxiScanInfo info = SmallScan();
  info.true_object = Ramp(1, {9, 8});
  info.true_probe = Ramp(2, {4, 6});
  info.true_object_row = -3;
  info.true_object_col = 12;
  info.near_field = NearFieldConfig{.source_to_sample_m = 0.25};
  WriteSmallScan(path, info);

  auto reader = CxiScanReader::Open(path);
  ASSERT_TRUE(reader.ok()) << reader.status();
  const CxiScanInfo& read = (*reader)->info();
  EXPECT_EQ(read.frames, 5);
  EXPECT_EQ(read.frame_shape, info.frame_shape);
  EXPECT_EQ(read.dtype, DataType::kU16);
  EXPECT_EQ(read.wavelength_m, info.wavelength_m);
  EXPECT_EQ(read.distance_m, info.distance_m);
  EXPECT_EQ(read.detector_pixel_size_y_m, info.detector_pixel_size_y_m);
  EXPECT_EQ(read.detector_pixel_size_x_m, info.detector_pixel_size_x_m);
  EXPECT_EQ(read.bad_pixels, info.bad_pixels);
  EXPECT_EQ(read.x_m, info.x_m);
  EXPECT_EQ(read.y_m, info.y_m);
  EXPECT_EQ(read.title, info.title);
  ASSERT_TRUE(read.true_object.has_value());
  EXPECT_EQ(read.true_object->modes, 1);
  EXPECT_EQ(read.true_object->shape, (Shape{9, 8}));
  EXPECT_EQ(read.true_object->data, info.true_object->data);
  ASSERT_TRUE(read.true_probe.has_value());
  EXPECT_EQ(read.true_probe->modes, 2);
  EXPECT_EQ(read.true_probe->data, info.true_probe->data);
  EXPECT_EQ(read.true_object_row, -3);
  EXPECT_EQ(read.true_object_col, 12);
  ASSERT_TRUE(read.near_field.has_value());
  EXPECT_EQ(read.near_field->source_to_sample_m, 0.25);
  EXPECT_EQ(read.orientation, Orientation::kIdentity);
  EXPECT_THAT(read.notes, IsEmpty()) << read.notes[0];

  const std::vector<std::uint16_t> frames = SmallFrames();
  std::vector<std::uint16_t> out(3 * 24);
  ASSERT_TRUE((*reader)->ReadFrames(1, 3, std::as_writable_bytes(std::span(out))).ok());
  EXPECT_TRUE(std::equal(out.begin(), out.end(), frames.begin() + 24));

  const auto probe = ReadHdf5Complex(path, "/entry_1/instrument_1/initial_probe");
  ASSERT_TRUE(probe.ok()) << probe.status();
  EXPECT_EQ(probe->data, Ramp(1, {4, 6}).data);
  EXPECT_TRUE(ReadHdf5Complex(path, "entry_1/instrument_1/initial_probe").ok());
}

TEST(CxiScan, FloatFramesKeepTheirBits) {
  const std::string path = TempPath("float.cxi");
  CxiScanInfo info = SmallScan();
  info.dtype = DataType::kF32;
  info.bad_pixels.clear();
  std::vector<float> frames(5 * 24);
  for (std::size_t i = 0; i < frames.size(); ++i) frames[i] = 0.1f * static_cast<float>(i);
  auto writer = CxiScanWriter::Create(path, info);
  ASSERT_TRUE(writer.ok()) << writer.status();
  ASSERT_TRUE((*writer)->Append(std::as_bytes(std::span(frames)), 5).ok());
  ASSERT_TRUE((*writer)->Close().ok());

  auto reader = CxiScanReader::Open(path);
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ((*reader)->info().dtype, DataType::kF32);
  EXPECT_TRUE((*reader)->info().bad_pixels.empty());
  EXPECT_FALSE((*reader)->info().true_object.has_value());
  std::vector<float> out(frames.size());
  ASSERT_TRUE((*reader)->ReadFrames(0, 5, std::as_writable_bytes(std::span(out))).ok());
  EXPECT_EQ(out, frames);
}

TEST(CxiScan, NearFieldOfAParallelBeamIsNoFarField) {
  const std::string path = TempPath("parallel.cxi");
  CxiScanInfo info = SmallScan();
  WriteSmallScan(path, info);
  EXPECT_FALSE(CxiScanReader::Open(path).value()->info().near_field.has_value());
  info.near_field.emplace();
  WriteSmallScan(path, info);
  const auto reader = CxiScanReader::Open(path);
  ASSERT_TRUE(reader.ok()) << reader.status();
  ASSERT_TRUE((*reader)->info().near_field.has_value());
  EXPECT_FALSE((*reader)->info().near_field->source_to_sample_m.has_value());
}

TEST(CxiScan, FloatsThatAreNoCountsAreChangedAndCounted) {
  const std::string path = TempPath("no_counts.cxi");
  CxiScanInfo info = SmallScan();
  info.dtype = DataType::kF32;
  std::vector<float> frames(5 * 24, 1.5f);
  frames[3] = -0.25f;
  frames[30] = std::numeric_limits<float>::quiet_NaN();
  frames[31] = std::numeric_limits<float>::infinity();
  frames[32] = -std::numeric_limits<float>::infinity();
  auto writer = CxiScanWriter::Create(path, info);
  ASSERT_TRUE(writer.ok()) << writer.status();
  ASSERT_TRUE((*writer)->Append(std::as_bytes(std::span(frames)), 5).ok());
  ASSERT_TRUE((*writer)->Close().ok());

  auto reader = CxiScanReader::Open(path);
  ASSERT_TRUE(reader.ok()) << reader.status();
  std::vector<float> out(frames.size());
  ASSERT_TRUE((*reader)->ReadFrames(0, 5, std::as_writable_bytes(std::span(out))).ok());
  frames[3] = 0;
  frames[30] = frames[31] = frames[32] = std::numeric_limits<float>::max();
  EXPECT_EQ(out, frames);
  EXPECT_EQ((*reader)->changes().negative, 1);
  EXPECT_EQ((*reader)->changes().untrusted, 3);
}

TEST(CxiMask, BitsThatOnlySaySomethingMakeNoBadPixel) {
  for (const std::uint32_t bits : {0u, 0x20u, 0x800u, 0x1000u, 0x2000u, 0x4000u, 0x6820u}) {
    EXPECT_FALSE(IsBadPixel(bits)) << bits;
  }
  for (const std::uint32_t bits :
       {0x1u, 0x2u, 0x4u, 0x8u, 0x10u, 0x40u, 0x80u, 0x100u, 0x200u, 0x400u, 0x1800u, 0x1001u,
        0x8000u, 0x10000u, 0x80000000u, 0x821u}) {
    EXPECT_TRUE(IsBadPixel(bits)) << bits;
  }
}

TEST(CxiScan, ReadingOutsideOfTheScanIsRefused) {
  const std::string path = TempPath("range.cxi");
  WriteSmallScan(path, SmallScan());
  auto reader = CxiScanReader::Open(path);
  ASSERT_TRUE(reader.ok()) << reader.status();
  std::vector<std::byte> out(2 * 48);
  for (const auto& [first, count] : {std::pair{4, 2}, {-1, 2}, {0, 0}, {5, 1}, {0, 3}}) {
    EXPECT_EQ((*reader)->ReadFrames(first, count, out).code(), absl::StatusCode::kOutOfRange)
        << first << " " << count;
  }
  EXPECT_TRUE((*reader)->ReadFrames(3, 2, out).ok());
}

TEST(CxiScan, IncompleteScanIsAnErrorAndLeavesTheOldFile) {
  const std::string path = TempPath("incomplete.cxi");
  WriteSmallScan(path, SmallScan());
  const std::vector<std::uint16_t> frames = SmallFrames();
  {
    CxiScanInfo other = SmallScan();
    other.title = "other";
    auto writer = CxiScanWriter::Create(path, other);
    ASSERT_TRUE(writer.ok()) << writer.status();
    const auto bytes = std::as_bytes(std::span(frames));
    ASSERT_TRUE((*writer)->Append(bytes.subspan(0, 2 * 48), 2).ok());
    EXPECT_EQ((*writer)->Append(bytes.subspan(0, 4 * 48), 4).code(), absl::StatusCode::kOutOfRange);
    EXPECT_EQ((*writer)->Append(bytes.subspan(0, 47), 1).code(),
              absl::StatusCode::kInvalidArgument);
    const absl::Status status = (*writer)->Close();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(status.message()), HasSubstr("2 of 5"));
    EXPECT_EQ((*writer)->Close().code(), absl::StatusCode::kFailedPrecondition);
  }
  EXPECT_EQ(CxiScanReader::Open(path).value()->info().title, SmallScan().title);
  EXPECT_FALSE(std::filesystem::exists(path + ".part"));
}

TEST(CxiScan, ContradictoryInfoIsRefused) {
  const std::string path = TempPath("contradictory.cxi");
  CxiScanInfo info = SmallScan();
  info.x_m.pop_back();
  EXPECT_THAT(std::string(CxiScanWriter::Create(path, info).status().message()),
              HasSubstr("4 x and 5 y for 5 frames"));
  info = SmallScan();
  info.bad_pixels.pop_back();
  EXPECT_THAT(std::string(CxiScanWriter::Create(path, info).status().message()),
              HasSubstr("23 values in the mask"));
}

TEST(CxiScan, TruncatedForeignAndAbsentFiles) {
  const std::string path = TempPath("truncated.cxi");
  WriteSmallScan(path, SmallScan());
  std::filesystem::resize_file(path, std::filesystem::file_size(path) / 2);
  const absl::Status truncated = CxiScanReader::Open(path).status();
  EXPECT_EQ(truncated.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(truncated.message()), HasSubstr("truncated"));
  EXPECT_THAT(std::string(truncated.message()), HasSubstr(path));

  std::ofstream(path) << "no HDF5 here";
  const absl::Status foreign = CxiScanReader::Open(path).status();
  EXPECT_EQ(foreign.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(foreign.message()), HasSubstr("cannot be opened as HDF5"));

  EXPECT_EQ(CxiScanReader::Open(TempPath("absent.cxi")).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(CxiScanWriter::Create(TempPath("absent/x.cxi"), SmallScan()).status().code(),
            absl::StatusCode::kInternal);
}

TEST(CxiScan, ComplexDatasetThatIsNotThereOrNotComplex) {
  const std::string path = TempPath("complex.cxi");
  WriteSmallScan(path, SmallScan());
  const absl::Status absent = ReadHdf5Complex(path, "/entry_1/nothing/probe").status();
  EXPECT_EQ(absent.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(absent.message()), HasSubstr("/entry_1/nothing/probe: missing"));
  const absl::Status scalar =
      ReadHdf5Complex(path, "/entry_1/instrument_1/detector_1/distance").status();
  EXPECT_THAT(std::string(scalar.message()), HasSubstr("(rows, cols)"));
  const absl::Status group = ReadHdf5Complex(path, "/entry_1/instrument_1").status();
  EXPECT_EQ(group.code(), absl::StatusCode::kInvalidArgument);
}

CxiResult SmallResult() {
  CxiResult result;
  result.object = Ramp(1, {7, 9});
  result.probe = Ramp(3, {4, 4});
  result.mode_powers = {0.6, 0.3, 0.1};
  result.coverage = {{7, 9}, std::vector<float>(63, 2.5f)};
  result.pixel_size_y_m = 1e-8;
  result.pixel_size_x_m = 2e-8;
  result.origin_y_m = -1e-6;
  result.origin_x_m = 3e-6;
  result.wavelength_m = 1e-10;
  result.frame_ids = {2, 5};
  result.window_row = {0.5, 1.25};
  result.window_col = {2, 3.75};
  result.r_factor = {0.125, 0.25};
  result.poisson_nll = {1.5, 2};
  result.metric_names = {"iteration", "r_factor", "object_change"};
  result.metrics = {1, 0.5, 0.1, 2, 0.25, 0.05};
  result.ring_correlation = {1, 0.75, 0.5, 0.25};
  result.half_bit_resolution_m = 2.5e-8;
  result.config_json = "{\"optics\": {}}";
  result.session_json = "{}";
  return result;
}

TEST(CxiResult, RoundTrip) {
  const std::string path = TempPath("result.cxi");
  const CxiResult written = SmallResult();
  const absl::Status status = WriteCxiResult(path, written);
  ASSERT_TRUE(status.ok()) << status;
  const auto read = ReadCxiResult(path);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->object.modes, 1);
  EXPECT_EQ(read->object.shape, written.object.shape);
  EXPECT_EQ(read->object.data, written.object.data);
  EXPECT_EQ(read->probe.modes, 3);
  EXPECT_EQ(read->probe.data, written.probe.data);
  EXPECT_EQ(read->mode_powers, written.mode_powers);
  EXPECT_EQ(read->coverage.shape, written.coverage.shape);
  EXPECT_EQ(read->coverage.data, written.coverage.data);
  EXPECT_EQ(read->pixel_size_y_m, written.pixel_size_y_m);
  EXPECT_EQ(read->pixel_size_x_m, written.pixel_size_x_m);
  EXPECT_EQ(read->origin_y_m, written.origin_y_m);
  EXPECT_EQ(read->origin_x_m, written.origin_x_m);
  EXPECT_EQ(read->wavelength_m, written.wavelength_m);
  EXPECT_EQ(read->frame_ids, written.frame_ids);
  EXPECT_EQ(read->window_row, written.window_row);
  EXPECT_EQ(read->window_col, written.window_col);
  EXPECT_EQ(read->r_factor, written.r_factor);
  EXPECT_EQ(read->poisson_nll, written.poisson_nll);
  EXPECT_EQ(read->metric_names, written.metric_names);
  EXPECT_EQ(read->metrics, written.metrics);
  EXPECT_EQ(read->ring_correlation, written.ring_correlation);
  EXPECT_EQ(read->half_bit_resolution_m, written.half_bit_resolution_m);
  EXPECT_EQ(read->config_json, written.config_json);
  EXPECT_EQ(read->session_json, written.session_json);
}

TEST(CxiResult, ModesOfTheObjectAreImagesOfTheSamePlace) {
  const std::string path = TempPath("modes_result.cxi");
  CxiResult written = SmallResult();
  written.object = Ramp(3, {7, 9});
  written.object_mode_powers = {0.7, 0.2, 0.1};
  const absl::Status status = WriteCxiResult(path, written);
  ASSERT_TRUE(status.ok()) << status;
  const auto read = ReadCxiResult(path);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->object.modes, 3);
  EXPECT_EQ(read->object.data, written.object.data);
  EXPECT_EQ(read->object_mode_powers, written.object_mode_powers);
  const auto third = ReadHdf5Complex(path, "/entry_1/image_3/data");
  ASSERT_TRUE(third.ok()) << third.status();
  EXPECT_EQ(third->shape, written.object.shape);
  EXPECT_EQ(third->data, std::vector(written.object.data.end() - 63, written.object.data.end()));
}

TEST(CxiResult, WithoutFramesCoverageAndMetrics) {
  const std::string path = TempPath("empty_result.cxi");
  CxiResult result = SmallResult();
  result.frame_ids.clear();
  result.window_row.clear();
  result.window_col.clear();
  result.r_factor.clear();
  result.poisson_nll.clear();
  result.coverage = {};
  result.metrics.clear();
  ASSERT_TRUE(WriteCxiResult(path, result).ok());
  const auto read = ReadCxiResult(path);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_TRUE(read->frame_ids.empty());
  EXPECT_TRUE(read->coverage.data.empty());
  EXPECT_TRUE(read->metrics.empty());
  EXPECT_EQ(read->metric_names, result.metric_names);
}

TEST(CxiResult, ContradictoryResultIsRefusedAndNothingIsLeft) {
  const std::string path = TempPath("bad_result.cxi");
  CxiResult result = SmallResult();
  result.window_col.pop_back();
  EXPECT_EQ(WriteCxiResult(path, result).code(), absl::StatusCode::kInvalidArgument);
  result = SmallResult();
  result.metrics.pop_back();
  EXPECT_EQ(WriteCxiResult(path, result).code(), absl::StatusCode::kInvalidArgument);
  result = SmallResult();
  result.object.data.pop_back();
  EXPECT_THAT(std::string(WriteCxiResult(path, result).message()),
              HasSubstr("/entry_1/image_1/data"));
  EXPECT_FALSE(std::filesystem::exists(path));
  EXPECT_FALSE(std::filesystem::exists(path + ".part"));
}

TEST(CxiResult, ScanIsNotTakenForAResult) {
  const std::string path = TempPath("scan_not_result.cxi");
  WriteSmallScan(path, SmallScan());
  const absl::Status status = ReadCxiResult(path).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("/entry_1/image_1/data: missing"));
}

// The HDF5 library of the distributions is not thread-safe; ours must be, file by file.
TEST(CxiResult, ManyThreadsWriteAndReadTheirOwnFiles) {
  constexpr int kThreads = 4, kRounds = 10;
  std::vector<int> good(kThreads, 0);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([t, &good] {
      const std::string path = TempPath("thread_" + std::to_string(t) + ".cxi");
      CxiResult result = SmallResult();
      result.frame_ids[0] = t;
      for (int round = 0; round < kRounds; ++round) {
        if (!WriteCxiResult(path, result).ok()) continue;
        const auto read = ReadCxiResult(path);
        if (read.ok() && read->frame_ids[0] == t) ++good[static_cast<std::size_t>(t)];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(good, ElementsAre(kRounds, kRounds, kRounds, kRounds));
}

}  // namespace
}  // namespace ptychoserve
