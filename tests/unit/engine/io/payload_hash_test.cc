#include "engine/io/payload_hash.h"

#include <gtest/gtest.h>

#include <string>

namespace ptychoserve {
namespace {

std::span<const std::byte> Bytes(const std::string& text) { return std::as_bytes(std::span(text)); }

// Whatever vectors the processor has: files go from machine to machine.
TEST(PayloadHash, IsThatOfTheFormat) {
  EXPECT_EQ(PayloadHash(std::span<const std::byte>()), 0x2D06800538D394C2u);
  EXPECT_EQ(PayloadHash(Bytes(std::string(1 << 20, 'x'))), 0x11EA1C8AD3937333u);
}

TEST(PayloadHash, DoesNotDependOnThePieces) {
  std::string text;
  for (int i = 0; i < 100'000; ++i) text.push_back(static_cast<char>(i * 7 + i / 256));
  for (const std::size_t first : {0, 1, 63, 4096, 70'001}) {
    const std::span<const std::byte> pieces[] = {
        Bytes(text).first(first), {}, Bytes(text).subspan(first)};
    EXPECT_EQ(PayloadHash(pieces), PayloadHash(Bytes(text))) << first;
  }
}

}  // namespace
}  // namespace ptychoserve
