#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "engine/algorithms/refinement.h"
#include "engine/config.h"
#include "engine/scan/object_grid.h"
#include "engine/scan/optics.h"
#include "engine/scan/orientation.h"

namespace ptychoserve {
namespace {

constexpr int kMinRawSide = 8, kMaxRawSide = 8192;
constexpr int kMinEngineSide = 8, kMaxEngineSide = 4096;
constexpr double kMaxHeldBytes = 1 << 30;  // Of whole frames.
constexpr int kMaxAutoCentreFrames = 1024;
constexpr int kMaxPoints = 16777216;
constexpr int kMaxSamplesPerFrame = 65536;
constexpr double kMaxAngleDeg = 180;
constexpr double kMaxInitialAmplitude = 100;
constexpr int kMinPadding = 2, kMaxPadding = 1024;
constexpr std::int64_t kMaxCanvasPixels = std::int64_t{1} << 30;
constexpr std::size_t kMaxStages = 16;
constexpr double kMaxBeta = 2, kMaxStep = 2;
constexpr int kMinPlateauWindow = 2, kMaxPlateauWindow = 10000;
constexpr int kMaxHistory = 64;
constexpr int kMaxRefinementEvery = 1000;
constexpr int kMinHeldOutEvery = 4;
constexpr double kMaxShiftPx = 64;
constexpr double kMaxIntensity = 100;
// Positions further from the origin than this many object pixels are not addressable.
constexpr double kMaxPositionPx = 1 << 28;
// Numbers that the engine holds in single precision.
constexpr double kMinFloat = std::numeric_limits<float>::min();
constexpr double kMaxFloat = std::numeric_limits<float>::max();
constexpr double kMaxDouble = std::numeric_limits<double>::max();

// Collects violations. All comparisons are false for NaN, which so is never allowed.
class Checker {
 public:
  // Fields checked from now on are those of `path`; "" for the whole configuration.
  void Enter(std::string path) { path_ = std::move(path); }

  // False: `problem`, "is VALUE; what is allowed and what to do", has been recorded.
  bool Check(bool good, absl::string_view field, const std::string& problem) {
    if (!good) Add(field, problem);
    return good;
  }
  void Add(absl::string_view field, std::string problem) {
    std::string path = path_;
    if (!field.empty()) absl::StrAppend(&path, path.empty() ? "" : ".", field);
    violations_.push_back({std::move(path), std::move(problem)});
  }

  bool Integer(absl::string_view field, std::int64_t value, std::int64_t min, std::int64_t max) {
    return Check(value >= min && value <= max, field,
                 absl::StrFormat("is %d; must be a whole number from %d to %d", value, min, max));
  }
  // [min, max].
  bool Closed(absl::string_view field, double value, double min, double max) {
    return Check(value >= min && value <= max, field,
                 absl::StrFormat("is %.10g; must be from %.10g to %.10g", value, min, max));
  }
  // (min, max].
  bool AboveUpTo(absl::string_view field, double value, double min, double max) {
    return Check(
        value > min && value <= max, field,
        absl::StrFormat("is %.10g; must be greater than %.10g and at most %.10g", value, min, max));
  }
  // [min, max).
  bool From(absl::string_view field, double value, double min, double max) {
    return Check(
        value >= min && value < max, field,
        absl::StrFormat("is %.10g; must be at least %.10g and less than %.10g", value, min, max));
  }
  // (min, max).
  bool Open(absl::string_view field, double value, double min, double max) {
    return Check(value > min && value < max, field,
                 absl::StrFormat("is %.10g; must be greater than %.10g and less than %.10g", value,
                                 min, max));
  }
  bool Positive(absl::string_view field, double value) {
    return Check(value > 0 && value <= kMaxDouble, field,
                 absl::StrFormat("is %.10g; must be finite and greater than 0", value));
  }
  bool PositiveFloat(absl::string_view field, double value) {
    return Check(value >= kMinFloat && value <= kMaxFloat, field,
                 absl::StrFormat("is %.10g; must be greater than 0 (in single precision, from %.3g "
                                 "to %.3g)",
                                 value, kMinFloat, kMaxFloat));
  }
  bool NotNegative(absl::string_view field, double value, double max = kMaxDouble) {
    return Check(value >= 0 && value <= max, field,
                 absl::StrFormat("is %.10g; must be finite and not less than 0", value));
  }
  bool Finite(absl::string_view field, double value) {
    return Check(std::isfinite(value), field,
                 absl::StrFormat("is %.10g; must be a finite number", value));
  }

