#ifndef PTYCHOSERVE_ENGINE_FRAMES_FRAME_BATCH_H_
#define PTYCHOSERVE_ENGINE_FRAMES_FRAME_BATCH_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "engine/base/array.h"
#include "engine/base/byte_chain.h"
#include "engine/config.h"

namespace ptychoserve {

// Frames as they came over the wire; views into memory of the caller. Not checked in itself:
// whoever takes it in counts what is wrong with it.
struct FrameBatch {
  std::int64_t first_frame_id = 0;    // Ids are first_frame_id, +1, ... unless `ids` is set.
  std::span<const std::int64_t> ids;  // Empty, or `frames` ids.
  int frames = 0;
  DataType dtype = DataType::kU16;
  Shape shape;  // Of each frame.
  Encoding encoding = Encoding::kRaw;
  std::span<const std::uint32_t> encoded_sizes;  // Bytes of each frame unless kRaw.
  ByteChain data;                                // Encoded frames one after the other.

  int count() const { return frames; }
  std::int64_t id(int i) const {
    return ids.empty() ? first_frame_id + i : ids[static_cast<std::size_t>(i)];
  }
};

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_FRAMES_FRAME_BATCH_H_
