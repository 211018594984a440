#ifndef PTYCHOSERVE_ENGINE_FRAMES_CODEC_H_
#define PTYCHOSERVE_ENGINE_FRAMES_CODEC_H_

#include <cstddef>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "engine/config.h"

namespace ptychoserve {

// Decodes one frame of elements of `element_bytes` into `out`, whose size is the decoded size.
// Errors: kInvalidArgument saying what is wrong when `encoded` is not exactly one such frame.
// Never reads or writes out of bounds, whatever `encoded` holds.
absl::Status DecodeFrame(Encoding encoding, std::span<const std::byte> encoded, int element_bytes,
                         std::span<std::byte> out);

// The reverse of DecodeFrame.
std::vector<std::byte> EncodeFrame(Encoding encoding, std::span<const std::byte> frame,
                                   int element_bytes);

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_FRAMES_CODEC_H_
