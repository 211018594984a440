#include "engine/io/payload_hash.h"

#include <xxhash.h>

#include <memory>
// The library is built for the oldest processors; what takes the widest vectors that there are, for
// a third of the time, has names of its own, which this header puts in place of the others.
#ifdef PTYCHOSERVE_XXHASH_DISPATCH
#include <xxh_x86dispatch.h>
#endif

namespace ptychoserve {

std::uint64_t PayloadHash(std::span<const std::span<const std::byte>> payload) {
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> hash(XXH3_createState(),
                                                                      &XXH3_freeState);
  XXH3_64bits_reset(hash.get());
  for (const auto& piece : payload) {
    if (!piece.empty()) XXH3_64bits_update(hash.get(), piece.data(), piece.size());
  }
  return XXH3_64bits_digest(hash.get());
}

std::uint64_t PayloadHash(std::span<const std::byte> payload) {
  return XXH3_64bits(payload.data(), payload.size());
}

}  // namespace ptychoserve
