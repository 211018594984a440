#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/scan/optics.h"
#include "server/service/convert.h"
#include "server/service/enums.h"
#include "server/service/errors.h"

namespace ptychoserve::server {
namespace {

// Stands in for a light source that is missing or wrong, so that nothing else is blamed.
constexpr double kPlaceholderWavelengthM = 1e-10;

// Collects what is wrong while a message is read.
class Edge {
 public:
  void Add(absl::string_view field, absl::string_view description) {
    violations_.push_back({std::string(field), std::string(description)});
  }

  // Engine counts are int; nothing sensible is larger.
  int Int(std::uint32_t value, absl::string_view field) {
    constexpr std::uint32_t kMax = std::numeric_limits<int>::max();
    if (value <= kMax) return static_cast<int>(value);
    Add(field, absl::StrCat(value, " is too large; allowed: at most ", kMax));
    return 0;
  }

  template <typename Engine, typename Proto>
  Engine Enum(Proto value, absl::string_view field, Engine fallback) {
    if (const auto engine = FromProto(value)) return *engine;
    Add(field, absl::StrCat(static_cast<int>(value), " is not one of the values of the API"));
    return fallback;
  }

  Shape ToShape(const v1::Shape& shape, absl::string_view field) {
    return {Int(shape.rows(), absl::StrCat(field, ".rows")),
            Int(shape.cols(), absl::StrCat(field, ".cols"))};
  }

  std::vector<FieldViolation> Take() { return std::move(violations_); }

