#ifndef PTYCHOSERVE_ENGINE_BACKEND_CUDA_DEVICE_BUFFER_H_
#define PTYCHOSERVE_ENGINE_BACKEND_CUDA_DEVICE_BUFFER_H_

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/backend/cuda/cuda_status.h"

namespace ptychoserve::cuda {

namespace internal {

struct DeviceMemory {
  static constexpr bool kOnDevice = true;
  static constexpr const char* kName = "cudaMalloc";
  static cudaError_t Allocate(void** data, std::size_t bytes) { return cudaMalloc(data, bytes); }
  static void Free(void* data) { (void)cudaFree(data); }
};

struct PinnedMemory {
  static constexpr bool kOnDevice = false;
  static constexpr const char* kName = "cudaMallocHost";
  static cudaError_t Allocate(void** data, std::size_t bytes) {
    return cudaMallocHost(data, bytes);
  }
  static void Free(void* data) { (void)cudaFreeHost(data); }
};

// Owns `size()` uninitialised elements of one kind of memory. Move-only. Not thread-safe.
template <typename T, typename Memory>
class Buffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  // A count of 0 gives an empty buffer.
  // Errors: kInvalidArgument when the size overflows, kResourceExhausted when memory is out.
  static absl::StatusOr<Buffer> Create(std::int64_t count) {
    if (count < 0 ||
        count > std::numeric_limits<std::int64_t>::max() / static_cast<std::int64_t>(sizeof(T))) {
      return absl::InvalidArgumentError("buffer size overflows");
    }
    Buffer buffer;
    if (count == 0) return buffer;
    void* data = nullptr;
    const cudaError_t error = Memory::Allocate(&data, static_cast<std::size_t>(count) * sizeof(T));
    if (error != cudaSuccess) return CudaStatus(error, Memory::kName);
    buffer.data_ = static_cast<T*>(data);
    buffer.size_ = count;
    return buffer;
  }

  Buffer() = default;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  Buffer(Buffer&& other) noexcept { Swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    Buffer moved(std::move(other));
    Swap(moved);
    return *this;
  }
  // Waits for the device when it still uses the memory: cudaFree and cudaFreeHost do.
  ~Buffer() {
    if (data_ != nullptr) Memory::Free(data_);
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  std::int64_t size() const { return size_; }
  std::size_t size_bytes() const { return static_cast<std::size_t>(size_) * sizeof(T); }

 private:
  void Swap(Buffer& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
  }

  T* data_ = nullptr;
  std::int64_t size_ = 0;
};

}  // namespace internal

// Memory of the current device.
template <typename T>
using DeviceBuffer = internal::Buffer<T, internal::DeviceMemory>;
// Page-locked host memory, which the device reads and writes asynchronously.
template <typename T>
using PinnedBuffer = internal::Buffer<T, internal::PinnedMemory>;

}  // namespace ptychoserve::cuda

#endif  // PTYCHOSERVE_ENGINE_BACKEND_CUDA_DEVICE_BUFFER_H_
