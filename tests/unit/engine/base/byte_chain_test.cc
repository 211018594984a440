#include "engine/base/byte_chain.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <random>
#include <span>
#include <vector>

namespace ptychoserve {
namespace {

std::vector<std::byte> Numbered(std::size_t count) {
  std::vector<std::byte> bytes(count);
  for (std::size_t i = 0; i < count; ++i) bytes[i] = static_cast<std::byte>(i);
  return bytes;
}

// `bytes` in pieces that end at `ends`.
ByteChain InPieces(std::span<const std::byte> bytes, const std::vector<std::size_t>& ends) {
  ByteChain chain;
  std::size_t begin = 0;
  for (const std::size_t end : ends) {
    chain.Append(bytes.subspan(begin, end - begin));
    begin = end;
  }
  chain.Append(bytes.subspan(begin));
  return chain;
}

std::vector<std::byte> Contents(const ByteChain& chain) {
  std::vector<std::byte> out(chain.size());
  chain.CopyTo(0, out);
  return out;
}

TEST(ByteChain, IsEmptyUntilSomethingIsAppended) {
  ByteChain chain;
  EXPECT_TRUE(chain.empty());
  EXPECT_TRUE(chain.Part(0, 0).empty());
  chain.Append({});
  EXPECT_EQ(chain.size(), 0u);
  EXPECT_TRUE(Contents(chain).empty());
}

TEST(ByteChain, EveryPartHasItsBytesWhereverTheBordersAre) {
  const std::vector<std::byte> bytes = Numbered(23);
  const ByteChain chain = InPieces(bytes, {1, 1, 8, 9, 20});  // One piece is empty.
  for (std::size_t begin = 0; begin <= bytes.size(); ++begin) {
    for (std::size_t count = 0; begin + count <= bytes.size(); ++count) {
      const ByteChain part = chain.Part(begin, count);
      EXPECT_EQ(part.size(), count);
      EXPECT_THAT(Contents(part),
                  testing::ElementsAreArray(std::span(bytes).subspan(begin, count)));
    }
  }
}

TEST(ByteChain, APartLooksAtTheSameMemory) {
  const std::vector<std::byte> bytes = Numbered(10);
  const ByteChain part = InPieces(bytes, {5}).Part(6, 3);
  ChainReader reader(part);
  EXPECT_EQ(reader.Read(0, 3), bytes.data() + 6);
}

TEST(ChainReader, ReadsInPlaceButForRunsAcrossABorder) {
  const std::vector<std::byte> bytes = Numbered(40);
  const ByteChain chain = InPieces(bytes, {7, 8, 30});
  ChainReader reader(chain);
  std::mt19937 random(1);
  for (int i = 0; i < 2000; ++i) {
    const std::size_t begin = random() % bytes.size();
    const std::size_t count = 1 + random() % (bytes.size() - begin);
    const std::byte* const read = reader.Read(begin, count);
    ASSERT_THAT(std::span(read, count),
                testing::ElementsAreArray(std::span(bytes).subspan(begin, count)));
    bool crosses = false;
    for (const std::size_t border : {7, 8, 30}) {
      crosses = crosses || (begin < border && border < begin + count);
    }
    ASSERT_EQ(read == bytes.data() + begin, !crosses) << begin << ", " << count;
  }
}

}  // namespace
}  // namespace ptychoserve
