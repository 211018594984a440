#include <algorithm>
#include <cstdint>

#include "server/service/convert.h"
#include "server/service/enums.h"

namespace ptychoserve::server {
namespace {

FitMetrics FitFromProto(const v1::FitMetrics& fit) {
  return {.r_factor = fit.r_factor(),
          .fourier_error = fit.fourier_error(),
          .gaussian = fit.gaussian(),
          .poisson_nll = fit.poisson_nll()};
}

Evaluation EvaluationFromProto(const v1::Evaluation& evaluation) {
  Evaluation out{
      .iteration = evaluation.iteration(), .fit = FitFromProto(evaluation.fit()), .held_out = {}};
  if (evaluation.has_held_out()) out.held_out = FitFromProto(evaluation.held_out());
  return out;
}

OrientationRanking OrientationFromProto(const v1::OrientationTest& test) {
  OrientationRanking out;
  out.points = test.points();
  for (const v1::OrientationTrial& trial : test.trials()) {
    OrientationTrial& to = out.trials.emplace_back();
    to.orientation = FromProto(trial.orientation()).value_or(Orientation::kIdentity);
    if (trial.has_twin()) to.twin = FromProto(trial.twin());
    to.instead = trial.instead();
    to.r_factor = trial.r_factor();
  }
  out.declared = FromProto(test.declared()).value_or(Orientation::kIdentity);
  return out;
}

SplitHalvesStatus HalvesFromProto(const v1::SplitHalves& halves) {
  SplitHalvesStatus out{.iterations = halves.iterations(),
                        .iterations_planned = halves.iterations_planned(),
                        .ring_correlation = {}};
  if (!halves.has_ring_correlation()) return out;
  const v1::RingCorrelation& rings = halves.ring_correlation();
  out.ring_correlation = {.side_px = static_cast<int>(rings.side_px()),
                          .correlation = {rings.correlation().begin(), rings.correlation().end()},
                          .half_bit_of_nyquist = rings.half_bit_of_nyquist(),
                          .one_bit_of_nyquist = rings.one_bit_of_nyquist(),
                          .half_bit_resolution_m = rings.half_bit_resolution_m(),
                          .one_bit_resolution_m = rings.one_bit_resolution_m(),
                          .mean_to_half_nyquist = rings.mean_to_half_nyquist(),
                          .mean_to_nyquist = rings.mean_to_nyquist()};
  return out;
}

}  // namespace

IngestCounters CountersFromProto(const v1::IngestCounters& counters) {
  IngestCounters out;
  out.received = counters.received();
  out.accepted = counters.accepted();
  for (const v1::Rejection& rejection : counters.rejections()) {
    const auto r = static_cast<std::size_t>(RejectFromProto(rejection.reason()));
    out.rejected[r] = rejection.count();
    out.first_rejected_id[r] = rejection.first_frame_id();
    out.first_detail[r] = rejection.detail();
  }
  out.clamped = counters.clamped();
  out.watermark = counters.watermark();
  out.untrusted_pixels = counters.untrusted_pixels();
  out.payload_bytes = counters.payload_bytes();
  out.skipped = counters.skipped();
  return out;
}

RefinementFigures RefinementFromProto(const v1::RefinementMetrics& metrics) {
  return {
      .shift_rms_px = metrics.shift_rms_px(),
      .positions_at_limit = metrics.positions_at_limit(),
      .scale_row = metrics.scale_y(),
      .scale_col = metrics.scale_x(),
      .rotation_rad = metrics.rotation_rad(),
      .shear_rad = metrics.shear_rad(),
      .intensity_rms = metrics.intensity_rms(),
      .background_counts = metrics.background_counts(),
      .variation_powers = {metrics.variation_powers().begin(), metrics.variation_powers().end()},
      .variations_at_limit = metrics.variations_at_limit()};
}

IterationRecord MetricsFromProto(const v1::IterationMetrics& metrics) {
  IterationRecord out;
  out.iteration = metrics.iteration();
  out.stage = static_cast<int>(metrics.stage());
  out.active_points = metrics.active_points();
  out.metrics.r_factor = metrics.r_factor();
  out.metrics.fourier_error = metrics.fourier_error();
  out.metrics.object_change = metrics.object_change();
  out.metrics.probe_change = metrics.probe_change();
  out.metrics.step = metrics.step();
  out.seconds = metrics.seconds();
  out.elapsed_s = metrics.elapsed_s();
  out.coverage = metrics.coverage();
  out.mode_powers.assign(metrics.mode_powers().begin(), metrics.mode_powers().end());
  out.object_mode_powers.assign(metrics.object_mode_powers().begin(),
                                metrics.object_mode_powers().end());
  if (metrics.has_refinement()) out.refinement = RefinementFromProto(metrics.refinement());
  if (metrics.has_evaluation()) out.evaluation = EvaluationFromProto(metrics.evaluation());
  return out;
}

Progress ProgressFromProto(const v1::Session& session) {
  Progress out;
  out.state = StateFromProto(session.state());
  out.end_of_data = EndOfDataFromProto(session.end_of_data());
  out.completion = CompletionFromProto(session.completion());
  out.partial = session.partial();
  out.failure = session.failure();
  out.frames = CountersFromProto(session.frames());
  out.positions = CountersFromProto(session.positions());
  out.joined_points = session.joined_points();
  out.active_points = session.active_points();
  out.held_out_points = session.held_out_points();
  out.empty_frames = session.empty_frames();
  out.frames_without_position = session.frames_without_position();
  out.positions_without_frame = session.positions_without_frame();
  out.incomplete_encoder_frames = session.incomplete_encoder_frames();
  out.staged_frames = session.staged_frames();
  out.iteration = session.iteration();
  out.iterations_after_end = session.iterations_after_end();
  out.rollbacks = session.rollbacks();
  if (session.has_probe_defocus_m()) out.probe_defocus_m = session.probe_defocus_m();
  out.stage = static_cast<int>(session.stage());
  out.snapshot_version = session.snapshot_version();
  if (session.has_metrics()) out.last = MetricsFromProto(session.metrics());
  if (session.has_final_fit()) out.final_fit = FitFromProto(session.final_fit());
  if (session.has_orientation_test()) {
    out.orientation = OrientationFromProto(session.orientation_test());
  }
  if (session.has_split_halves()) out.split_halves = HalvesFromProto(session.split_halves());
  out.warnings.assign(session.warnings().begin(), session.warnings().end());
  return out;
}

std::chrono::system_clock::time_point TimeFromProto(const google::protobuf::Timestamp& time) {
  // Times in nanoseconds reach from 1677 to 2262.
  constexpr std::int64_t kMaxSeconds = 9'000'000'000;
  const std::chrono::nanoseconds since_epoch =
      std::chrono::seconds(std::clamp(time.seconds(), -kMaxSeconds, kMaxSeconds)) +
      std::chrono::nanoseconds(time.nanos());
  return std::chrono::system_clock::time_point(
      std::chrono::duration_cast<std::chrono::system_clock::duration>(since_epoch));
}

}  // namespace ptychoserve::server
