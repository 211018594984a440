#ifndef PTYCHOSERVE_ENGINE_BACKEND_CUDA_STREAM_H_
#define PTYCHOSERVE_ENGINE_BACKEND_CUDA_STREAM_H_

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/backend/cuda/cuda_status.h"
#include "engine/backend/cuda/device_buffer.h"

namespace ptychoserve::cuda {

// Owns an event without timing. Move-only. Not thread-safe.
class Event {
 public:
  static absl::StatusOr<Event> Create() {
    Event event;
    const cudaError_t error = cudaEventCreateWithFlags(&event.event_, cudaEventDisableTiming);
    if (error != cudaSuccess) return CudaStatus(error, "cudaEventCreateWithFlags");
    return event;
  }
  Event() = default;
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  Event(Event&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}
  Event& operator=(Event&& other) noexcept {
    std::swap(event_, other.event_);
    return *this;
  }
  ~Event() {
    if (event_ != nullptr) (void)cudaEventDestroy(event_);
  }

  cudaEvent_t get() const { return event_; }
  // Blocks until the work before the last Record is done; at once when never recorded.
  absl::Status Wait() const {
    return CudaStatus(cudaEventSynchronize(event_), "cudaEventSynchronize");
  }
  // Whether the work before the last Record is done.
  absl::StatusOr<bool> Done() const {
    const cudaError_t error = cudaEventQuery(event_);
    if (error == cudaErrorNotReady) return false;
    if (error != cudaSuccess) return CudaStatus(error, "cudaEventQuery");
    return true;
  }

 private:
  cudaEvent_t event_ = nullptr;
};

// Owns a stream that does not synchronise with the default stream. Move-only. Not thread-safe.
class Stream {
 public:
  static absl::StatusOr<Stream> Create() {
    Stream stream;
    const cudaError_t error = cudaStreamCreateWithFlags(&stream.stream_, cudaStreamNonBlocking);
    if (error != cudaSuccess) return CudaStatus(error, "cudaStreamCreateWithFlags");
    return stream;
  }
  Stream() = default;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  Stream(Stream&& other) noexcept : stream_(std::exchange(other.stream_, nullptr)) {}
  Stream& operator=(Stream&& other) noexcept {
    std::swap(stream_, other.stream_);
    return *this;
  }
  ~Stream() {
    if (stream_ != nullptr) (void)cudaStreamDestroy(stream_);
  }

  cudaStream_t get() const { return stream_; }
  absl::Status Synchronise() const {
    return CudaStatus(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
  }
  absl::Status Record(const Event& event) const {
    return CudaStatus(cudaEventRecord(event.get(), stream_), "cudaEventRecord");
  }
  // Work enqueued from now on runs after what `event` has recorded.
  absl::Status WaitFor(const Event& event) const {
    return CudaStatus(cudaStreamWaitEvent(stream_, event.get(), 0), "cudaStreamWaitEvent");
  }
  // Enqueues a copy of `count` elements.
  template <typename T>
  absl::Status Copy(T* to, const std::type_identity_t<T>* from, std::int64_t count,
                    cudaMemcpyKind kind) const {
    const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(T);
    return CudaStatus(cudaMemcpyAsync(to, from, bytes, kind, stream_), "cudaMemcpyAsync");
  }
  // The first `count` of a buffer; the kinds of memory say which way.
  template <typename T, typename To, typename From>
  absl::Status Copy(internal::Buffer<T, To>& to, const internal::Buffer<T, From>& from,
                    std::int64_t count) const {
    static_assert(To::kOnDevice || From::kOnDevice);
    return Copy(to.data(), from.data(), count,
                !From::kOnDevice ? cudaMemcpyHostToDevice
                : To::kOnDevice  ? cudaMemcpyDeviceToDevice
                                 : cudaMemcpyDeviceToHost);
  }
  // Enqueues zeroes for the first `count` elements.
  template <typename T>
  absl::Status Clear(DeviceBuffer<T>& buffer, std::int64_t count) const {
    const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(T);
    return CudaStatus(cudaMemsetAsync(buffer.data(), 0, bytes, stream_), "cudaMemsetAsync");
  }

 private:
  cudaStream_t stream_ = nullptr;
};

}  // namespace ptychoserve::cuda

#endif  // PTYCHOSERVE_ENGINE_BACKEND_CUDA_STREAM_H_
