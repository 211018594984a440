#ifndef PTYCHOSERVE_ENGINE_FRAMES_BITSHUFFLE_H_
#define PTYCHOSERVE_ENGINE_FRAMES_BITSHUFFLE_H_

#include <cstddef>
#include <cstdint>

namespace ptychoserve {

// Bitshuffle (Masui et al., Astronomy and Computing 12, 181 (2015)): `elements` numbers of
// `element_bytes` bytes as a matrix of bits, transposed, so that the many zero high bits of counts
// lie together. Output byte (8 j + b) * elements / 8 + i holds bit b of byte j of the elements
// 8 i ... 8 i + 7, the first of them in its lowest bit.
// `elements` is a multiple of 8, `element_bytes` 1, 2 or 4; both buffers have elements *
// element_bytes bytes, without overlap.
void BitShuffle(const std::byte* in, std::byte* out, std::int64_t elements, int element_bytes);
// The reverse of BitShuffle.
void BitUnshuffle(const std::byte* in, std::byte* out, std::int64_t elements, int element_bytes);

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_FRAMES_BITSHUFFLE_H_
