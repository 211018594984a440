#ifndef PTYCHOSERVE_ENGINE_IO_PAYLOAD_HASH_H_
#define PTYCHOSERVE_ENGINE_IO_PAYLOAD_HASH_H_

#include <cstddef>
#include <cstdint>
#include <span>

namespace ptychoserve {

// XXH3, 64 bits, of what is given in pieces, one after the other.
std::uint64_t PayloadHash(std::span<const std::span<const std::byte>> payload);
std::uint64_t PayloadHash(std::span<const std::byte> payload);

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_IO_PAYLOAD_HASH_H_
