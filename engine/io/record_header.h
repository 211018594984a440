#ifndef PTYCHOSERVE_ENGINE_IO_RECORD_HEADER_H_
#define PTYCHOSERVE_ENGINE_IO_RECORD_HEADER_H_

#include <xxhash.h>

#include <cstddef>
#include <cstdint>

namespace ptychoserve {

// What precedes the payload of a record on disk: of the files that a server keeps, and of those
// that a client does.
struct RecordHeader {
  std::uint32_t magic = 0;  // Of the kind of file.
  std::uint32_t kind = 0;
  std::uint64_t sequence = 0;
  std::uint64_t bytes = 0;  // Of the payload,
  std::uint64_t payload_hash = 0;
  std::uint64_t header_hash = 0;  // and of the fields before this one.

  std::uint64_t Hash() const { return XXH3_64bits(this, offsetof(RecordHeader, header_hash)); }
  bool IsWhole(std::uint32_t expected_magic) const {
    return magic == expected_magic && header_hash == Hash();
  }
};
static_assert(sizeof(RecordHeader) == 40, "No padding: this is the format of the files");

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_IO_RECORD_HEADER_H_
