#include "engine/scan/orientation.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ptychoserve {
namespace {

struct Image {
  Shape shape;
  std::vector<int> data;
  bool operator==(const Image&) const = default;
  int at(int row, int col) const { return data[static_cast<std::size_t>(row * shape.cols + col)]; }
};

// All pixels different, and not square, so that no two symmetries look alike.
Image Numbered(Shape shape) {
  Image image{shape, std::vector<int>(static_cast<std::size_t>(shape.pixels()))};
  for (std::size_t i = 0; i < image.data.size(); ++i) image.data[i] = static_cast<int>(i);
  return image;
}

Image Transposed(const Image& in) {
  Image out{{in.shape.cols, in.shape.rows}, {}};
  for (int r = 0; r < out.shape.rows; ++r) {
    for (int c = 0; c < out.shape.cols; ++c) out.data.push_back(in.at(c, r));
  }
  return out;
}
Image RowsReversed(const Image& in) {
  Image out{in.shape, {}};
  for (int r = in.shape.rows; r-- > 0;) {
    for (int c = 0; c < in.shape.cols; ++c) out.data.push_back(in.at(r, c));
  }
  return out;
}
Image ColsReversed(const Image& in) { return Transposed(RowsReversed(Transposed(in))); }

// The definitions in words, each by its own steps.
Image Defined(const Image& in, Orientation o) {
  switch (o) {
    case Orientation::kIdentity:
      return in;
    case Orientation::kFlipLr:
      return ColsReversed(in);
    case Orientation::kFlipUd:
      return RowsReversed(in);
    case Orientation::kRot180:
      return ColsReversed(RowsReversed(in));
    case Orientation::kTranspose:
      return Transposed(in);
    case Orientation::kRot90Ccw:
      return RowsReversed(Transposed(in));
    case Orientation::kRot90Cw:
      return ColsReversed(Transposed(in));
    case Orientation::kAntiTranspose:
      return ColsReversed(RowsReversed(Transposed(in)));
  }
  return {};
}

// By OrientedShape and IndexFor.
Image Indexed(const Image& in, Orientation o) {
  Image out{OrientedShape(in.shape, o), {}};
  const OrientedIndex index = IndexFor(in.shape, o);
  for (int r = 0; r < out.shape.rows; ++r) {
    for (int c = 0; c < out.shape.cols; ++c) {
      const auto source = index.start + r * index.row_step + c * index.col_step;
      out.data.push_back(in.data.at(static_cast<std::size_t>(source)));
    }
  }
  return out;
}

constexpr Shape kShape{3, 5};

class OrientationTest : public testing::TestWithParam<Orientation> {};

TEST_P(OrientationTest, IndexReadsTheDefinedImage) {
  const Image image = Numbered(kShape);
  EXPECT_EQ(Indexed(image, GetParam()), Defined(image, GetParam()));
}

TEST_P(OrientationTest, InverseUndoesIt) {
  const Image image = Numbered(kShape);
  EXPECT_EQ(Defined(Defined(image, GetParam()), Inverse(GetParam())), image);
  EXPECT_EQ(Compose(GetParam(), Inverse(GetParam())), Orientation::kIdentity);
}

TEST_P(OrientationTest, ComposesWithEveryOther) {
  const Image image = Numbered(kShape);
  for (const Orientation second : kAllOrientations) {
    EXPECT_EQ(Defined(Defined(image, GetParam()), second),
              Defined(image, Compose(GetParam(), second)))
        << "then " << OrientationName(second);
  }
}

TEST_P(OrientationTest, FromOneOrientationToEveryOther) {
  const Image image = Numbered(kShape);
  for (const Orientation target : kAllOrientations) {
    const Orientation step = Compose(Inverse(GetParam()), target);
    EXPECT_EQ(Defined(Defined(image, GetParam()), step), Defined(image, target))
        << "to " << OrientationName(target);
  }
}

TEST_P(OrientationTest, NameIsReadBack) {
  const auto parsed = OrientationFromName(OrientationName(GetParam()));
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(*parsed, GetParam());
}

INSTANTIATE_TEST_SUITE_P(All, OrientationTest, testing::ValuesIn(kAllOrientations),
                         [](const auto& param_info) {
                           return std::string(OrientationName(param_info.param));
                         });

TEST(OrientationNameTest, UnknownNameListsTheKnownOnes) {
  const auto parsed = OrientationFromName("rot45");
  ASSERT_FALSE(parsed.ok());
  EXPECT_EQ(parsed.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(parsed.status().message()), testing::HasSubstr("'rot45'"));
  for (const Orientation o : kAllOrientations) {
    EXPECT_THAT(std::string(parsed.status().message()),
                testing::HasSubstr(std::string(OrientationName(o))));
  }
}

TEST(OrientationComposeTest, SequenceOfThree) {
  // Counter-clockwise, then mirrored, then counter-clockwise again: the same mirror.
  const Orientation two = Compose(Orientation::kRot90Ccw, Orientation::kFlipLr);
  EXPECT_EQ(Compose(two, Orientation::kRot90Ccw), Orientation::kFlipLr);
}

}  // namespace
}  // namespace ptychoserve
