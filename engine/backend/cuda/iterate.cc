#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <variant>

#include "engine/algorithms/algorithm_name.h"
#include "engine/algorithms/ml_gradient.h"
#include "engine/algorithms/projections.h"
#include "engine/algorithms/update.h"
#include "engine/backend/cuda/coverage.h"
#include "engine/backend/cuda/cuda_backend.h"
#include "engine/backend/cuda/exit_waves.h"
#include "engine/backend/cuda/ml_gradient.h"
#include "engine/backend/cuda/momentum.h"
#include "engine/backend/cuda/propagation.h"
#include "engine/backend/cuda/trace_range.h"
#include "engine/backend/input_checks.h"
#include "engine/base/status_macros.h"

// One iteration of each algorithm, as a sequence of launches; those that take batches of points are
// in epie_iteration.cc and lsq_iteration.cc.

namespace ptychoserve::cuda {
namespace {

// Batches in a graph, of some ten launches and more each.
constexpr int kMaxGraphBatches = 1024;

double Ratio(double numerator, double denominator) {
  return denominator > 0 ? numerator / denominator : 0;
}

double RelativeChange(const ChangeSums& sums) {
  return std::sqrt(Ratio(sums.squared_change, sums.squared_norm));
}

double RFactor(const IterationState& state) {
  return Ratio(state.fit.abs_deviation, state.fit.amplitude);
}

DeviationTolerance ToleranceOf(const Projection& projection) {
  return {projection.sigma2.value_or(projection.relaxation), !projection.sigma2.has_value()};
}

double FourierError(const IterationState& state) {
  return std::sqrt(Ratio(state.squared_errors, state.lit_frames));
}

}  // namespace

template <typename Step>
absl::Status CudaBackend::ForEachChunk(Step step) {
  for (int first = 0; first < point_count(); first += plan_.chunk) {
    PS_RETURN_IF_ERROR(step(BatchOf(first, std::min(plan_.chunk, point_count() - first)), first));
  }
  return absl::OkStatus();
}

absl::Status CudaBackend::EnsureCoverage(const Stream& stream) {
  if (coverage_valid_) return absl::OkStatus();
  if (canvas_pixels() > 0) {
    LaunchCoverage({BatchOf(0, point_count()), canvas_view(), probe_.data(), probe_power_.data(),
                    object_weights_.data(), max_object_weight_.data()},
                   stream.get());
  }
  coverage_valid_ = true;
  return CheckLaunches();
}

absl::StatusOr<IterationState> CudaBackend::ReadState() {
  PS_RETURN_IF_ERROR(CheckLaunches());
  PS_RETURN_IF_ERROR(stream_.Copy(state_download_, state_, 1));
  PS_RETURN_IF_ERROR(stream_.Synchronise());
  return *state_download_.data();
}

absl::StatusOr<IterationMetrics> CudaBackend::Iterate(const AlgorithmConfig& algorithm,
                                                      const IterationOptions& options) {
  const TraceRange range(AlgorithmName(algorithm));
  if (KeepsExitWaves(algorithm)) PS_RETURN_IF_ERROR(CheckKeepsExitWaves(config_));
  PS_RETURN_IF_ERROR(UseDevice());
  const std::optional<Accelerated> accelerated = AcceleratedBy(algorithm);
  if (accelerated != momentum_of_) has_momentum_ = false;
  momentum_of_ = accelerated;
  if (accelerated) PS_RETURN_IF_ERROR(EnsureMomentum());
  bool captures = passes_.has_value();
  const std::optional<BatchRule> rule = BatchRuleOf(algorithm);
  if (rule) {
    PS_RETURN_IF_ERROR(SetBatches(*rule));
    captures = captures && batches_.count() <= kMaxGraphBatches;
  }
  // Batches take coverage anew in any case.
  const bool has_coverage = coverage_valid_ && !rule;
  const IterationKey key{algorithm, options, epoch_, has_coverage};
  if (!captures || last_iteration_ != key) {
    graph_ = Graph();
    PS_RETURN_IF_ERROR(Enqueue(algorithm, options));
  } else {
    if (graph_.empty()) {
      PS_ASSIGN_OR_RETURN(graph_,
                          Graph::Capture(stream_, [&] { return Enqueue(algorithm, options); }));
    }
    PS_RETURN_IF_ERROR(graph_.Launch(stream_));
    coverage_valid_ = true;
  }
  last_iteration_ = key;
  if (options.update_probe) coverage_valid_ = false;

  PS_ASSIGN_OR_RETURN(const IterationState state, ReadState());
  IterationMetrics metrics;
  metrics.r_factor = RFactor(state);
  metrics.fourier_error = FourierError(state);
  metrics.object_change = RelativeChange(state.object);
  metrics.probe_change = RelativeChange(state.probe);
  metrics.probe_power = state.probe.squared_norm;
  metrics.step = state.step;
  metrics.finite = state.non_finite == 0;
  return metrics;
}

absl::Status CudaBackend::Enqueue(const AlgorithmConfig& algorithm,
                                  const IterationOptions& options) {
  PS_RETURN_IF_ERROR(stream_.Clear(state_, 1));
  if (const std::optional<Projection> projection = ProjectionOf(algorithm)) {
    return RunProjection(*projection, options);
  }
  if (const auto* ml_gradient = std::get_if<MlGradientConfig>(&algorithm)) {
    return RunMlGradient(*ml_gradient, options);
  }
  if (const auto* lsq = std::get_if<LsqMlConfig>(&algorithm)) return RunLsqMl(*lsq, options);
  return RunEpie(std::get<EpieConfig>(algorithm), options);
}

absl::Status CudaBackend::ToDetector(float2* waves, int images) {
  PS_RETURN_IF_ERROR(fft_.Forward(waves, images));
  if (!config_.near_field.has_value()) return absl::OkStatus();
  LaunchTransfer({waves, images, plan_.frame_pixels, transfer_.data(), /*back=*/false},
                 stream_.get());
  return fft_.Inverse(waves, images);
}

absl::Status CudaBackend::ToSample(float2* waves, int images) {
  if (config_.near_field.has_value()) {
    PS_RETURN_IF_ERROR(fft_.Forward(waves, images));
    LaunchTransfer({waves, images, plan_.frame_pixels, transfer_.data(), /*back=*/true},
                   stream_.get());
  }
  return fft_.Inverse(waves, images);
}

absl::Status CudaBackend::ModelWaves(const Batch& batch) {
  LaunchProduct({batch, canvas_view(), probe_.data(), unitary_, work_.data()}, stream_.get());
  return ToDetector(work_.data(), batch.count * batch.waves());
}

void CudaBackend::ReduceFit(ReducedSums what, int pieces, int stride, double step_scale) {
  LaunchReduceFit({.what = what,
                   .fit = fit_sums_.data(),
                   .points = point_count(),
                   .pieces = pieces,
                   .stride = stride,
                   .step_scale = step_scale,
                   .partials = fit_partials_.data(),
                   .state = state_.data()},
                  stream_.get());
}

FusedPasses::State CudaBackend::fused_state() {
  return {canvas_view(),   probe_.data(), frame_slots(),
          figures_.data(), unitary_,      reinterpret_cast<std::byte*>(work_.data()),
          plan_.half,      background(),  batch_variation()};
}

absl::Status CudaBackend::FitSample(const Stream& stream) {
  Batch sample = BatchOf(0, sample_count_);
  sample.points = sample_points_.data();
  if (passes_.has_value()) {
    PS_RETURN_IF_ERROR(passes_->FitSample(fused_state(), sample, sample_sums_.data(), stream));
  } else {
    for (int first = 0; first < sample.count; first += plan_.chunk) {
      Batch batch = sample;
      batch.points += first;
      batch.count = std::min(plan_.chunk, sample.count - first);
      PS_RETURN_IF_ERROR(ModelWaves(batch));
      LaunchFit({batch, frame_slots(), work_.data(),
                 sample_sums_.data() + std::int64_t{first} * plan_.pieces},
                stream.get());
    }
  }
  LaunchReduceFit({.what = ReducedSums::kFit,
                   .fit = sample_sums_.data(),
                   .points = sample.count,
                   .pieces = passes_.has_value() ? 1 : plan_.pieces,
                   .stride = 1,
                   .step_scale = 0,
                   .partials = sample_partials_.data(),
                   .state = state_.data()},
                  stream.get());
  return CheckLaunches();
}

absl::Status CudaBackend::ClearSums() {
  PS_RETURN_IF_ERROR(stream_.Clear(object_sum_, object_pixels()));
  PS_RETURN_IF_ERROR(stream_.Clear(probe_sum_, probe_sum_.size()));
  return stream_.Clear(probe_weights_, probe_weights_.size());
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

void CudaBackend::SumIntoProbe(bool with_exit_waves, int stride, const Stream& stream) {
  if (point_count() == 0) return;
  LaunchProbeSum({.batch = BatchOf(0, point_count()),
                  .stride = stride,
                  .canvas = canvas_view(),
                  .waves = {exit_waves_.data(), /*by_slot=*/true, plan_.half, figures_.data()},
                  .groups = plan_.groups,
                  .sum = with_exit_waves ? probe_sum_.data() : nullptr,
                  .weights = probe_weights_.data()},
                 stream.get());
}

// --- Updates ---------------------------------------------------------------------------------

UpdateArgs CudaBackend::ObjectArgs() {
  IterationState* const state = state_.data();
  return {.rule = Rule::kKeep,
          .values = object_.data(),
          .previous = nullptr,
          .sum = object_sum_.data(),
          .weights = object_weights_.data(),
          .images = plan_.modes.object,
          .count = canvas_pixels(),
          .covered_only = true,
          .absolute = 0,
          .relative = 0,
          .max_weight = max_object_weight_.data(),
          .step = &state->step,
          .velocity = nullptr,
          .momentum = momentum_.data(),
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
  args.images = plan_.modes.probe;
  args.count = plan_.frame_pixels;
  args.covered_only = false;
  args.max_weight = &state->max_probe_weight;
  args.change = &state->probe;
  return args;
}

void CudaBackend::UpdateObject(Rule rule, const Regularisation& regularisation,
                               const IterationOptions& options, bool accelerated) {
  UpdateArgs args = ObjectArgs();
  args.rule = rule;
  if (accelerated) args.velocity = previous_object_.data();
  args.absolute = regularisation.absolute.value_or(0);
  args.relative = regularisation.absolute.has_value() ? 0 : regularisation.relative;
  if (rule != Rule::kKeep) {
    args.limits = MakeObjectLimits<float>(options.amplitude_limits, options.phase_limits);
  }
  LaunchUpdate(args, stream_.get());
}

void CudaBackend::MergeProbeSums(Rule rule) {
  // The gradients' numerators are those of all points, and so are to be the denominators.
  const double share = SampleShare(point_count(), FitSampleStride(point_count()));
  LaunchMergeProbeSums({probe_sum_.data(), probe_weights_.data(), plan_.groups, plan_.modes.probe,
                        static_cast<int>(plan_.frame_pixels),
                        rule == Rule::kStep ? static_cast<float>(1 / share) : 1.0f,
                        &state_.data()->max_probe_weight},
                       stream_.get());
}

void CudaBackend::UpdateProbe(Rule rule, const Regularisation& regularisation, bool accelerated) {
  UpdateArgs args = ProbeArgs();
  args.rule = rule;
  if (accelerated) args.velocity = other_probe_.data();
  args.absolute = regularisation.absolute.value_or(0);
  args.relative = regularisation.absolute.has_value() ? 0 : regularisation.relative;
  LaunchUpdate(args, stream_.get());
}

absl::Status CudaBackend::EnsureMomentum() {
  if (has_momentum_) return absl::OkStatus();
  PS_RETURN_IF_ERROR(stream_.Clear(previous_object_, object_pixels()));
  PS_RETURN_IF_ERROR(stream_.Clear(other_probe_, other_probe_.size()));
  PS_RETURN_IF_ERROR(stream_.Clear(momentum_, 1));
  has_momentum_ = true;
  return absl::OkStatus();
}

void CudaBackend::BeginMomentum(double momentum, const IterationOptions& options) {
  LaunchBeginMomentum(
      {.object = {object_sum_.data(), previous_object_.data(),
                  options.update_object ? object_pixels() : 0},
       .probe = {probe_sum_.data(), other_probe_.data(), options.update_probe ? plan_.probe : 0},
       .momentum = momentum,
       .partials = momentum_partials_.data(),
       .progress = momentum_.data()},
      stream_.get());
}

// --- Algorithms ------------------------------------------------------------------------------

absl::Status CudaBackend::RunProjection(const Projection& projection,
                                        const IterationOptions& options) {
  PS_RETURN_IF_ERROR(ClearSums());
  PS_RETURN_IF_ERROR(passes_.has_value() ? FusedProjection(projection, options)
                                         : OrderedProjection(projection, options));
  UpdateObject(options.update_object ? Rule::kReplace : Rule::kKeep, projection.regularisation,
               options);
  if (options.update_probe) {  // With the new object.
    SumIntoProbe(/*with_exit_waves=*/true, ProbeSampleStride(point_count()), stream_);
    MergeProbeSums(Rule::kReplace);
  }
  UpdateProbe(options.update_probe ? Rule::kReplace : Rule::kKeep, projection.regularisation);
  return CheckLaunches();
}

absl::Status CudaBackend::FusedProjection(const Projection& projection,
                                          const IterationOptions& options) {
  const FusedPasses::Iteration iteration{
      .rule = ColumnRule::kModulus,
      .update = projection.update,
      .tolerance = ToleranceOf(projection),
      .kept_deviation = kept_deviation_.data(),
      .exit_waves = exit_waves_.data(),
      .object_sum = options.update_object ? object_sum_.data() : nullptr};
  const auto beside = [&](const Stream& stream) -> absl::Status {
    PS_RETURN_IF_ERROR(FitSample(stream));
    return EnsureCoverage(stream);
  };
  return passes_->Run(fused_state(), iteration, stream_, beside);
}

absl::Status CudaBackend::OrderedProjection(const Projection& projection,
                                            const IterationOptions& options) {
  const ProjectionUpdate& update = projection.update;
  const Waves exit_waves{single_exit_waves(), /*by_slot=*/true};
  PS_RETURN_IF_ERROR(FitSample(stream_));
  PS_RETURN_IF_ERROR(EnsureCoverage(stream_));
  return ForEachChunk([&](const Batch& batch, int first) -> absl::Status {
    const ProductArgs product{batch, canvas_view(), probe_.data(), unitary_, work_.data()};
    if (update.reflects) {
      LaunchReflection({product, single_exit_waves()}, stream_.get());
    } else {
      LaunchProduct(product, stream_.get());
    }
    PS_RETURN_IF_ERROR(ToDetector(work_.data(), batch.count * batch.waves()));
    LaunchModulus({.batch = batch,
                   .frames = frame_slots(),
                   .waves = work_.data(),
                   .kept_deviation = kept_deviation_.data(),
                   .power = deviations_.data(),
                   .modulus = static_cast<float>(update.modulus),
                   .trial = static_cast<float>(update.trial),
                   .scale = unitary_},
                  stream_.get());
    LaunchKeptDeviation({batch, deviations_.data(), figures_.data(), ToleranceOf(projection),
                         kept_deviation_.data()},
                        stream_.get());
    PS_RETURN_IF_ERROR(ToSample(work_.data(), batch.count * batch.waves()));
    LaunchExitWaveUpdate({batch, canvas_view(), probe_.data(), static_cast<float>(update.model),
                          work_.data(), single_exit_waves()},
                         stream_.get());
    if (options.update_object) SumIntoObject(batch, first, exit_waves);
    return absl::OkStatus();
  });
}

absl::Status CudaBackend::RunMlGradient(const MlGradientConfig& config,
                                        const IterationOptions& options) {
  PS_RETURN_IF_ERROR(ClearSums());
  PS_RETURN_IF_ERROR(passes_.has_value() ? FusedMlGradient(config, options)
                                         : OrderedMlGradient(config, options));
  // NewtonStep of 1 / 1 is the factor on the ratio of the sums, which are known to the device.
  const double factor = NewtonStep(config, 1, 1, options.update_object && options.update_probe);
  if (passes_.has_value()) {
    ReduceFit(ReducedSums::kStep, /*pieces=*/1, /*stride=*/1, factor);
  } else {
    ReduceFit(ReducedSums::kFitAndStep, plan_.pieces, FitSampleStride(point_count()), factor);
  }
  if (options.update_probe) MergeProbeSums(Rule::kStep);
  const bool accelerated = config.momentum > 0;
  if (accelerated) BeginMomentum(config.momentum, options);
  UpdateObject(options.update_object ? Rule::kStep : Rule::kKeep, config.regularisation, options,
               accelerated);
  UpdateProbe(options.update_probe ? Rule::kStep : Rule::kKeep, config.regularisation, accelerated);
  return CheckLaunches();
}

absl::Status CudaBackend::FusedMlGradient(const MlGradientConfig& config,
                                          const IterationOptions& options) {
  const FusedPasses::Iteration iteration{
      .rule =
          config.likelihood == Likelihood::kPoisson ? ColumnRule::kPoisson : ColumnRule::kGaussian,
      .epsilon = static_cast<float>(config.epsilon),
      .max_gradient = static_cast<float>(config.max_gradient),
      .object_sum = options.update_object ? object_sum_.data() : nullptr,
      .probe_sum = options.update_probe ? probe_sum_.data() : nullptr,
      .fit_sums = fit_sums_.data()};
  const auto beside = [&](const Stream& stream) -> absl::Status {
    PS_RETURN_IF_ERROR(FitSample(stream));
    if (options.update_probe)
      SumIntoProbe(/*with_exit_waves=*/false, FitSampleStride(point_count()), stream);
    return EnsureCoverage(stream);
  };
  return passes_->Run(fused_state(), iteration, stream_, beside);
}

absl::Status CudaBackend::OrderedMlGradient(const MlGradientConfig& config,
                                            const IterationOptions& options) {
  const Waves gradients{work_.data(), /*by_slot=*/false};
  PS_RETURN_IF_ERROR(EnsureCoverage(stream_));
  if (options.update_probe)
    SumIntoProbe(/*with_exit_waves=*/false, FitSampleStride(point_count()), stream_);
  return ForEachChunk([&](const Batch& batch, int first) -> absl::Status {
    PS_RETURN_IF_ERROR(ModelWaves(batch));
    LaunchGradient({.batch = batch,
                    .frames = frame_slots(),
                    .waves = work_.data(),
                    .fit = FitSumsOf(first),
                    .poisson = config.likelihood == Likelihood::kPoisson,
                    .epsilon = static_cast<float>(config.epsilon),
                    .max_gradient = static_cast<float>(config.max_gradient),
                    .scale = unitary_},
                   stream_.get());
    PS_RETURN_IF_ERROR(ToSample(work_.data(), batch.count * batch.waves()));
    if (options.update_object) SumIntoObject(batch, first, gradients);
    if (options.update_probe) {
      LaunchProbeSum({.batch = batch,
                      .stride = 1,
                      .canvas = canvas_view(),
                      .waves = gradients,
                      .groups = plan_.groups,
                      .sum = probe_sum_.data()},
                     stream_.get());
    }
    return absl::OkStatus();
  });
}

}  // namespace ptychoserve::cuda
