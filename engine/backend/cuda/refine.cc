#include <algorithm>
#include <cstdint>
#include <vector>

#include "engine/backend/cuda/cuda_backend.h"
#include "engine/backend/cuda/exit_waves.h"
#include "engine/backend/cuda/refine.h"
#include "engine/backend/cuda/trace_range.h"
#include "engine/backend/input_checks.h"
#include "engine/base/status_macros.h"

// What is refined beside object and probe, as a sequence of launches. It comes every few
// iterations, so that cuFFT will do for all sizes of frames.

namespace ptychoserve::cuda {

absl::StatusOr<Refinement> CudaBackend::Refine(const StageRefinement& which, double step) {
  const TraceRange range("refine");
  PS_RETURN_IF_ERROR(UseDevice());
  Refinement result;
  const int components = which.variation ? config_.probe_components : 0;
  if (which.variation) {
    result.component_sums = ComplexStack(components * plan_.modes.probe, config_.frame_shape);
    result.component_weights.resize(static_cast<std::size_t>(plan_.component_weights));
  }
  if (points_.empty()) return result;
  if (which.background) {
    PS_RETURN_IF_ERROR(stream_.Clear(background_sums_, background_sums_.size()));
  }
  if (which.variation) {
    PS_RETURN_IF_ERROR(stream_.Clear(component_sums_, component_sums_.size()));
    PS_RETURN_IF_ERROR(stream_.Clear(component_weights_, component_weights_.size()));
  }
  for (int first = 0; first < point_count(); first += plan_.refine_chunk) {
    const Batch batch = BatchOf(first, std::min(plan_.refine_chunk, point_count() - first));
    PS_RETURN_IF_ERROR(ModelWaves(batch));
    if (which.points()) PS_RETURN_IF_ERROR(SumRefinement(batch, first, which));
    if (which.background) {
      LaunchBackgroundSums({batch, frame_slots(), work_.data(), background_sums_.data()},
                           stream_.get());
    }
    if (which.variation) PS_RETURN_IF_ERROR(SumComponents(batch));
  }
  if (which.background) {
    LaunchBackgroundStep(
        {config_.frame_shape.rows, config_.frame_shape.cols, background_sums_.data(), step,
         background_.data(), moved_background_.data()},
        stream_.get());
    PS_RETURN_IF_ERROR(stream_.Copy(background_, moved_background_, plan_.frame_pixels));
    UseBackground(true);
  }
  PS_RETURN_IF_ERROR(CheckLaunches());
  const int terms = RefinementTermCount(components);
  std::vector<double> totals;
  if (which.points()) {
    totals.resize(points_.size() * static_cast<std::size_t>(terms));
    PS_RETURN_IF_ERROR(stream_.Copy(totals.data(), refinement_sums_.data(), std::ssize(totals),
                                    cudaMemcpyDeviceToHost));
  }
  if (which.variation) {
    PS_RETURN_IF_ERROR(stream_.Copy(reinterpret_cast<float2*>(result.component_sums.data.data()),
                                    component_sums_.data(), plan_.components,
                                    cudaMemcpyDeviceToHost));
    PS_RETURN_IF_ERROR(stream_.Copy(result.component_weights.data(), component_weights_.data(),
                                    plan_.component_weights, cudaMemcpyDeviceToHost));
  }
  PS_RETURN_IF_ERROR(stream_.Synchronise());
  for (const double* of_point = totals.data(); of_point != totals.data() + totals.size();
       of_point += terms) {
    result.points.push_back(RefinementSumsOf(components, of_point));
  }
  return result;
}

// Sets of waves share the place of those of an iteration: Ψ, its derivatives by row and column, and
// by each component.
absl::Status CudaBackend::SumRefinement(const Batch& batch, int first,
                                        const StageRefinement& which) {
  const int images = batch.count * batch.waves();
  const std::int64_t set = images * plan_.frame_pixels;
  float2* const by_row = work_.data() + set;
  float2* const by_col = by_row + set;
  float2* const by_component = by_col + set;
  if (which.positions) {
    LaunchDerivatives({batch, canvas_view(), probe_.data(), unitary_, by_row, by_col},
                      stream_.get());
    PS_RETURN_IF_ERROR(ToDetector(by_row, images));
    PS_RETURN_IF_ERROR(ToDetector(by_col, images));
  }
  const int components = which.variation ? config_.probe_components : 0;
  Batch same_for_all = batch;
  same_for_all.variation = {};
  for (int k = 0; k < components; ++k) {
    LaunchProduct({same_for_all, canvas_view(), components_.data() + k * plan_.probe, unitary_,
                   by_component + k * set},
                  stream_.get());
    PS_RETURN_IF_ERROR(ToDetector(by_component + k * set, images));
  }
  LaunchRefinementSums(
      {.batch = batch,
       .frames = frame_slots(),
       .waves = work_.data(),
       .by_row = which.positions ? by_row : nullptr,
       .by_col = which.positions ? by_col : nullptr,
       .intensities = which.intensities,
       .components = components,
       .by_component = by_component,
       .partials = refinement_partials_.data(),
       .sums = refinement_sums_.data() + std::int64_t{first} * RefinementTermCount(components)},
      stream_.get());
  return CheckLaunches();
}

// The batch's waves at the detector are in work_.
absl::Status CudaBackend::SumComponents(const Batch& batch) {
  LaunchMisfit({batch, frame_slots(), work_.data(), unitary_}, stream_.get());
  PS_RETURN_IF_ERROR(ToSample(work_.data(), batch.count * batch.waves()));
  Batch all = batch;
  all.variation = variation();
  LaunchComponentSums(
      {all, canvas_view(), work_.data(), component_sums_.data(), component_weights_.data()},
      stream_.get());
  return CheckLaunches();
}

absl::StatusOr<ComplexStack> CudaBackend::ReadProbeComponents() {
  PS_RETURN_IF_ERROR(UseDevice());
  ComplexStack components(config_.probe_components * plan_.modes.probe, config_.frame_shape);
  PS_RETURN_IF_ERROR(stream_.Copy(reinterpret_cast<float2*>(components.data.data()),
                                  components_.data(), plan_.components, cudaMemcpyDeviceToHost));
  PS_RETURN_IF_ERROR(stream_.Synchronise());
  return components;
}

absl::Status CudaBackend::SetProbeComponents(const ComplexStack& components) {
  PS_RETURN_IF_ERROR(CheckComponentsFit(components, config_));
  PS_RETURN_IF_ERROR(UseDevice());
  coverage_valid_ = false;
  PS_RETURN_IF_ERROR(stream_.Copy(components_.data(),
                                  reinterpret_cast<const float2*>(components.data.data()),
                                  plan_.components, cudaMemcpyHostToDevice));
  return stream_.Synchronise();
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
