#include <cmath>
#include <limits>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>

#include "absl/strings/str_cat.h"
#include "client/cli/command.h"
#include "client/cli/fault_plan.h"
#include "client/cli/output.h"
#include "engine/base/status_macros.h"
#include "engine/io/cxi.h"
#include "engine/simulation/simulation.h"

namespace ptychoserve::cli {
namespace {

constexpr char kSimulateFooter[] = R"(
Examples:
  ptychoctl simulate scan.cxi
  ptychoctl simulate scan.cxi --points 900 --frame 256 --pattern fermat --photons 1e6
  ptychoctl simulate scan.cxi --dead-pixels 0.001 --lost 0.02
  ptychoctl simulate scan.cxi --modes 3 --coherence 0.6
  ptychoctl simulate scan.cxi --object-modes 2
  ptychoctl simulate scan.cxi --near-field --points 100 --frame 256

The object, the probe and a plausible initial probe are written into the file; run compares with
the object. Lost frames are left out of the file with their positions.)";

struct SimulateOptions {
  std::string path;
  SimulationConfig config;
  std::string pattern = "raster";
  double lost = 0;
  bool near_field = false;
  std::optional<double> source_to_sample_m;
  std::optional<double> distance_m;
  std::optional<double> detector_pixel_size_m;
};

// A projection microscope of hard X-rays, magnifying 21 times.
constexpr double kNearFieldDistanceM = 1, kNearFieldSourceToSampleM = 0.05;
constexpr double kNearFieldPixelM = 6.5e-6;

// What depends on other options.
void Complete(SimulateOptions& options) {
  SimulationConfig& config = options.config;
  config.pattern =
      options.pattern == "fermat" ? ScanPattern::kFermatSpiral : ScanPattern::kJitteredRaster;
  if (config.photons == 0) config.photons = std::numeric_limits<double>::infinity();
  if (options.near_field) {
    config.distance_m = kNearFieldDistanceM;
    config.detector_pixel_size_m = kNearFieldPixelM;
    const double source_m = options.source_to_sample_m.value_or(kNearFieldSourceToSampleM);
    config.near_field.emplace();
    if (std::isfinite(source_m)) config.near_field->source_to_sample_m = source_m;
  }
  config.distance_m = options.distance_m.value_or(config.distance_m);
  config.detector_pixel_size_m =
      options.detector_pixel_size_m.value_or(config.detector_pixel_size_m);
}

absl::Status Check(const SimulateOptions& options) {
  const SimulationConfig& c = options.config;
  if (c.points < 1) return absl::InvalidArgumentError("--points must be >= 1");
  if (c.frame_side < 16 || c.frame_side % 2 != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("--frame is ", c.frame_side, "; an even number >= 16 is allowed"));
  }
  if (!(c.overlap >= 0 && c.overlap <= 0.95)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--overlap is ", c.overlap, "; [0, 0.95] is allowed"));
  }
  if (!(c.photons >= 0)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--photons is ", c.photons, "; > 0, or 0 for no noise, is allowed"));
  }
  if (c.modes < 1 || c.modes > kMaxProbeModes) {
    return absl::InvalidArgumentError(
        absl::StrCat("--modes is ", c.modes, "; 1 to ", kMaxProbeModes, " is allowed"));
  }
  if (c.modes > 1 && !(c.coherence * c.modes > 1 && c.coherence < 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--coherence is ", c.coherence, "; between 1 / modes and 1 is allowed"));
  }
  if (c.object_modes < 1 || c.object_modes > kMaxObjectModes) {
    return absl::InvalidArgumentError(absl::StrCat("--object-modes is ", c.object_modes, "; 1 to ",
                                                   kMaxObjectModes, " is allowed"));
  }
  if (!(c.dead_pixel_fraction >= 0 && c.dead_pixel_fraction < 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--dead-pixels is ", c.dead_pixel_fraction, "; [0, 1) is allowed"));
  }
  if (!(c.position_error_px >= 0 && c.position_error_px <= 16)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--position-error-px is ", c.position_error_px, "; [0, 16] is allowed"));
  }
  if (!(c.intensity_rms >= 0 && c.intensity_rms <= 0.3)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--intensity-rms is ", c.intensity_rms, "; [0, 0.3] is allowed"));
  }
  if (!(c.background_counts >= 0 && c.background_counts <= 65535)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--background is ", c.background_counts, "; [0, 65535] is allowed"));
  }
  if (!(c.probe_variation >= 0 && c.probe_variation <= 0.5)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--probe-variation is ", c.probe_variation, "; [0, 0.5] is allowed"));
  }
  if (!(c.wavelength_m > 0 && options.distance_m.value_or(1) > 0 &&
        options.detector_pixel_size_m.value_or(1) > 0)) {
    return absl::InvalidArgumentError("--wavelength, --distance and --pixel-size must be > 0");
  }
  if (options.source_to_sample_m && !options.near_field) {
    return absl::InvalidArgumentError("--source-to-sample needs --near-field");
  }
  if (!(options.source_to_sample_m.value_or(1) > 0)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--source-to-sample is ", *options.source_to_sample_m, "; > 0 metres, or inf, is allowed"));
  }
  if (!(options.lost >= 0 && options.lost < 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--lost is ", options.lost, "; [0, 1) is allowed"));
  }
  return absl::OkStatus();
}

CxiScanInfo InfoOf(const Simulation& simulation, std::span<const std::int64_t> frames) {
  const SimulationConfig& config = simulation.config();
  CxiScanInfo info;
  info.frames = static_cast<std::int64_t>(frames.size());
  info.frame_shape = {config.frame_side, config.frame_side};
  info.dtype = DataType::kU16;
  info.wavelength_m = config.wavelength_m;
  info.distance_m = config.distance_m;
  info.detector_pixel_size_y_m = config.detector_pixel_size_m;
  info.detector_pixel_size_x_m = config.detector_pixel_size_m;
  info.near_field = config.near_field;
  info.bad_pixels = simulation.bad_pixels();
  for (const std::int64_t j : frames) {
    info.x_m.push_back(simulation.x_m()[static_cast<std::size_t>(j)]);
    info.y_m.push_back(simulation.y_m()[static_cast<std::size_t>(j)]);
    info.true_x_m.push_back(simulation.true_x_m()[static_cast<std::size_t>(j)]);
    info.true_y_m.push_back(simulation.true_y_m()[static_cast<std::size_t>(j)]);
    info.true_intensity.push_back(simulation.intensities()[static_cast<std::size_t>(j)]);
    if (simulation.variation().empty()) continue;
    const auto variation = simulation.variation().begin() + 2 * j;
    info.true_variation.insert(info.true_variation.end(), variation, variation + 2);
  }
  info.true_background = simulation.background();
  info.title = absl::StrCat("Simulated scan, ", frames.size(), " frames, seed ", config.seed);
  info.true_object = simulation.object();
  info.true_probe = simulation.probe();
  info.true_object_row = simulation.object_row();
  info.true_object_col = simulation.object_col();
  return info;
}

absl::Status Simulate(SimulateOptions options, const Context& context) {
  PS_RETURN_IF_ERROR(Check(options));
  Complete(options);
  const SimulationConfig& config = options.config;
  const Simulation simulation(config);
  FaultOptions losses;
  losses.drop = options.lost;
  losses.seed = config.seed;
  const FeedPlan plan = MakeFeedPlan(simulation.points(), losses);
  const CxiScanInfo info = InfoOf(simulation, plan.order);
  PS_ASSIGN_OR_RETURN(const std::unique_ptr<CxiScanWriter> writer,
                      CxiScanWriter::Create(options.path, info));
  for (const std::int64_t j : plan.order) {
    const std::vector<std::uint16_t> frame = simulation.Frame(static_cast<int>(j));
    PS_RETURN_IF_ERROR(writer->Append(std::as_bytes(std::span(frame)), 1));
  }
  PS_RETURN_IF_ERROR(writer->WriteInitialProbe(simulation.initial_probe()));
  PS_RETURN_IF_ERROR(writer->Close());
  if (context.json) {
    Json out;
    out["path"] = options.path;
    out["frames"] = info.frames;
    out["lost"] = plan.dropped.size();
    out["frame_shape"] = {config.frame_side, config.frame_side};
    out["fast_axis_points"] = simulation.fast_axis_points();
    out["object_shape"] = {info.true_object->shape.rows, info.true_object->shape.cols};
    PrintLine(out.dump());
  } else {
    PrintLine(absl::StrCat("wrote ", options.path, ": ", info.frames, " frames of ",
                           config.frame_side, " x ", config.frame_side, " pixels"));
  }
  return absl::OkStatus();
}

}  // namespace

void AddSimulate(CLI::App& app, Context& context) {
  auto options = std::make_shared<SimulateOptions>();
  SimulationConfig& c = options->config;
  CLI::App* command =
      AddCommand(app, context, "simulate", "Write a scan of a known object", kSimulateFooter,
                 [options, &context] { return BadInput(Simulate(*options, context)); });
  command->add_option("out", options->path, "File to write, CXI")->required();
  command->add_option("--points", c.points, "Frames")->capture_default_str();
  command->add_option("--frame", c.frame_side, "Side of a frame in pixels, even")
      ->capture_default_str();
  command->add_option("--pattern", options->pattern, "Of the positions")
      ->check(CLI::IsMember({"raster", "fermat"}))
      ->capture_default_str();
  command->add_option("--overlap", c.overlap, "Linear overlap of neighbouring beams")
      ->capture_default_str();
  command->add_option("--photons", c.photons, "Of the empty beam in a frame; 0: no noise")
      ->capture_default_str();
  command->add_option("--modes", c.modes, "Mutually incoherent modes of the beam")
      ->capture_default_str();
  command->add_option("--coherence", c.coherence, "Part of the power in the first of several modes")
      ->capture_default_str();
  command
      ->add_option("--object-modes", c.object_modes,
                   "States of the sample: in each frame it is in each of them for the same time")
      ->capture_default_str();
  command->add_option("--dead-pixels", c.dead_pixel_fraction, "Fraction of the detector")
      ->capture_default_str();
  command
      ->add_option("--position-error-px", c.position_error_px,
                   "What the stage reports is off by so much along each axis, standard deviation, "
                   "object pixels")
      ->capture_default_str();
  command
      ->add_option("--intensity-rms", c.intensity_rms,
                   "Of the frames' light, standard deviation over the mean")
      ->capture_default_str();
  command
      ->add_option("--background", c.background_counts,
                   "Counts that a pixel has besides, in the mean of all pixels")
      ->capture_default_str();
  command
      ->add_option("--probe-variation", c.probe_variation,
                   "How much the beam's direction and its focus wander from frame to frame: "
                   "standard deviation of the phase that either makes, radians")
      ->capture_default_str();
  command->add_option("--lost", options->lost, "Fraction of the frames that is lost")
      ->capture_default_str();
  command->add_option("--wavelength", c.wavelength_m, "Metres")->capture_default_str();
  command->add_option("--distance", options->distance_m,
                      "Sample to detector, metres. Default: 2.05, in the near field 1");
  command->add_option("--pixel-size", options->detector_pixel_size_m,
                      "Of the detector, metres. Default: 75e-6, in the near field 6.5e-6");
  command->add_flag("--near-field", options->near_field,
                    "Images with fringes, of a beam that comes through a diffuser");
  command->add_option("--source-to-sample", options->source_to_sample_m,
                      "Metres to the point that the near field's beam comes from, which magnifies; "
                      "inf: a parallel beam. Default: 0.05");
  command->add_option("--seed", c.seed, "Of object, jitter and noise")->capture_default_str();
}

}  // namespace ptychoserve::cli
