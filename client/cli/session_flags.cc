#include "client/cli/session_flags.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/cli/config_file.h"
#include "client/cli/orient_plan.h"
#include "client/cli/output.h"
#include "engine/base/status_macros.h"
#include "engine/io/npy.h"

namespace ptychoserve::cli {
namespace {

v1::DataType ToProto(DataType dtype) {
  switch (dtype) {
    case DataType::kU8:
      return v1::DATA_TYPE_U8;
    case DataType::kU16:
      return v1::DATA_TYPE_U16;
    case DataType::kU32:
      return v1::DATA_TYPE_U32;
    case DataType::kF32:
      return v1::DATA_TYPE_F32;
  }
  return v1::DATA_TYPE_UNSPECIFIED;
}

v1::Orientation ToProto(Orientation orientation) {
  v1::Orientation value = v1::ORIENTATION_IDENTITY;
  v1::Orientation_Parse(ApiName(orientation), &value);
  return value;
}

// Puts the flags that are about the optics in the place of what is there.
absl::Status SetOptics(const SessionFlags& flags, v1::SessionConfig& config) {
  if (flags.wavelength_m && flags.photon_energy_ev) {
    return absl::InvalidArgumentError("give --wavelength-m or --photon-energy-ev, not both");
  }
  if (flags.wavelength_m) config.mutable_optics()->set_wavelength_m(*flags.wavelength_m);
  if (flags.photon_energy_ev)
    config.mutable_optics()->set_photon_energy_ev(*flags.photon_energy_ev);
  if (flags.distance_m) config.mutable_optics()->set_distance_m(*flags.distance_m);
  if (flags.pixel_size_m) {
    config.mutable_optics()->set_detector_pixel_size_y_m(*flags.pixel_size_m);
    config.mutable_optics()->set_detector_pixel_size_x_m(*flags.pixel_size_m);
  }
  if (flags.near_field) config.mutable_optics()->mutable_near_field();
  if (!flags.source_to_sample_m) return absl::OkStatus();
  if (!config.optics().has_near_field()) {
    return absl::InvalidArgumentError(
        "--source-to-sample-m magnifies the near field alone; give --near-field with it");
  }
  config.mutable_optics()->mutable_near_field()->set_source_to_sample_m(*flags.source_to_sample_m);
  return absl::OkStatus();
}

absl::StatusOr<ComplexStack> ReadProbeFile(const std::string& path, const std::string& dataset) {
  if (dataset.empty() && absl::EndsWith(path, ".npy")) return ReadProbeNpy(path);
  if (dataset.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path,
                     " names no dataset; use FILE.npy or FILE:DATASET, for example "
                     "scan.cxi:/entry_1/instrument_1/initial_probe"));
  }
  return ReadHdf5Complex(path, dataset);
}

void AddOpticsFlags(CLI::App* command, SessionFlags& flags) {
  const std::string group = "Optics, in the place of what the scan or --config say";
  command->add_option("--wavelength-m", flags.wavelength_m, "Metres")->group(group);
  command->add_option("--photon-energy-ev", flags.photon_energy_ev, "Electronvolts")->group(group);
  command->add_option("--distance-m", flags.distance_m, "Sample to detector, metres")->group(group);
  command->add_option("--pixel-size-m", flags.pixel_size_m, "Of the detector, both axes, metres")
      ->group(group);
  command
      ->add_flag("--near-field", flags.near_field,
                 "The frames are images with fringes, not far fields")
      ->group(group);
  command
      ->add_option("--source-to-sample-m", flags.source_to_sample_m,
                   "With --near-field: metres to the point that the beam comes from, which "
                   "magnifies. Default: a parallel beam")
      ->group(group);
}

}  // namespace

