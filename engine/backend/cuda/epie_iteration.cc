#include "engine/backend/cuda/cuda_backend.h"
#include "engine/backend/cuda/epie.h"
#include "engine/base/status_macros.h"

// One iteration of ePIE, as a sequence of batches.

namespace ptychoserve::cuda {

absl::Status CudaBackend::RunEpie(const EpieConfig& config, const IterationOptions& options) {
  PS_RETURN_IF_ERROR(FitSample(stream_));
  PS_RETURN_IF_ERROR(stream_.Copy(previous_object_, object_, object_pixels()));
  PS_RETURN_IF_ERROR(stream_.Copy(other_probe_, probe_, plan_.probe));
  PS_RETURN_IF_ERROR(ClearSums());
  PS_RETURN_IF_ERROR(stream_.Clear(epie_maxima_, epie_maxima_.size()));
  LaunchEpieProbeMaximum(probe_.data(), plan_.modes.probe, static_cast<int>(plan_.frame_pixels),
                         &epie_maxima_.data()->probe, stream_.get());
  for (int b = 0; b < batches_.count(); ++b) {
    PS_RETURN_IF_ERROR(EpieBatch(b, config, options));
  }
  return EndBatches(options);
}

// All points see object and probe as they are before the batch; they move once all sums are there.
absl::Status CudaBackend::EpieBatch(int b, const EpieConfig& config,
                                    const IterationOptions& options) {
  const BatchInWork work = BatchNumber(b);
  // Only a probe that moves has a new largest value, and only then is there one for each batch.
  EpieMaxima* const maxima = epie_maxima_.data() + (options.update_probe ? b : 0);
  // Whether the object's divisor is other than the largest |P|² of the mean probe somewhere.
  const bool needs_light =
      work.batch.count > 1 || config.object_alpha != 1 || work.batch.variation.count > 0;
  const bool keeps_weights = config.probe_alpha != 1;

  const auto divisors = [&](const Stream& stream) {
    return BatchDivisors(work, options.update_object && needs_light, options.update_probe,
                         keeps_weights, &maxima->object, stream);
  };
  float2* const object_sum = options.update_object ? object_sum_.data() : nullptr;
  float2* const probe_sum = options.update_probe ? probe_sum_.data() : nullptr;
  if (batch_passes_.has_value()) {
    // Without a tolerated deviation the factor is then √I / |Ψ| - 1.
    PS_RETURN_IF_ERROR(batch_passes_->Run({.points = batch_points_.data(),
                                           .first = work.first,
                                           .count = work.batch.count,
                                           .state = fused_state(),
                                           .rule = ColumnRule::kModulus,
                                           .modulus = 1.0f,
                                           .trial = -1.0f,
                                           .object_sum = object_sum,
                                           .probe_sum = probe_sum},
                                          stream_, divisors));
  } else {
    const auto correct = [&](const Batch& chunk, int) {
      LaunchEpieCorrection({chunk, frame_slots(), work_.data(), unitary_}, stream_.get());
    };
    PS_RETURN_IF_ERROR(OrderedBatchSums(work, object_sum, probe_sum, correct));
    PS_RETURN_IF_ERROR(divisors(stream_));
  }

  if (options.update_object) {
    LaunchEpieObject({.canvas = canvas_view(),
                      .modes = plan_.modes.object,
                      .area = work.area,
                      .sum = object_sum,
                      .weights = needs_light ? object_weights_.data() : nullptr,
                      .step = static_cast<float>(config.object_step),
                      .alpha = static_cast<float>(config.object_alpha),
                      .largest = &maxima->probe},
                     stream_.get());
  }
  if (options.update_probe) {
    LaunchEpieProbe({.probe = probe_.data(),
                     .sum = probe_sum,
                     .groups = batch_passes_.has_value() ? 1 : work.groups,
                     .modes = plan_.modes.probe,
                     .pixels = static_cast<int>(plan_.frame_pixels),
                     .step = static_cast<float>(config.probe_step),
                     .weights = keeps_weights ? probe_weights_.data() : nullptr,
                     .alpha = static_cast<float>(config.probe_alpha),
                     .maxima = maxima,
                     .next_largest = &(maxima + 1)->probe},
                    stream_.get());
  }
  return CheckLaunches();
}

}  // namespace ptychoserve::cuda
