#ifndef PTYCHOSERVE_ENGINE_BACKEND_CUDA_FFT_PLAN_H_
#define PTYCHOSERVE_ENGINE_BACKEND_CUDA_FFT_PLAN_H_

#include <cuda_runtime_api.h>
#include <cufft.h>

#include <cstddef>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/array.h"

namespace ptychoserve::cuda {

// Owns one cuFFT plan: `batch` in-place complex transforms of `shape`. Move-only.
class FftPlan {
 public:
  // The plan has no work area yet; see work_bytes and SetWorkArea.
  static absl::StatusOr<FftPlan> Create(Shape shape, int batch);
  FftPlan() = default;
  FftPlan(const FftPlan&) = delete;
  FftPlan& operator=(const FftPlan&) = delete;
  FftPlan(FftPlan&& other) noexcept;
  FftPlan& operator=(FftPlan&& other) noexcept;
  ~FftPlan();

  int batch() const { return batch_; }
  std::size_t work_bytes() const { return work_bytes_; }
  absl::Status SetStream(cudaStream_t stream);
  // `work` has at least work_bytes() bytes. Plans may share it when they share a stream.
  absl::Status SetWorkArea(void* work);
  // data: device, [batch, rows, cols]. Not scaled: forward and inverse multiply by N in all.
  absl::Status Execute(float2* data, int direction) const;

 private:
  static constexpr cufftHandle kNone = -1;
  cufftHandle plan_ = kNone;
  int batch_ = 0;
  std::size_t work_bytes_ = 0;
};

// In-place transforms of any number of images up to `max_batch`, enqueued on one stream. Made of
// plans for max_batch, a quarter of it, and so on down to 1, which are combined: no image more
// than asked for is transformed, and nothing is planned or allocated after Create.
// Not thread-safe.
class BatchedFft {
 public:
  static absl::StatusOr<BatchedFft> Create(Shape shape, int max_batch);

  // Bytes of the one work area that all plans share.
  std::size_t work_bytes() const;
  absl::Status Bind(cudaStream_t stream, void* work);
  // data: device, [count, rows, cols]; count <= max_batch. Not scaled.
  absl::Status Forward(float2* data, int count) const;
  absl::Status Inverse(float2* data, int count) const;

 private:
  absl::Status Execute(float2* data, int count, int direction) const;

  Shape shape_;
  std::vector<FftPlan> plans_;  // Falling batch size, the last is 1.
};

}  // namespace ptychoserve::cuda

#endif  // PTYCHOSERVE_ENGINE_BACKEND_CUDA_FFT_PLAN_H_
