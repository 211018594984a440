#include "engine/backend/cuda/fft_plan.h"

#include <algorithm>
#include <utility>

#include "engine/backend/cuda/cuda_status.h"
#include "engine/base/status_macros.h"

namespace ptychoserve::cuda {

absl::StatusOr<FftPlan> FftPlan::Create(Shape shape, int batch) {
  FftPlan plan;
  PS_RETURN_IF_ERROR(CufftStatus(cufftCreate(&plan.plan_), "cufftCreate"));
  plan.batch_ = batch;
  PS_RETURN_IF_ERROR(CufftStatus(cufftSetAutoAllocation(plan.plan_, 0), "cufftSetAutoAllocation"));
  int size[2] = {shape.rows, shape.cols};
  const int distance = static_cast<int>(shape.pixels());
  PS_RETURN_IF_ERROR(CufftStatus(cufftMakePlanMany(plan.plan_, 2, size, size, 1, distance, size, 1,
                                                   distance, CUFFT_C2C, batch, &plan.work_bytes_),
                                 "cufftMakePlanMany"));
  return plan;
}

FftPlan::FftPlan(FftPlan&& other) noexcept
    : plan_(std::exchange(other.plan_, kNone)),
      batch_(other.batch_),
      work_bytes_(other.work_bytes_) {}

FftPlan& FftPlan::operator=(FftPlan&& other) noexcept {
  std::swap(plan_, other.plan_);
  std::swap(batch_, other.batch_);
  std::swap(work_bytes_, other.work_bytes_);
  return *this;
}

FftPlan::~FftPlan() {
  if (plan_ != kNone) (void)cufftDestroy(plan_);
}

absl::Status FftPlan::SetStream(cudaStream_t stream) {
  return CufftStatus(cufftSetStream(plan_, stream), "cufftSetStream");
}

absl::Status FftPlan::SetWorkArea(void* work) {
  if (work_bytes_ == 0) return absl::OkStatus();
  return CufftStatus(cufftSetWorkArea(plan_, work), "cufftSetWorkArea");
}

absl::Status FftPlan::Execute(float2* data, int direction) const {
  return CufftStatus(cufftExecC2C(plan_, data, data, direction), "cufftExecC2C");
}

absl::StatusOr<BatchedFft> BatchedFft::Create(Shape shape, int max_batch) {
  constexpr int kRatio = 4;
  BatchedFft fft;
  fft.shape_ = shape;
  for (int batch = max_batch;; batch = std::max(1, batch / kRatio)) {
    PS_ASSIGN_OR_RETURN(FftPlan plan, FftPlan::Create(shape, batch));
    fft.plans_.push_back(std::move(plan));
    if (batch == 1) break;
  }
  return fft;
}

std::size_t BatchedFft::work_bytes() const {
  std::size_t bytes = 0;
  for (const FftPlan& plan : plans_) bytes = std::max(bytes, plan.work_bytes());
  return bytes;
}

absl::Status BatchedFft::Bind(cudaStream_t stream, void* work) {
  for (FftPlan& plan : plans_) {
    PS_RETURN_IF_ERROR(plan.SetStream(stream));
    PS_RETURN_IF_ERROR(plan.SetWorkArea(work));
  }
  return absl::OkStatus();
}

absl::Status BatchedFft::Forward(float2* data, int count) const {
  return Execute(data, count, CUFFT_FORWARD);
}

absl::Status BatchedFft::Inverse(float2* data, int count) const {
  return Execute(data, count, CUFFT_INVERSE);
}

absl::Status BatchedFft::Execute(float2* data, int count, int direction) const {
  for (const FftPlan& plan : plans_) {
    for (; count >= plan.batch(); count -= plan.batch()) {
      PS_RETURN_IF_ERROR(plan.Execute(data, direction));
      data += plan.batch() * shape_.pixels();
    }
  }
  return absl::OkStatus();
}

}  // namespace ptychoserve::cuda
