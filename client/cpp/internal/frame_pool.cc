#include "client/cpp/internal/frame_pool.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace ptychoserve::client::internal {

std::shared_ptr<FramePool> FramePool::Create(std::size_t frame_bytes) {
  return std::shared_ptr<FramePool>(new FramePool(frame_bytes));
}

grpc::Slice FramePool::Copy(std::span<const std::byte> frame) {
  std::unique_ptr<Buffer> buffer = Take(frame.size());
  std::ranges::copy(frame, buffer->memory.get());
  buffer->pool = shared_from_this();
  std::byte* const memory = buffer->memory.get();
  return grpc::Slice(memory, frame.size(), &FramePool::Return, buffer.release());
}

std::unique_ptr<FramePool::Buffer> FramePool::Take(std::size_t bytes) {
  std::unique_ptr<Buffer> buffer;
  {
    MutexLock lock(mu_);
    if (!free_.empty()) {
      buffer = std::move(free_.back());  // The one that was used last is in the cache, if any is.
      free_.pop_back();
    }
  }
  if (buffer == nullptr) buffer = std::make_unique<Buffer>();
  if (buffer->size < bytes) {
    buffer->size = std::max(bytes, frame_bytes_);
    buffer->memory = std::make_unique_for_overwrite<std::byte[]>(buffer->size);
  }
  return buffer;
}

void FramePool::Return(void* buffer) {
  std::unique_ptr<Buffer> returned(static_cast<Buffer*>(buffer));
  const std::shared_ptr<FramePool> pool = std::move(returned->pool);
  MutexLock lock(pool->mu_);
  pool->free_.push_back(std::move(returned));
}

}  // namespace ptychoserve::client::internal
