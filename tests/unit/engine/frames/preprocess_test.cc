#include "engine/frames/preprocess.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "engine/scan/orientation.h"
#include "gtest/gtest.h"

namespace ptychoserve {
namespace {

using Counts = std::vector<double>;

DetectorConfig Detector(Shape shape, DataType dtype) {
  DetectorConfig detector;
  detector.frame_shape = shape;
  detector.dtype = dtype;
  return detector;
}

template <typename T>
void Append(double value, std::vector<std::byte>* out) {
  const T typed = static_cast<T>(value);
  const auto* bytes = reinterpret_cast<const std::byte*>(&typed);
  out->insert(out->end(), bytes, bytes + sizeof(T));
}

// The frame as the detector sends it.
std::vector<std::byte> Raw(const Counts& counts, DataType dtype) {
  std::vector<std::byte> out;
  for (const double c : counts) {
    switch (dtype) {
      case DataType::kU8:
        Append<std::uint8_t>(c, &out);
        break;
      case DataType::kU16:
        Append<std::uint16_t>(c, &out);
        break;
      case DataType::kU32:
        Append<std::uint32_t>(c, &out);
        break;
      case DataType::kF32:
        Append<float>(c, &out);
        break;
    }
  }
  return out;
}

constexpr double kUnmeasured = -1;  // In what Prepare returns, for either storage.

struct Prepared {
  Counts pixels;
  FramePreprocessor::Result result;
};

// However the bytes lie in memory, the result is that of bytes in one piece.
void ExpectSameInPieces(const FramePreprocessor& preprocessor, std::span<const std::byte> raw,
                        const FramePreprocessor::Result& expected,
                        const std::vector<std::byte>& expected_out) {
  for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, raw.size() / 2 + 1}) {
    ByteChain chain;
    for (std::size_t begin = 0; begin < raw.size(); begin += piece) {
      chain.Append(raw.subspan(begin, std::min(piece, raw.size() - begin)));
    }
    std::vector<std::byte> out(expected_out.size());
    const FramePreprocessor::Result result = preprocessor.Run(chain, out);
    ASSERT_EQ(result.finite, expected.finite);
    ASSERT_EQ(result.bad_row, expected.bad_row);
    ASSERT_EQ(result.bad_col, expected.bad_col);
    if (!result.finite) continue;
    ASSERT_EQ(result.untrusted_pixels, expected.untrusted_pixels);
    ASSERT_EQ(result.empty, expected.empty);
    ASSERT_TRUE(out == expected_out) << "pieces of " << piece;
  }
}

Prepared Prepare(const DetectorConfig& detector, const Region& crop, const Counts& counts) {
  const FramePreprocessor preprocessor(detector, crop);
  std::vector<std::byte> raw = Raw(counts, detector.dtype);
  EXPECT_EQ(preprocessor.raw_bytes(), static_cast<std::int64_t>(raw.size()));
  raw.insert(raw.begin(), std::byte{0});  // An odd address, as in a message.
  std::vector<std::byte> out(static_cast<std::size_t>(preprocessor.engine_bytes()));
  Prepared prepared;
  prepared.result = preprocessor.Run(std::span(raw).subspan(1), out);
  ExpectSameInPieces(preprocessor, std::span(raw).subspan(1), prepared.result, out);
  const bool u16 = StorageFor(detector) == FrameStorage::kU16;
  for (std::int64_t i = 0; i < crop.shape.pixels(); ++i) {
    if (u16) {
      std::uint16_t v;
      std::memcpy(&v, out.data() + 2 * i, sizeof(v));
      prepared.pixels.push_back(v == kUnmeasuredU16 ? kUnmeasured : v);
    } else {
      float v;
      std::memcpy(&v, out.data() + 4 * i, sizeof(v));
      prepared.pixels.push_back(v == kUnmeasuredF32 ? kUnmeasured : v);
    }
  }
  return prepared;
}

Region Whole(const DetectorConfig& detector) {
  return {0, 0, OrientedShape(detector.frame_shape, detector.orientation)};
}

Counts RandomCounts(Shape shape, int max, unsigned seed = 1) {
  std::mt19937 random(seed);
  std::uniform_int_distribution<int> count(0, max);
  Counts counts(static_cast<std::size_t>(shape.pixels()));
  for (double& c : counts) c = count(random);
  return counts;
}

