#include "engine/frames/codec.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "engine/frames/bitshuffle.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ptychoserve {
namespace {

using Bytes = std::vector<std::byte>;
using testing::HasSubstr;

constexpr std::byte kCanary{0xA5};
constexpr std::size_t kGuard = 64;  // Bytes before and after a decoded frame.

// Decodes into memory whose surroundings are watched.
absl::Status Decode(Encoding encoding, const Bytes& encoded, int element_bytes, Bytes* out) {
  // A copy without spare capacity, so that a sanitizer sees a read beyond its end.
  const Bytes input(encoded.begin(), encoded.end());
  Bytes guarded(out->size() + 2 * kGuard, kCanary);
  const absl::Status status =
      DecodeFrame(encoding, input, element_bytes, std::span(guarded).subspan(kGuard, out->size()));
  const auto end = guarded.end() - kGuard;
  EXPECT_EQ(std::count(guarded.begin(), guarded.begin() + kGuard, kCanary), kGuard);
  EXPECT_EQ(std::count(end, guarded.end(), kCanary), kGuard);
  std::copy(guarded.begin() + kGuard, end, out->begin());
  return status;
}

// Counts as a detector has them: mostly small, a bright spot, a few at the largest value.
Bytes Frame(int pixels, int element_bytes, unsigned seed = 1) {
  std::mt19937 random(seed);
  std::poisson_distribution<int> weak(0.7), strong(190);
  Bytes frame(static_cast<std::size_t>(pixels) * static_cast<std::size_t>(element_bytes));
  for (int i = 0; i < pixels; ++i) {
    std::uint32_t count = static_cast<std::uint32_t>(
        i > pixels / 2 && i < pixels / 2 + 20 ? strong(random) : weak(random));
    if (i % 1001 == 1000) count = 0xFFFFFFFF;
    std::memcpy(frame.data() + static_cast<std::size_t>(i * element_bytes), &count,
                static_cast<std::size_t>(element_bytes));
  }
  return frame;
}

std::string ToString(Encoding e) {
  return e == Encoding::kRaw ? "Raw" : e == Encoding::kLz4 ? "Lz4" : "Bslz4";
}

using Param = std::tuple<Encoding, int, int>;  // Encoding, element bytes, pixels.
class CodecTest : public testing::TestWithParam<Param> {};

TEST_P(CodecTest, DecodesWhatItEncodes) {
  const auto [encoding, element_bytes, pixels] = GetParam();
  const Bytes frame = Frame(pixels, element_bytes);
  const Bytes encoded = EncodeFrame(encoding, frame, element_bytes);
  Bytes decoded(frame.size());
  const absl::Status status = Decode(encoding, encoded, element_bytes, &decoded);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(decoded, frame);
}

TEST_P(CodecTest, EveryTruncationIsRefused) {
  const auto [encoding, element_bytes, pixels] = GetParam();
  const Bytes frame = Frame(pixels, element_bytes);
  const Bytes encoded = EncodeFrame(encoding, frame, element_bytes);
  // All lengths near both ends and some between.
  const std::size_t step = std::max<std::size_t>(1, encoded.size() / 50);
  for (std::size_t size = 0; size < encoded.size();
       size += size < 40 || size + 40 > encoded.size() ? 1 : step) {
    Bytes decoded(frame.size());
    const Bytes cut(encoded.begin(), encoded.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_EQ(Decode(encoding, cut, element_bytes, &decoded).code(),
              absl::StatusCode::kInvalidArgument)
        << size << " of " << encoded.size();
  }
}

TEST_P(CodecTest, TrailingBytesAreRefused) {
  const auto [encoding, element_bytes, pixels] = GetParam();
  const Bytes frame = Frame(pixels, element_bytes);
  Bytes encoded = EncodeFrame(encoding, frame, element_bytes);
  encoded.push_back(std::byte{0});
  Bytes decoded(frame.size());
  EXPECT_EQ(Decode(encoding, encoded, element_bytes, &decoded).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_P(CodecTest, FrameOfAnotherSizeIsRefused) {
  const auto [encoding, element_bytes, pixels] = GetParam();
  const Bytes encoded = EncodeFrame(encoding, Frame(pixels, element_bytes), element_bytes);
  for (const int other : {pixels - 1, pixels + 1, pixels / 2, 2 * pixels}) {
    Bytes decoded(static_cast<std::size_t>(other * element_bytes));
    EXPECT_EQ(Decode(encoding, encoded, element_bytes, &decoded).code(),
              absl::StatusCode::kInvalidArgument)
        << other;
  }
}

// No checksum protects a payload: damage is either found or yields other pixels, never more.
TEST_P(CodecTest, DamageStaysWithinTheFrame) {
  const auto [encoding, element_bytes, pixels] = GetParam();
  const Bytes frame = Frame(pixels, element_bytes);
  const Bytes encoded = EncodeFrame(encoding, frame, element_bytes);
  std::mt19937 random(17);
  std::uniform_int_distribution<std::size_t> place(0, encoded.size() - 1);
  std::uniform_int_distribution<int> bit(0, 7), value(0, 255), flips(1, 8);
  int refused = 0;
  for (int round = 0; round < 300; ++round) {
    Bytes damaged = encoded;
    for (int n = flips(random); n > 0; --n) damaged[place(random)] ^= std::byte{1} << bit(random);
    if (round % 3 == 0) {  // A burst of noise.
      const std::size_t begin = place(random);
      const std::size_t end = std::min(begin + 16, damaged.size());
      for (std::size_t i = begin; i < end; ++i) damaged[i] = static_cast<std::byte>(value(random));
    }
    if (round % 5 == 0) damaged.resize(place(random));
    Bytes decoded(frame.size());
    const absl::Status status = Decode(encoding, damaged, element_bytes, &decoded);
    if (!status.ok()) {
      ++refused;
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    }
  }
  EXPECT_GE(refused, 60);  // The shortened ones, at least.
}

TEST_P(CodecTest, NoiseIsRefusedOrFillsTheFrame) {
  const auto [encoding, element_bytes, pixels] = GetParam();
  std::mt19937 random(29);
  std::uniform_int_distribution<int> value(0, 255), size(0, 400);
  for (int round = 0; round < 300; ++round) {
    Bytes noise(static_cast<std::size_t>(size(random)));
    for (std::byte& b : noise) b = static_cast<std::byte>(value(random));
    Bytes decoded(static_cast<std::size_t>(pixels * element_bytes));
    if (encoding == Encoding::kBslz4 && round % 2 == 0 && noise.size() > 12) {
      // Past the header's checks, and with block sizes that are multiples of 8 elements.
      const std::uint64_t bytes = decoded.size();
      for (std::size_t i = 0; i < 8; ++i) noise[i] = static_cast<std::byte>(bytes >> (56 - 8 * i));
      noise[11] &= std::byte{0xE0};
    }
    const absl::Status status = Decode(encoding, noise, element_bytes, &decoded);
    EXPECT_TRUE(status.ok() || status.code() == absl::StatusCode::kInvalidArgument);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Frames, CodecTest,
    testing::Combine(testing::Values(Encoding::kRaw, Encoding::kLz4, Encoding::kBslz4),
                     testing::Values(1, 2, 4),
                     // A few elements, a partial block, whole blocks, and a remainder below 8.
                     testing::Values(5, 64, 64 * 64, 3 * 4096 + 8, 100 * 101 + 3)),
    [](const auto& param_info) {
      return ToString(std::get<0>(param_info.param)) + "_" +
             std::to_string(std::get<1>(param_info.param)) + "_bytes_" +
             std::to_string(std::get<2>(param_info.param)) + "_pixels";
    });

TEST(BitShuffleTest, OneBitGoesWhereTheLayoutSays) {
  constexpr int kElements = 24;
  for (const int element_bytes : {1, 2, 4}) {
    for (int element = 0; element < kElements; ++element) {
      for (int bit = 0; bit < 8 * element_bytes; ++bit) {
        Bytes in(static_cast<std::size_t>(kElements * element_bytes));
        in[static_cast<std::size_t>(element * element_bytes + bit / 8)] = std::byte{1} << (bit % 8);
        Bytes expected(in.size());
        expected[static_cast<std::size_t>(bit * kElements / 8 + element / 8)] = std::byte{1}
                                                                                << (element % 8);
        Bytes out(in.size());
        BitShuffle(in.data(), out.data(), kElements, element_bytes);
        ASSERT_EQ(out, expected) << element_bytes << " " << element << " " << bit;
        Bytes back(in.size());
        BitUnshuffle(out.data(), back.data(), kElements, element_bytes);
        ASSERT_EQ(back, in);
      }
    }
  }
}

Bytes FromHex(const std::string& hex) {
  Bytes out;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    out.push_back(static_cast<std::byte>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  }
  return out;
}

// Pixels 0, 1, 2, ... of 16 bits.
Bytes Ramp(int pixels) {
  Bytes frame;
  for (int i = 0; i < pixels; ++i) {
    frame.push_back(static_cast<std::byte>(i & 0xFF));
    frame.push_back(static_cast<std::byte>(i >> 8));
  }
  return frame;
}

// Chunks that the HDF5 filter 32008 of bitshuffle 0.3.5 wrote for 35 such pixels.
TEST(Bslz4Test, DecodesWhatTheHdf5FilterWrites) {
  // The default block of 4096 elements: one block of 32, three elements as they are.
  const Bytes one_block = FromHex(
      "00000000000000460000200000000020ff06aaaaaaaaccccccccf0f0f0f000ff00ff0000ffff0001001350000000"
      "0000200021002200");
  // Blocks of 16 elements.
  const Bytes two_blocks = FromHex(
      "000000000000004600000020000000129eaaaaccccf0f000ff00010050000000000000000014bcaaaaccccf0f000"
      "ffffff000100500000000000200021002200");
  const Bytes frame = Ramp(35);
  for (const Bytes& chunk : {one_block, two_blocks}) {
    Bytes decoded(frame.size());
    const absl::Status status = Decode(Encoding::kBslz4, chunk, 2, &decoded);
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(decoded, frame);
  }
  // What we write has the same header and as many bytes behind the blocks.
  const Bytes encoded = EncodeFrame(Encoding::kBslz4, frame, 2);
  EXPECT_TRUE(std::equal(encoded.begin(), encoded.begin() + 12, one_block.begin()));
  EXPECT_TRUE(std::equal(encoded.end() - 6, encoded.end(), one_block.end() - 6));
}

TEST(Bslz4Test, BlockSizeOfAnyMultipleOfEightElements) {
  const Bytes frame = Frame(3 * 4096 + 8, 2);
  Bytes encoded = EncodeFrame(Encoding::kBslz4, frame, 2);
  // 0 stands for the default, which is what the encoder uses.
  for (std::size_t i = 8; i < 12; ++i) encoded[i] = std::byte{0};
  Bytes decoded(frame.size());
  ASSERT_TRUE(Decode(Encoding::kBslz4, encoded, 2, &decoded).ok());
  EXPECT_EQ(decoded, frame);

  encoded[11] = std::byte{8};  // 4 elements.
  const absl::Status status = Decode(Encoding::kBslz4, encoded, 2, &decoded);
  EXPECT_THAT(std::string(status.message()), HasSubstr("block size 8 is not a multiple of 16"));
}

TEST(Bslz4Test, MessagesSayWhatIsWrong) {
  const Bytes frame = Frame(4096, 2);
  const Bytes encoded = EncodeFrame(Encoding::kBslz4, frame, 2);
  Bytes decoded(frame.size());
  const auto message = [&decoded](Bytes payload) {
    return std::string(Decode(Encoding::kBslz4, payload, 2, &decoded).message());
  };
  EXPECT_THAT(message({}), HasSubstr("0 bytes are less than the bitshuffle header of 12"));
  Bytes wrong_size = encoded;
  wrong_size[0] = std::byte{1};
  EXPECT_THAT(message(wrong_size), HasSubstr("the frame has 8192"));
  Bytes long_block = encoded;
  long_block[12] = std::byte{0x7F};
  EXPECT_THAT(message(long_block), HasSubstr("the block at byte 0 announces"));
  EXPECT_THAT(message(Bytes(encoded.begin(), encoded.begin() + 14)),
              HasSubstr("the data end before the block at byte 0"));
}

TEST(CodecArgumentTest, ElementSizeMustBeOfAPixelType) {
  Bytes out(24);
  for (const int bytes : {-1, 0, 3, 8}) {
    EXPECT_EQ(Decode(Encoding::kRaw, Bytes(24), bytes, &out).code(),
              absl::StatusCode::kInvalidArgument);
  }
  Bytes odd(7);
  EXPECT_EQ(Decode(Encoding::kRaw, Bytes(7), 2, &odd).code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace ptychoserve
