#ifndef PTYCHOSERVE_ENGINE_BACKEND_CPU_BUFFER_H_
#define PTYCHOSERVE_ENGINE_BACKEND_CPU_BUFFER_H_

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"

namespace ptychoserve {

// An aligned array of plain values, uninitialised: pages that are never written take no memory.
template <typename T>
class Buffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  static constexpr std::size_t kAlignment = 64;

  Buffer() = default;
  ~Buffer() { std::free(data_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  // Errors: kResourceExhausted.
  absl::Status Allocate(std::int64_t size) {
    std::free(std::exchange(data_, nullptr));
    size_ = 0;
    if (size == 0) return absl::OkStatus();
    const auto wanted = static_cast<std::size_t>(size) * sizeof(T);
    const std::size_t rounded = (wanted + kAlignment - 1) / kAlignment * kAlignment;
    data_ = static_cast<T*>(std::aligned_alloc(kAlignment, rounded));
    if (data_ == nullptr) {
      return absl::ResourceExhaustedError(
          absl::StrFormat("the system has no %d bytes of memory left", wanted));
    }
    size_ = size;
    return absl::OkStatus();
  }

  void Swap(Buffer& other) {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  std::int64_t size() const { return size_; }
  std::int64_t bytes() const { return size_ * static_cast<std::int64_t>(sizeof(T)); }
  T& operator[](std::int64_t i) { return data_[i]; }
  const T& operator[](std::int64_t i) const { return data_[i]; }

 private:
  T* data_ = nullptr;
  std::int64_t size_ = 0;
};

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_BACKEND_CPU_BUFFER_H_
