#include "engine/io/picture.h"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>

#include "engine/io/colour.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ptychoserve {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

std::vector<int> Pixel(const Picture& picture, int row, int col) {
  const std::size_t i = static_cast<std::size_t>(3 * (row * picture.shape.cols + col));
  return {picture.rgb[i], picture.rgb[i + 1], picture.rgb[i + 2]};
}

std::vector<int> Ints(const Rgb8& rgb) { return {rgb[0], rgb[1], rgb[2]}; }

TEST(Picture, AmplitudeIsGreyBetweenItsPercentilesWhateverThePhase) {
  // Amplitudes 0..999, one outlier, one pixel that is not there.
  std::vector<Complex64> image;
  for (int i = 0; i < 1000; ++i) image.push_back(std::polar(static_cast<float>(i), 0.01f * i));
  image[999] = 1e6f;
  image[500] = Complex64(kNaN, 0);
  const Picture picture = AmplitudePicture(image.data(), {10, 100});
  ASSERT_EQ(picture.rgb.size(), 3000u);
  EXPECT_THAT(Pixel(picture, 0, 0), ElementsAre(0, 0, 0));
  EXPECT_THAT(Pixel(picture, 9, 99), ElementsAre(255, 255, 255));
  EXPECT_THAT(Pixel(picture, 9, 98), ElementsAre(255, 255, 255));
  const std::vector<int> middle = Pixel(picture, 5, 1);
  EXPECT_NEAR(middle[0], 128, 2);
  EXPECT_EQ(middle[0], middle[2]);
  const std::vector<int> missing = Pixel(picture, 5, 0);
  EXPECT_GT(missing[2], missing[0] + 50);  // Blue.
}

TEST(Picture, FlatAndEmptyImagesAreDrawn) {
  const std::vector<Complex64> flat(4, 2.f), zero(4, 0.f), missing(4, Complex64(kNaN, kNaN));
  EXPECT_THAT(Pixel(AmplitudePicture(flat.data(), {2, 2}), 1, 1), ElementsAre(128, 128, 128));
  EXPECT_THAT(Pixel(ComplexPicture(zero.data(), {2, 2}), 0, 0), ElementsAre(0, 0, 0));
  EXPECT_EQ(Pixel(PhasePicture(missing.data(), {2, 2}), 0, 0),
            Pixel(AmplitudePicture(missing.data(), {2, 2}), 0, 0));
}

TEST(Picture, PhaseIsShownWithoutItsMeanDirectionAndItsRamp) {
  const std::vector<float> phases = {-0.5f, 0.5f, 0.5f, -0.5f,  //
                                     0.5f,  0,    0,    0.5f,   //
                                     -0.5f, 0,    0,    -0.5f,  //
                                     0,     0,    0,    0};
  const auto drawn = [&](float offset, float by_row, float by_col) {
    std::vector<Complex64> image;
    for (int i = 0; i < 16; ++i) {
      const auto row = static_cast<float>(i / 4), col = static_cast<float>(i % 4);
      image.push_back(std::polar(7.f, phases[i] + offset + by_row * row + by_col * col));
    }
    return PhasePicture(image.data(), {4, 4});
  };
  const Picture plain = drawn(0, 0, 0);
  EXPECT_NE(Pixel(plain, 0, 0), Pixel(plain, 0, 1));
  for (const auto& [offset, by_row, by_col] :
       {std::tuple{3.f, 0.f, 0.f}, {0.f, 2.f, -1.f}, {-1.f, -0.3f, 3.f}}) {
    const Picture same = drawn(offset, by_row, by_col);
    for (std::size_t k = 0; k < plain.rgb.size(); ++k) {
      EXPECT_NEAR(same.rgb[k], plain.rgb[k], 1) << by_row << ", " << by_col << ": " << k;
    }
  }
}

TEST(Picture, PhaseZeroHasTheColourOfZero) {
  std::vector<Complex64> image;
  for (float phase : {-0.5f, 0.5f, 0.f, 0.f, 0.5f, -0.5f}) image.push_back(std::polar(7.f, phase));
  const Picture picture = PhasePicture(image.data(), {1, 6});
  EXPECT_EQ(Pixel(picture, 0, 2), Ints(ToSrgb8(PhaseColour(0))));
  EXPECT_EQ(Pixel(picture, 0, 0), Ints(ToSrgb8(PhaseColour(-0.5))));
  EXPECT_EQ(Pixel(picture, 0, 1), Ints(ToSrgb8(PhaseColour(0.5))));
}

TEST(Picture, ComplexHasPhaseAsHueAndAmplitudeAsBrightness) {
  const std::vector<Complex64> image = {{0, 4}, {2, 0}, {-4, 0}};
  const Picture picture = ComplexPicture(image.data(), {3, 1});
  EXPECT_EQ(Pixel(picture, 0, 0), Ints(ToSrgb8(ComplexColour(std::acos(0.0), 1))));
  EXPECT_EQ(Pixel(picture, 1, 0), Ints(ToSrgb8(ComplexColour(0, 0.5))));
  EXPECT_EQ(Pixel(picture, 2, 0), Ints(ToSrgb8(ComplexColour(std::acos(-1.0), 1))));
}

TEST(Picture, SideBySideHasAWhiteGapAndWhiteBelowLowerPictures) {
  const Picture left{{1, 2}, {1, 1, 1, 2, 2, 2}};
  const Picture right{{2, 1}, {3, 3, 3, 4, 4, 4}};
  const Picture both = SideBySide({left, right}, 1);
  EXPECT_EQ(both.shape, (Shape{2, 4}));
  EXPECT_THAT(both.rgb, ElementsAre(1, 1, 1, 2, 2, 2, 255, 255, 255, 3, 3, 3,  //
                                    255, 255, 255, 255, 255, 255, 255, 255, 255, 4, 4, 4));
  EXPECT_EQ(SideBySide({}, 3).shape, (Shape{0, 0}));
}

TEST(Picture, PngHasTheSizeOfThePicture) {
  const std::string path = testing::TempDir() + "ptychoserve_picture.png";
  const Picture picture{{2, 3}, std::vector<std::uint8_t>(18, 77)};
  const absl::Status status = WritePng(path, picture);
  ASSERT_TRUE(status.ok()) << status;
  std::ifstream file(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  EXPECT_EQ(bytes.substr(0, 8), "\x89PNG\r\n\x1a\n");
  // IHDR: width, height, eight bits a channel, red-green-blue.
  EXPECT_EQ(bytes.substr(16, 10), std::string("\0\0\0\3\0\0\0\2\x08\x02", 10));
}

TEST(Picture, PngThatCannotBeWrittenSaysWhy) {
  const Picture picture{{1, 1}, {1, 2, 3}};
  const std::string path = testing::TempDir() + "no_such_directory/picture.png";
  const absl::Status status = WritePng(path, picture);
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()), HasSubstr(path));
  EXPECT_THAT(std::string(status.message()), HasSubstr("No such file"));
  EXPECT_EQ(WritePng(testing::TempDir() + "x.png", Picture{{2, 2}, {1}}).code(),
            absl::StatusCode::kInternal);
}

}  // namespace
}  // namespace ptychoserve