void AddSessionFlags(CLI::App* command, SessionFlags& flags) {
  const std::string group = "Session";
  command
      ->add_option("--session", flags.session_id,
                   "Id of the session, [a-z0-9-]{1,63}; made by the server when not given")
      ->group(group);
  command
      ->add_option("--config", flags.config_file,
                   "SessionConfig in protobuf text format or JSON. Settings of the scan file are "
                   "replaced by it, and it by the flags below")
      ->group(group);
  command
      ->add_option("--probe", flags.probe,
                   "Initial probe: FILE.npy or FILE:DATASET of HDF5. Default: made from the data")
      ->group(group);
  command
      ->add_option("--modes", flags.modes,
                   "Mutually incoherent modes of the probe, 1 to 16. Default 1; the probe may have "
                   "fewer, which are the first")
      ->group(group);
  command
      ->add_option("--object-modes", flags.object_modes,
                   "Mutually incoherent modes of the object, 1 to 4. Default 1")
      ->group(group);
  command
      ->add_option("--iterations", flags.iterations,
                   "Iterations after the end of data. Default: sum of --schedule, else 60")
      ->group(group);
  command
      ->add_option(
          "--schedule", flags.schedule,
          "Stages, e.g. dm:40,ml_grad:20. Each dm, raar, ap, ml_grad, ml_gauss, epie, "
          "epie_seq (frame after frame), rpie or lsqml, with a number of iterations, a part "
          "of the run (66%) or plateau; with +pos, +int, +bg or +var behind the name it "
          "refines positions, intensities, the background or the probe's variation")
      ->group(group);
  command
      ->add_option("--refine", flags.refine,
                   "Refine, in all stages but the first or in the only one: pos, int, bg, var, or "
                   "several with commas between")
      ->group(group);
  command
      ->add_option("--refine-every", flags.refine_every,
                   "Iterations between two refinements, 1 to 1000. Default 2")
      ->group(group);
  command
      ->add_option("--probe-components", flags.probe_components,
                   "Of the variation of the probe that var refines, 1 to 4. Default 2")
      ->group(group);
  command
      ->add_option("--max-shift-px", flags.max_shift_px,
                   "Furthest that refinement takes a position, in object pixels, up to 64. "
                   "Default 4")
      ->group(group);
  command->add_option("--max-iterations", flags.max_iterations, "Cap on all iterations")
      ->group(group);
  command
      ->add_option("--min-points", flags.min_points, "Points that must be there before the start")
      ->group(group);
  command->add_option("--capacity", flags.capacity, "Frames that the session can hold")
      ->group(group);
  command->add_flag("--frozen-probe", flags.frozen_probe, "Never change the probe")->group(group);
  command->add_option("--probe-start", flags.probe_start, "First iteration that changes the probe")
      ->group(group);
  command->add_option("--snapshot-every", flags.snapshot_every, "Iterations between snapshots")
      ->group(group);
  command
      ->add_option("--idle-timeout", flags.idle_timeout_s,
                   "Seconds without input that end the data; 0: never")
      ->group(group);
  command
      ->add_flag("--deterministic", flags.deterministic,
                 "Results that repeat bit for bit on a GPU, too, at about three times the time of "
                 "an iteration")
      ->group(group);
  command
      ->add_flag("--keep-input", flags.keep_input,
                 "Keep the input on the server's disk after the end, to export it and run it again")
      ->group(group);
  command
      ->add_flag("--single-precision-waves", flags.single_precision_waves,
                 "Keep waves on a GPU in single precision, not in half: a fifth slower, and more "
                 "memory")
      ->group(group);
  command
      ->add_flag("--split-halves", flags.split_halves,
                 "Measure how well the result repeats: reconstruct from the even and from the odd "
                 "points as well, and compare; takes about as long again")
      ->group(group);
  command
      ->add_flag("--no-orientation-test", flags.no_orientation_test,
                 "Do not find out in the first iterations whether the frames lie as declared")
      ->group(group);
  command
      ->add_option("--hold-out-every", flags.hold_out_every,
                   "Use all but the last of so many frames, and say how well what they give "
                   "predicts that one; 4 or more")
      ->group(group);
  AddOpticsFlags(command, flags);
}

v1::SessionConfig ConfigFromScan(const CxiScanInfo& scan) {
  v1::SessionConfig config;
  v1::Optics& optics = *config.mutable_optics();
  if (scan.wavelength_m > 0) optics.set_wavelength_m(scan.wavelength_m);
  optics.set_distance_m(scan.distance_m);
  optics.set_detector_pixel_size_y_m(scan.detector_pixel_size_y_m);
  optics.set_detector_pixel_size_x_m(scan.detector_pixel_size_x_m);
  if (scan.near_field.has_value()) {
    optics.mutable_near_field();
    if (scan.near_field->source_to_sample_m.has_value()) {
      optics.mutable_near_field()->set_source_to_sample_m(*scan.near_field->source_to_sample_m);
    }
  }
  v1::Detector& detector = *config.mutable_detector();
  detector.mutable_frame_shape()->set_rows(static_cast<std::uint32_t>(scan.frame_shape.rows));
  detector.mutable_frame_shape()->set_cols(static_cast<std::uint32_t>(scan.frame_shape.cols));
  detector.set_dtype(ToProto(scan.dtype));
  if (scan.orientation != Orientation::kIdentity) {
    detector.set_orientation(ToProto(scan.orientation));
  }
  detector.set_bad_pixels(scan.bad_pixels.data(), scan.bad_pixels.size());
  config.mutable_scan()->set_expected_points(static_cast<std::uint32_t>(scan.frames));
  if (!scan.x_m.empty()) {
    const auto [x_min, x_max] = std::minmax_element(scan.x_m.begin(), scan.x_m.end());
    const auto [y_min, y_max] = std::minmax_element(scan.y_m.begin(), scan.y_m.end());
    v1::ScanBounds& bounds = *config.mutable_scan()->mutable_bounds();
    bounds.set_x_min_m(*x_min);
    bounds.set_x_max_m(*x_max);
    bounds.set_y_min_m(*y_min);
    bounds.set_y_max_m(*y_max);
  }
  return config;
}