 private:
  std::vector<FieldViolation> violations_;
};

OpticsConfig ReadOptics(const v1::Optics& in, Edge& edge) {
  OpticsConfig out;
  // Energies are only known here; the wavelength made from them must come out positive.
  const auto from_energy = [&](double ev, absl::string_view field, double (*convert)(double)) {
    const double wavelength = std::isfinite(ev) && ev > 0 ? convert(ev) : 0.0;
    if (std::isfinite(wavelength) && wavelength > 0) return wavelength;
    edge.Add(field, absl::StrCat(ev, " eV; allowed: finite, > 0"));
    return kPlaceholderWavelengthM;
  };
  switch (in.source_case()) {
    case v1::Optics::kWavelengthM:
      out.wavelength_m = in.wavelength_m();
      break;
    case v1::Optics::kPhotonEnergyEv:
      out.wavelength_m =
          from_energy(in.photon_energy_ev(), "optics.photon_energy_ev", WavelengthFromPhotonEnergy);
      break;
    case v1::Optics::kElectronEnergyEv:
      out.wavelength_m = from_energy(in.electron_energy_ev(), "optics.electron_energy_ev",
                                     WavelengthFromElectronEnergy);
      break;
    case v1::Optics::SOURCE_NOT_SET:
      edge.Add("optics.source",
               "not set; one of wavelength_m, photon_energy_ev, electron_energy_ev is required");
      out.wavelength_m = kPlaceholderWavelengthM;
      break;
  }
  out.distance_m = in.distance_m();
  out.detector_pixel_size_y_m = in.detector_pixel_size_y_m();
  out.detector_pixel_size_x_m = in.detector_pixel_size_x_m() == 0 ? in.detector_pixel_size_y_m()
                                                                  : in.detector_pixel_size_x_m();
  if (in.has_near_field()) {
    out.near_field.emplace();
    if (in.near_field().has_source_to_sample_m()) {
      out.near_field->source_to_sample_m = in.near_field().source_to_sample_m();
    }
  }
  return out;
}

DetectorConfig ReadDetector(const v1::Detector& in, Edge& edge) {
  DetectorConfig out;
  out.frame_shape = edge.ToShape(in.frame_shape(), "detector.frame_shape");
  if (in.dtype() == v1::DATA_TYPE_UNSPECIFIED) {
    edge.Add("detector.dtype", "not set; required: U8, U16, U32 or F32");
  } else {
    out.dtype = edge.Enum(in.dtype(), "detector.dtype", DataType::kU16);
  }
  out.orientation = edge.Enum(in.orientation(), "detector.orientation", Orientation::kIdentity);
  if (in.has_crop()) {
    out.crop = Region{edge.Int(in.crop().row(), "detector.crop.row"),
                      edge.Int(in.crop().col(), "detector.crop.col"),
                      edge.ToShape(in.crop().shape(), "detector.crop.shape")};
  } else if (in.has_auto_centre()) {
    AutoCentreConfig centre;
    centre.crop_shape =
        edge.ToShape(in.auto_centre().crop_shape(), "detector.auto_centre.crop_shape");
    if (in.auto_centre().has_frames()) {
      centre.frames = edge.Int(in.auto_centre().frames(), "detector.auto_centre.frames");
    }
    if (in.auto_centre().has_threshold()) centre.threshold = in.auto_centre().threshold();
    out.auto_centre = centre;
  }
  out.bad_pixels.assign(in.bad_pixels().begin(), in.bad_pixels().end());
  if (in.has_saturation_counts()) out.saturation_counts = in.saturation_counts();
  if (in.has_hot_pixel_counts()) out.hot_pixel_counts = in.hot_pixel_counts();
  if (const auto corner = BeamAtCorner(in.beam())) {
    out.beam_at_corner = *corner;
  } else {
    edge.Add("detector.beam", absl::StrCat(in.beam(), " is not one of the values of the API"));
  }
  return out;
}

EncoderConfig ReadEncoder(const v1::Encoder& in, Edge& edge) {
  EncoderConfig out;
  out.samples_per_frame = edge.Int(in.samples_per_frame(), "scan.encoder.samples_per_frame");
  out.y_scale_m_per_count = in.y_scale_m_per_count();
  out.x_scale_m_per_count = in.x_scale_m_per_count();
  out.y_offset_m = in.y_offset_m();
  out.x_offset_m = in.x_offset_m();
  if (in.has_rotation_angle_deg()) out.rotation_angle_deg = in.rotation_angle_deg();
  return out;
}

ScanConfig ReadScan(const v1::Scan& in, Edge& edge) {
  ScanConfig out;
  out.expected_points = edge.Int(in.expected_points(), "scan.expected_points");
  out.capacity = edge.Int(in.capacity(), "scan.capacity");
  out.over_capacity = edge.Enum(in.over_capacity(), "scan.over_capacity", OverCapacity::kReject);
  if (in.has_bounds()) {
    out.bounds = ScanBounds{in.bounds().y_min_m(), in.bounds().y_max_m(), in.bounds().x_min_m(),
                            in.bounds().x_max_m()};
  }
  out.out_of_canvas = edge.Enum(in.out_of_canvas(), "scan.out_of_canvas", OutOfCanvas::kReject);
  out.y_sign = in.y_sign() == 0 ? 1 : in.y_sign();
  out.x_sign = in.x_sign() == 0 ? 1 : in.x_sign();
  out.swap_axes = in.swap_axes();
  out.fast_axis_points = edge.Int(in.fast_axis_points(), "scan.fast_axis_points");
  out.first_frame_id = in.first_frame_id();
  if (in.has_encoder()) out.encoder = ReadEncoder(in.encoder(), edge);
  return out;
}

ObjectConfig ReadObject(const v1::ObjectSettings& in, Edge& edge) {
  ObjectConfig out;
  if (in.modes() != 0) out.modes = edge.Int(in.modes(), "object.modes");
  if (in.has_initial_amplitude()) out.initial_amplitude = in.initial_amplitude();
  out.initial_phase_rad = in.initial_phase_rad();
  if (in.has_padding_px()) out.padding_px = edge.Int(in.padding_px(), "object.padding_px");
  if (in.max_pixels() > std::numeric_limits<std::int64_t>::max()) {
    edge.Add("object.max_pixels", absl::StrCat(in.max_pixels(), "; allowed: up to 2^30"));
  } else if (in.max_pixels() != 0) {
    out.max_pixels = static_cast<std::int64_t>(in.max_pixels());
  }
  if (in.has_amplitude_limits()) {
    out.amplitude_limits =
        AmplitudeLimits{in.amplitude_limits().min(), in.amplitude_limits().max()};
  }
  if (in.has_phase_limits()) {
    out.phase_limits = PhaseLimits{in.phase_limits().min_rad(), in.phase_limits().max_rad()};
  }
  out.start_update = edge.Int(in.start_update(), "object.start_update");
  return out;
}

ProbeConfig ReadProbe(const v1::ProbeSettings& in, Edge& edge) {
  ProbeConfig out;
  if (in.has_initial()) {
    const v1::ComplexArray& array = in.initial();
    // Checked before anything is allocated: 128 bits cannot overflow.
    const unsigned __int128 bytes = static_cast<unsigned __int128>(array.modes()) *
                                    array.shape().rows() * array.shape().cols() * sizeof(Complex64);
    if (bytes == 0 || bytes != array.data().size()) {
      edge.Add("probe.initial.data",
               absl::StrCat(array.data().size(), " bytes; modes ", array.modes(), " x rows ",
                            array.shape().rows(), " x cols ", array.shape().cols(),
                            " of 8 bytes are required, each at least 1"));
    } else {
      out.initial.modes = static_cast<int>(array.modes());
      out.initial.shape = {static_cast<int>(array.shape().rows()),
                           static_cast<int>(array.shape().cols())};
      out.initial.data.resize(array.data().size() / sizeof(Complex64));
      std::memcpy(out.initial.data.data(), array.data().data(), array.data().size());
    }
  }
  if (in.modes() != 0) out.modes = edge.Int(in.modes(), "probe.modes");
  if (in.has_propagation_distance_m()) out.propagation_distance_m = in.propagation_distance_m();
  if (in.has_start_update()) out.start_update = edge.Int(in.start_update(), "probe.start_update");
  out.frozen = in.frozen();
  out.recentre_every = edge.Int(in.recentre_every(), "probe.recentre_every");
  return out;
}

// `out` where nothing is set.
Regularisation ReadRegularisation(const v1::Regularisation& in, Regularisation out = {}) {
  if (in.kind_case() == v1::Regularisation::kRelative) out.relative = in.relative();
  if (in.kind_case() == v1::Regularisation::kAbsolute) out.absolute = in.absolute();
  return out;
}

// Of the algorithms that keep exit waves.
template <typename In, typename Out>
void ReadTolerance(const In& in, Out& out) {
  if (in.tolerance_case() == In::kRelaxation) out.relaxation = in.relaxation();
  if (in.tolerance_case() == In::kSigma2) out.sigma2 = in.sigma2();
  out.regularisation = ReadRegularisation(in.regularisation());
}

StageRefinement ReadStageRefinement(const v1::StageRefinement& in) {
  return {in.positions(), in.intensities(), in.background(), in.variation()};
}

StageConfig ReadStage(const v1::Stage& in, const std::string& path, Edge& edge) {
  StageConfig out;
  switch (in.algorithm_case()) {
    case v1::Stage::kDifferenceMap: {
      const v1::DifferenceMap& dm = in.difference_map();
      DifferenceMapConfig config;
      if (dm.has_beta()) config.beta = dm.beta();
      ReadTolerance(dm, config);
      out.algorithm = config;
      break;
    }
    case v1::Stage::kRaar: {
      RaarConfig config;
      if (in.raar().has_beta()) config.beta = in.raar().beta();
      ReadTolerance(in.raar(), config);
      out.algorithm = config;
      break;
    }
    case v1::Stage::kAlternatingProjections: {
      AlternatingProjectionsConfig config;
      ReadTolerance(in.alternating_projections(), config);
      out.algorithm = config;
      break;
    }
    case v1::Stage::kMlGradient: {
      const v1::MlGradient& ml = in.ml_gradient();
      MlGradientConfig config;
      config.likelihood =
          edge.Enum(ml.likelihood(), path + ".ml_gradient.likelihood", Likelihood::kPoisson);
      if (ml.has_epsilon()) config.epsilon = ml.epsilon();
      if (ml.has_max_gradient()) config.max_gradient = ml.max_gradient();
      if (ml.has_step()) config.step = ml.step();
      if (ml.has_momentum()) config.momentum = ml.momentum();
      config.regularisation = ReadRegularisation(ml.regularisation());
      out.algorithm = config;
      break;
    }
    case v1::Stage::kEpie: {
      EpieConfig config;
      if (in.epie().has_object_step()) config.object_step = in.epie().object_step();
      if (in.epie().has_probe_step()) config.probe_step = in.epie().probe_step();
      config.max_batch = edge.Int(in.epie().max_batch(), path + ".epie.max_batch");
      if (in.epie().has_object_alpha()) config.object_alpha = in.epie().object_alpha();
      if (in.epie().has_probe_alpha()) config.probe_alpha = in.epie().probe_alpha();
      out.algorithm = config;
      break;
    }
    case v1::Stage::kLsqMl: {
      const v1::LsqMl& lsq = in.lsq_ml();
      LsqMlConfig config;
      if (lsq.likelihood() != v1::LIKELIHOOD_UNSPECIFIED) {
        config.likelihood =
            edge.Enum(lsq.likelihood(), path + ".lsq_ml.likelihood", config.likelihood);
      }
      if (lsq.has_object_step()) config.object_step = lsq.object_step();
      if (lsq.has_probe_step()) config.probe_step = lsq.probe_step();
      config.batch_kind =
          edge.Enum(lsq.batch_kind(), path + ".lsq_ml.batch_kind", config.batch_kind);
      config.batch_size = edge.Int(lsq.batch_size(), path + ".lsq_ml.batch_size");
      if (lsq.has_momentum()) config.momentum = lsq.momentum();
      config.regularisation = ReadRegularisation(lsq.regularisation(), config.regularisation);
      out.algorithm = config;
      break;
    }
    case v1::Stage::ALGORITHM_NOT_SET:
      edge.Add(path + ".algorithm",
               "not set; one of difference_map, ml_gradient, epie, raar, alternating_projections, "
               "lsq_ml is required");
      break;
  }
  out.refine = ReadStageRefinement(in.refine());
  switch (in.until_case()) {
    case v1::Stage::kIterations:
      out.iterations = edge.Int(in.iterations(), path + ".iterations");
      break;
    case v1::Stage::kFraction:
      out.fraction = in.fraction();
      break;
    case v1::Stage::kPlateau: {
      Plateau plateau;
      if (in.plateau().has_window()) {
        plateau.window = edge.Int(in.plateau().window(), path + ".plateau.window");
      }
      if (in.plateau().has_min_relative_change()) {
        plateau.min_relative_change = in.plateau().min_relative_change();
      }
      out.plateau = plateau;
      break;
    }
    case v1::Stage::UNTIL_NOT_SET:
      break;
  }
  return out;
}

// The engine's last stage has no end of its own. Where all stages count iterations, their sum is
// when the run ends, so the last count says the same thing and can go.
void ReadSchedule(const v1::SessionConfig& in, ReconstructionConfig& out, Edge& edge) {
  constexpr int kMaxStages = 16;
  if (in.schedule_size() > kMaxStages) {
    edge.Add("schedule",
             absl::StrCat(in.schedule_size(), " stages; allowed: at most ", kMaxStages));
    return;
  }
  for (int i = 0; i < in.schedule_size(); ++i) {
    out.schedule.push_back(ReadStage(in.schedule(i), absl::StrCat("schedule[", i, "]"), edge));
  }
  if (out.schedule.empty() || !out.schedule.back().iterations.has_value()) return;

  std::int64_t sum = 0;
  for (std::size_t i = 0; i < out.schedule.size(); ++i) {
    const std::optional<int>& n = out.schedule[i].iterations;
    if (!n.has_value()) {
      edge.Add(absl::StrCat("schedule[", out.schedule.size() - 1, "].iterations"),
               "the last stage runs until the end of the run; it may count iterations only when "
               "all stages do");
      return;
    }
    if (*n < 1) {
      edge.Add(absl::StrCat("schedule[", i, "].iterations"), absl::StrCat(*n, "; allowed: >= 1"));
      return;
    }
    sum += *n;
  }
  if (sum > std::numeric_limits<int>::max()) {
    edge.Add("schedule", absl::StrCat(sum, " iterations in all are too many"));
    return;
  }
  out.schedule.back().iterations.reset();
  if (!in.run().has_it_ends_after()) out.run.it_ends_after = static_cast<int>(sum);
}

RefinementConfig ReadRefinement(const v1::Refinement& in, Edge& edge) {
  RefinementConfig out;
  if (in.has_every()) out.every = edge.Int(in.every(), "refinement.every");
  if (in.has_step()) out.step = in.step();
  if (in.has_max_shift_px()) out.max_shift_px = in.max_shift_px();
  if (in.has_max_intensity()) out.max_intensity = in.max_intensity();
  if (in.has_probe_components()) {
    out.probe_components = edge.Int(in.probe_components(), "refinement.probe_components");
  }
  out.later_stages = ReadStageRefinement(in.later_stages());
  return out;
}

RunConfig ReadRun(const v1::RunRules& in, Edge& edge) {
  RunConfig out;
  out.min_points_to_start = edge.Int(in.min_points_to_start(), "run.min_points_to_start");
  out.schedule_clock =
      edge.Enum(in.schedule_clock(), "run.schedule_clock", ScheduleClock::kAfterEndOfData);
  if (in.has_it_ends_after()) {
    out.it_ends_after = edge.Int(in.it_ends_after(), "run.it_ends_after");
  }
  out.max_iterations = edge.Int(in.max_iterations(), "run.max_iterations");
  if (in.has_idle_timeout_s()) out.idle_timeout_s = in.idle_timeout_s();
  return out;
}

SnapshotConfig ReadSnapshots(const v1::SnapshotSettings& in, Edge& edge) {
  SnapshotConfig out;
  if (in.every_iterations() != 0) {
    out.every_iterations = edge.Int(in.every_iterations(), "snapshots.every_iterations");
  }
  if (in.has_min_interval_ms()) {
    out.min_interval_ms = edge.Int(in.min_interval_ms(), "snapshots.min_interval_ms");
  }
  if (in.history() != 0) out.history = edge.Int(in.history(), "snapshots.history");
  return out;
}

// Fields that this server does not know would have no effect: refused, not ignored.
void RefuseUnknownFields(const google::protobuf::Message& message, const std::string& path,
                         Edge& edge) {
  const google::protobuf::Reflection* reflection = message.GetReflection();
  const auto& unknown = reflection->GetUnknownFields(message);
  if (!unknown.empty()) {
    edge.Add(path.empty() ? "config" : path,
             absl::StrCat("holds field number ", unknown.field(0).number(),
                          ", which this server does not know; GetServerInfo tells its version"));
  }
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  reflection->ListFields(message, &fields);
  for (const auto* field : fields) {
    if (field->cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE) continue;
    const std::string name = absl::StrCat(path, path.empty() ? "" : ".", field->name());
    if (!field->is_repeated()) {
      RefuseUnknownFields(reflection->GetMessage(message, field), name, edge);
      continue;
    }
    for (int i = 0; i < reflection->FieldSize(message, field); ++i) {
      RefuseUnknownFields(reflection->GetRepeatedMessage(message, field, i),
                          absl::StrCat(name, "[", i, "]"), edge);
    }
  }
}

}  // namespace

EdgeConfig ConfigFromProto(const v1::SessionConfig& proto) {
  Edge edge;
  EdgeConfig out;
  ReconstructionConfig& config = out.config;
  RefuseUnknownFields(proto, "", edge);
  config.optics = ReadOptics(proto.optics(), edge);
  config.detector = ReadDetector(proto.detector(), edge);
  config.scan = ReadScan(proto.scan(), edge);
  config.object = ReadObject(proto.object(), edge);
  config.probe = ReadProbe(proto.probe(), edge);
  config.run = ReadRun(proto.run(), edge);
  ReadSchedule(proto, config, edge);
  config.refinement = ReadRefinement(proto.refinement(), edge);
  config.clear_region.enabled = proto.clear_region().enabled();
  if (proto.clear_region().has_min_pixels_per_point()) {
    config.clear_region.min_pixels_per_point = proto.clear_region().min_pixels_per_point();
  }
  config.snapshots = ReadSnapshots(proto.snapshots(), edge);
  config.deterministic = proto.deterministic();
  config.single_precision_waves = proto.single_precision_waves();
  config.quality.split_halves = proto.quality().split_halves();
  config.quality.held_out_every =
      edge.Int(proto.quality().held_out_every(), "quality.held_out_every");
  if (proto.quality().has_test_orientation()) {
    config.quality.test_orientation = proto.quality().test_orientation();
  }
  out.violations = edge.Take();
  return out;
}

absl::StatusOr<ReconstructionConfig> CheckedConfig(const v1::SessionConfig& proto) {
  EdgeConfig edge = ConfigFromProto(proto);
  std::vector<FieldViolation> violations = std::move(edge.violations);
  const std::size_t at_edge = violations.size();
  for (FieldViolation& v : Validate(edge.config)) {
    // What was wrong at the edge holds a stand-in now; do not complain about that as well.
    bool known = false;
    for (std::size_t i = 0; i < at_edge && !known; ++i) {
      known = absl::StartsWith(v.field, violations[i].field) ||
              absl::StartsWith(violations[i].field, v.field);
    }
    if (!known) violations.push_back(std::move(v));
  }
  if (!violations.empty()) return InvalidFields(reason::kInvalidConfig, violations);
  return Resolve(std::move(edge.config));
}

}  // namespace ptychoserve::server
