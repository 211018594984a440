#include "client/cli/orient_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "engine/scan/orientation.h"

namespace ptychoserve::cli {
namespace {

using ::testing::ElementsAre;

TEST(OrientPlan, NamesAreThoseOfTheApi) {
  v1::SessionConfig config;
  EXPECT_EQ(OrientationOf(config), Orientation::kIdentity);
  for (const Orientation o : kAllOrientations) {
    v1::Orientation value = v1::ORIENTATION_UNSPECIFIED;
    ASSERT_TRUE(v1::Orientation_Parse(ApiName(o), &value)) << ApiName(o);
    config.mutable_detector()->set_orientation(value);
    EXPECT_EQ(OrientationOf(config), o);
  }
}

// The pixels of `region` of the image of `shape`, after `orientation`, that reads its own numbers.
std::multiset<std::int64_t> Pixels(const Shape& shape, Orientation orientation,
                                   const v1::Region& region) {
  const OrientedIndex index = IndexFor(shape, orientation);
  std::multiset<std::int64_t> pixels;
  for (std::uint32_t r = region.row(); r < region.row() + region.shape().rows(); ++r) {
    for (std::uint32_t c = region.col(); c < region.col() + region.shape().cols(); ++c) {
      pixels.insert(index.start + r * index.row_step + c * index.col_step);
    }
  }
  return pixels;
}

TEST(OrientPlan, TheCropKeepsItsPixels) {
  for (const Orientation declared : kAllOrientations) {
    v1::SessionConfig config;
    config.mutable_detector()->mutable_frame_shape()->set_rows(20);
    config.mutable_detector()->mutable_frame_shape()->set_cols(30);
    ASSERT_TRUE(SetOrientation(declared, config).ok());
    v1::Region& crop = *config.mutable_detector()->mutable_crop();
    crop.set_row(1);
    crop.set_col(5);
    crop.mutable_shape()->set_rows(10);
    crop.mutable_shape()->set_cols(12);
    const auto pixels = Pixels({20, 30}, declared, crop);
    for (const Orientation other : kAllOrientations) {
      v1::SessionConfig changed = config;
      ASSERT_TRUE(SetOrientation(other, changed).ok());
      EXPECT_EQ(OrientationOf(changed), other);
      EXPECT_EQ(Pixels({20, 30}, other, changed.detector().crop()), pixels);
    }
  }
}

TEST(OrientPlan, SidesOfTheAutomaticCropChangePlacesAndTheProbeMustBeSquare) {
  v1::SessionConfig config;
  config.mutable_detector()->mutable_auto_centre()->mutable_crop_shape()->set_rows(10);
  config.mutable_detector()->mutable_auto_centre()->mutable_crop_shape()->set_cols(12);
  ASSERT_TRUE(SetOrientation(Orientation::kRot90Cw, config).ok());
  EXPECT_EQ(config.detector().auto_centre().crop_shape().rows(), 12u);
  ASSERT_TRUE(SetOrientation(Orientation::kRot90Ccw, config).ok());
  EXPECT_EQ(config.detector().auto_centre().crop_shape().rows(), 12u) << "turned by 180 degrees";
  config.mutable_probe()->mutable_initial()->mutable_shape()->set_rows(12);
  config.mutable_probe()->mutable_initial()->mutable_shape()->set_cols(10);
  EXPECT_FALSE(SetOrientation(Orientation::kIdentity, config).ok());
  EXPECT_TRUE(SetOrientation(Orientation::kRot90Cw, config).ok());
}

TEST(OrientPlan, CentralFramesAreNextToEachOther) {
  std::vector<double> y, x;
  for (int k = 0; k < 49; ++k) {
    y.push_back(k / 7 * 1e-6);
    x.push_back(k % 7 * 1e-6 + 5);
  }
  EXPECT_THAT(CentralFrames(y, x, 5), ElementsAre(17, 23, 24, 25, 31));
  EXPECT_EQ(CentralFrames(y, x, 100).size(), 49u);
}

}  // namespace
}  // namespace ptychoserve::cli
