#include "server/service/stream_set.h"

#include <gtest/gtest.h>

#include <memory>

namespace ptychoserve::server {
namespace {

struct FakeStream : Drainable {
  Kind kind() const override { return Kind::kIngest; }
  void Drain() override { drained = true; }
  bool drained = false;
};

TEST(StreamSetTest, AStreamThatFinishesMakesRoomBeforeItsCallHasEnded) {
  StreamSet streams(2);
  const auto first = std::make_shared<FakeStream>(), second = std::make_shared<FakeStream>(),
             third = std::make_shared<FakeStream>();
  EXPECT_TRUE(streams.Add(first));
  EXPECT_TRUE(streams.Add(second));
  EXPECT_FALSE(streams.Add(third));
  streams.Leave(first);
  EXPECT_EQ(streams.open(Drainable::Kind::kIngest), 1);
  EXPECT_EQ(streams.open(Drainable::Kind::kPublish), 0);
  EXPECT_TRUE(streams.Add(third));
  streams.DrainAll(Drainable::Kind::kIngest);
  EXPECT_FALSE(first->drained);
  EXPECT_TRUE(second->drained);
  EXPECT_TRUE(third->drained);
}

TEST(StreamSetTest, StreamsThatAreGoneMakeRoom) {
  StreamSet streams(1);
  auto first = std::make_shared<FakeStream>();
  EXPECT_TRUE(streams.Add(first));
  first.reset();
  EXPECT_TRUE(streams.Add(std::make_shared<FakeStream>()));
}

TEST(StreamSetTest, AStreamThatComesAfterTheOthersWereDrainedIsDrainedAtOnce) {
  StreamSet streams(1);
  streams.DrainAll(Drainable::Kind::kIngest);
  const auto late = std::make_shared<FakeStream>();
  EXPECT_TRUE(streams.Add(late));
  EXPECT_TRUE(late->drained);
}

}  // namespace
}  // namespace ptychoserve::server
