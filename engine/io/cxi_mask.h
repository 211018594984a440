#ifndef PTYCHOSERVE_ENGINE_IO_CXI_MASK_H_
#define PTYCHOSERVE_ENGINE_IO_CXI_MASK_H_

#include <cstdint>

namespace ptychoserve {

// Bits of CXI masks (version 1.6, table 7) that say something of a pixel without making it a bad
// one: that it lies near a Bragg peak (0x20), was corrected (0x800, 0x4000), counted for a hit
// (0x2000) or, up to version 1.4 and alone, has signal (0x1000).
inline constexpr std::uint32_t kHarmlessMaskBits = 0x20 | 0x800 | 0x2000 | 0x4000;
inline constexpr std::uint32_t kHasSignal = 0x1000;

// Any other bit makes a pixel a bad one: invalid, saturated, hot, dead, shadowed, to be ignored,
// bad, outside of the resolution, missing, noisy, not correctable, and those left to the users.
constexpr bool IsBadPixel(std::uint32_t mask) {
  return mask != kHasSignal && (mask & ~kHarmlessMaskBits) != 0;
}

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_IO_CXI_MASK_H_