// The steps one after the other, as they are described: orientation, crop, marks, shift.
Counts StepByStep(const DetectorConfig& detector, const Region& crop, const Counts& counts) {
  const OrientedIndex index = IndexFor(detector.frame_shape, detector.orientation);
  const double saturation =
      detector.saturation_counts.value_or(detector.dtype == DataType::kU8    ? 255.0
                                          : detector.dtype == DataType::kU16 ? 65535.0
                                          : detector.dtype == DataType::kU32 ? 4294967295.0
                                                                             : 1e300);
  const double hot = detector.hot_pixel_counts.value_or(1e300);
  const int shift_rows = detector.beam_at_corner ? 0 : crop.shape.rows / 2;
  const int shift_cols = detector.beam_at_corner ? 0 : crop.shape.cols / 2;
  Counts out(static_cast<std::size_t>(crop.shape.pixels()));
  for (int r = 0; r < crop.shape.rows; ++r) {
    for (int c = 0; c < crop.shape.cols; ++c) {
      const auto source = static_cast<std::size_t>(index.start + (crop.row + r) * index.row_step +
                                                   (crop.col + c) * index.col_step);
      const bool bad = !detector.bad_pixels.empty() && detector.bad_pixels[source] != 0;
      const bool trusted = !bad && counts[source] < saturation && counts[source] <= hot;
      const int row = (r - shift_rows + crop.shape.rows) % crop.shape.rows;
      const int col = (c - shift_cols + crop.shape.cols) % crop.shape.cols;
      out[static_cast<std::size_t>(row * crop.shape.cols + col)] =
          trusted ? counts[source] : kUnmeasured;
    }
  }
  return out;
}

class PreprocessTest : public testing::TestWithParam<std::tuple<DataType, Orientation>> {};