  std::size_t count() const { return violations_.size(); }
  std::vector<FieldViolation> Take() { return std::move(violations_); }

 private:
  std::string path_;
  std::vector<FieldViolation> violations_;
};

void CheckOptics(const OpticsConfig& optics, Checker& check) {
  check.Enter("optics");
  check.Check(optics.wavelength_m > 0 && optics.wavelength_m <= kMaxDouble, "wavelength_m",
              absl::StrFormat("is %.10g; must be finite and greater than 0; give one of "
                              "wavelength_m, photon_energy_ev, electron_energy_ev",
                              optics.wavelength_m));
  check.Positive("distance_m", optics.distance_m);
  check.Positive("detector_pixel_size_y_m", optics.detector_pixel_size_y_m);
  check.Positive("detector_pixel_size_x_m", optics.detector_pixel_size_x_m);
  if (optics.near_field.has_value() && optics.near_field->source_to_sample_m.has_value()) {
    const double value = *optics.near_field->source_to_sample_m;
    check.Check(value > 0 && value <= kMaxDouble, "near_field.source_to_sample_m",
                absl::StrFormat("is %.10g; must be finite and greater than 0; leave it out for a "
                                "parallel beam",
                                value));
  }
}

// One side of the frames in the engine, given by `field`.
void CheckEngineSide(absl::string_view field, int side, int available, Checker& check) {
  check.Check(
      side >= kMinEngineSide && side <= kMaxEngineSide && side % 2 == 0 && side <= available, field,
      absl::StrFormat("is %d; the frame after the crop must have an even side from %d to "
                      "%d; choose detector.crop or detector.auto_centre accordingly",
                      side, kMinEngineSide, std::min(kMaxEngineSide, available)));
}

void CheckCropping(const DetectorConfig& detector, Checker& check) {
  const Shape oriented = OrientedShape(detector.frame_shape, detector.orientation);
  if (detector.crop.has_value()) {
    const Region& crop = *detector.crop;
    const auto place = [&check](absl::string_view field, int first, int side, int available) {
      check.Check(first >= 0 && first <= available - std::int64_t{side}, field,
                  absl::StrFormat("is %d; with %d pixels from there the crop must lie inside the "
                                  "oriented frame of %d",
                                  first, side, available));
    };
    const bool sides_fit = crop.shape.rows <= oriented.rows && crop.shape.cols <= oriented.cols;
    if (sides_fit) {
      place("crop.row", crop.row, crop.shape.rows, oriented.rows);
      place("crop.col", crop.col, crop.shape.cols, oriented.cols);
    }
    CheckEngineSide("crop.shape.rows", crop.shape.rows, oriented.rows, check);
    CheckEngineSide("crop.shape.cols", crop.shape.cols, oriented.cols, check);
  }
  if (detector.auto_centre.has_value()) {
    const AutoCentreConfig& centre = *detector.auto_centre;
    check.Check(!detector.crop.has_value(), "auto_centre",
                "is set together with crop; keep one of the two");
    CheckEngineSide("auto_centre.crop_shape.rows", centre.crop_shape.rows, oriented.rows, check);
    CheckEngineSide("auto_centre.crop_shape.cols", centre.crop_shape.cols, oriented.cols, check);
    check.Integer("auto_centre.frames", centre.frames, 1, kMaxAutoCentreFrames);
    check.Check(static_cast<double>(centre.frames) *
                        static_cast<double>(detector.frame_shape.pixels()) *
                        DataTypeBytes(detector.dtype) <=
                    kMaxHeldBytes,
                "auto_centre.frames",
                "so many whole frames would have to be held back; at most 1 GiB of them");
    check.Open("auto_centre.threshold", centre.threshold, 0, 1);
  }
  if (!detector.crop.has_value() && !detector.auto_centre.has_value()) {
    CheckEngineSide("frame_shape.rows", detector.frame_shape.rows, kMaxRawSide, check);
    CheckEngineSide("frame_shape.cols", detector.frame_shape.cols, kMaxRawSide, check);
  }
}

void CheckDetector(const DetectorConfig& detector, bool near_field, Checker& check) {
  check.Enter("detector");
  const bool rows_good =
      check.Integer("frame_shape.rows", detector.frame_shape.rows, kMinRawSide, kMaxRawSide);
  const bool cols_good =
      check.Integer("frame_shape.cols", detector.frame_shape.cols, kMinRawSide, kMaxRawSide);
  if (rows_good && cols_good) {
    CheckCropping(detector, check);
    const auto pixels = static_cast<std::size_t>(detector.frame_shape.pixels());
    const std::vector<std::uint8_t>& bad = detector.bad_pixels;
    if (check.Check(bad.empty() || bad.size() == pixels, "bad_pixels",
                    absl::StrFormat("has %d bytes; must be empty or have %d, one for each pixel of "
                                    "frame_shape",
                                    bad.size(), pixels))) {
      const auto other = std::find_if(bad.begin(), bad.end(), [](std::uint8_t b) { return b > 1; });
      check.Check(other == bad.end(), "bad_pixels",
                  absl::StrFormat("has the byte %d at index %d; use 0 for trusted pixels and 1 for "
                                  "the others",
                                  other == bad.end() ? 0 : *other, other - bad.begin()));
    }
  }
  if (detector.saturation_counts) check.Positive("saturation_counts", *detector.saturation_counts);
  if (detector.hot_pixel_counts) check.NotNegative("hot_pixel_counts", *detector.hot_pixel_counts);
  check.Check(!near_field || !detector.beam_at_corner, "beam",
              "is CORNER; with optics.near_field a frame is an image and has no zero frequency; "
              "leave it out");
}

void CheckEncoder(const EncoderConfig& encoder, Checker& check) {
  check.Enter("scan.encoder");
  const auto scale = [&check](absl::string_view field, double value) {
    check.Check(std::isfinite(value) && value != 0, field,
                absl::StrFormat("is %.10g; must be finite and not 0", value));
  };
  check.Integer("samples_per_frame", encoder.samples_per_frame, 1, kMaxSamplesPerFrame);
  scale("y_scale_m_per_count", encoder.y_scale_m_per_count);
  scale("x_scale_m_per_count", encoder.x_scale_m_per_count);
  check.Finite("y_offset_m", encoder.y_offset_m);
  check.Finite("x_offset_m", encoder.x_offset_m);
  if (encoder.rotation_angle_deg) {
    check.Closed("rotation_angle_deg", *encoder.rotation_angle_deg, -kMaxAngleDeg, kMaxAngleDeg);
  }
}

// One axis of the bounds; `axis` is "y" or "x". `pixel_m` of the sample axis that it becomes.
void CheckBoundsAxis(absl::string_view axis, double min_m, double max_m, double pixel_m,
                     Checker& check) {
  const std::string min_field = absl::StrCat("bounds.", axis, "_min_m");
  const std::string max_field = absl::StrCat("bounds.", axis, "_max_m");
  const double limit_m = kMaxPositionPx * pixel_m;
  const bool min_good = check.Closed(min_field, min_m, -limit_m, limit_m);
  const bool max_good = check.Closed(max_field, max_m, -limit_m, limit_m);
  if (!min_good || !max_good) return;
  check.Check(
      max_m >= min_m, max_field,
      absl::StrFormat("is %.10g; must not be less than %s_min_m, %.10g", max_m, axis, min_m));
}

void CheckScan(const ScanConfig& scan, const std::optional<PixelSize>& pixel, Checker& check) {
  check.Enter("scan");
  // As a capacity, when there is no other, expected_points is bounded as one.
  check.Integer("expected_points", scan.expected_points, 0,
                scan.capacity == 0 ? kMaxPoints : std::numeric_limits<int>::max());
  check.Check(scan.capacity >= 0 && scan.capacity <= kMaxPoints, "capacity",
              absl::StrFormat("is %d; must be from 1 to %d, or 0 for the default", scan.capacity,
                              kMaxPoints));
  if (scan.bounds.has_value()) {
    const ScanBounds& b = *scan.bounds;
    // Without a pixel size, which is reported elsewhere, any finite bounds will do.
    constexpr double kAnyPixel = kMaxDouble / kMaxPositionPx;
    PixelSize p = pixel.value_or(PixelSize{kAnyPixel, kAnyPixel});
    if (scan.swap_axes) std::swap(p.y_m, p.x_m);
    CheckBoundsAxis("y", b.y_min_m, b.y_max_m, p.y_m, check);
    CheckBoundsAxis("x", b.x_min_m, b.x_max_m, p.x_m, check);
  }
  check.Check(scan.out_of_canvas != OutOfCanvas::kClamp || scan.bounds.has_value(), "out_of_canvas",
              "is CLAMP without scan.bounds; give the bounds to clamp to, or use "
              "REJECT");
  const auto sign = [&check](absl::string_view field, int value) {
    check.Check(value == 1 || value == -1, field, absl::StrFormat("is %d; must be 1 or -1", value));
  };
  sign("y_sign", scan.y_sign);
  sign("x_sign", scan.x_sign);
  check.Integer("fast_axis_points", scan.fast_axis_points, 0, kMaxPoints);
  check.Integer("first_frame_id", scan.first_frame_id, 0,
                std::numeric_limits<std::int64_t>::max() - std::numeric_limits<int>::max());
  if (scan.encoder.has_value()) CheckEncoder(*scan.encoder, check);
}

void CheckObject(const ObjectConfig& object, Checker& check) {
  constexpr double kPi = std::numbers::pi;
  check.Enter("object");
  check.Integer("modes", object.modes, 1, kMaxObjectModes);
  check.Check(
      object.initial_amplitude >= kMinFloat && object.initial_amplitude <= kMaxInitialAmplitude,
      "initial_amplitude",
      absl::StrFormat("is %.10g; must be greater than 0 and at most %.10g",
                      object.initial_amplitude, kMaxInitialAmplitude));
  check.Closed("initial_phase_rad", object.initial_phase_rad, -kPi, kPi);
  check.Integer("padding_px", object.padding_px, kMinPadding, kMaxPadding);
  check.Integer("max_pixels", object.max_pixels, 1, kMaxCanvasPixels);
  if (object.amplitude_limits.has_value()) {
    const AmplitudeLimits& limits = *object.amplitude_limits;
    const bool min_good = check.NotNegative("amplitude_limits.min", limits.min, kMaxFloat);
    const bool max_good = check.PositiveFloat("amplitude_limits.max", limits.max);
    if (min_good && max_good) {
      check.Check(limits.max >= limits.min, "amplitude_limits.max",
                  absl::StrFormat("is %.10g; must not be less than amplitude_limits.min, %.10g",
                                  limits.max, limits.min));
    }
  }
  if (object.phase_limits.has_value()) {
    const PhaseLimits& limits = *object.phase_limits;
    const bool min_good = check.Closed("phase_limits.min_rad", limits.min_rad, -kPi, kPi);
    const bool max_good = check.Closed("phase_limits.max_rad", limits.max_rad, -kPi, kPi);
    if (min_good && max_good) {
      check.Check(limits.max_rad >= limits.min_rad, "phase_limits.max_rad",
                  absl::StrFormat("is %.10g; must not be less than phase_limits.min_rad, %.10g",
                                  limits.max_rad, limits.min_rad));
    }
  }
  const auto one_mode = [&](absl::string_view field, bool limited) {
    check.Check(!limited || object.modes <= 1, field,
                absl::StrFormat("is given with %d modes of the object, of which any mixture is the "
                                "same sample and none has limits of its own; leave it out",
                                object.modes));
  };
  one_mode("amplitude_limits", object.amplitude_limits.has_value());
  one_mode("phase_limits", object.phase_limits.has_value());
  check.Integer("start_update", object.start_update, 0, std::numeric_limits<int>::max());
}

// The canvas that the other fields ask for, when they are good in themselves.
void CheckCanvas(const ReconstructionConfig& config, const PixelSize& pixel, Checker& check) {
  check.Enter("");
  const Shape frame = EngineFrameShape(config.detector);
  double range_y = 0, range_x = 0;
  if (config.scan.bounds.has_value()) {
    range_y = config.scan.bounds->y_max_m - config.scan.bounds->y_min_m;
    range_x = config.scan.bounds->x_max_m - config.scan.bounds->x_min_m;
    if (config.scan.swap_axes) std::swap(range_y, range_x);
  }
  const int padding = config.object.padding_px;
  const std::int64_t rows = ObjectGrid::AnnouncedSide(frame.rows, range_y, pixel.y_m, padding);
  const std::int64_t cols = ObjectGrid::AnnouncedSide(frame.cols, range_x, pixel.x_m, padding);
  if (rows * cols <= config.object.max_pixels) return;
  const std::string problem = absl::StrFormat(
      "a canvas of %d x %d = %d pixels of %.4g x %.4g m, more than object.max_pixels = %d", rows,
      cols, rows * cols, pixel.y_m, pixel.x_m, config.object.max_pixels);
  if (config.scan.bounds.has_value()) {
    check.Add("scan.bounds",
              absl::StrCat("asks for ", problem, "; narrow the bounds or raise max_pixels"));
  } else {
    check.Add("object.max_pixels",
              absl::StrCat("is too small: one frame needs ", problem, "; raise it"));
  }
}

void CheckProbe(const ProbeConfig& probe, std::optional<Shape> frame, bool near_field,
                Checker& check) {
  check.Enter("probe");
  check.Integer("modes", probe.modes, 1, kMaxProbeModes);
  const ComplexStack& p = probe.initial;
  if (p.modes != 0 || !p.data.empty()) {
    const auto is_finite = [](const Complex64& v) {
      return std::isfinite(v.real()) && std::isfinite(v.imag());
    };
    const auto is_zero = [](const Complex64& v) { return v == Complex64{}; };
    if (p.modes < 1) {
      check.Add("initial", absl::StrFormat("has %d modes; must have at least 1", p.modes));
    } else if (p.modes > probe.modes) {
      check.Add("initial",
                absl::StrFormat("has %d modes, more than probe.modes, %d; set probe.modes to at "
                                "least %d, or give fewer",
                                p.modes, probe.modes, p.modes));
    } else if (frame.has_value() && p.shape != *frame) {
      check.Add("initial",
                absl::StrFormat("has the shape %d x %d; must be that of the frames after the crop, "
                                "%d x %d",
                                p.shape.rows, p.shape.cols, frame->rows, frame->cols));
    } else if (static_cast<std::int64_t>(p.data.size()) != p.modes * p.shape.pixels()) {
      check.Add("initial", absl::StrFormat("has %d values; must have %d x %d x %d", p.data.size(),
                                           p.modes, p.shape.rows, p.shape.cols));
    } else if (!std::all_of(p.data.begin(), p.data.end(), is_finite)) {
      check.Add("initial", "has a value that is NaN or infinite; all must be finite");
    } else if (std::all_of(p.data.begin(), p.data.begin() + p.shape.pixels(), is_zero)) {
      check.Add(
          "initial",
          "is 0 everywhere in its first mode; give a probe with light, or none to start from the "
          "data");
    }
  }
  check.Finite("propagation_distance_m", probe.propagation_distance_m.value_or(0));
  check.Integer("start_update", probe.start_update, 0, std::numeric_limits<int>::max());
  check.Integer("recentre_every", probe.recentre_every, 0, std::numeric_limits<int>::max());
  check.Check(
      !near_field || probe.recentre_every <= 0, "recentre_every",
      absl::StrFormat("is %d; with optics.near_field the frames tell where the probe is, and "
                      "it must be 0",
                      probe.recentre_every));
}

void CheckRegularisation(const Regularisation& r, Checker& check) {
  if (r.absolute.has_value()) {
    check.PositiveFloat("regularisation.absolute", *r.absolute);
  } else {
    check.AboveUpTo("regularisation.relative", r.relative, 0, 1);
  }
}

// Checks an algorithm's fields; `stage` is the path of its stage.
class AlgorithmCheck {
 public:
  AlgorithmCheck(const std::string& stage, Checker* check) : stage_(stage), check_(*check) {}

