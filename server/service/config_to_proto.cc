#include <variant>

#include "server/service/convert.h"
#include "server/service/enums.h"

namespace ptychoserve::server {
namespace {

void Write(Shape in, v1::Shape& out) {
  out.set_rows(static_cast<std::uint32_t>(in.rows));
  out.set_cols(static_cast<std::uint32_t>(in.cols));
}

void Write(const OpticsConfig& in, v1::Optics& out) {
  out.set_wavelength_m(in.wavelength_m);
  out.set_distance_m(in.distance_m);
  out.set_detector_pixel_size_y_m(in.detector_pixel_size_y_m);
  out.set_detector_pixel_size_x_m(in.detector_pixel_size_x_m);
  if (in.near_field.has_value()) {
    v1::NearField& near_field = *out.mutable_near_field();
    if (in.near_field->source_to_sample_m.has_value()) {
      near_field.set_source_to_sample_m(*in.near_field->source_to_sample_m);
    }
  }
}

void Write(const DetectorConfig& in, v1::Detector& out) {
  Write(in.frame_shape, *out.mutable_frame_shape());
  out.set_dtype(ToProto(in.dtype));
  out.set_orientation(ToProto(in.orientation));
  if (in.crop.has_value()) {
    out.mutable_crop()->set_row(static_cast<std::uint32_t>(in.crop->row));
    out.mutable_crop()->set_col(static_cast<std::uint32_t>(in.crop->col));
    Write(in.crop->shape, *out.mutable_crop()->mutable_shape());
  } else if (in.auto_centre.has_value()) {
    Write(in.auto_centre->crop_shape, *out.mutable_auto_centre()->mutable_crop_shape());
    out.mutable_auto_centre()->set_frames(static_cast<std::uint32_t>(in.auto_centre->frames));
    out.mutable_auto_centre()->set_threshold(in.auto_centre->threshold);
  }
  if (in.saturation_counts.has_value()) out.set_saturation_counts(*in.saturation_counts);
  if (in.hot_pixel_counts.has_value()) out.set_hot_pixel_counts(*in.hot_pixel_counts);
  out.set_beam(in.beam_at_corner ? v1::BEAM_POSITION_CORNER : v1::BEAM_POSITION_CENTRE);
}

void Write(const ScanConfig& in, v1::Scan& out) {
  out.set_expected_points(static_cast<std::uint32_t>(in.expected_points));
  out.set_capacity(static_cast<std::uint32_t>(in.capacity));
  out.set_over_capacity(ToProto(in.over_capacity));
  if (in.bounds.has_value()) {
    out.mutable_bounds()->set_y_min_m(in.bounds->y_min_m);
    out.mutable_bounds()->set_y_max_m(in.bounds->y_max_m);
    out.mutable_bounds()->set_x_min_m(in.bounds->x_min_m);
    out.mutable_bounds()->set_x_max_m(in.bounds->x_max_m);
  }
  out.set_out_of_canvas(ToProto(in.out_of_canvas));
  out.set_y_sign(in.y_sign);
  out.set_x_sign(in.x_sign);
  out.set_swap_axes(in.swap_axes);
  out.set_fast_axis_points(static_cast<std::uint32_t>(in.fast_axis_points));
  out.set_first_frame_id(in.first_frame_id);
  if (in.encoder.has_value()) {
    v1::Encoder& encoder = *out.mutable_encoder();
    encoder.set_samples_per_frame(static_cast<std::uint32_t>(in.encoder->samples_per_frame));
    encoder.set_y_scale_m_per_count(in.encoder->y_scale_m_per_count);
    encoder.set_x_scale_m_per_count(in.encoder->x_scale_m_per_count);
    encoder.set_y_offset_m(in.encoder->y_offset_m);
    encoder.set_x_offset_m(in.encoder->x_offset_m);
    if (in.encoder->rotation_angle_deg.has_value()) {
      encoder.set_rotation_angle_deg(*in.encoder->rotation_angle_deg);
    }
  }
}

void Write(const ObjectConfig& in, v1::ObjectSettings& out) {
  out.set_modes(static_cast<std::uint32_t>(in.modes));
  out.set_initial_amplitude(in.initial_amplitude);
  out.set_initial_phase_rad(in.initial_phase_rad);
  out.set_padding_px(static_cast<std::uint32_t>(in.padding_px));
  out.set_max_pixels(static_cast<std::uint64_t>(in.max_pixels));
  if (in.amplitude_limits.has_value()) {
    out.mutable_amplitude_limits()->set_min(in.amplitude_limits->min);
    out.mutable_amplitude_limits()->set_max(in.amplitude_limits->max);
  }
  if (in.phase_limits.has_value()) {
    out.mutable_phase_limits()->set_min_rad(in.phase_limits->min_rad);
    out.mutable_phase_limits()->set_max_rad(in.phase_limits->max_rad);
  }
  out.set_start_update(static_cast<std::uint32_t>(in.start_update));
}

void Write(const ProbeConfig& in, v1::ProbeSettings& out) {
  if (in.initial.modes > 0) {
    out.mutable_initial()->set_modes(static_cast<std::uint32_t>(in.initial.modes));
    Write(in.initial.shape, *out.mutable_initial()->mutable_shape());
  }
  out.set_modes(static_cast<std::uint32_t>(in.modes));
  if (in.propagation_distance_m) out.set_propagation_distance_m(*in.propagation_distance_m);
  out.set_start_update(static_cast<std::uint32_t>(in.start_update));
  out.set_frozen(in.frozen);
  out.set_recentre_every(static_cast<std::uint32_t>(in.recentre_every));
}

void Write(const Regularisation& in, v1::Regularisation& out) {
  if (in.absolute.has_value()) {
    out.set_absolute(*in.absolute);
  } else {
    out.set_relative(in.relative);
  }
}

template <typename In, typename Out>
void WriteTolerance(const In& in, Out& out) {
  if (in.sigma2.has_value()) {
    out.set_sigma2(*in.sigma2);
  } else {
    out.set_relaxation(in.relaxation);
  }
  Write(in.regularisation, *out.mutable_regularisation());
}

void Write(const DifferenceMapConfig& in, v1::Stage& stage) {
  stage.mutable_difference_map()->set_beta(in.beta);
  WriteTolerance(in, *stage.mutable_difference_map());
}

void Write(const RaarConfig& in, v1::Stage& stage) {
  stage.mutable_raar()->set_beta(in.beta);
  WriteTolerance(in, *stage.mutable_raar());
}

void Write(const AlternatingProjectionsConfig& in, v1::Stage& stage) {
  WriteTolerance(in, *stage.mutable_alternating_projections());
}

void Write(const MlGradientConfig& in, v1::Stage& stage) {
  v1::MlGradient& out = *stage.mutable_ml_gradient();
  out.set_likelihood(ToProto(in.likelihood));
  out.set_epsilon(in.epsilon);
  out.set_max_gradient(in.max_gradient);
  out.set_step(in.step);
  out.set_momentum(in.momentum);
  Write(in.regularisation, *out.mutable_regularisation());
}

void Write(const EpieConfig& in, v1::Stage& stage) {
  stage.mutable_epie()->set_object_step(in.object_step);
  stage.mutable_epie()->set_probe_step(in.probe_step);
  stage.mutable_epie()->set_max_batch(static_cast<std::uint32_t>(in.max_batch));
  stage.mutable_epie()->set_object_alpha(in.object_alpha);
  stage.mutable_epie()->set_probe_alpha(in.probe_alpha);
}

void Write(const LsqMlConfig& in, v1::Stage& stage) {
  v1::LsqMl& out = *stage.mutable_lsq_ml();
  out.set_likelihood(ToProto(in.likelihood));
  if (in.object_step) out.set_object_step(*in.object_step);
  if (in.probe_step) out.set_probe_step(*in.probe_step);
  out.set_batch_kind(ToProto(in.batch_kind));
  out.set_batch_size(static_cast<std::uint32_t>(in.batch_size));
  out.set_momentum(in.momentum);
  Write(in.regularisation, *out.mutable_regularisation());
}

void Write(const StageRefinement& in, v1::StageRefinement& out) {
  out.set_positions(in.positions);
  out.set_intensities(in.intensities);
  out.set_background(in.background);
  out.set_variation(in.variation);
}

void Write(const StageConfig& in, v1::Stage& out) {
  std::visit([&](const auto& algorithm) { Write(algorithm, out); }, in.algorithm);
  if (in.iterations.has_value()) out.set_iterations(static_cast<std::uint32_t>(*in.iterations));
  if (in.fraction.has_value()) out.set_fraction(*in.fraction);
  if (in.plateau.has_value()) {
    out.mutable_plateau()->set_window(static_cast<std::uint32_t>(in.plateau->window));
    out.mutable_plateau()->set_min_relative_change(in.plateau->min_relative_change);
  }
  if (in.refine.any()) Write(in.refine, *out.mutable_refine());
}

void Write(const RefinementConfig& in, v1::Refinement& out) {
  out.set_every(static_cast<std::uint32_t>(in.every));
  out.set_step(in.step);
  out.set_max_shift_px(in.max_shift_px);
  out.set_max_intensity(in.max_intensity);
  out.set_probe_components(static_cast<std::uint32_t>(in.probe_components));
  if (in.later_stages.any()) Write(in.later_stages, *out.mutable_later_stages());
}

void Write(const RunConfig& in, v1::RunRules& out) {
  out.set_min_points_to_start(static_cast<std::uint32_t>(in.min_points_to_start));
  out.set_schedule_clock(ToProto(in.schedule_clock));
  out.set_it_ends_after(static_cast<std::uint32_t>(in.it_ends_after));
  out.set_max_iterations(static_cast<std::uint32_t>(in.max_iterations));
  out.set_idle_timeout_s(in.idle_timeout_s);
}

}  // namespace

v1::SessionConfig ConfigToProto(const ReconstructionConfig& config) {
  v1::SessionConfig out;
  Write(config.optics, *out.mutable_optics());
  Write(config.detector, *out.mutable_detector());
  Write(config.scan, *out.mutable_scan());
  Write(config.object, *out.mutable_object());
  Write(config.probe, *out.mutable_probe());
  for (const StageConfig& stage : config.schedule) Write(stage, *out.add_schedule());
  Write(config.refinement, *out.mutable_refinement());
  Write(config.run, *out.mutable_run());
  out.mutable_clear_region()->set_enabled(config.clear_region.enabled);
  out.mutable_clear_region()->set_min_pixels_per_point(config.clear_region.min_pixels_per_point);
  v1::SnapshotSettings& snapshots = *out.mutable_snapshots();
  snapshots.set_every_iterations(static_cast<std::uint32_t>(config.snapshots.every_iterations));
  snapshots.set_min_interval_ms(static_cast<std::uint32_t>(config.snapshots.min_interval_ms));
  snapshots.set_history(static_cast<std::uint32_t>(config.snapshots.history));
  out.set_deterministic(config.deterministic);
  out.set_single_precision_waves(config.single_precision_waves);
  out.mutable_quality()->set_split_halves(config.quality.split_halves);
  out.mutable_quality()->set_held_out_every(
      static_cast<std::uint32_t>(config.quality.held_out_every));
  out.mutable_quality()->set_test_orientation(config.quality.test_orientation);
  return out;
}

}  // namespace ptychoserve::server
