#ifndef PTYCHOSERVE_CLIENT_CPP_INTERNAL_FRAME_POOL_H_
#define PTYCHOSERVE_CLIENT_CPP_INTERNAL_FRAME_POOL_H_

#include <grpcpp/support/slice.h>

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "engine/base/mutex.h"

namespace ptychoserve::client::internal {

// Memory for frames on their way to the server, used again and again: fresh memory for each would
// cost more, in page faults, than copying. Slices keep the pool alive. Thread-safe.
class FramePool : public std::enable_shared_from_this<FramePool> {
 public:
  // Buffers are of at least `frame_bytes`.
  static std::shared_ptr<FramePool> Create(std::size_t frame_bytes);

  // A copy of `frame`, which gRPC sends from where it is and gives back when it is sent.
  grpc::Slice Copy(std::span<const std::byte> frame);

 private:
  struct Buffer {
    std::shared_ptr<FramePool> pool;  // Set while it is in use.
    std::size_t size = 0;
    std::unique_ptr<std::byte[]> memory;
  };

  explicit FramePool(std::size_t frame_bytes) : frame_bytes_(frame_bytes) {}
  std::unique_ptr<Buffer> Take(std::size_t bytes);
  static void Return(void* buffer);

  const std::size_t frame_bytes_;
  Mutex mu_;
  std::vector<std::unique_ptr<Buffer>> free_ ABSL_GUARDED_BY(mu_);
};

}  // namespace ptychoserve::client::internal

#endif  // PTYCHOSERVE_CLIENT_CPP_INTERNAL_FRAME_POOL_H_
