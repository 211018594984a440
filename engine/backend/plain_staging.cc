#include <cstdlib>

#include "absl/strings/str_format.h"
#include "engine/backend/backend.h"

namespace ptychoserve {

absl::StatusOr<StagingMemory> PlainStaging(std::int64_t bytes) {
  constexpr std::size_t kPageBytes = 4096;
  const std::size_t rounded = (static_cast<std::size_t>(bytes) + kPageBytes - 1) / kPageBytes;
  void* const memory = std::aligned_alloc(kPageBytes, rounded * kPageBytes);
  if (memory == nullptr) {
    return absl::ResourceExhaustedError(absl::StrFormat(
        "the system has no %d bytes of memory left for frames on their way to the device", bytes));
  }
  return StagingMemory(static_cast<std::byte*>(memory), [](std::byte* p) { std::free(p); });
}

}  // namespace ptychoserve
