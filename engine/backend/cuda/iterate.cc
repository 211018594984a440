#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <variant>

#include "engine/algorithms/ml_gradient.h"
#include "engine/algorithms/update.h"
#include "engine/backend/cuda/cuda_backend.h"
#include "engine/backend/cuda/exit_waves.h"
#include "engine/backend/cuda/ml_gradient.h"
#include "engine/base/status_macros.h"

// One iteration of each algorithm, as a sequence of launches.

namespace ptychoserve::cuda {
namespace {

double Ratio(double numerator, double denominator) {
  return denominator > 0 ? numerator / denominator : 0;
}

double RelativeChange(const ChangeSums& sums) {
  return std::sqrt(Ratio(sums.squared_change, sums.squared_norm));
}

double RFactor(const IterationState& state) {
  return Ratio(state.fit.abs_deviation, state.fit.amplitude);
}

double FourierError(const IterationState& state) {
  return std::sqrt(Ratio(state.squared_errors, state.lit_frames));
}

}  // namespace

template <typename T>
absl::Status CudaBackend::Clear(T* data, std::int64_t count) {
  return CudaStatus(
      cudaMemsetAsync(data, 0, static_cast<std::size_t>(count) * sizeof(T), stream_.get()),
      "cudaMemsetAsync");
}

template <typename Step>
absl::Status CudaBackend::ForEachChunk(Step step) {
  for (int first = 0; first < point_count(); first += plan_.chunk) {
    PS_RETURN_IF_ERROR(step(BatchOf(first, std::min(plan_.chunk, point_count() - first)), first));
  }
  return absl::OkStatus();
}

absl::Status CudaBackend::EnsureCoverage() {
  if (coverage_valid_) return absl::OkStatus();
  if (canvas_pixels() > 0) {
    LaunchCoverage(
        {BatchOf(0, point_count()), canvas_view(), probe_.data(), object_weights_.data()},
        stream_.get());
  }
  coverage_valid_ = true;
  return CheckLaunches();
}

absl::StatusOr<IterationState> CudaBackend::ReadState() {
  PS_RETURN_IF_ERROR(CheckLaunches());
  PS_RETURN_IF_ERROR(
      CudaStatus(cudaMemcpyAsync(state_download_.data(), state_.data(), sizeof(IterationState),
                                 cudaMemcpyDeviceToHost, stream_.get()),
                 "cudaMemcpyAsync"));
  PS_RETURN_IF_ERROR(stream_.Synchronise());
  return *state_download_.data();
}

absl::StatusOr<IterationMetrics> CudaBackend::Iterate(const AlgorithmConfig& algorithm,
                                                      const IterationOptions& options) {
  const auto* difference_map = std::get_if<DifferenceMapConfig>(&algorithm);
  if (difference_map != nullptr && !config_.keeps_exit_waves) {
    return absl::FailedPreconditionError(
        "the difference map needs a backend that keeps exit waves");
  }
  PS_RETURN_IF_ERROR(UseDevice());
  PS_RETURN_IF_ERROR(Clear(state_.data(), 1));
  PS_RETURN_IF_ERROR(EnsureCoverage());
  if (difference_map != nullptr) {
    PS_RETURN_IF_ERROR(RunDifferenceMap(*difference_map, options));
  } else if (const auto* ml_gradient = std::get_if<MlGradientConfig>(&algorithm)) {
    PS_RETURN_IF_ERROR(RunMlGradient(*ml_gradient, options));
  } else {
    PS_RETURN_IF_ERROR(RunEpie(std::get<EpieConfig>(algorithm), options));
  }
  if (options.update_probe) coverage_valid_ = false;

  PS_ASSIGN_OR_RETURN(const IterationState state, ReadState());
  IterationMetrics metrics;
  metrics.r_factor = RFactor(state);
  metrics.fourier_error = FourierError(state);
  metrics.object_change = RelativeChange(state.object);
  metrics.probe_change = RelativeChange(state.probe);
  metrics.step = state.step;
  metrics.finite = state.non_finite == 0;
  return metrics;
}

absl::Status CudaBackend::ModelWaves(const Batch& batch) {
  LaunchProduct({batch, canvas_view(), probe_.data(), unitary_, work_.data()}, stream_.get());
  return fft_.Forward(work_.data(), batch.count);
}

void CudaBackend::ReduceFit(double step_scale, bool likelihood) {
  LaunchReduceFit({.fit = fit_sums_.data(),
                   .likelihood = likelihood ? likelihood_sums_.data() : nullptr,
                   .points = point_count(),
                   .pieces = plan_.pieces,
                   .step_scale = step_scale,
                   .partials = fit_partials_.data(),
                   .state = state_.data()},
                  stream_.get());
}

absl::Status CudaBackend::ClearSums() {
  PS_RETURN_IF_ERROR(Clear(object_sum_.data(), canvas_pixels()));
  PS_RETURN_IF_ERROR(Clear(probe_sum_.data(), probe_sum_.size()));
  return Clear(probe_weights_.data(), probe_weights_.size());
}

void CudaBackend::SumIntoObject(const Batch& batch, int first, const Waves& waves) {
  const auto windows = std::span(points_).subspan(static_cast<std::size_t>(first),
                                                  static_cast<std::size_t>(batch.count));
  const auto [top, bottom] = std::ranges::minmax(windows, {}, &PointWindow::row);
  const auto [left, right] = std::ranges::minmax(windows, {}, &PointWindow::col);
  const CanvasArea area{top.row - canvas_.row, left.col - canvas_.col,
                        bottom.row - top.row + batch.rows + 1,
                        right.col - left.col + batch.cols + 1};
  LaunchObjectSum({batch, canvas_view(), area, probe_.data(), waves, object_sum_.data()},
                  stream_.get());
}

// --- Updates ---------------------------------------------------------------------------------

UpdateArgs CudaBackend::ObjectArgs() {
  IterationState* const state = state_.data();
  return {.rule = Rule::kKeep,
          .values = object_.data(),
          .previous = nullptr,
          .sum = object_sum_.data(),
          .weights = object_weights_.data(),
          .count = canvas_pixels(),
          .covered_only = true,
          .absolute = 0,
          .relative = 0,
          .max_weight = &state->max_object_weight,
          .step = &state->step,
          .limits = {},
          .partials = change_partials_.data(),
          .change = &state->object,
          .non_finite = &state->non_finite};
}

UpdateArgs CudaBackend::ProbeArgs() {
  IterationState* const state = state_.data();
  UpdateArgs args = ObjectArgs();
  args.values = probe_.data();
  args.sum = probe_sum_.data();
  args.weights = probe_weights_.data();
  args.count = plan_.frame_pixels;
  args.covered_only = false;
  args.max_weight = &state->max_probe_weight;
  args.change = &state->probe;
  return args;
}

void CudaBackend::UpdateObject(Rule rule, const Regularisation& regularisation,
                               const IterationOptions& options) {
  UpdateArgs args = ObjectArgs();
  args.rule = rule;
  args.absolute = regularisation.absolute.value_or(0);
  args.relative = regularisation.absolute.has_value() ? 0 : regularisation.relative;
  if (rule != Rule::kKeep) {
    args.limits = MakeObjectLimits<float>(options.amplitude_limits, options.phase_limits);
    LaunchMaxWeight({object_weights_.data(), canvas_pixels(), &state_.data()->max_object_weight},
                    stream_.get());
  }
  LaunchUpdate(args, stream_.get());
}

void CudaBackend::UpdateProbe(Rule rule, const Regularisation& regularisation) {
  UpdateArgs args = ProbeArgs();
  args.rule = rule;
  args.absolute = regularisation.absolute.value_or(0);
  args.relative = regularisation.absolute.has_value() ? 0 : regularisation.relative;
  if (rule != Rule::kKeep) {
    LaunchMergeProbeSums({probe_sum_.data(), probe_weights_.data(), plan_.groups,
                          static_cast<int>(plan_.frame_pixels), &state_.data()->max_probe_weight},
                         stream_.get());
  }
  LaunchUpdate(args, stream_.get());
}

// --- Algorithms ------------------------------------------------------------------------------

absl::Status CudaBackend::RunDifferenceMap(const DifferenceMapConfig& config,
                                           const IterationOptions& options) {
  PS_RETURN_IF_ERROR(ClearSums());
  const Waves exit_waves{exit_waves_.data(), /*by_slot=*/true};
  const auto step = [&](const Batch& batch, int first) -> absl::Status {
    PS_RETURN_IF_ERROR(ModelWaves(batch));
    LaunchFit({batch, frame_slots(), work_.data(), FitSumsOf(first), nullptr}, stream_.get());

    LaunchReflection(
        {{batch, canvas_view(), probe_.data(), unitary_, work_.data()}, exit_waves_.data()},
        stream_.get());
    PS_RETURN_IF_ERROR(fft_.Forward(work_.data(), batch.count));
    LaunchModulus({.batch = batch,
                   .frames = frame_slots(),
                   .waves = work_.data(),
                   .deviations = deviations_.data(),
                   .beta = static_cast<float>(config.beta),
                   .scale = unitary_,
                   .tolerance = config.sigma2.value_or(config.relaxation),
                   .relative = !config.sigma2.has_value()},
                  stream_.get());
    PS_RETURN_IF_ERROR(fft_.Inverse(work_.data(), batch.count));
    LaunchExitWaveUpdate({batch, canvas_view(), probe_.data(), static_cast<float>(config.beta),
                          work_.data(), exit_waves_.data()},
                         stream_.get());
    if (options.update_object) SumIntoObject(batch, first, exit_waves);
    return absl::OkStatus();
  };
  PS_RETURN_IF_ERROR(ForEachChunk(step));
  ReduceFit(/*step_scale=*/0, /*likelihood=*/false);

  UpdateObject(options.update_object ? Rule::kReplace : Rule::kKeep, config.regularisation,
               options);
  if (options.update_probe && point_count() > 0) {  // With the new object.
    LaunchProbeSum({BatchOf(0, point_count()), canvas_view(), exit_waves, plan_.groups,
                    probe_sum_.data(), probe_weights_.data()},
                   stream_.get());
  }
  UpdateProbe(options.update_probe ? Rule::kReplace : Rule::kKeep, config.regularisation);
  return CheckLaunches();
}

absl::Status CudaBackend::RunMlGradient(const MlGradientConfig& config,
                                        const IterationOptions& options) {
  PS_RETURN_IF_ERROR(ClearSums());
  const Waves gradients{work_.data(), /*by_slot=*/false};
  const bool poisson = config.likelihood == Likelihood::kPoisson;
  const auto step = [&](const Batch& batch, int first) -> absl::Status {
    PS_RETURN_IF_ERROR(ModelWaves(batch));
    LaunchGradient({.batch = batch,
                    .frames = frame_slots(),
                    .waves = work_.data(),
                    .fit = FitSumsOf(first),
                    .poisson = poisson,
                    .epsilon = static_cast<float>(config.epsilon),
                    .max_gradient = static_cast<float>(config.max_gradient),
                    .scale = unitary_},
                   stream_.get());
    PS_RETURN_IF_ERROR(fft_.Inverse(work_.data(), batch.count));
    if (options.update_object) SumIntoObject(batch, first, gradients);
    if (options.update_probe) {
      LaunchProbeSum(
          {batch, canvas_view(), gradients, plan_.groups, probe_sum_.data(), probe_weights_.data()},
          stream_.get());
    }
    return absl::OkStatus();
  };
  PS_RETURN_IF_ERROR(ForEachChunk(step));
  // NewtonStep of 1 / 1 is the factor on the ratio of the sums, which are known to the device.
  ReduceFit(NewtonStep(config, 1, 1, options.update_object && options.update_probe),
            /*likelihood=*/false);

  UpdateObject(options.update_object ? Rule::kStep : Rule::kKeep, config.regularisation, options);
  UpdateProbe(options.update_probe ? Rule::kStep : Rule::kKeep, config.regularisation);
  return CheckLaunches();
}

absl::Status CudaBackend::RunEpie(const EpieConfig& config, const IterationOptions& options) {
  // Object and probe as they were, for the change.
  const auto keep = [&](float2* to, const float2* from, std::int64_t count) {
    return CudaStatus(cudaMemcpyAsync(to, from, static_cast<std::size_t>(count) * sizeof(float2),
                                      cudaMemcpyDeviceToDevice, stream_.get()),
                      "cudaMemcpyAsync");
  };
  PS_RETURN_IF_ERROR(keep(object_sum_.data(), object_.data(), canvas_pixels()));
  PS_RETURN_IF_ERROR(keep(probe_sum_.data(), probe_.data(), plan_.frame_pixels));
  PS_RETURN_IF_ERROR(Clear(epie_maxima_.data(), point_count()));

  for (int j = 0; j < point_count(); ++j) {
    const Batch batch = BatchOf(j, 1);
    EpieMaxima* const maxima = epie_maxima_.data() + j;
    LaunchEpieProduct({batch, canvas_view(), probe_.data(), unitary_, work_.data(), maxima},
                      stream_.get());
    PS_RETURN_IF_ERROR(fft_.Forward(work_.data(), 1));
    LaunchEpieCorrection({batch, frame_slots(), work_.data(), unitary_, FitSumsOf(j)},
                         stream_.get());
    PS_RETURN_IF_ERROR(fft_.Inverse(work_.data(), 1));
    const EpieUpdateArgs update{.batch = batch,
                                .canvas = canvas_view(),
                                .probe = probe_.data(),
                                .delta = work_.data(),
                                .maxima = maxima,
                                .object_step = static_cast<float>(config.object_step),
                                .probe_step = static_cast<float>(config.probe_step),
                                .new_probe = other_probe_.data()};
    // The probe's step uses the object before this point's, and the other way round.
    if (options.update_probe) LaunchEpieProbe(update, stream_.get());
    if (options.update_object) LaunchEpieObject(update, stream_.get());
    if (options.update_probe) std::swap(probe_, other_probe_);
  }
  ReduceFit(/*step_scale=*/0, /*likelihood=*/false);

  UpdateArgs object = ObjectArgs();
  object.previous = object_sum_.data();
  if (options.update_object) {
    object.limits = MakeObjectLimits<float>(options.amplitude_limits, options.phase_limits);
  }
  LaunchUpdate(object, stream_.get());
  UpdateArgs probe = ProbeArgs();
  probe.previous = probe_sum_.data();
  LaunchUpdate(probe, stream_.get());
  return CheckLaunches();
}

absl::StatusOr<FitMetrics> CudaBackend::Evaluate() {
  PS_RETURN_IF_ERROR(UseDevice());
  PS_RETURN_IF_ERROR(Clear(state_.data(), 1));
  const auto step = [&](const Batch& batch, int first) -> absl::Status {
    PS_RETURN_IF_ERROR(ModelWaves(batch));
    LaunchFit({batch, frame_slots(), work_.data(), FitSumsOf(first),
               likelihood_sums_.data() + std::int64_t{first} * plan_.pieces},
              stream_.get());
    return absl::OkStatus();
  };
  PS_RETURN_IF_ERROR(ForEachChunk(step));
  ReduceFit(/*step_scale=*/0, /*likelihood=*/true);
  PS_ASSIGN_OR_RETURN(const IterationState state, ReadState());
  FitMetrics metrics;
  metrics.r_factor = RFactor(state);
  metrics.fourier_error = FourierError(state);
  metrics.gaussian = Ratio(state.fit.squared_deviation, state.likelihood.trusted);
  metrics.poisson_nll = Ratio(state.likelihood.excess, 0.5 * state.likelihood.non_zero);
  return metrics;
}

}  // namespace ptychoserve::cuda
