#include "tests/bench/device_floor.h"

#include <cuda_runtime_api.h>
#include <cufft.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "engine/backend/cuda/cuda_status.h"
#include "engine/backend/cuda/device_buffer.h"
#include "engine/backend/cuda/fft_plan.h"
#include "engine/backend/cuda/stream.h"
#include "engine/base/array.h"
#include "engine/base/status_macros.h"
#include "tests/bench/device_floor_kernels.h"

namespace ptychoserve {
namespace {

using cuda::CudaStatus;
using cuda::DeviceBuffer;

constexpr int kWarmUp = 3;
constexpr int kRepeats = 15;
constexpr std::int64_t kMaxWaveBytes = std::int64_t{2} << 30;
constexpr std::int64_t kMaxCopyBytes = std::int64_t{2} << 30;
constexpr int kPixelsPerRead = sizeof(uint4) / sizeof(std::uint16_t);

// Owns an event that measures time.
class TimedEvent {
 public:
  TimedEvent() = default;
  TimedEvent(const TimedEvent&) = delete;
  TimedEvent& operator=(const TimedEvent&) = delete;
  ~TimedEvent() {
    if (event_ != nullptr) (void)cudaEventDestroy(event_);
  }
  absl::Status Record(const cuda::Stream& stream) {
    if (event_ == nullptr) {
      PS_RETURN_IF_ERROR(CudaStatus(cudaEventCreate(&event_), "cudaEventCreate"));
    }
    return CudaStatus(cudaEventRecord(event_, stream.get()), "cudaEventRecord");
  }
  cudaEvent_t get() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

// Median time of `work`, which enqueues on `stream`; `prepare` does so before each repetition and
// is not measured.
template <typename Prepare, typename Work>
absl::StatusOr<double> MedianMs(const cuda::Stream& stream, const Prepare& prepare,
                                const Work& work) {
  TimedEvent begin, end;
  std::vector<float> times;
  for (int i = 0; i < kWarmUp + kRepeats; ++i) {
    PS_RETURN_IF_ERROR(prepare());
    PS_RETURN_IF_ERROR(begin.Record(stream));
    PS_RETURN_IF_ERROR(work());
    PS_RETURN_IF_ERROR(end.Record(stream));
    PS_RETURN_IF_ERROR(stream.Synchronise());
    float ms = 0;
    PS_RETURN_IF_ERROR(
        CudaStatus(cudaEventElapsedTime(&ms, begin.get(), end.get()), "cudaEventElapsedTime"));
    if (i >= kWarmUp) times.push_back(ms);
  }
  std::nth_element(times.begin(), times.begin() + kRepeats / 2, times.end());
  return times[kRepeats / 2];
}

absl::Status Nothing() { return absl::OkStatus(); }

absl::Status UseDevice(int ordinal) { return CudaStatus(cudaSetDevice(ordinal), "cudaSetDevice"); }

absl::StatusOr<double> FftMs(const cuda::Stream& stream, Shape shape, int batch) {
  PS_ASSIGN_OR_RETURN(cuda::FftPlan plan, cuda::FftPlan::Create(shape, batch));
  const std::int64_t pixels = batch * shape.pixels();
  PS_ASSIGN_OR_RETURN(auto waves, DeviceBuffer<float2>::Create(pixels));
  PS_ASSIGN_OR_RETURN(
      auto work, DeviceBuffer<std::byte>::Create(static_cast<std::int64_t>(plan.work_bytes())));
  PS_RETURN_IF_ERROR(plan.SetStream(stream.get()));
  PS_RETURN_IF_ERROR(plan.SetWorkArea(work.data()));
  // Each pair of transforms multiplies by the pixels of a frame; a few of them would overflow.
  const auto fill = [&] {
    cuda::LaunchFillWaves(waves.data(), pixels, stream.get());
    return CudaStatus(cudaGetLastError(), "FillWaves");
  };
  return MedianMs(stream, fill, [&]() -> absl::Status {
    PS_RETURN_IF_ERROR(plan.Execute(waves.data(), CUFFT_FORWARD));
    return plan.Execute(waves.data(), CUFFT_INVERSE);
  });
}

absl::StatusOr<double> ReadMs(const cuda::Stream& stream, std::int64_t pixels) {
  const std::int64_t reads = (pixels + kPixelsPerRead - 1) / kPixelsPerRead;
  PS_ASSIGN_OR_RETURN(auto frames, DeviceBuffer<uint4>::Create(reads));
  PS_ASSIGN_OR_RETURN(auto sums, DeviceBuffer<unsigned>::Create(cuda::kReadBlocks));
  PS_RETURN_IF_ERROR(CudaStatus(
      cudaMemsetAsync(frames.data(), 1, frames.size_bytes(), stream.get()), "cudaMemset"));
  PS_RETURN_IF_ERROR(stream.Clear(sums, sums.size()));
  return MedianMs(stream, Nothing, [&] {
    cuda::LaunchRead(frames.data(), reads, sums.data(), stream.get());
    return CudaStatus(cudaGetLastError(), "Read");
  });
}

}  // namespace

absl::StatusOr<FftFloor> MeasureFftFloor(int ordinal, int side, int frames) {
  PS_RETURN_IF_ERROR(UseDevice(ordinal));
  PS_ASSIGN_OR_RETURN(const cuda::Stream stream, cuda::Stream::Create());
  const Shape shape{side, side};
  const std::int64_t wave_bytes = shape.pixels() * static_cast<std::int64_t>(sizeof(float2));
  FftFloor floor;
  floor.batch = static_cast<int>(
      std::clamp<std::int64_t>(kMaxWaveBytes / wave_bytes, 1, std::max(frames, 1)));
  PS_ASSIGN_OR_RETURN(const double fft_ms, FftMs(stream, shape, floor.batch));
  PS_ASSIGN_OR_RETURN(const double read_ms, ReadMs(stream, floor.batch * shape.pixels()));
  floor.fft_us = 1e3 * fft_ms / floor.batch;
  floor.read_us = 1e3 * read_ms / floor.batch;
  return floor;
}

absl::StatusOr<double> MeasureCopyBandwidth(int ordinal) {
  PS_ASSIGN_OR_RETURN(const std::int64_t free_bytes, FreeDeviceMemory(ordinal));
  PS_ASSIGN_OR_RETURN(const cuda::Stream stream, cuda::Stream::Create());
  const std::int64_t bytes = std::min(kMaxCopyBytes, free_bytes / 4);
  PS_ASSIGN_OR_RETURN(auto from, DeviceBuffer<std::byte>::Create(bytes));
  PS_ASSIGN_OR_RETURN(auto to, DeviceBuffer<std::byte>::Create(bytes));
  PS_RETURN_IF_ERROR(
      CudaStatus(cudaMemsetAsync(from.data(), 1, from.size_bytes(), stream.get()), "cudaMemset"));
  PS_ASSIGN_OR_RETURN(const double ms, MedianMs(stream, Nothing, [&] {
                        return stream.Copy(to, from, from.size());
                      }));
  return 2 * static_cast<double>(bytes) / (1e6 * ms);
}

absl::StatusOr<std::int64_t> FreeDeviceMemory(int ordinal) {
  PS_RETURN_IF_ERROR(UseDevice(ordinal));
  std::size_t free_bytes = 0, total_bytes = 0;
  PS_RETURN_IF_ERROR(CudaStatus(cudaMemGetInfo(&free_bytes, &total_bytes), "cudaMemGetInfo"));
  return static_cast<std::int64_t>(free_bytes);
}

}  // namespace ptychoserve
