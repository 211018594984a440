#ifndef PTYCHOSERVE_ENGINE_BACKEND_STORED_FRAME_H_
#define PTYCHOSERVE_ENGINE_BACKEND_STORED_FRAME_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <vector>

#include "engine/base/array.h"
#include "engine/config.h"

namespace ptychoserve {

// Counts of a frame whose `stored` bytes are those of a slot: [shape], NaN where a pixel is not to
// be trusted.
inline FloatImage CountsOfStored(std::span<const std::byte> stored, FrameStorage storage,
                                 Shape shape) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  FloatImage counts{shape, std::vector<float>(static_cast<std::size_t>(shape.pixels()))};
  if (storage == FrameStorage::kF32) {
    std::memcpy(counts.data.data(), stored.data(), stored.size());
    std::ranges::replace(counts.data, kUnmeasuredF32, kNan);
    return counts;
  }
  std::vector<std::uint16_t> values(counts.data.size());
  std::memcpy(values.data(), stored.data(), stored.size());
  std::ranges::transform(values, counts.data.begin(), [](std::uint16_t value) {
    return value == kUnmeasuredU16 ? kNan : static_cast<float>(value);
  });
  return counts;
}

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_BACKEND_STORED_FRAME_H_
