#include "engine/algorithms/lsq_ml.h"
#include "engine/backend/cuda/cuda_backend.h"
#include "engine/backend/cuda/fused/gather_sums.h"
#include "engine/backend/cuda/lsq_ml.h"
#include "engine/backend/cuda/ml_gradient.h"
#include "engine/backend/cuda/momentum.h"
#include "engine/base/status_macros.h"

// One iteration of LSQ-ML, as a sequence of batches.

namespace ptychoserve::cuda {

absl::Status CudaBackend::RunLsqMl(const LsqMlConfig& config, const IterationOptions& options) {
  PS_RETURN_IF_ERROR(FitSample(stream_));
  const bool accelerated = config.momentum > 0;
  const MomentumMoveArgs object{object_.data(), previous_object_.data(), object_pixels(),
                                options.update_object, momentum_.data()};
  const MomentumMoveArgs probe{probe_.data(), other_probe_.data(), plan_.probe,
                               options.update_probe, momentum_.data()};
  if (accelerated) {
    // Nothing to compare the velocities with: they go on.
    LaunchBeginMomentum({.object = {},
                         .probe = {},
                         .momentum = config.momentum,
                         .partials = momentum_partials_.data(),
                         .progress = momentum_.data()},
                        stream_.get());
    if (object.count > 0) LaunchBeginMove(object, stream_.get());
    LaunchBeginMove(probe, stream_.get());
  } else {
    PS_RETURN_IF_ERROR(stream_.Copy(previous_object_, object_, object_pixels()));
    PS_RETURN_IF_ERROR(stream_.Copy(other_probe_, probe_, plan_.probe));
  }
  PS_RETURN_IF_ERROR(ClearSums());
  PS_RETURN_IF_ERROR(stream_.Clear(epie_maxima_, epie_maxima_.size()));
  for (int b = 0; b < batches_.count(); ++b) {
    PS_RETURN_IF_ERROR(LsqBatch(b, config, options));
  }
  PS_RETURN_IF_ERROR(EndBatches(options));
  if (accelerated) {
    if (object.count > 0) LaunchEndMove(object, stream_.get());
    LaunchEndMove(probe, stream_.get());
  }
  return CheckLaunches();
}

// All points see object and probe as they are before the batch; they move once all sums are there.
absl::Status CudaBackend::LsqBatch(int b, const LsqMlConfig& config,
                                   const IterationOptions& options) {
  const BatchInWork work = BatchNumber(b);
  float* const largest_seen = &epie_maxima_.data()[b].object;
  const auto divisors = [&](const Stream& stream) {
    return BatchDivisors(work, options.update_object, options.update_probe, /*keeps_seen=*/true,
                         largest_seen, stream);
  };
  float2* const object_sum = options.update_object ? object_sum_.data() : nullptr;
  float2* const probe_sum = options.update_probe ? probe_sum_.data() : nullptr;
  const bool fused = batch_passes_.has_value();
  const int pieces = fused ? 1 : plan_.pieces;
  const MlGradientConfig gradient = GradientOf(config);
  const bool poisson = gradient.likelihood == Likelihood::kPoisson;
  const auto epsilon = static_cast<float>(gradient.epsilon);
  const auto max_gradient = static_cast<float>(gradient.max_gradient);
  const auto fit_sums_of = [&](int first) {
    return fit_sums_.data() + static_cast<std::int64_t>(first) * pieces;
  };
  if (fused) {
    PS_RETURN_IF_ERROR(
        batch_passes_->Run({.points = batch_points_.data(),
                            .first = work.first,
                            .count = work.batch.count,
                            .state = fused_state(),
                            .rule = poisson ? ColumnRule::kPoisson : ColumnRule::kGaussian,
                            .epsilon = epsilon,
                            .max_gradient = max_gradient,
                            .object_sum = object_sum,
                            .probe_sum = probe_sum,
                            .fit_sums = fit_sums_of(work.first)},
                           stream_, divisors));
  } else {
    const auto gradients = [&](const Batch& chunk, int first) {
      LaunchGradient({chunk, frame_slots(), work_.data(), fit_sums_of(first), poisson, epsilon,
                      max_gradient, unitary_},
                     stream_.get());
    };
    PS_RETURN_IF_ERROR(OrderedBatchSums(work, object_sum, probe_sum, gradients));
    PS_RETURN_IF_ERROR(divisors(stream_));
  }
  LsqSteps* const steps = lsq_steps_.data();
  const auto delta = [&](const float* largest) -> DirectionDelta {
    const Regularisation& r = config.regularisation;
    return {static_cast<float>(r.absolute.value_or(0)),
            r.absolute.has_value() ? 0.0f : static_cast<float>(r.relative), largest};
  };
  const int pixels = static_cast<int>(plan_.frame_pixels);
  LaunchProbeDirection({.probe = probe_.data(),
                        .sum = probe_sum,
                        .weights = probe_weights_.data(),
                        .groups = fused ? 1 : work.groups,
                        .modes = plan_.modes.probe,
                        .pixels = pixels,
                        .delta = delta(largest_seen),
                        .products = probe_products_.data(),
                        .partials = probe_partials_.data()},
                       stream_.get());
  if (options.update_object) {
    LaunchObjectDirection({.canvas = canvas_view(),
                           .modes = plan_.modes.object,
                           .area = work.area,
                           .sum = object_sum,
                           .weights = object_weights_.data(),
                           .delta = delta(max_object_weight_.data()),
                           .partials = object_partials_.data()},
                          stream_.get());
    LaunchDirectionProducts({.batch = work.batch,
                             .canvas = canvas_view(),
                             .direction = object_sum,
                             .products = probe_products_.data(),
                             .partials = pair_partials_.data()},
                            stream_.get());
  }
  LaunchSolveSteps({.fit = fit_sums_of(work.first),
                    .fits = work.batch.count * pieces,
                    .object = options.update_object ? object_partials_.data() : nullptr,
                    .pairs = pair_partials_.data(),
                    .pair_count = work.batch.count * plan_.pieces,
                    .probe = options.update_probe ? probe_partials_.data() : nullptr,
                    .probe_blocks = ProbeDirectionBlocks(pixels),
                    .object_step = config.object_step.value_or(kCautiousStep),
                    .probe_step = config.probe_step.value_or(kCautiousStep),
                    .share = 1.0 / batches_.count(),
                    .steps = steps,
                    .state = state_.data()},
                   stream_.get());
  if (options.update_object) {
    LaunchObjectMove({canvas_view(), plan_.modes.object, work.area, object_sum, steps},
                     stream_.get());
  }
  if (options.update_probe) {
    LaunchProbeMove(
        {probe_.data(), probe_sum, probe_weights_.data(), plan_.modes.probe, pixels, steps},
        stream_.get());
  }
  return CheckLaunches();
}

}  // namespace ptychoserve::cuda
