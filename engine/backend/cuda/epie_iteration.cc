#include <algorithm>
#include <cstddef>
#include <span>
#include <utility>

#include "engine/algorithms/update.h"
#include "engine/backend/cuda/accumulate.h"
#include "engine/backend/cuda/coverage.h"
#include "engine/backend/cuda/cuda_backend.h"
#include "engine/backend/cuda/device_points.h"
#include "engine/backend/cuda/epie.h"
#include "engine/backend/cuda/exit_waves.h"
#include "engine/backend/pie_batches.h"
#include "engine/base/status_macros.h"

// One iteration of ePIE, as a sequence of batches.

namespace ptychoserve::cuda {

absl::Status CudaBackend::SetEpieBatches(int max_batch) {
  const std::pair key(epoch_, max_batch);
  if (epie_batches_key_ == key) return absl::OkStatus();
  epie_batches_key_.reset();
  epie_batches_ = MakePieBatches(points_, config_.frame_shape, max_batch);
  if (!points_.empty()) {
    PS_RETURN_IF_ERROR(epie_uploaded_.Wait());
    std::ranges::transform(epie_batches_.order, epie_points_upload_.data(), [&](int i) {
      return DevicePointOf(points_[static_cast<std::size_t>(i)]);
    });
    PS_RETURN_IF_ERROR(stream_.Copy(epie_points_, epie_points_upload_, point_count()));
    PS_RETURN_IF_ERROR(stream_.Record(epie_uploaded_));
    if (epie_passes_.has_value()) {
      PS_RETURN_IF_ERROR(epie_passes_->SetPoints(points_, epie_batches_, stream_));
    }
  }
  epie_batches_key_ = key;
  return absl::OkStatus();
}

absl::Status CudaBackend::RunEpie(const EpieConfig& config, const IterationOptions& options) {
  PS_RETURN_IF_ERROR(FitSample(stream_));
  PS_RETURN_IF_ERROR(stream_.Copy(previous_object_, object_, canvas_pixels()));
  PS_RETURN_IF_ERROR(stream_.Copy(other_probe_, probe_, plan_.probe));
  PS_RETURN_IF_ERROR(ClearSums());
  PS_RETURN_IF_ERROR(stream_.Clear(epie_maxima_, epie_maxima_.size()));
  LaunchEpieProbeMaximum(probe_.data(), plan_.modes, static_cast<int>(plan_.frame_pixels),
                         &epie_maxima_.data()->probe, stream_.get());
  for (int b = 0; b < epie_batches_.count(); ++b) {
    PS_RETURN_IF_ERROR(EpieBatch(b, config, options));
  }

  // The batches' own coverage was in its place.
  coverage_valid_ = false;
  PS_RETURN_IF_ERROR(EnsureCoverage(stream_));
  UpdateArgs object = ObjectArgs();
  object.previous = previous_object_.data();
  if (options.update_object) {
    object.limits = MakeObjectLimits<float>(options.amplitude_limits, options.phase_limits);
  }
  LaunchUpdate(object, stream_.get());
  UpdateArgs probe = ProbeArgs();
  probe.previous = other_probe_.data();
  LaunchUpdate(probe, stream_.get());
  return CheckLaunches();
}

// All points see object and probe as they are before the batch; they move once all sums are there.
absl::Status CudaBackend::EpieBatch(int b, const EpieConfig& config,
                                    const IterationOptions& options) {
  const int first = epie_batches_.begins[static_cast<std::size_t>(b)];
  const int count = static_cast<int>(epie_batches_.Batch(b).size());
  const Batch batch{epie_points_.data() + first,
                    count,
                    config_.frame_shape.rows,
                    config_.frame_shape.cols,
                    plan_.modes,
                    background(),
                    batch_variation()};
  const CanvasArea area = EpieArea(b);
  const int pixels = static_cast<int>(plan_.frame_pixels);
  const int groups = std::min(plan_.groups, count);
  // Only a probe that moves has a new largest value, and only then is there one for each batch.
  EpieMaxima* const maxima = epie_maxima_.data() + (options.update_probe ? b : 0);
  // Whether the object's divisor is other than the largest |P|² somewhere.
  const bool needs_light = count > 1 || config.object_alpha != 1;
  const bool keeps_weights = config.probe_alpha != 1;

  const auto divisors = [&](const Stream& stream) -> absl::Status {
    if (options.update_object && needs_light) {
      LaunchCoverage({batch, canvas_view(), probe_.data(), probe_power_.data(),
                      object_weights_.data(), max_object_weight_.data()},
                     stream.get());
    }
    if (options.update_probe) {
      LaunchProbeSum({.batch = batch,
                      .stride = 1,
                      .canvas = canvas_view(),
                      .waves = {nullptr, /*by_slot=*/false},
                      .groups = groups,
                      .sum = nullptr,
                      .weights = probe_weights_.data()},
                     stream.get());
      LaunchEpieWeights({probe_weights_.data(), groups, pixels, keeps_weights, &maxima->object},
                        stream.get());
    }
    return CheckLaunches();
  };
  float2* const object_sum = options.update_object ? object_sum_.data() : nullptr;
  float2* const probe_sum = options.update_probe ? probe_sum_.data() : nullptr;
  if (epie_passes_.has_value()) {
    PS_RETURN_IF_ERROR(epie_passes_->Run({.points = epie_points_.data(),
                                          .first = first,
                                          .count = count,
                                          .state = fused_state(),
                                          .object_sum = object_sum,
                                          .probe_sum = probe_sum},
                                         stream_, divisors));
  } else {
    PS_RETURN_IF_ERROR(OrderedEpieSums(batch, area, groups, object_sum, probe_sum));
    PS_RETURN_IF_ERROR(divisors(stream_));
  }

  if (options.update_object) {
    LaunchEpieObject({.canvas = canvas_view(),
                      .area = area,
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
                     .groups = epie_passes_.has_value() ? 1 : groups,
                     .modes = plan_.modes,
                     .pixels = pixels,
                     .step = static_cast<float>(config.probe_step),
                     .weights = keeps_weights ? probe_weights_.data() : nullptr,
                     .alpha = static_cast<float>(config.probe_alpha),
                     .maxima = maxima,
                     .next_largest = &(maxima + 1)->probe},
                    stream_.get());
  }
  return CheckLaunches();
}

absl::Status CudaBackend::OrderedEpieSums(const Batch& batch, const CanvasArea& area, int groups,
                                          float2* object_sum, float2* probe_sum) {
  for (int first = 0; first < batch.count; first += plan_.chunk) {
    Batch chunk = batch;
    chunk.points += first;
    chunk.count = std::min(plan_.chunk, batch.count - first);
    PS_RETURN_IF_ERROR(ModelWaves(chunk));
    LaunchEpieCorrection({chunk, frame_slots(), work_.data(), unitary_}, stream_.get());
    PS_RETURN_IF_ERROR(ToSample(work_.data(), chunk.count * chunk.modes));
    const Waves corrections{work_.data(), /*by_slot=*/false};
    if (object_sum != nullptr) {
      LaunchObjectSum({chunk, canvas_view(), area, probe_.data(), corrections, object_sum},
                      stream_.get());
    }
    if (probe_sum != nullptr) {
      LaunchProbeSum({.batch = chunk,
                      .stride = 1,
                      .canvas = canvas_view(),
                      .waves = corrections,
                      .groups = groups,
                      .sum = probe_sum,
                      .weights = nullptr},
                     stream_.get());
    }
  }
  return CheckLaunches();
}

CanvasArea CudaBackend::EpieArea(int b) const {
  const auto point_of = [&](int i) -> const PointWindow& {
    return points_[static_cast<std::size_t>(i)];
  };
  const auto row_of = [&](int i) { return point_of(i).row; };
  const auto col_of = [&](int i) { return point_of(i).col; };
  const std::span<const int> batch = epie_batches_.Batch(b);
  const auto [top, bottom] = std::ranges::minmax(batch, {}, row_of);
  const auto [left, right] = std::ranges::minmax(batch, {}, col_of);
  return {row_of(top) - canvas_.row, col_of(left) - canvas_.col,
          row_of(bottom) - row_of(top) + config_.frame_shape.rows + 1,
          col_of(right) - col_of(left) + config_.frame_shape.cols + 1};
}

}  // namespace ptychoserve::cuda