TEST_P(PreprocessTest, AgreesWithTheStepsOneByOne) {
  const auto [dtype, orientation] = GetParam();
  DetectorConfig detector = Detector({24, 37}, dtype);
  detector.orientation = orientation;
  const Counts counts = RandomCounts(detector.frame_shape, 255);
  const Region crop{3, 5, {16, 12}};
  std::mt19937 random(2);
  for (const bool corner : {false, true}) {
    for (const bool masked : {false, true}) {
      for (const bool limited : {false, true}) {
        detector.beam_at_corner = corner;
        detector.bad_pixels.clear();
        if (masked) {
          for (std::int64_t i = 0; i < detector.frame_shape.pixels(); ++i) {
            detector.bad_pixels.push_back(random() % 5 == 0);
          }
        }
        detector.saturation_counts.reset();
        detector.hot_pixel_counts.reset();
        if (limited) {
          detector.saturation_counts = 200;
          detector.hot_pixel_counts = 180.5;
        }
        const Prepared prepared = Prepare(detector, crop, counts);
        EXPECT_EQ(prepared.pixels, StepByStep(detector, crop, counts))
            << corner << masked << limited;
        EXPECT_TRUE(prepared.result.finite);
        EXPECT_FALSE(prepared.result.empty);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, PreprocessTest,
                         testing::Combine(testing::Values(DataType::kU8, DataType::kU16,
                                                          DataType::kU32, DataType::kF32),
                                          testing::ValuesIn(kAllOrientations)));

TEST(BeamPositionTest, CentreAndCornerGiveTheSameEngineFrame) {
  DetectorConfig detector = Detector({10, 12}, DataType::kU16);
  const Counts centred = RandomCounts(detector.frame_shape, 60000);
  // The same measurement with its beam at [0, 0].
  Counts cornered(centred.size());
  for (int r = 0; r < 10; ++r) {
    for (int c = 0; c < 12; ++c) {
      cornered[static_cast<std::size_t>(((r + 5) % 10) * 12 + (c + 6) % 12)] =
          centred[static_cast<std::size_t>(r * 12 + c)];
    }
  }
  const Prepared from_centre = Prepare(detector, Whole(detector), centred);
  detector.beam_at_corner = true;
  const Prepared from_corner = Prepare(detector, Whole(detector), cornered);
  EXPECT_EQ(from_centre.pixels, from_corner.pixels);
  EXPECT_EQ(from_centre.pixels[0], centred[5 * 12 + 6]);
}

TEST(NearFieldFrameTest, StaysAsItIs) {
  DetectorConfig detector = Detector({10, 12}, DataType::kU16);
  const Counts counts = RandomCounts({10, 12}, 1000);
  const FramePreprocessor preprocessor(detector, {2, 4, {8, 8}}, /*near_field=*/true);
  std::vector<std::byte> out(static_cast<std::size_t>(preprocessor.engine_bytes()));
  ASSERT_TRUE(preprocessor.Run(Raw(counts, detector.dtype), out).finite);
  for (int r = 0; r < 8; ++r) {
    for (int c = 0; c < 8; ++c) {
      std::uint16_t v;
      std::memcpy(&v, out.data() + 2 * (r * 8 + c), sizeof(v));
      EXPECT_EQ(v, counts[static_cast<std::size_t>((r + 2) * 12 + c + 4)]);
    }
  }
}

TEST(UntrustedTest, HotMeansStrictlyAbove) {
  DetectorConfig detector = Detector({8, 8}, DataType::kU16);
  detector.beam_at_corner = true;
  detector.hot_pixel_counts = 100;
  Counts counts(64, 7);
  counts[3] = 100;
  counts[4] = 101;
  const Prepared prepared = Prepare(detector, Whole(detector), counts);
  EXPECT_EQ(prepared.pixels[3], 100);
  EXPECT_EQ(prepared.pixels[4], kUnmeasured);
  EXPECT_EQ(prepared.result.untrusted_pixels, 1);
}

TEST(UntrustedTest, SaturatedMeansAtLeast) {
  DetectorConfig detector = Detector({8, 8}, DataType::kU32);
  detector.beam_at_corner = true;
  detector.saturation_counts = 100;
  Counts counts(64, 7);
  counts[3] = 99;
  counts[4] = 100;
  const Prepared prepared = Prepare(detector, Whole(detector), counts);
  EXPECT_EQ(prepared.pixels[3], 99);
  EXPECT_EQ(prepared.pixels[4], kUnmeasured);
}

TEST(UntrustedTest, LargestValueOfEachType) {
  constexpr float kLargestFloat = std::numeric_limits<float>::max();
  for (const auto& [dtype, largest, next] :
       {std::tuple(DataType::kU8, 255.0, 254.0),
        {DataType::kU16, 65535.0, 65534.0},
        {DataType::kU32, 4294967295.0, 4294967294.0},
        {DataType::kF32, static_cast<double>(kLargestFloat),
         static_cast<double>(std::nextafter(kLargestFloat, 0.0f))}}) {
    DetectorConfig detector = Detector({8, 8}, dtype);
    detector.beam_at_corner = true;
    Counts counts(64, 7);
    counts[0] = largest;
    counts[1] = next;
    const Prepared prepared = Prepare(detector, Whole(detector), counts);
    EXPECT_EQ(prepared.pixels[0], kUnmeasured);
    EXPECT_EQ(prepared.pixels[1], static_cast<double>(static_cast<float>(next)));
    EXPECT_EQ(prepared.result.untrusted_pixels, 1);
  }
}

TEST(UntrustedTest, FloatLimitsAreThoseOfTheExactNumbers) {
  DetectorConfig detector = Detector({8, 8}, DataType::kF32);
  detector.beam_at_corner = true;
  // 0.1 is not a float: the nearest one lies above it, so it is hot.
  detector.hot_pixel_counts = 0.1;
  Counts counts(64, 0.05);
  counts[0] = 0.1f;
  counts[1] = std::nextafter(0.1f, 0.0f);
  Prepared prepared = Prepare(detector, Whole(detector), counts);
  EXPECT_EQ(prepared.pixels[0], kUnmeasured);
  EXPECT_EQ(prepared.pixels[1], counts[1]);
  // 0.5 is one: it is not below a saturation of 0.5.
  detector.hot_pixel_counts.reset();
  detector.saturation_counts = 0.5;
  counts[0] = 0.5;
  counts[1] = std::nextafter(0.5f, 0.0f);
  prepared = Prepare(detector, Whole(detector), counts);
  EXPECT_EQ(prepared.pixels[0], kUnmeasured);
  EXPECT_EQ(prepared.pixels[1], counts[1]);
}

TEST(UntrustedTest, MaskedPixelsAreNotCounted) {
  DetectorConfig detector = Detector({8, 8}, DataType::kU16);
  detector.beam_at_corner = true;
  detector.hot_pixel_counts = 10;
  detector.bad_pixels.assign(64, 0);
  detector.bad_pixels[0] = detector.bad_pixels[1] = 1;
  Counts counts(64, 1);
  counts[0] = counts[2] = 1000;
  const Prepared prepared = Prepare(detector, Whole(detector), counts);
  EXPECT_EQ(prepared.result.untrusted_pixels, 1);
  for (int i = 0; i < 4; ++i)
    EXPECT_EQ(prepared.pixels[static_cast<std::size_t>(i)], i < 3 ? -1 : 1);
}

TEST(EmptyFrameTest, NoTrustedPixelHasACount) {
  DetectorConfig detector = Detector({8, 8}, DataType::kU16);
  detector.hot_pixel_counts = 10;
  detector.bad_pixels.assign(64, 0);
  detector.bad_pixels[20] = 1;
  for (const DataType dtype : {DataType::kU8, DataType::kU16, DataType::kU32, DataType::kF32}) {
    detector.dtype = dtype;
    Counts counts(64, 0);
    EXPECT_TRUE(Prepare(detector, Whole(detector), counts).result.empty);
    counts[5] = 200;  // Hot.
    counts[20] = 3;   // Masked.
    EXPECT_TRUE(Prepare(detector, Whole(detector), counts).result.empty);
    counts[63] = 1;
    EXPECT_FALSE(Prepare(detector, Whole(detector), counts).result.empty);
  }
}

class NotACountTest : public testing::TestWithParam<float> {};

TEST_P(NotACountTest, IsFoundAndLocated) {
  for (const Orientation orientation : {Orientation::kIdentity, Orientation::kRot90Cw}) {
    DetectorConfig detector = Detector({16, 16}, DataType::kF32);
    detector.orientation = orientation;
    detector.saturation_counts = 1000;  // Infinity is not mistaken for a saturated pixel.
    Counts counts(256, 2.5);
    counts[11 * 16 + 6] = GetParam();
    const FramePreprocessor::Result result = Prepare(detector, Whole(detector), counts).result;
    EXPECT_FALSE(result.finite);
    EXPECT_EQ(result.bad_row, 11);
    EXPECT_EQ(result.bad_col, 6);
  }
}

TEST_P(NotACountTest, DoesNotMatterWhereItIsMaskedOrCropped) {
  DetectorConfig detector = Detector({16, 16}, DataType::kF32);
  Counts counts(256, 2.5);
  counts[11 * 16 + 6] = GetParam();
  const Prepared cropped = Prepare(detector, {0, 0, {8, 8}}, counts);
  EXPECT_TRUE(cropped.result.finite);
  detector.bad_pixels.assign(256, 0);
  detector.bad_pixels[11 * 16 + 6] = 1;
  const Prepared masked = Prepare(detector, Whole(detector), counts);
  EXPECT_TRUE(masked.result.finite);
  for (const double pixel : masked.pixels) EXPECT_TRUE(pixel == 2.5 || pixel == kUnmeasured);
}

INSTANTIATE_TEST_SUITE_P(Values, NotACountTest,
                         testing::Values(std::numeric_limits<float>::quiet_NaN(),
                                         std::numeric_limits<float>::infinity(),
                                         -std::numeric_limits<float>::infinity(), -1e-30f, -5.0f));

TEST(FloatFrameTest, NegativeZeroIsACountOfZero) {
  const DetectorConfig detector = Detector({8, 8}, DataType::kF32);
  const Prepared prepared = Prepare(detector, Whole(detector), Counts(64, -0.0));
  EXPECT_TRUE(prepared.result.finite);
  EXPECT_TRUE(prepared.result.empty);
  EXPECT_EQ(prepared.pixels[0], 0);
}

}  // namespace
}  // namespace ptychoserve