  void operator()(const DifferenceMapConfig& dm) {
    check_.Enter(absl::StrCat(stage_, ".difference_map"));
    check_.AboveUpTo("beta", dm.beta, 0, kMaxBeta);
    CheckTolerance(dm);
  }
  void operator()(const RaarConfig& raar) {
    check_.Enter(absl::StrCat(stage_, ".raar"));
    check_.AboveUpTo("beta", raar.beta, 0, 1);
    CheckTolerance(raar);
  }
  void operator()(const AlternatingProjectionsConfig& ap) {
    check_.Enter(absl::StrCat(stage_, ".alternating_projections"));
    CheckTolerance(ap);
  }
  void operator()(const MlGradientConfig& ml) {
    check_.Enter(absl::StrCat(stage_, ".ml_gradient"));
    check_.PositiveFloat("epsilon", ml.epsilon);
    check_.PositiveFloat("max_gradient", ml.max_gradient);
    check_.AboveUpTo("step", ml.step, 0, kMaxStep);
    check_.From("momentum", ml.momentum, 0, 1);
    CheckRegularisation(ml.regularisation, check_);
  }
  void operator()(const EpieConfig& epie) {
    check_.Enter(absl::StrCat(stage_, ".epie"));
    check_.AboveUpTo("object_step", epie.object_step, 0, kMaxStep);
    check_.AboveUpTo("probe_step", epie.probe_step, 0, kMaxStep);
    check_.Integer("max_batch", epie.max_batch, 0, std::numeric_limits<int>::max());
    check_.AboveUpTo("object_alpha", epie.object_alpha, 0, 1);
    check_.AboveUpTo("probe_alpha", epie.probe_alpha, 0, 1);
  }
  void operator()(const LsqMlConfig& lsq) {
    check_.Enter(absl::StrCat(stage_, ".lsq_ml"));
    if (lsq.object_step) check_.AboveUpTo("object_step", *lsq.object_step, 0, kMaxStep);
    if (lsq.probe_step) check_.AboveUpTo("probe_step", *lsq.probe_step, 0, kMaxStep);
    check_.Integer("batch_size", lsq.batch_size, 0, std::numeric_limits<int>::max());
    check_.From("momentum", lsq.momentum, 0, 1);
    CheckRegularisation(lsq.regularisation, check_);
  }

