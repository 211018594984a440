#include "client/cpp/internal/batching.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <string>
#include <vector>

namespace ptychoserve::client::internal {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr FrameFormat kRaw{v1::DATA_TYPE_U8, 2, 2, v1::ENCODING_RAW};
constexpr FrameFormat kLz4{v1::DATA_TYPE_U8, 2, 2, v1::ENCODING_LZ4};

FrameBatching::Item Frame(std::int64_t id, const std::string& data) {
  return {id, grpc::Slice(data)};
}

v1::StreamFramesRequest Parsed(const grpc::ByteBuffer& message) {
  std::vector<grpc::Slice> slices;
  EXPECT_TRUE(message.Dump(&slices).ok());
  std::string bytes;
  for (const grpc::Slice& slice : slices) {
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  v1::StreamFramesRequest request;
  EXPECT_TRUE(request.ParseFromString(bytes));
  return request;
}

// What Fill makes of `queue` from its item `first` on.
v1::StreamFramesRequest Filled(const FrameFormat& format,
                               const std::deque<FrameBatching::Item>& queue, std::size_t first,
                               std::size_t limit, std::size_t payload, std::size_t taken) {
  grpc::ByteBuffer message;
  const struct Filled filled = FrameBatching(format).Fill(queue, first, limit, message);
  EXPECT_EQ(filled.payload, payload);
  EXPECT_EQ(filled.taken, taken);
  return Parsed(message);
}

TEST(FrameBatching, OpensWithTheSessionAndWhoSends) {
  v1::OpenStream open;
  open.set_session("sessions/s");
  open.set_producer("p");
  open.set_epoch(7);
  const v1::StreamFramesRequest request = Parsed(FrameBatching::Open(open));
  EXPECT_EQ(request.open().session(), "sessions/s");
  EXPECT_EQ(request.open().producer(), "p");
  EXPECT_EQ(request.open().epoch(), 7u);
}

TEST(FrameBatching, FillsUpToTheLimitAndLeavesTheRest) {
  const std::deque<FrameBatching::Item> queue = {Frame(3, "----"), Frame(4, "aaaa"),
                                                 Frame(5, "bbbb"), Frame(6, "cccc")};
  const v1::StreamFramesRequest request = Filled(kRaw, queue, 1, 11, 8, 2);
  EXPECT_EQ(request.batch().first_frame_id(), 4);
  EXPECT_EQ(request.batch().count(), 2);
  EXPECT_THAT(request.batch().frame_ids(), IsEmpty());
  EXPECT_THAT(request.batch().encoded_sizes(), IsEmpty());
  EXPECT_EQ(request.batch().data(), "aaaabbbb");
}

TEST(FrameBatching, TakesTheFirstFrameWhateverItsSize) {
  std::deque<FrameBatching::Item> queue = {Frame(0, "aaaa")};
  const v1::StreamFramesRequest request = Filled(kRaw, queue, 0, 1, 4, 1);
  EXPECT_EQ(request.batch().data(), "aaaa");
}

TEST(FrameBatching, ListsIdsWithGapsAndSizesOfEncodedFrames) {
  std::deque<FrameBatching::Item> queue = {Frame(4, "a"), Frame(6, "bb"), Frame(5, "ccc")};
  const v1::StreamFramesRequest request = Filled(kLz4, queue, 0, 100, 6, 3);
  EXPECT_THAT(request.batch().frame_ids(), ElementsAre(4, 6, 5));
  EXPECT_THAT(request.batch().encoded_sizes(), ElementsAre(1, 2, 3));
  EXPECT_EQ(request.batch().data(), "abbccc");
}

TEST(FrameBatching, LargeFramesAreSentFromWhereTheyAre) {
  const FrameFormat format{v1::DATA_TYPE_U8, 100, 200, v1::ENCODING_RAW};
  const std::string first(20'000, 'a'), second(20'000, 'b');
  std::deque<FrameBatching::Item> queue = {Frame(7, first), Frame(8, second)};
  const void* const memory = queue[1].data.begin();
  grpc::ByteBuffer message;
  FrameBatching(format).Fill(queue, 0, 100'000, message);
  std::vector<grpc::Slice> slices;
  ASSERT_TRUE(message.Dump(&slices).ok());
  ASSERT_EQ(slices.size(), 3);  // The header and the frames.
  EXPECT_EQ(slices[2].begin(), memory);
  EXPECT_EQ(Parsed(message).batch().data(), first + second);
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
  EXPECT_EQ(batching.Fill(queue, 0, 1000, first).payload, 32);  // 16 bytes a position, ids apart.
  EXPECT_EQ(first.batch().first_frame_id(), 7);
  EXPECT_THAT(first.batch().frame_ids(), IsEmpty());
  EXPECT_THAT(first.batch().x_m(), ElementsAre(3.5, 4.0));
  EXPECT_THAT(first.batch().y_m(), ElementsAre(-1.0, -1.0));
  EXPECT_EQ(batching.Fill(queue, 2, 1000, second).payload, 32);
  EXPECT_EQ(second.encoder_samples().first_sample(), 40);
  EXPECT_THAT(second.encoder_samples().y_counts(), ElementsAre(3, 4));
  EXPECT_EQ(batching.Fill(queue, 3, 1000, third).taken, 1);
  EXPECT_THAT(third.batch().x_m(), ElementsAre(4.5));
}

}  // namespace
}  // namespace ptychoserve::client::internal
