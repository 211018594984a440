#ifndef PTYCHOSERVE_ENGINE_ALGORITHMS_OBJECT_START_H_
#define PTYCHOSERVE_ENGINE_ALGORITHMS_OBJECT_START_H_

#include <cstdint>

#include "engine/base/host_device.h"

// What the modes of the object are before light has fallen on them. The first is the configured
// value everywhere. Were the others 0, or like it, the iterations would keep them so: they do the
// same to all. So these begin as a weak pattern, in which no two modes and no two pixels are alike.
// It hangs on the place on the absolute lattice alone, and is the same to the bit on every device,
// however a canvas has come to be what it is.

namespace ptychoserve {

// Root mean square of the further modes, of the first one's amplitude.
inline constexpr float kObjectModeStart = 0.1f;

// A hash of 64 bits that any of the 64 bits of `x` changes (the finaliser of MurmurHash3).
PS_HOST_DEVICE inline std::uint64_t MixedBits(std::uint64_t x) {
  x ^= x >> 33;
  x *= 0xff51afd7ed558ccdULL;
  x ^= x >> 33;
  x *= 0xc4ceb9fe1a85ec53ULL;
  return x ^ (x >> 33);
}

// Largest real or imaginary part of a further mode: of numbers that are evenly spread up to it in
// both, the root mean square of the modulus is √(2/3) of it.
inline float WeakObjectStart(float amplitude) {
  constexpr float kLargestOfRms = 1.2247449f;  // √(3/2)
  return kObjectModeStart * kLargestOfRms * amplitude;
}

struct ObjectStart {
  float re, im;
};

// Of pixel (row, col) on the absolute lattice in mode `mode`. `re`, `im`: the first mode's value.
// `weak`: WeakObjectStart of its modulus.
PS_HOST_DEVICE inline ObjectStart ObjectStartAt(float re, float im, float weak, int mode, int row,
                                                int col) {
  if (mode == 0) return {re, im};
  const std::uint64_t place = (static_cast<std::uint64_t>(static_cast<std::uint32_t>(row)) << 32) |
                              static_cast<std::uint32_t>(col);
  const std::uint64_t bits =
      MixedBits(MixedBits(place) + static_cast<std::uint64_t>(mode) * 0x9e3779b97f4a7c15ULL);
  // Each part is evenly spread between -1 and 1: 24 bits, exact in single precision.
  const auto part = [weak](std::uint32_t high) {
    return weak * (static_cast<float>(static_cast<std::int32_t>(high) - (1 << 23)) / (1 << 23));
  };
  return {part(static_cast<std::uint32_t>(bits >> 40)),
          part(static_cast<std::uint32_t>(bits >> 8) & 0xffffffU)};
}

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_ALGORITHMS_OBJECT_START_H_
