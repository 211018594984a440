#include "client/cpp/internal/frame_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace ptychoserve::client::internal {
namespace {

std::vector<std::byte> Frame(std::size_t bytes, int value) {
  return std::vector<std::byte>(bytes, static_cast<std::byte>(value));
}

bool Holds(const grpc::Slice& slice, const std::vector<std::byte>& frame) {
  const auto* const bytes = reinterpret_cast<const std::byte*>(slice.begin());
  return std::equal(frame.begin(), frame.end(), bytes, bytes + slice.size());
}

TEST(FramePool, MemoryOfWhatWasSentIsUsedAgain) {
  const auto pool = FramePool::Create(1000);
  std::optional<grpc::Slice> first = pool->Copy(Frame(1000, 1));
  const void* const memory = first->begin();
  const grpc::Slice second = pool->Copy(Frame(1000, 2));
  EXPECT_NE(second.begin(), memory) << "still being sent";
  std::optional<grpc::Slice> again = first;
  first.reset();
  EXPECT_NE(pool->Copy(Frame(1000, 3)).begin(), memory) << "a copy of the slice is left";
  again.reset();
  EXPECT_EQ(pool->Copy(Frame(900, 4)).begin(), memory);
  EXPECT_TRUE(Holds(second, Frame(1000, 2)));
}

TEST(FramePool, TakesFramesThatAreLargerThanAnnounced) {
  const auto pool = FramePool::Create(10);
  EXPECT_TRUE(Holds(pool->Copy(Frame(10, 1)), Frame(10, 1)));
  EXPECT_TRUE(Holds(pool->Copy(Frame(5000, 2)), Frame(5000, 2)));
  EXPECT_TRUE(Holds(pool->Copy({}), {}));
}

TEST(FramePool, SlicesMayOutliveTheirOwner) {
  auto pool = FramePool::Create(100);
  const grpc::Slice slice = pool->Copy(Frame(100, 7));
  pool.reset();
  EXPECT_TRUE(Holds(slice, Frame(100, 7)));
}

TEST(FramePool, ManyThreadsGetMemoryOfTheirOwn) {
  const auto pool = FramePool::Create(512);
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 2000; ++i) {
        const std::vector<std::byte> frame = Frame(512, 16 * t + i % 16);
        const grpc::Slice slice = pool->Copy(frame);
        ASSERT_TRUE(Holds(slice, frame));
      }
    });
  }
}

}  // namespace
}  // namespace ptychoserve::client::internal
