#ifndef PTYCHOSERVE_ENGINE_ALGORITHMS_OBJECT_START_H_
#define PTYCHOSERVE_ENGINE_ALGORITHMS_OBJECT_START_H_

#include <algorithm>
#include <complex>
#include <cstdint>

#include "engine/base/array.h"
#include "engine/base/host_device.h"

// What the modes of the object are before light has fallen on them. The first is the configured
// value everywhere. Were the others 0, or like it, the iterations would keep them so: they do the
// same to all. So these begin as a weak pattern, in which no two modes are alike: blocks of a
// fraction of the beam, each with a value of its own. Finer ones leave neighbouring frames at odds
// about the phase of a mode, which then takes long to heal. It hangs on the place on the absolute
// lattice alone, and is the same to the bit on every device, however a canvas has come to be what
// it is.

namespace ptychoserve {

// Root mean square of the further modes, of the first one's amplitude.
inline constexpr float kObjectModeStart = 0.1f;
// Blocks along the side of a frame, of which a beam fills a third to a half.
inline constexpr int kStartBlocksOfFrame = 8;

// A hash of 64 bits that any of the 64 bits of `x` changes (the finaliser of MurmurHash3).
PS_HOST_DEVICE inline std::uint64_t MixedBits(std::uint64_t x) {
  x ^= x >> 33;
  x *= 0xff51afd7ed558ccdULL;
  x ^= x >> 33;
  x *= 0xc4ceb9fe1a85ec53ULL;
  return x ^ (x >> 33);
}

struct ObjectStart {
  struct Value {
    float re, im;
  };
  Value first;     // Of the first mode.
  float largest;   // Real or imaginary part of the others, at most.
  int rows, cols;  // Of a block, pixels.

  // Of pixel (row, col) on the absolute lattice.
  PS_HOST_DEVICE Value At(int mode, int row, int col) const {
    if (mode == 0) return first;
    const std::uint64_t place = (std::uint64_t{Block(row, rows)} << 32) | Block(col, cols);
    const std::uint64_t bits =
        MixedBits(MixedBits(place) + static_cast<std::uint64_t>(mode) * 0x9e3779b97f4a7c15ULL);
    return {Part(static_cast<std::uint32_t>(bits >> 40)),
            Part(static_cast<std::uint32_t>(bits >> 8) & 0xffffffU)};
  }

  // The number of a block, rounded down.
  PS_HOST_DEVICE static std::uint32_t Block(int pixel, int size) {
    return static_cast<std::uint32_t>((pixel >= 0 ? pixel : pixel - size + 1) / size);
  }
  // Evenly spread between -largest and largest: of 24 bits, exact in single precision.
  PS_HOST_DEVICE float Part(std::uint32_t bits) const {
    return largest * (static_cast<float>(static_cast<std::int32_t>(bits) - (1 << 23)) / (1 << 23));
  }
};

// Of an object whose first mode is `first`, seen through frames of this shape.
inline ObjectStart MakeObjectStart(Complex64 first, Shape frame) {
  constexpr float kLargestOfRms = 1.2247449f;  // √(3/2), of two parts that are spread evenly.
  return {{first.real(), first.imag()},
          kObjectModeStart * kLargestOfRms * std::abs(first),
          std::max(frame.rows / kStartBlocksOfFrame, 1),
          std::max(frame.cols / kStartBlocksOfFrame, 1)};
}

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_ALGORITHMS_OBJECT_START_H_
