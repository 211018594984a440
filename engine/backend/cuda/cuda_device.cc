#include "engine/backend/cuda/cuda_device.h"

#include <algorithm>
#include <map>
#include <memory>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/backend/cuda/cuda_backend.h"
#include "engine/backend/cuda/cuda_status.h"
#include "engine/backend/cuda/device_buffer.h"
#include "engine/backend/cuda/fft_plan.h"
#include "engine/backend/cuda/memory_plan.h"
#include "engine/base/mutex.h"
#include "engine/base/status_macros.h"

namespace ptychoserve {
namespace {

// Kernels are compiled for 8.0 and newer.
constexpr int kOldestMajor = 8;
// Left to the code and tables that the CUDA libraries load when they are first used.
constexpr std::int64_t kReserveBytes = 768 << 20;

class CudaDevice final : public Device {
 public:
  CudaDevice(int ordinal, std::string description, std::int64_t total_bytes,
             std::int64_t usable_bytes)
      : ordinal_(ordinal),
        description_(std::move(description)),
        total_bytes_(total_bytes),
        usable_bytes_(usable_bytes) {}

  std::string name() const override { return absl::StrCat("cuda:", ordinal_); }
  std::string description() const override { return description_; }
  std::int64_t total_bytes() const override { return total_bytes_; }
  std::int64_t usable_bytes() const override { return usable_bytes_; }

  std::int64_t EstimateBytes(const BackendConfig& config) const override {
    // Where the device cannot be asked, CreateBackend fails with the reason.
    bool fused = false;
    if (cuda::CudaStatus(cudaSetDevice(ordinal_), "cudaSetDevice").ok()) {
      fused = cuda::UsesFusedPasses(config).value_or(false);
    }
    cuda::MemoryPlan plan = cuda::PlanMemory(config, fused);
    plan.fft_work = FftWorkBytes(config.frame_shape, plan.transforms());
    return plan.TotalBytes();
  }

  absl::StatusOr<std::unique_ptr<Backend>> CreateBackend(const BackendConfig& config) override {
    PS_ASSIGN_OR_RETURN(std::unique_ptr<Backend> backend,
                        cuda::CudaBackend::Create(config, ordinal_));
    return backend;
  }

  absl::StatusOr<StagingMemory> AllocateStaging(std::int64_t bytes) override {
    PS_RETURN_IF_ERROR(cuda::CudaStatus(cudaSetDevice(ordinal_), "cudaSetDevice"));
    PS_ASSIGN_OR_RETURN(auto pinned, cuda::PinnedBuffer<std::byte>::Create(bytes));
    std::byte* const memory = pinned.data();
    auto owner = std::make_shared<cuda::PinnedBuffer<std::byte>>(std::move(pinned));
    return StagingMemory(memory, [owner](std::byte*) mutable { owner.reset(); });
  }

 private:
  // Only cuFFT knows, from a plan. Plans are made once for each shape.
  std::int64_t FftWorkBytes(Shape shape, int transforms) const {
    const std::tuple key(shape.rows, shape.cols, transforms);
    MutexLock lock(mu_);
    const auto found = fft_work_.find(key);
    if (found != fft_work_.end()) return found->second;
    // Where no plan can be made, CreateBackend fails with the reason.
    std::int64_t bytes = 0;
    if (cuda::CudaStatus(cudaSetDevice(ordinal_), "cudaSetDevice").ok()) {
      const absl::StatusOr<cuda::BatchedFft> fft = cuda::BatchedFft::Create(shape, transforms);
      if (fft.ok()) bytes = static_cast<std::int64_t>(fft->work_bytes());
    }
    fft_work_.emplace(key, bytes);
    return bytes;
  }

  const int ordinal_;
  const std::string description_;
  const std::int64_t total_bytes_;
  const std::int64_t usable_bytes_;
  mutable Mutex mu_;
  mutable std::map<std::tuple<int, int, int>, std::int64_t> fft_work_ ABSL_GUARDED_BY(mu_);
};

// The GPU with the number `ordinal`, or why it cannot be used.
absl::StatusOr<std::unique_ptr<Device>> OpenDevice(int ordinal, const CudaDeviceOptions& options) {
  cudaDeviceProp properties;
  PS_RETURN_IF_ERROR(
      cuda::CudaStatus(cudaGetDeviceProperties(&properties, ordinal), "cudaGetDeviceProperties"));
  if (properties.major < kOldestMajor) {
    return absl::UnimplementedError(
        absl::StrFormat("%s has compute capability %d.%d; %d.0 or newer is needed", properties.name,
                        properties.major, properties.minor, kOldestMajor));
  }
  PS_RETURN_IF_ERROR(cuda::CudaStatus(cudaSetDevice(ordinal), "cudaSetDevice"));
  std::size_t free_bytes = 0, total_bytes = 0;
  PS_RETURN_IF_ERROR(cuda::CudaStatus(cudaMemGetInfo(&free_bytes, &total_bytes), "cudaMemGetInfo"));
  const std::int64_t usable =
      options.memory_limit_bytes > 0
          ? options.memory_limit_bytes
          : std::max<std::int64_t>(static_cast<std::int64_t>(free_bytes) - kReserveBytes, 0);
  return std::make_unique<CudaDevice>(
      ordinal,
      absl::StrFormat("%s, compute capability %d.%d, %.1f GiB", properties.name, properties.major,
                      properties.minor, static_cast<double>(total_bytes) / (1 << 30)),
      static_cast<std::int64_t>(total_bytes), usable);
}

}  // namespace

CudaDeviceList CudaDevices(const CudaDeviceOptions& options) {
  CudaDeviceList list;
  int count = 0;
  if (const cudaError_t error = cudaGetDeviceCount(&count); error != cudaSuccess) {
    (void)cudaGetLastError();
    // Also what the runtime says when there is no driver at all.
    list.reason = error == cudaErrorInsufficientDriver
                      ? "the NVIDIA driver is missing, or older than this CUDA runtime needs"
                      : absl::StrCat("no GPU can be used: ", cudaGetErrorString(error));
    return list;
  }
  if (count == 0) list.reason = "this machine has no GPU";
  for (int ordinal = 0; ordinal < count; ++ordinal) {
    absl::StatusOr<std::unique_ptr<Device>> device = OpenDevice(ordinal, options);
    if (device.ok()) {
      list.devices.push_back(*std::move(device));
    } else {
      absl::StrAppend(&list.reason, list.reason.empty() ? "" : "; ", "cuda:", ordinal, ": ",
                      device.status().message());
    }
  }
  return list;
}

bool BuiltWithCuda() { return true; }

}  // namespace ptychoserve