absl::StatusOr<v1::ComplexArray> ReadProbe(const std::string& file_and_dataset) {
  const std::size_t colon = file_and_dataset.find(':');
  const std::string path = file_and_dataset.substr(0, colon);
  const std::string dataset = colon == std::string::npos ? "" : file_and_dataset.substr(colon + 1);
  absl::StatusOr<ComplexStack> probe = ReadProbeFile(path, dataset);
  if (!probe.ok()) {
    return absl::Status(probe.status().code(),
                        absl::StrCat("--probe: ", std::string(probe.status().message())));
  }
  v1::ComplexArray array;
  array.set_modes(static_cast<std::uint32_t>(probe->modes));
  array.mutable_shape()->set_rows(static_cast<std::uint32_t>(probe->shape.rows));
  array.mutable_shape()->set_cols(static_cast<std::uint32_t>(probe->shape.cols));
  array.set_data(probe->data.data(), probe->data.size() * sizeof(Complex64));
  return array;
}

void SetSchedule(const std::optional<ScheduleFlag>& schedule,
                 const std::optional<std::uint32_t>& iterations, v1::SessionConfig& config) {
  if (schedule.has_value()) {
    config.clear_schedule();
    for (const v1::Stage& stage : schedule->stages) *config.add_schedule() = stage;
    if (schedule->total_iterations.has_value()) {
      config.mutable_run()->set_it_ends_after(*schedule->total_iterations);
      if (iterations.value_or(0) > *schedule->total_iterations) {
        config.mutable_schedule(config.schedule_size() - 1)->clear_until();
      }
    }
  }
  if (iterations.has_value()) config.mutable_run()->set_it_ends_after(*iterations);
}

absl::StatusOr<v1::SessionConfig> BuildConfig(const SessionFlags& flags, const CxiScanInfo* scan) {
  v1::SessionConfig config;
  if (scan != nullptr) config = ConfigFromScan(*scan);
  if (!flags.config_file.empty()) {
    absl::StatusOr<v1::SessionConfig> file = ReadConfigFile(flags.config_file);
    if (!file.ok()) return BadInput(file.status());
    config.MergeFrom(*file);
  }
  PS_RETURN_IF_ERROR(BadInput(SetOptics(flags, config)));
  if (!flags.probe.empty()) {
    absl::StatusOr<v1::ComplexArray> probe = ReadProbe(flags.probe);
    if (!probe.ok()) return BadInput(probe.status());
    *config.mutable_probe()->mutable_initial() = *std::move(probe);
  }
  std::optional<ScheduleFlag> schedule;
  if (!flags.schedule.empty()) {
    absl::StatusOr<ScheduleFlag> parsed = ParseSchedule(flags.schedule);
    if (!parsed.ok()) return BadInput(parsed.status());
    schedule = *std::move(parsed);
  }
  SetSchedule(schedule, flags.iterations, config);
  if (!flags.refine.empty()) {
    absl::StatusOr<v1::StageRefinement> refine = ParseRefine(flags.refine);
    if (!refine.ok()) return BadInput(refine.status());
    *config.mutable_refinement()->mutable_later_stages() = *std::move(refine);
  }
  if (flags.refine_every) config.mutable_refinement()->set_every(*flags.refine_every);
  if (flags.probe_components) {
    config.mutable_refinement()->set_probe_components(*flags.probe_components);
  }
  if (flags.max_shift_px) config.mutable_refinement()->set_max_shift_px(*flags.max_shift_px);
  v1::RunRules& run = *config.mutable_run();
  if (flags.max_iterations) run.set_max_iterations(*flags.max_iterations);
  if (flags.min_points) run.set_min_points_to_start(*flags.min_points);
  if (flags.idle_timeout_s) run.set_idle_timeout_s(*flags.idle_timeout_s);
  if (flags.capacity) config.mutable_scan()->set_capacity(*flags.capacity);
  if (flags.modes) config.mutable_probe()->set_modes(*flags.modes);
  if (flags.object_modes) config.mutable_object()->set_modes(*flags.object_modes);
  if (flags.probe_start) config.mutable_probe()->set_start_update(*flags.probe_start);
  if (flags.frozen_probe) config.mutable_probe()->set_frozen(true);
  if (flags.deterministic) config.set_deterministic(true);
  if (flags.keep_input) config.set_keep_input(true);
  if (flags.single_precision_waves) config.set_single_precision_waves(true);
  if (flags.no_orientation_test) config.mutable_quality()->set_test_orientation(false);
  if (flags.split_halves) config.mutable_quality()->set_split_halves(true);
  if (flags.hold_out_every) {
    config.mutable_quality()->set_held_out_every(*flags.hold_out_every);
  }
  if (flags.snapshot_every) {
    config.mutable_snapshots()->set_every_iterations(*flags.snapshot_every);
  }
  return config;
}

}  // namespace ptychoserve::cli
