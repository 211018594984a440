#include <algorithm>
#include <cstddef>
#include <span>

#include "engine/algorithms/update.h"
#include "engine/backend/cuda/accumulate.h"
#include "engine/backend/cuda/coverage.h"
#include "engine/backend/cuda/cuda_backend.h"
#include "engine/backend/cuda/device_points.h"
#include "engine/backend/cuda/epie.h"
#include "engine/base/status_macros.h"

// What algorithms that take batch after batch of points have in common.

namespace ptychoserve::cuda {

absl::Status CudaBackend::SetBatches(const BatchRule& rule) {
  const BatchesKey key{epoch_, rule};
  if (batches_key_ == key) return absl::OkStatus();
  batches_key_.reset();
  batches_ = MakeBatches(rule, points_, config_.frame_shape);
  if (!points_.empty()) {
    PS_RETURN_IF_ERROR(batches_uploaded_.Wait());
    std::ranges::transform(batches_.order, batch_points_upload_.data(), [&](int i) {
      return DevicePointOf(points_[static_cast<std::size_t>(i)]);
    });
    PS_RETURN_IF_ERROR(stream_.Copy(batch_points_, batch_points_upload_, point_count()));
    PS_RETURN_IF_ERROR(stream_.Record(batches_uploaded_));
    if (batch_passes_.has_value()) {
      PS_RETURN_IF_ERROR(batch_passes_->SetPoints(points_, batches_, stream_));
    }
  }
  batches_key_ = key;
  return absl::OkStatus();
}

CudaBackend::BatchInWork CudaBackend::BatchNumber(int b) const {
  const int first = batches_.begins[static_cast<std::size_t>(b)];
  const int count = static_cast<int>(batches_.Batch(b).size());
  Batch batch = BatchOf(0, count);
  batch.points = batch_points_.data() + first;
  return {.batch = batch,
          .area = BatchArea(b),
          .first = first,
          .groups = std::min(plan_.groups, count)};
}

absl::Status CudaBackend::BatchDivisors(const BatchInWork& work, bool light, bool seen,
                                        bool keeps_seen, float* largest_seen,
                                        const Stream& stream) {
  if (light) {
    LaunchCoverage({work.batch, canvas_view(), probe_.data(), probe_power_.data(),
                    object_weights_.data(), max_object_weight_.data()},
                   stream.get());
  }
  if (seen) {
    LaunchProbeSum({.batch = work.batch,
                    .stride = 1,
                    .canvas = canvas_view(),
                    .waves = {nullptr, /*by_slot=*/false},
                    .groups = work.groups,
                    .sum = nullptr,
                    .weights = probe_weights_.data()},
                   stream.get());
    LaunchEpieWeights({probe_weights_.data(), work.groups, static_cast<int>(plan_.frame_pixels),
                       keeps_seen, largest_seen},
                      stream.get());
  }
  return CheckLaunches();
}

absl::Status CudaBackend::OrderedBatchSums(const BatchInWork& work, float2* object_sum,
                                           float2* probe_sum, MakeWaves make_waves) {
  for (int first = 0; first < work.batch.count; first += plan_.chunk) {
    Batch chunk = work.batch;
    chunk.points += first;
    chunk.count = std::min(plan_.chunk, work.batch.count - first);
    PS_RETURN_IF_ERROR(ModelWaves(chunk));
    make_waves(chunk, work.first + first);
    PS_RETURN_IF_ERROR(ToSample(work_.data(), chunk.count * chunk.waves()));
    const Waves waves{work_.data(), /*by_slot=*/false};
    if (object_sum != nullptr) {
      LaunchObjectSum({chunk, canvas_view(), work.area, probe_.data(), waves, object_sum},
                      stream_.get());
    }
    if (probe_sum != nullptr) {
      LaunchProbeSum({.batch = chunk,
                      .stride = 1,
                      .canvas = canvas_view(),
                      .waves = waves,
                      .groups = work.groups,
                      .sum = probe_sum,
                      .weights = nullptr},
                     stream_.get());
    }
  }
  return CheckLaunches();
}

absl::Status CudaBackend::EndBatches(const IterationOptions& options) {
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

CanvasArea CudaBackend::BatchArea(int b) const {
  const auto point_of = [&](int i) -> const PointWindow& {
    return points_[static_cast<std::size_t>(i)];
  };
  const auto row_of = [&](int i) { return point_of(i).row; };
  const auto col_of = [&](int i) { return point_of(i).col; };
  const std::span<const int> batch = batches_.Batch(b);
  const auto [top, bottom] = std::ranges::minmax(batch, {}, row_of);
  const auto [left, right] = std::ranges::minmax(batch, {}, col_of);
  return {row_of(top) - canvas_.row, col_of(left) - canvas_.col,
          row_of(bottom) - row_of(top) + config_.frame_shape.rows + 1,
          col_of(right) - col_of(left) + config_.frame_shape.cols + 1};
}

}  // namespace ptychoserve::cuda
