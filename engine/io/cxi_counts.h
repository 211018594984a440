#ifndef PTYCHOSERVE_ENGINE_IO_CXI_COUNTS_H_
#define PTYCHOSERVE_ENGINE_IO_CXI_COUNTS_H_

#include <cstdint>
#include <limits>
#include <span>
#include <type_traits>

#include "engine/io/cxi.h"

namespace ptychoserve {

// Makes counts of numbers as files have them. What cannot be one becomes the largest value of the
// type, which the engine never trusts: NaN and infinity, too large integers, and negative ones, by
// which detectors mark their gaps and dead pixels. Negative floats, what is left of dark pixels
// when a background has been taken away, become 0. `stored` and `counts` may be the same memory.
template <typename Stored, typename Count>
void ToCounts(std::span<const Stored> stored, Count* counts, CxiChanges& changes) {
  constexpr Count kUntrusted = std::numeric_limits<Count>::max();
  for (std::size_t i = 0; i < stored.size(); ++i) {
    const Stored value = stored[i];
    if constexpr (std::is_floating_point_v<Stored>) {
      const bool finite = value >= -kUntrusted && value <= kUntrusted;  // False for NaN.
      changes.untrusted += !finite;
      changes.negative += finite && value < 0;
      counts[i] = !finite ? kUntrusted : value < 0 ? Count{0} : value;
    } else {
      const bool fits = value >= 0 && static_cast<std::uint64_t>(value) <= kUntrusted;
      changes.untrusted += !fits;
      counts[i] = fits ? static_cast<Count>(value) : kUntrusted;
    }
  }
}

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_IO_CXI_COUNTS_H_
