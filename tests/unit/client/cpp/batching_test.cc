#include "client/cpp/internal/batching.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <string>

namespace ptychoserve::client::internal {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr FrameFormat kRaw{v1::DATA_TYPE_U8, 2, 2, v1::ENCODING_RAW};
constexpr FrameFormat kLz4{v1::DATA_TYPE_U8, 2, 2, v1::ENCODING_LZ4};

TEST(FrameBatching, FillsUpToTheLimitAndLeavesTheRest) {
  std::deque<FrameBatching::Item> queue = {{4, "aaaa"}, {5, "bbbb"}, {6, "cccc"}};
  v1::StreamFramesRequest request;
  EXPECT_EQ(FrameBatching(kRaw).Fill(queue, 11, request), 8);
  EXPECT_EQ(request.batch().first_frame_id(), 4);
  EXPECT_EQ(request.batch().count(), 2);
  EXPECT_THAT(request.batch().frame_ids(), IsEmpty());
  EXPECT_THAT(request.batch().encoded_sizes(), IsEmpty());
  EXPECT_EQ(request.batch().data(), "aaaabbbb");
  ASSERT_EQ(queue.size(), 1);
  EXPECT_EQ(queue.front().data, "cccc");
}

TEST(FrameBatching, TakesTheFirstFrameWhateverItsSize) {
  std::deque<FrameBatching::Item> queue = {{0, "aaaa"}};
  v1::StreamFramesRequest request;
  EXPECT_EQ(FrameBatching(kRaw).Fill(queue, 1, request), 4);
  EXPECT_EQ(request.batch().data(), "aaaa");
}

TEST(FrameBatching, ListsIdsWithGapsAndSizesOfEncodedFrames) {
  std::deque<FrameBatching::Item> queue = {{4, "a"}, {6, "bb"}, {5, "ccc"}};
  v1::StreamFramesRequest request;
  EXPECT_EQ(FrameBatching(kLz4).Fill(queue, 100, request), 6);
  EXPECT_THAT(request.batch().frame_ids(), ElementsAre(4, 6, 5));
  EXPECT_THAT(request.batch().encoded_sizes(), ElementsAre(1, 2, 3));
  EXPECT_EQ(request.batch().data(), "abbccc");
}

PositionBatching::Item Position(std::int64_t id) {
  PositionBatching::Item item;
  item.frame_ids = {id};
  item.x = {0.5 * static_cast<double>(id)};
  item.y = {-1.0};
  return item;
}

TEST(PositionBatching, JoinsPositionsAndKeepsEncoderSamplesApart) {
  PositionBatching::Item samples;
  samples.encoder_samples = true;
  samples.first_sample = 40;
  samples.x = {1, 2};
  samples.y = {3, 4};
  std::deque<PositionBatching::Item> queue = {Position(7), Position(8), samples, Position(9)};
  const PositionBatching batching;
  v1::StreamPositionsRequest first, second, third;
  EXPECT_EQ(batching.Fill(queue, 1000, first), 32);  // 16 bytes a position, ids apart.
  EXPECT_EQ(first.batch().first_frame_id(), 7);
  EXPECT_THAT(first.batch().frame_ids(), IsEmpty());
  EXPECT_THAT(first.batch().x_m(), ElementsAre(3.5, 4.0));
  EXPECT_THAT(first.batch().y_m(), ElementsAre(-1.0, -1.0));
  EXPECT_EQ(batching.Fill(queue, 1000, second), 32);
  EXPECT_EQ(second.encoder_samples().first_sample(), 40);
  EXPECT_THAT(second.encoder_samples().y_counts(), ElementsAre(3, 4));
  batching.Fill(queue, 1000, third);
  EXPECT_THAT(third.batch().x_m(), ElementsAre(4.5));
  EXPECT_TRUE(queue.empty());
}

}  // namespace
}  // namespace ptychoserve::client::internal
