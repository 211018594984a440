#include "engine/frames/bitshuffle.h"

namespace ptychoserve {
namespace {

constexpr int kGroup = 8;  // Elements, and bits of a byte, that one step transposes.

// Transposes an 8 x 8 matrix of bits; row r is byte r of `x`, column c is bit c of the byte.
// Hacker's Delight, 2nd ed., 7-3: exchanges the off-diagonal 1 x 1, 2 x 2 and 4 x 4 blocks.
std::uint64_t TransposeBits(std::uint64_t x) {
  std::uint64_t t = (x ^ (x >> 7)) & 0x00AA00AA00AA00AAULL;
  x ^= t ^ (t << 7);
  t = (x ^ (x >> 14)) & 0x0000CCCC0000CCCCULL;
  x ^= t ^ (t << 14);
  t = (x ^ (x >> 28)) & 0x00000000F0F0F0F0ULL;
  return x ^ t ^ (t << 28);
}

// Eight bytes, `stride` apart, as one number, the first in the lowest byte; and back.
std::uint64_t Gather(const std::byte* in, std::int64_t stride) {
  std::uint64_t x = 0;
  for (int k = 0; k < kGroup; ++k) x |= std::to_integer<std::uint64_t>(in[k * stride]) << (8 * k);
  return x;
}
void Scatter(std::uint64_t x, std::byte* out, std::int64_t stride) {
  for (int k = 0; k < kGroup; ++k) out[k * stride] = static_cast<std::byte>(x >> (8 * k));
}

template <int kElementBytes>
void Shuffle(const std::byte* in, std::byte* out, std::int64_t elements) {
  const std::int64_t groups = elements / kGroup;
  for (std::int64_t i = 0; i < groups; ++i) {
    for (int j = 0; j < kElementBytes; ++j) {
      const std::uint64_t x = Gather(in + i * kGroup * kElementBytes + j, kElementBytes);
      Scatter(TransposeBits(x), out + kGroup * groups * j + i, groups);
    }
  }
}

template <int kElementBytes>
void Unshuffle(const std::byte* in, std::byte* out, std::int64_t elements) {
  const std::int64_t groups = elements / kGroup;
  for (std::int64_t i = 0; i < groups; ++i) {
    for (int j = 0; j < kElementBytes; ++j) {
      const std::uint64_t x = Gather(in + kGroup * groups * j + i, groups);
      Scatter(TransposeBits(x), out + i * kGroup * kElementBytes + j, kElementBytes);
    }
  }
}

}  // namespace

void BitShuffle(const std::byte* in, std::byte* out, std::int64_t elements, int element_bytes) {
  switch (element_bytes) {
    case 1:
      return Shuffle<1>(in, out, elements);
    case 2:
      return Shuffle<2>(in, out, elements);
    default:
      return Shuffle<4>(in, out, elements);
  }
}

void BitUnshuffle(const std::byte* in, std::byte* out, std::int64_t elements, int element_bytes) {
  switch (element_bytes) {
    case 1:
      return Unshuffle<1>(in, out, elements);
    case 2:
      return Unshuffle<2>(in, out, elements);
    default:
      return Unshuffle<4>(in, out, elements);
  }
}

}  // namespace ptychoserve