 private:
  // What the algorithms that keep exit waves have in common.
  template <typename Config>
  void CheckTolerance(const Config& config) {
    if (config.sigma2.has_value()) {
      check_.NotNegative("sigma2", *config.sigma2, kMaxFloat);
    } else {
      check_.NotNegative("relaxation", config.relaxation, kMaxFloat);
    }
    CheckRegularisation(config.regularisation, check_);
  }

  std::string stage_;
  Checker& check_;
};

void CheckStageEnd(const StageConfig& stage, bool last, const ReconstructionConfig& config,
                   Checker& check) {
  const int ends =
      stage.iterations.has_value() + stage.fraction.has_value() + stage.plateau.has_value();
  if (last) {
    check.Check(ends == 0, "",
                "is the last stage and has an end; leave iterations, fraction and plateau out: the "
                "run rules end it");
  } else {
    check.Check(ends == 1, "",
                absl::StrFormat("has %d ends; a stage before the last needs exactly one of "
                                "iterations, fraction and plateau",
                                ends));
  }
  if (stage.iterations)
    check.Integer("iterations", *stage.iterations, 1, std::numeric_limits<int>::max());
  if (stage.fraction && check.Open("fraction", *stage.fraction, 0, 1)) {
    check.Check(
        config.run.schedule_clock != ScheduleClock::kFromStart || config.run.max_iterations > 0,
        "fraction",
        absl::StrFormat("is %.10g of run.max_iterations, as run.schedule_clock is "
                        "FROM_START, but there is none; set run.max_iterations",
                        *stage.fraction));
  }
  if (stage.plateau) {
    check.Integer("plateau.window", stage.plateau->window, kMinPlateauWindow, kMaxPlateauWindow);
    check.Open("plateau.min_relative_change", stage.plateau->min_relative_change, 0, 1);
  }
}

void CheckSchedule(const ReconstructionConfig& config, Checker& check) {
  const std::size_t stages = config.schedule.size();
  check.Enter("");
  if (!check.Check(stages <= kMaxStages, "schedule",
                   absl::StrFormat("has %d stages; at most %d are allowed", stages, kMaxStages))) {
    return;
  }
  for (std::size_t i = 0; i < stages; ++i) {
    const StageConfig& stage = config.schedule[i];
    const std::string path = absl::StrFormat("schedule[%d]", i);
    std::visit(AlgorithmCheck(path, &check), stage.algorithm);
    check.Enter(path);
    CheckStageEnd(stage, i + 1 == stages, config, check);
  }
}

void CheckQuality(const QualityConfig& quality, Checker& check) {
  check.Enter("quality");
  const int every = quality.held_out_every;
  check.Check(every == 0 || every >= kMinHeldOutEvery, "held_out_every",
              absl::StrCat("is ", every, "; it must be 0, none, or at least ", kMinHeldOutEvery,
                           ", as what is held out is missing from the reconstruction"));
}

void CheckRun(const ReconstructionConfig& config, Checker& check) {
  const RunConfig& run = config.run;
  check.Enter("run");
  check.Integer("min_points_to_start", run.min_points_to_start, 0, std::numeric_limits<int>::max());
  check.Integer("it_ends_after", run.it_ends_after, 0, std::numeric_limits<int>::max());
  if (check.Integer("max_iterations", run.max_iterations, 0, std::numeric_limits<int>::max())) {
    check.Check(run.schedule_clock != ScheduleClock::kFromStart || run.max_iterations > 0 ||
                    !config.schedule.empty(),
                "max_iterations",
                "is 0, no cap, of which the default schedule cannot take a fraction when "
                "run.schedule_clock is FROM_START; set it, or give a schedule");
  }
  check.NotNegative("idle_timeout_s", run.idle_timeout_s);
}

void CheckRefinement(const RefinementConfig& refinement, Checker& check) {
  check.Enter("refinement");
  check.Integer("every", refinement.every, 1, kMaxRefinementEvery);
  check.AboveUpTo("step", refinement.step, 0, 1);
  check.AboveUpTo("max_shift_px", refinement.max_shift_px, 0, kMaxShiftPx);
  check.AboveUpTo("max_intensity", refinement.max_intensity, 1, kMaxIntensity);
  check.Integer("probe_components", refinement.probe_components, 1, kMaxProbeComponents);
}

}  // namespace

std::vector<FieldViolation> Validate(const ReconstructionConfig& config) {
  Checker check;
  const bool near_field = config.optics.near_field.has_value();
  CheckOptics(config.optics, check);
  CheckDetector(config.detector, near_field, check);
  // What follows from optics and detector exists only when these are good.
  std::optional<Shape> frame;
  std::optional<PixelSize> pixel;
  if (check.count() == 0) {
    frame = EngineFrameShape(config.detector);
    const PixelSize p = ObjectPixelSize(config.optics, config.detector);
    // Beyond single precision, neither the pixels nor their frequencies have finite squares.
    check.Enter("optics");
    if (check.Check(
            p.y_m >= kMinFloat && p.y_m <= kMaxFloat && p.x_m >= kMinFloat && p.x_m <= kMaxFloat,
            "distance_m",
            absl::StrFormat("is %.10g, which with the wavelength and the detector pixel "
                            "makes an object pixel of %.10g x %.10g m; check the units, "
                            "all are metres",
                            config.optics.distance_m, p.y_m, p.x_m))) {
      pixel = p;
    }
  }
  const std::size_t before_scan = check.count();
  CheckScan(config.scan, pixel, check);
  CheckObject(config.object, check);
  if (pixel.has_value() && check.count() == before_scan) CheckCanvas(config, *pixel, check);
  CheckProbe(config.probe, frame, near_field, check);
  CheckSchedule(config, check);
  CheckRun(config, check);
  CheckRefinement(config.refinement, check);
  CheckQuality(config.quality, check);
  check.Enter("clear_region");
  check.Positive("min_pixels_per_point", config.clear_region.min_pixels_per_point);
  check.Enter("snapshots");
  check.Integer("every_iterations", config.snapshots.every_iterations, 1,
                std::numeric_limits<int>::max());
  check.Integer("min_interval_ms", config.snapshots.min_interval_ms, 0,
                std::numeric_limits<int>::max());
  check.Integer("history", config.snapshots.history, 1, kMaxHistory);
  return check.Take();
}

}  // namespace ptychoserve
