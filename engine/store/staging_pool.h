#ifndef PTYCHOSERVE_ENGINE_STORE_STAGING_POOL_H_
#define PTYCHOSERVE_ENGINE_STORE_STAGING_POOL_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <queue>
#include <utility>
#include <vector>

#include "engine/backend/backend.h"

namespace ptychoserve {

// Buffers of one size, cut out of one block of memory. The one that lies first is taken first: what
// is in use stays small and in the cache when the device keeps up, and buffers taken one after the
// other mostly follow each other in memory, too, so that the device copies them at once. Not
// thread-safe.
class StagingPool {
 public:
  // `memory` has room for `buffers` times `buffer_bytes`.
  StagingPool(StagingMemory memory, std::int64_t buffer_bytes, std::int64_t buffers)
      : memory_(std::move(memory)), buffer_bytes_(buffer_bytes) {
    for (std::int64_t i = 0; i < buffers; ++i) free_.push(memory_.get() + i * buffer_bytes_);
  }

  bool empty() const { return free_.empty(); }
  std::int64_t free_bytes() const {
    return static_cast<std::int64_t>(free_.size()) * buffer_bytes_;
  }
  // Not when empty().
  std::byte* Acquire() {
    std::byte* const buffer = free_.top();
    free_.pop();
    return buffer;
  }
  void Release(std::byte* buffer) { free_.push(buffer); }
  // Gives the memory back; no buffer is valid any more, and none comes back.
  void Drop() {
    free_ = {};
    memory_.reset();
  }

 private:
  StagingMemory memory_;
  std::int64_t buffer_bytes_;
  std::priority_queue<std::byte*, std::vector<std::byte*>, std::greater<>> free_;
};

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_STORE_STAGING_POOL_H_
