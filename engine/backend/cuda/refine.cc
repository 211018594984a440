#include <algorithm>
#include <cstdint>
#include <vector>

#include "engine/backend/cuda/cuda_backend.h"
#include "engine/backend/cuda/exit_waves.h"
#include "engine/backend/cuda/refine.h"
#include "engine/backend/input_checks.h"
#include "engine/base/status_macros.h"

// What is refined beside object and probe, as a sequence of launches. It comes every few
// iterations, so that cuFFT will do for all sizes of frames.

namespace ptychoserve::cuda {

absl::StatusOr<std::vector<RefinementSums>> CudaBackend::Refine(double background_step) {
  PS_RETURN_IF_ERROR(UseDevice());
  std::vector<RefinementSums> sums(points_.size());
  if (points_.empty()) return sums;
  const bool background = background_step > 0;
  if (background) PS_RETURN_IF_ERROR(stream_.Clear(background_sums_, background_sums_.size()));
  // Three sets of waves share the place of those of an iteration.
  for (int first = 0; first < point_count(); first += plan_.refine_chunk) {
    const Batch batch = BatchOf(first, std::min(plan_.refine_chunk, point_count() - first));
    const int images = batch.count * batch.modes;
    float2* const waves = work_.data();
    float2* const by_row = waves + images * plan_.frame_pixels;
    float2* const by_col = by_row + images * plan_.frame_pixels;
    PS_RETURN_IF_ERROR(ModelWaves(batch));
    LaunchDerivatives({batch, canvas_view(), probe_.data(), unitary_, by_row, by_col},
                      stream_.get());
    PS_RETURN_IF_ERROR(ToDetector(by_row, images));
    PS_RETURN_IF_ERROR(ToDetector(by_col, images));
    LaunchRefinementSums({.batch = batch,
                          .frames = frame_slots(),
                          .waves = waves,
                          .by_row = by_row,
                          .by_col = by_col,
                          .partials = refinement_partials_.data(),
                          .sums = refinement_sums_.data() + first},
                         stream_.get());
    if (background) {
      LaunchBackgroundSums({batch, frame_slots(), waves, background_sums_.data()}, stream_.get());
    }
  }
  if (background) {
    LaunchBackgroundStep(
        {config_.frame_shape.rows, config_.frame_shape.cols, background_sums_.data(),
         background_step, background_.data(), moved_background_.data()},
        stream_.get());
    PS_RETURN_IF_ERROR(stream_.Copy(background_, moved_background_, plan_.frame_pixels));
    UseBackground(true);
  }
  PS_RETURN_IF_ERROR(CheckLaunches());
  PS_RETURN_IF_ERROR(
      stream_.Copy(sums.data(), refinement_sums_.data(), point_count(), cudaMemcpyDeviceToHost));
  PS_RETURN_IF_ERROR(stream_.Synchronise());
  return sums;
}

void CudaBackend::UseBackground(bool used) {
  if (used != uses_background_) ++epoch_;
  uses_background_ = used;
}

absl::StatusOr<FloatImage> CudaBackend::ReadBackground() {
  PS_RETURN_IF_ERROR(UseDevice());
  FloatImage background;
  background.shape = config_.frame_shape;
  background.data.resize(static_cast<std::size_t>(plan_.frame_pixels));
  PS_RETURN_IF_ERROR(stream_.Copy(background.data.data(), background_.data(), plan_.frame_pixels,
                                  cudaMemcpyDeviceToHost));
  PS_RETURN_IF_ERROR(stream_.Synchronise());
  return background;
}

absl::Status CudaBackend::SetBackground(const FloatImage& background) {
  PS_RETURN_IF_ERROR(CheckBackgroundFits(background, config_));
  PS_RETURN_IF_ERROR(UseDevice());
  PS_RETURN_IF_ERROR(stream_.Copy(background_.data(), background.data.data(), plan_.frame_pixels,
                                  cudaMemcpyHostToDevice));
  UseBackground(std::ranges::any_of(background.data, [](float b) { return b != 0; }));
  return stream_.Synchronise();
}

}  // namespace ptychoserve::cuda
