#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "engine/frames/preprocess.h"
#include "gtest/gtest.h"

namespace ptychoserve {
namespace {

constexpr Shape kFrame{60, 80};
constexpr Shape kCrop{32, 24};

DetectorConfig Detector() {
  DetectorConfig detector;
  detector.frame_shape = kFrame;
  detector.auto_centre = AutoCentreConfig{kCrop};
  return detector;
}

class Frame {
 public:
  Frame() : counts_(static_cast<std::size_t>(kFrame.pixels())) {}
  std::uint16_t& at(int row, int col) {
    return counts_[static_cast<std::size_t>(row * kFrame.cols + col)];
  }
  // All pixels within `radius` of (row, col).
  Frame& Disc(int row, int col, double radius, std::uint16_t counts) {
    for (int r = 0; r < kFrame.rows; ++r) {
      for (int c = 0; c < kFrame.cols; ++c) {
        if (std::hypot(r - row, c - col) <= radius) at(r, c) = counts;
      }
    }
    return *this;
  }
  std::span<const std::byte> bytes() const { return std::as_bytes(std::span(counts_)); }

 private:
  std::vector<std::uint16_t> counts_;
};

BeamCentre FindIn(const DetectorConfig& detector, const Frame& frame) {
  AutoCentre centre(detector);
  centre.Add(frame.bytes());
  const auto found = centre.Find();
  EXPECT_TRUE(found.has_value());
  return found.value_or(BeamCentre{});
}

// The crop whose middle pixel, [rows / 2, cols / 2], is (row, col).
Region CropAround(int row, int col) { return {row - kCrop.rows / 2, col - kCrop.cols / 2, kCrop}; }

TEST(AutoCentreTest, OffCentreDiscIsCentred) {
  for (const auto& [row, col] : {std::pair(22, 30), std::pair(35, 61), std::pair(30, 40)}) {
    const BeamCentre found = FindIn(Detector(), Frame().Disc(row, col, 6, 500));
    EXPECT_EQ(found.crop, CropAround(row, col));
    EXPECT_FALSE(found.moved);
  }
}

TEST(AutoCentreTest, NoisyBlobIsCentredWithinAPixel) {
  std::mt19937 random(4);
  AutoCentre centre(Detector());
  for (int k = 0; k < 64; ++k) {
    Frame frame;
    for (int r = 0; r < kFrame.rows; ++r) {
      for (int c = 0; c < kFrame.cols; ++c) {
        const double d = std::hypot(r - 25, c - 50);
        const double mean = 0.2 + 200 * (d <= 7 ? 1.0 : std::exp(-(d - 7) * (d - 7)));
        frame.at(r, c) = static_cast<std::uint16_t>(std::poisson_distribution<int>(mean)(random));
      }
    }
    centre.Add(frame.bytes());
  }
  EXPECT_EQ(centre.frames(), 64);
  const auto found = centre.Find();
  ASSERT_TRUE(found.has_value());
  EXPECT_NEAR(found->crop.row + kCrop.rows / 2, 25, 1);
  EXPECT_NEAR(found->crop.col + kCrop.cols / 2, 50, 1);
}

TEST(AutoCentreTest, CropAtTheEdgeIsMovedInsideTheFrame) {
  const BeamCentre found = FindIn(Detector(), Frame().Disc(5, 76, 3, 500));
  EXPECT_TRUE(found.moved);
  EXPECT_EQ(found.crop, (Region{0, kFrame.cols - kCrop.cols, kCrop}));
}

TEST(AutoCentreTest, NoLightIsReported) {
  AutoCentre centre(Detector());
  centre.Add(Frame().bytes());
  EXPECT_FALSE(centre.Find().has_value());
  EXPECT_EQ(centre.CentralCrop(), CropAround(kFrame.rows / 2, kFrame.cols / 2));
}

TEST(AutoCentreTest, LargestComponentWinsOverBrighterSpecks) {
  Frame frame;
  frame.Disc(22, 30, 6, 500).at(50, 70) = 4000;
  frame.at(51, 71) = 4000;  // Touches only at a corner: not the same component.
  EXPECT_EQ(FindIn(Detector(), frame).crop, CropAround(22, 30));
}

TEST(AutoCentreTest, DeadHotAndBadPixelsAreNotLight) {
  DetectorConfig detector = Detector();
  detector.hot_pixel_counts = 50000;
  detector.bad_pixels.assign(static_cast<std::size_t>(kFrame.pixels()), 0);
  Frame frame;
  // Ten times as bright as the beam, any of them would put the beam below the threshold.
  detector.auto_centre->threshold = 0.2;
  frame.Disc(22, 30, 6, 5000);
  frame.at(50, 70) = 65535;
  frame.at(51, 5) = 50001;
  frame.at(3, 3) = 50000;
  detector.bad_pixels[3 * 80 + 3] = 1;
  EXPECT_EQ(FindIn(detector, frame).crop, CropAround(22, 30));
}

TEST(AutoCentreTest, ThresholdIsAFractionOfThePeak) {
  DetectorConfig detector = Detector();
  // A wide dim halo, off to one side of the beam.
  Frame frame;
  frame.Disc(30, 30, 12, 30).Disc(30, 25, 3, 1000);
  EXPECT_EQ(FindIn(detector, frame).crop, CropAround(30, 30));  // 30 > 0.02 * 1000.
  detector.auto_centre->threshold = 0.03;
  EXPECT_EQ(FindIn(detector, frame).crop, CropAround(30, 25));  // 30 is not above 30.
}

TEST(AutoCentreTest, CropIsInTheOrientedFrame) {
  DetectorConfig detector = Detector();
  detector.orientation = Orientation::kRot90Cw;  // (r, c) goes to row c, column 59 - r.
  const Shape oriented{kFrame.cols, kFrame.rows};
  const BeamCentre found = FindIn(detector, Frame().Disc(22, 40, 6, 500));
  EXPECT_EQ(found.crop, CropAround(40, 59 - 22));
  AutoCentre centre(detector);
  EXPECT_EQ(centre.CentralCrop(), CropAround(oriented.rows / 2, oriented.cols / 2));
}

TEST(AutoCentreTest, FloatFramesWithNaNAreRead) {
  DetectorConfig detector = Detector();
  detector.dtype = DataType::kF32;
  std::vector<float> counts(static_cast<std::size_t>(kFrame.pixels()), 0.25f);
  for (int r = 18; r <= 26; ++r) {
    for (int c = 26; c <= 34; ++c) counts[static_cast<std::size_t>(r * kFrame.cols + c)] = 300.5f;
  }
  counts[7] = std::nanf("");
  counts[8] = -1e6f;
  AutoCentre centre(detector);
  centre.Add(std::as_bytes(std::span(counts)));
  const auto found = centre.Find();
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->crop, CropAround(22, 30));
}

}  // namespace
}  // namespace ptychoserve
