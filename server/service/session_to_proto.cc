#include "server/service/convert.h"
#include "server/service/enums.h"

namespace ptychoserve::server {

v1::IngestCounters CountersToProto(const IngestCounters& counters) {
  v1::IngestCounters out;
  out.set_received(counters.received);
  out.set_accepted(counters.accepted);
  for (std::size_t i = 0; i < counters.rejected.size(); ++i) {
    if (counters.rejected[i] == 0) continue;
    v1::Rejection& rejection = *out.add_rejections();
    rejection.set_reason(ToProto(static_cast<Reject>(i)));
    rejection.set_count(counters.rejected[i]);
    rejection.set_first_frame_id(counters.first_rejected_id[i]);
    rejection.set_detail(counters.first_detail[i]);
  }
  out.set_clamped(counters.clamped);
  out.set_watermark(counters.watermark);
  out.set_untrusted_pixels(counters.untrusted_pixels);
  out.set_payload_bytes(counters.payload_bytes);
  out.set_skipped(counters.skipped);
  return out;
}

v1::RefinementMetrics RefinementToProto(const RefinementFigures& figures) {
  v1::RefinementMetrics out;
  out.set_shift_rms_px(figures.shift_rms_px);
  out.set_positions_at_limit(figures.positions_at_limit);
  out.set_scale_y(figures.scale_row);
  out.set_scale_x(figures.scale_col);
  out.set_rotation_rad(figures.rotation_rad);
  out.set_shear_rad(figures.shear_rad);
  out.set_intensity_rms(figures.intensity_rms);
  out.set_background_counts(figures.background_counts);
  out.mutable_variation_powers()->Assign(figures.variation_powers.begin(),
                                         figures.variation_powers.end());
  out.set_variations_at_limit(figures.variations_at_limit);
  return out;
}

v1::FitMetrics FitToProto(const FitMetrics& fit) {
  v1::FitMetrics out;
  out.set_r_factor(fit.r_factor);
  out.set_fourier_error(fit.fourier_error);
  out.set_gaussian(fit.gaussian);
  out.set_poisson_nll(fit.poisson_nll);
  return out;
}

v1::Evaluation EvaluationToProto(const Evaluation& evaluation) {
  v1::Evaluation out;
  out.set_iteration(evaluation.iteration);
  *out.mutable_fit() = FitToProto(evaluation.fit);
  if (evaluation.held_out) *out.mutable_held_out() = FitToProto(*evaluation.held_out);
  return out;
}

v1::IterationMetrics MetricsToProto(const IterationRecord& record) {
  v1::IterationMetrics out;
  out.set_iteration(record.iteration);
  out.set_stage(static_cast<std::uint32_t>(record.stage));
  out.set_active_points(record.active_points);
  out.set_r_factor(record.metrics.r_factor);
  out.set_fourier_error(record.metrics.fourier_error);
  out.set_object_change(record.metrics.object_change);
  out.set_probe_change(record.metrics.probe_change);
  out.set_step(record.metrics.step);
  out.set_seconds(record.seconds);
  out.set_elapsed_s(record.elapsed_s);
  out.set_coverage(record.coverage);
  out.mutable_mode_powers()->Assign(record.mode_powers.begin(), record.mode_powers.end());
  out.mutable_object_mode_powers()->Assign(record.object_mode_powers.begin(),
                                           record.object_mode_powers.end());
  if (record.refinement) *out.mutable_refinement() = RefinementToProto(*record.refinement);
  if (record.evaluation) *out.mutable_evaluation() = EvaluationToProto(*record.evaluation);
  return out;
}

v1::SplitHalves HalvesToProto(const SplitHalvesStatus& halves) {
  v1::SplitHalves out;
  out.set_iterations(halves.iterations);
  out.set_iterations_planned(halves.iterations_planned);
  if (!halves.ring_correlation) return out;
  const RingCorrelation& rings = *halves.ring_correlation;
  v1::RingCorrelation& to = *out.mutable_ring_correlation();
  to.set_side_px(static_cast<std::uint32_t>(rings.side_px));
  to.mutable_correlation()->Assign(rings.correlation.begin(), rings.correlation.end());
  to.set_half_bit_of_nyquist(rings.half_bit_of_nyquist);
  to.set_one_bit_of_nyquist(rings.one_bit_of_nyquist);
  to.set_half_bit_resolution_m(rings.half_bit_resolution_m);
  to.set_one_bit_resolution_m(rings.one_bit_resolution_m);
  to.set_mean_to_half_nyquist(rings.mean_to_half_nyquist);
  to.set_mean_to_nyquist(rings.mean_to_nyquist);
  return out;
}

v1::OrientationTest OrientationToProto(const OrientationRanking& ranking) {
  v1::OrientationTest out;
  out.set_points(static_cast<std::uint32_t>(ranking.points));
  for (const OrientationTrial& trial : ranking.trials) {
    v1::OrientationTrial& to = *out.add_trials();
    to.set_orientation(ToProto(trial.orientation));
    if (trial.twin) to.set_twin(ToProto(*trial.twin));
    to.set_instead(trial.instead);
    to.set_r_factor(trial.r_factor);
  }
  out.set_declared(ToProto(ranking.declared));
  out.set_margin(ranking.margin());
  out.set_clear(IsClear(ranking));
  out.set_confirmed(IsConfirmed(ranking));
  return out;
}

void ProgressToProto(const Progress& progress, v1::Session& session) {
  session.set_state(ToProto(progress.state));
  session.set_end_of_data(ToProto(progress.end_of_data));
  session.set_completion(ToProto(progress.completion));
  session.set_partial(progress.partial);
  session.set_failure(progress.failure);
  *session.mutable_frames() = CountersToProto(progress.frames);
  *session.mutable_positions() = CountersToProto(progress.positions);
  session.set_joined_points(progress.joined_points);
  session.set_active_points(progress.active_points);
  session.set_held_out_points(progress.held_out_points);
  session.set_empty_frames(progress.empty_frames);
  session.set_frames_without_position(progress.frames_without_position);
  session.set_positions_without_frame(progress.positions_without_frame);
  session.set_incomplete_encoder_frames(progress.incomplete_encoder_frames);
  session.set_staged_frames(progress.staged_frames);
  session.set_iteration(progress.iteration);
  session.set_iterations_after_end(progress.iterations_after_end);
  session.set_rollbacks(progress.rollbacks);
  if (progress.probe_defocus_m) session.set_probe_defocus_m(*progress.probe_defocus_m);
  session.set_stage(static_cast<std::uint32_t>(progress.stage));
  session.set_iterations_per_second(progress.iterations_per_second);
  session.set_snapshot_version(progress.snapshot_version);
  if (progress.last.has_value()) *session.mutable_metrics() = MetricsToProto(*progress.last);
  if (progress.final_fit.has_value()) {
    *session.mutable_final_fit() = FitToProto(*progress.final_fit);
  }
  if (progress.split_halves.has_value()) {
    *session.mutable_split_halves() = HalvesToProto(*progress.split_halves);
  }
  if (progress.orientation.has_value()) {
    *session.mutable_orientation_test() = OrientationToProto(*progress.orientation);
  }
  session.set_device_bytes(progress.device_bytes);
  session.mutable_warnings()->Assign(progress.warnings.begin(), progress.warnings.end());
}

v1::Caller CallerToProto(const Caller& caller) {
  v1::Caller out;
  out.set_name(caller.name);
  out.set_tenant(caller.tenant);
  out.set_all_tenants(caller.all_tenants);
  switch (caller.role) {
    case Role::kViewer:
      out.set_role(v1::ROLE_VIEWER);
      break;
    case Role::kProducer:
      out.set_role(v1::ROLE_PRODUCER);
      break;
    case Role::kOperator:
      out.set_role(v1::ROLE_OPERATOR);
      break;
    case Role::kAdmin:
      out.set_role(v1::ROLE_ADMIN);
      break;
  }
  return out;
}

google::protobuf::Timestamp TimeToProto(std::chrono::system_clock::time_point time) {
  using std::chrono::duration_cast;
  const auto since_epoch = duration_cast<std::chrono::nanoseconds>(time.time_since_epoch());
  google::protobuf::Timestamp out;
  out.set_seconds(std::chrono::floor<std::chrono::seconds>(since_epoch).count());
  out.set_nanos(static_cast<int>(since_epoch.count() - out.seconds() * 1'000'000'000));
  return out;
}

}  // namespace ptychoserve::server
