#include "engine/config.h"

#include <functional>
#include <limits>
#include <optional>
#include <ostream>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ptychoserve {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::Field;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

ReconstructionConfig ValidConfig() {
  ReconstructionConfig config;
  config.optics = {0.15e-9, 2.0, 75e-6, 75e-6};
  config.detector.frame_shape = {64, 32};
  config.scan.expected_points = 100;
  return config;
}

StageConfig Stage(AlgorithmConfig algorithm) {
  StageConfig stage;
  stage.algorithm = algorithm;
  return stage;
}
StageConfig StageOf(AlgorithmConfig algorithm, int iterations) {
  StageConfig stage = Stage(algorithm);
  stage.iterations = iterations;
  return stage;
}

// A change of a valid configuration, and the one field that it makes wrong ("" when none).
struct Case {
  std::string name;
  std::string field;
  std::function<void(ReconstructionConfig&)> change;
};
std::ostream& operator<<(std::ostream& os, const Case& c) { return os << c.name; }

class ValidateTest : public testing::TestWithParam<Case> {};

TEST_P(ValidateTest, NamesTheOneWrongField) {
  ReconstructionConfig config = ValidConfig();
  GetParam().change(config);
  const std::vector<FieldViolation> violations = Validate(config);
  if (GetParam().field.empty()) {
    std::string found;
    for (const auto& v : violations) found += v.field + ": " + v.description + "\n";
    EXPECT_THAT(violations, IsEmpty()) << found;
  } else {
    EXPECT_THAT(violations,
                ElementsAre(AllOf(Field(&FieldViolation::field, GetParam().field),
                                  Field(&FieldViolation::description, Not(IsEmpty())))));
  }
}

// One case for each value in `values`, set by `set`.
template <typename T>
void AddCases(std::vector<Case>* cases, const std::string& field, bool good,
              std::initializer_list<T> values, std::function<void(ReconstructionConfig&, T)> set) {
  for (const T value : values) {
    cases->push_back({field + " = " + testing::PrintToString(value), good ? "" : field,
                      [set, value](ReconstructionConfig& c) { set(c, value); }});
  }
}

using Config = ReconstructionConfig;

std::vector<Case> OpticsCases() {
  std::vector<Case> cases;
  AddCases<double>(
      &cases, "optics.near_field.source_to_sample_m", false, {0, -1, kNaN, kInf},
      [](Config& c, double v) { c.optics.near_field = NearFieldConfig{.source_to_sample_m = v}; });
  AddCases<double>(
      &cases, "optics.near_field.source_to_sample_m", true, {1e-6, 100},
      [](Config& c, double v) { c.optics.near_field = NearFieldConfig{.source_to_sample_m = v}; });
  cases.push_back(
      {"near field, parallel beam", "", [](Config& c) { c.optics.near_field.emplace(); }});
  cases.push_back({"near field, beam at the corner", "detector.beam", [](Config& c) {
                     c.optics.near_field.emplace();
                     c.detector.beam_at_corner = true;
                   }});
  cases.push_back({"near field, recentring", "probe.recentre_every", [](Config& c) {
                     c.optics.near_field.emplace();
                     c.probe.recentre_every = 5;
                   }});
  const std::vector<std::pair<std::string, double OpticsConfig::*>> fields = {
      {"wavelength_m", &OpticsConfig::wavelength_m},
      {"distance_m", &OpticsConfig::distance_m},
      {"detector_pixel_size_y_m", &OpticsConfig::detector_pixel_size_y_m},
      {"detector_pixel_size_x_m", &OpticsConfig::detector_pixel_size_x_m}};
  for (const auto& [name, member] : fields) {
    AddCases<double>(&cases, "optics." + name, false, {0.0, -1.0, kNaN, kInf},
                     [member](Config& c, double v) { c.optics.*member = v; });
  }
  // Each is allowed, but not together: the object pixel is out of range.
  AddCases<double>(&cases, "optics.distance_m", false, {1e300, 1e-300},
                   [](Config& c, double v) { c.optics.distance_m = v; });
  return cases;
}

std::vector<Case> DetectorCases() {
  std::vector<Case> cases;
  AddCases<int>(&cases, "detector.frame_shape.rows", false, {-8, 0, 7, 9, 63, 4098, 8193},
                [](Config& c, int v) { c.detector.frame_shape.rows = v; });
  AddCases<int>(&cases, "detector.frame_shape.cols", false, {0, 7, 33, 8192, 8193},
                [](Config& c, int v) { c.detector.frame_shape.cols = v; });
  AddCases<int>(&cases, "detector.frame_shape.cols", true, {8, 10, 2048},
                [](Config& c, int v) { c.detector.frame_shape.cols = v; });
  // Raw frames may be odd and large when they are cropped.
  cases.push_back({"crop of an odd frame", "", [](Config& c) {
                     c.detector.frame_shape = {8191, 8192};
                     c.detector.crop = Region{8191 - 16, 0, {16, 8}};
                   }});
  cases.push_back({"crop in the oriented frame", "", [](Config& c) {
                     c.detector.orientation = Orientation::kTranspose;  // 32 x 64.
                     c.detector.crop = Region{0, 16, {32, 48}};
                   }});
  cases.push_back(
      {"crop that fits before the transposition only", "detector.crop.shape.rows", [](Config& c) {
         c.detector.orientation = Orientation::kTranspose;
         c.detector.crop = Region{0, 0, {64, 32}};
       }});
  AddCases<int>(&cases, "detector.crop.row", false, {-1, 33, std::numeric_limits<int>::max()},
                [](Config& c, int v) {
                  c.detector.crop = Region{v, 0, {32, 32}};
                });
  AddCases<int>(&cases, "detector.crop.col", false, {-1, 17, std::numeric_limits<int>::min()},
                [](Config& c, int v) {
                  c.detector.crop = Region{0, v, {32, 16}};
                });
  AddCases<int>(&cases, "detector.crop.shape.rows", false, {-2, 0, 6, 31, 66},
                [](Config& c, int v) {
                  c.detector.crop = Region{0, 0, {v, 32}};
                });
  AddCases<int>(&cases, "detector.crop.shape.cols", false,
                {-2, 0, 6, 31, 34, std::numeric_limits<int>::max()}, [](Config& c, int v) {
                  c.detector.crop = Region{0, 0, {32, v}};
                });
  AddCases<int>(&cases, "detector.auto_centre.crop_shape.rows", false, {0, 6, 31, 66},
                [](Config& c, int v) {
                  c.detector.auto_centre = AutoCentreConfig{{v, 32}};
                });
  AddCases<int>(&cases, "detector.auto_centre.crop_shape.cols", false, {0, 6, 31, 34},
                [](Config& c, int v) {
                  c.detector.auto_centre = AutoCentreConfig{{32, v}};
                });
  AddCases<int>(&cases, "detector.auto_centre.frames", false, {-1, 0, 1025}, [](Config& c, int v) {
    c.detector.auto_centre = AutoCentreConfig{{32, 32}, v};
  });
  AddCases<int>(&cases, "detector.auto_centre.frames", true, {1, 1024}, [](Config& c, int v) {
    c.detector.auto_centre = AutoCentreConfig{{32, 32}, v};
  });
  AddCases<double>(&cases, "detector.auto_centre.threshold", false, {-0.1, 0, 1, kNaN},
                   [](Config& c, double v) {
                     c.detector.auto_centre = AutoCentreConfig{{32, 32}, 64, v};
                   });
  cases.push_back({"auto-centre and crop", "detector.auto_centre", [](Config& c) {
                     c.detector.auto_centre = AutoCentreConfig{{32, 32}};
                     c.detector.crop = Region{0, 0, {32, 32}};
                   }});
  AddCases<int>(
      &cases, "detector.bad_pixels", false, {1, 64 * 32 - 1, 64 * 32 + 1},
      [](Config& c, int v) { c.detector.bad_pixels.assign(static_cast<std::size_t>(v), 0); });
  cases.push_back({"bad pixels of the frame's size", "",
                   [](Config& c) { c.detector.bad_pixels.assign(64 * 32, 1); }});
  cases.push_back({"bad pixel flag of 2", "detector.bad_pixels", [](Config& c) {
                     c.detector.bad_pixels.assign(64 * 32, 0);
                     c.detector.bad_pixels[5] = 2;
                   }});
  for (const Orientation o : {Orientation::kTranspose, Orientation::kRot90Cw,
                              Orientation::kRot90Ccw, Orientation::kAntiTranspose}) {
    cases.push_back({"transposition of a frame that is not square", "",
                     [o](Config& c) { c.detector.orientation = o; }});
  }
  AddCases<double>(&cases, "detector.saturation_counts", false, {0, -1, kNaN, kInf},
                   [](Config& c, double v) { c.detector.saturation_counts = v; });
  AddCases<double>(&cases, "detector.hot_pixel_counts", false, {-1, kNaN, kInf},
                   [](Config& c, double v) { c.detector.hot_pixel_counts = v; });
  return cases;
}

std::vector<Case> ScanCases() {
  std::vector<Case> cases;
  AddCases<int>(&cases, "scan.expected_points", false, {-1, 16777217},
                [](Config& c, int v) { c.scan.expected_points = v; });
  AddCases<int>(&cases, "scan.expected_points", true, {0, 1, 16777216},
                [](Config& c, int v) { c.scan.expected_points = v; });
  AddCases<int>(&cases, "scan.capacity", false, {-1, 16777217},
                [](Config& c, int v) { c.scan.capacity = v; });
  AddCases<int>(&cases, "scan.capacity", true, {0, 1, 50, 16777216},
                [](Config& c, int v) { c.scan.capacity = v; });
  const auto bounds = [](double ScanBounds::*member) {
    return [member](Config& c, double v) {
      c.scan.bounds = ScanBounds{0, 1e-6, 0, 1e-6};
      (*c.scan.bounds).*member = v;
    };
  };
  AddCases<double>(&cases, "scan.bounds.y_min_m", false, {kNaN, -kInf, kInf, -1e9},
                   bounds(&ScanBounds::y_min_m));
  AddCases<double>(&cases, "scan.bounds.y_max_m", false, {kNaN, kInf, -1e-6, 1e9},
                   bounds(&ScanBounds::y_max_m));
  AddCases<double>(&cases, "scan.bounds.x_min_m", false, {kNaN, kInf},
                   bounds(&ScanBounds::x_min_m));
  AddCases<double>(&cases, "scan.bounds.x_max_m", false, {kNaN, kInf, -1e-6, 1e300},
                   bounds(&ScanBounds::x_max_m));
  cases.push_back({"empty bounds", "", [](Config& c) { c.scan.bounds = ScanBounds{}; }});
  cases.push_back({"canvas beyond max_pixels", "scan.bounds", [](Config& c) {
                     c.scan.bounds = ScanBounds{0, 1e-3, 0, 1e-3};
                   }});
  cases.push_back({"the same canvas with max_pixels raised", "", [](Config& c) {
                     c.scan.bounds = ScanBounds{0, 1e-3, 0, 1e-3};
                     c.object.max_pixels = std::int64_t{1} << 30;
                   }});
  cases.push_back({"clamp without bounds", "scan.out_of_canvas",
                   [](Config& c) { c.scan.out_of_canvas = OutOfCanvas::kClamp; }});
  cases.push_back({"clamp with bounds", "", [](Config& c) {
                     c.scan.out_of_canvas = OutOfCanvas::kClamp;
                     c.scan.bounds = ScanBounds{0, 1e-6, 0, 1e-6};
                   }});
  AddCases<int>(&cases, "scan.y_sign", false, {0, 2, -2},
                [](Config& c, int v) { c.scan.y_sign = v; });
  AddCases<int>(&cases, "scan.x_sign", false, {0, 2, -2},
                [](Config& c, int v) { c.scan.x_sign = v; });
  AddCases<int>(&cases, "scan.x_sign", true, {1, -1}, [](Config& c, int v) { c.scan.x_sign = v; });
  AddCases<int>(&cases, "scan.fast_axis_points", false, {-1, std::numeric_limits<int>::max()},
                [](Config& c, int v) { c.scan.fast_axis_points = v; });
  AddCases<std::int64_t>(&cases, "scan.first_frame_id", false,
                         {-1, std::numeric_limits<std::int64_t>::max()},
                         [](Config& c, std::int64_t v) { c.scan.first_frame_id = v; });

  const auto encoder = [](auto member) {
    return [member](Config& c, auto v) {
      c.scan.encoder = EncoderConfig{1, 1e-9, 1e-9, 0, 0, {}};
      (*c.scan.encoder).*member = v;
    };
  };
  AddCases<int>(&cases, "scan.encoder.samples_per_frame", false, {-1, 0, 65537},
                encoder(&EncoderConfig::samples_per_frame));
  AddCases<int>(&cases, "scan.encoder.samples_per_frame", true, {1, 65536},
                encoder(&EncoderConfig::samples_per_frame));
  AddCases<double>(&cases, "scan.encoder.y_scale_m_per_count", false, {0, kNaN, kInf},
                   encoder(&EncoderConfig::y_scale_m_per_count));
  AddCases<double>(&cases, "scan.encoder.x_scale_m_per_count", false, {0, kNaN, -kInf},
                   encoder(&EncoderConfig::x_scale_m_per_count));
  AddCases<double>(&cases, "scan.encoder.x_scale_m_per_count", true, {-1e-9},
                   encoder(&EncoderConfig::x_scale_m_per_count));
  AddCases<double>(&cases, "scan.encoder.y_offset_m", false, {kNaN, kInf},
                   encoder(&EncoderConfig::y_offset_m));
  AddCases<double>(&cases, "scan.encoder.x_offset_m", false, {kNaN, kInf},
                   encoder(&EncoderConfig::x_offset_m));
  AddCases<double>(&cases, "scan.encoder.rotation_angle_deg", false, {-180.5, 181, kNaN},
                   encoder(&EncoderConfig::rotation_angle_deg));
  AddCases<double>(&cases, "scan.encoder.rotation_angle_deg", true, {-180, 0, 180},
                   encoder(&EncoderConfig::rotation_angle_deg));
  return cases;
}

std::vector<Case> ObjectCases() {
  std::vector<Case> cases;
  AddCases<double>(&cases, "object.initial_amplitude", false, {0, -1, 100.5, kNaN},
                   [](Config& c, double v) { c.object.initial_amplitude = v; });
  AddCases<double>(&cases, "object.initial_phase_rad", false, {-3.2, 3.2, kNaN},
                   [](Config& c, double v) { c.object.initial_phase_rad = v; });
  AddCases<int>(&cases, "object.padding_px", false, {-1, 1, 1025},
                [](Config& c, int v) { c.object.padding_px = v; });
  AddCases<int>(&cases, "object.padding_px", true, {2, 3, 1024},
                [](Config& c, int v) { c.object.padding_px = v; });
  // 68 x 36 hold one frame and the padding.
  AddCases<std::int64_t>(&cases, "object.max_pixels", false,
                         {-1, 0, 68 * 36 - 1, (std::int64_t{1} << 30) + 1},
                         [](Config& c, std::int64_t v) { c.object.max_pixels = v; });
  AddCases<std::int64_t>(&cases, "object.max_pixels", true, {68 * 36, std::int64_t{1} << 30},
                         [](Config& c, std::int64_t v) { c.object.max_pixels = v; });
  AddCases<double>(&cases, "object.amplitude_limits.min", false, {-1, kNaN, kInf},
                   [](Config& c, double v) {
                     c.object.amplitude_limits = AmplitudeLimits{v, 1};
                   });
  AddCases<double>(&cases, "object.amplitude_limits.max", false, {0, 0.1, kNaN, kInf},
                   [](Config& c, double v) {
                     c.object.amplitude_limits = AmplitudeLimits{0.5, v};
                   });
  AddCases<double>(&cases, "object.phase_limits.min_rad", false, {-3.2, 3.2, kNaN},
                   [](Config& c, double v) {
                     c.object.phase_limits = PhaseLimits{v, 3};
                   });
  AddCases<double>(&cases, "object.phase_limits.max_rad", false, {-1, 3.2, kNaN},
                   [](Config& c, double v) {
                     c.object.phase_limits = PhaseLimits{0, v};
                   });
  AddCases<int>(&cases, "object.modes", true, {1, 2, kMaxObjectModes},
                [](Config& c, int v) { c.object.modes = v; });
  AddCases<int>(&cases, "object.modes", false, {-1, 0, kMaxObjectModes + 1},
                [](Config& c, int v) { c.object.modes = v; });
  cases.push_back(
      {"limits of the amplitude of two modes", "object.amplitude_limits", [](Config& c) {
         c.object.modes = 2;
         c.object.amplitude_limits = AmplitudeLimits{0, 1};
       }});
  cases.push_back({"limits of the phase of two modes", "object.phase_limits", [](Config& c) {
                     c.object.modes = 2;
                     c.object.phase_limits = PhaseLimits{-1, 1};
                   }});
  AddCases<int>(&cases, "object.start_update", false, {-1},
                [](Config& c, int v) { c.object.start_update = v; });
  return cases;
}

std::vector<Case> ProbeCases() {
  std::vector<Case> cases;
  const auto probe = [](int modes, Shape shape) { return ComplexStack(modes, shape, {1, 0}); };
  cases.push_back({"probe of the frame's shape", "", [probe](Config& c) {
                     c.probe.initial = probe(1, {64, 32});
                   }});
  cases.push_back({"probe of the cropped frame's shape", "", [probe](Config& c) {
                     c.detector.crop = Region{0, 0, {16, 8}};
                     c.probe.initial = probe(1, {16, 8});
                   }});
  cases.push_back({"transposed probe", "probe.initial", [probe](Config& c) {
                     c.probe.initial = probe(1, {32, 64});
                   }});
  AddCases<int>(&cases, "probe.modes", true, {1, 2, kMaxProbeModes},
                [](Config& c, int v) { c.probe.modes = v; });
  AddCases<int>(&cases, "probe.modes", false, {-1, 0, kMaxProbeModes + 1},
                [](Config& c, int v) { c.probe.modes = v; });
  cases.push_back({"two modes of two", "", [probe](Config& c) {
                     c.probe.modes = 2;
                     c.probe.initial = probe(2, {64, 32});
                   }});
  cases.push_back({"two modes of four", "", [probe](Config& c) {
                     c.probe.modes = 4;
                     c.probe.initial = probe(2, {64, 32});
                   }});
  cases.push_back({"two modes of one", "probe.initial", [probe](Config& c) {
                     c.probe.initial = probe(2, {64, 32});
                   }});
  cases.push_back({"too few values for two modes", "probe.initial", [probe](Config& c) {
                     c.probe.modes = 2;
                     c.probe.initial = probe(1, {64, 32});
                     c.probe.initial.modes = 2;
                   }});
  cases.push_back({"first mode dark", "probe.initial", [probe](Config& c) {
                     c.probe.modes = 2;
                     c.probe.initial = probe(2, {64, 32});
                     std::fill_n(c.probe.initial.data.begin(), 64 * 32, Complex64(0));
                   }});
  cases.push_back({"data without modes", "probe.initial",
                   [](Config& c) { c.probe.initial.data.resize(64 * 32); }});
  cases.push_back({"too few values", "probe.initial", [probe](Config& c) {
                     c.probe.initial = probe(1, {64, 32});
                     c.probe.initial.data.pop_back();
                   }});
  cases.push_back({"dark probe", "probe.initial", [](Config& c) {
                     c.probe.initial = ComplexStack(1, {64, 32});
                   }});
  for (const float v : {static_cast<float>(kNaN), static_cast<float>(kInf)}) {
    cases.push_back(
        {"probe with " + testing::PrintToString(v), "probe.initial", [probe, v](Config& c) {
           c.probe.initial = probe(1, {64, 32});
           c.probe.initial.data[77] = {0, v};
         }});
  }
  AddCases<double>(&cases, "probe.propagation_distance_m", false, {kNaN, kInf},
                   [](Config& c, double v) { c.probe.propagation_distance_m = v; });
  AddCases<int>(&cases, "probe.start_update", false, {-1},
                [](Config& c, int v) { c.probe.start_update = v; });
  AddCases<int>(&cases, "probe.recentre_every", false, {-1},
                [](Config& c, int v) { c.probe.recentre_every = v; });
  return cases;
}

std::vector<Case> ScheduleCases() {
  std::vector<Case> cases;
  // The algorithm under test is the second of two.
  const auto second = [](auto algorithm, auto set) {
    return [algorithm, set](Config& c, double v) {
      auto changed = algorithm;
      set(changed, v);
      c.schedule = {StageOf(EpieConfig{}, 5), Stage(changed)};
    };
  };
  using DM = DifferenceMapConfig;
  using ML = MlGradientConfig;
  using PIE = EpieConfig;
  const std::string dm = "schedule[1].difference_map.";
  AddCases<double>(&cases, dm + "beta", false, {0, -1, 2.1, kNaN},
                   second(DM{}, [](DM& a, double v) { a.beta = v; }));
  AddCases<double>(&cases, dm + "beta", true, {0.1, 2},
                   second(DM{}, [](DM& a, double v) { a.beta = v; }));
  AddCases<double>(&cases, dm + "relaxation", false, {-0.1, kNaN, kInf},
                   second(DM{}, [](DM& a, double v) { a.relaxation = v; }));
  AddCases<double>(&cases, dm + "relaxation", true, {0.0},
                   second(DM{}, [](DM& a, double v) { a.relaxation = v; }));
  AddCases<double>(&cases, dm + "sigma2", false, {-0.1, kNaN, kInf, 1e39},
                   second(DM{}, [](DM& a, double v) { a.sigma2 = v; }));
  AddCases<double>(&cases, dm + "regularisation.relative", false, {0, -1, 1.1, kNaN},
                   second(DM{}, [](DM& a, double v) { a.regularisation.relative = v; }));
  AddCases<double>(&cases, dm + "regularisation.absolute", false, {0, -1, kNaN, kInf, 1e-300},
                   second(DM{}, [](DM& a, double v) { a.regularisation.absolute = v; }));
  using RAAR = RaarConfig;
  using AP = AlternatingProjectionsConfig;
  const std::string raar = "schedule[1].raar.";
  AddCases<double>(&cases, raar + "beta", false, {0, -1, 1.1, kNaN},
                   second(RAAR{}, [](RAAR& a, double v) { a.beta = v; }));
  AddCases<double>(&cases, raar + "beta", true, {0.1, 1},
                   second(RAAR{}, [](RAAR& a, double v) { a.beta = v; }));
  AddCases<double>(&cases, raar + "relaxation", false, {-0.1, kNaN},
                   second(RAAR{}, [](RAAR& a, double v) { a.relaxation = v; }));
  const std::string ap = "schedule[1].alternating_projections.";
  AddCases<double>(&cases, ap + "sigma2", false, {-0.1, kInf},
                   second(AP{}, [](AP& a, double v) { a.sigma2 = v; }));
  AddCases<double>(&cases, ap + "regularisation.relative", false, {0, 1.1},
                   second(AP{}, [](AP& a, double v) { a.regularisation.relative = v; }));
  using LSQ = LsqMlConfig;
  const std::string lsq = "schedule[1].lsq_ml.";
  AddCases<double>(&cases, lsq + "object_step", false, {0, -1, 2.1, kNaN},
                   second(LSQ{}, [](LSQ& a, double v) { a.object_step = v; }));
  AddCases<double>(&cases, lsq + "object_step", true, {0.1, 2},
                   second(LSQ{}, [](LSQ& a, double v) { a.object_step = v; }));
  AddCases<double>(&cases, lsq + "probe_step", false, {0, -1, 2.1, kNaN},
                   second(LSQ{}, [](LSQ& a, double v) { a.probe_step = v; }));
  AddCases<double>(&cases, lsq + "batch_size", false, {-1},
                   second(LSQ{}, [](LSQ& a, double v) { a.batch_size = static_cast<int>(v); }));
  AddCases<double>(&cases, lsq + "batch_size", true, {0, 1, 1e6},
                   second(LSQ{}, [](LSQ& a, double v) { a.batch_size = static_cast<int>(v); }));
  AddCases<double>(&cases, lsq + "momentum", false, {-0.1, 1, kNaN},
                   second(LSQ{}, [](LSQ& a, double v) { a.momentum = v; }));
  AddCases<double>(&cases, lsq + "momentum", true, {0.0, 0.99},
                   second(LSQ{}, [](LSQ& a, double v) { a.momentum = v; }));
  AddCases<double>(&cases, lsq + "regularisation.relative", false, {0, 1.1},
                   second(LSQ{}, [](LSQ& a, double v) { a.regularisation.relative = v; }));
  const std::string ml = "schedule[1].ml_gradient.";
  AddCases<double>(&cases, ml + "epsilon", false, {0, -1, kNaN, kInf, 1e-300},
                   second(ML{}, [](ML& a, double v) { a.epsilon = v; }));
  AddCases<double>(&cases, ml + "max_gradient", false, {0, -1, kNaN, kInf},
                   second(ML{}, [](ML& a, double v) { a.max_gradient = v; }));
  AddCases<double>(&cases, ml + "step", false, {0, -1, 2.1, kNaN},
                   second(ML{}, [](ML& a, double v) { a.step = v; }));
  AddCases<double>(&cases, ml + "momentum", false, {-0.1, 1, kNaN},
                   second(ML{}, [](ML& a, double v) { a.momentum = v; }));
  AddCases<double>(&cases, ml + "momentum", true, {0.0, 0.99},
                   second(ML{}, [](ML& a, double v) { a.momentum = v; }));
  AddCases<double>(&cases, ml + "regularisation.relative", false, {0, 1.1},
                   second(ML{}, [](ML& a, double v) { a.regularisation.relative = v; }));
  AddCases<double>(&cases, "schedule[1].epie.object_step", false, {0, 2.1, kNaN},
                   second(PIE{}, [](PIE& a, double v) { a.object_step = v; }));
  AddCases<double>(&cases, "schedule[1].epie.probe_step", false, {0, 2.1, kNaN},
                   second(PIE{}, [](PIE& a, double v) { a.probe_step = v; }));
  AddCases<double>(&cases, "schedule[1].epie.object_alpha", false, {0, -0.1, 1.1, kNaN},
                   second(PIE{}, [](PIE& a, double v) { a.object_alpha = v; }));
  AddCases<double>(&cases, "schedule[1].epie.probe_alpha", false, {0, 1.1, kNaN},
                   second(PIE{}, [](PIE& a, double v) { a.probe_alpha = v; }));
  AddCases<double>(&cases, "schedule[1].epie.probe_alpha", true, {0.01, 1},
                   second(PIE{}, [](PIE& a, double v) { a.probe_alpha = v; }));
  const auto max_batch = [](PIE& a, double v) { a.max_batch = static_cast<int>(v); };
  AddCases<double>(&cases, "schedule[1].epie.max_batch", false, {-1}, second(PIE{}, max_batch));
  AddCases<double>(&cases, "schedule[1].epie.max_batch", true, {0, 1, 64},
                   second(PIE{}, max_batch));

  const auto first_end = [](auto set) {
    return [set](Config& c, auto v) {
      c.schedule = {Stage(DM{}), Stage(ML{})};
      set(c.schedule[0], v);
    };
  };
  AddCases<int>(&cases, "schedule[0].iterations", false, {0, -1},
                first_end([](StageConfig& s, int v) { s.iterations = v; }));
  AddCases<double>(&cases, "schedule[0].fraction", false, {0, 1, -1, kNaN},
                   first_end([](StageConfig& s, double v) { s.fraction = v; }));
  AddCases<int>(&cases, "schedule[0].plateau.window", false, {1, 10001},
                first_end([](StageConfig& s, int v) {
                  s.plateau = Plateau{v, 0.01};
                }));
  AddCases<int>(&cases, "schedule[0].plateau.window", true, {2, 10000},
                first_end([](StageConfig& s, int v) {
                  s.plateau = Plateau{v, 0.01};
                }));
  AddCases<double>(&cases, "schedule[0].plateau.min_relative_change", false, {0, 1, kNaN},
                   first_end([](StageConfig& s, double v) {
                     s.plateau = Plateau{10, v};
                   }));
  cases.push_back({"stage without an end before the last", "schedule[0]", [](Config& c) {
                     c.schedule = {Stage(DM{}), Stage(ML{})};
                   }});
  cases.push_back({"stage with two ends", "schedule[0]", [](Config& c) {
                     c.schedule = {StageOf(DM{}, 5), Stage(ML{})};
                     c.schedule[0].fraction = 0.5;
                   }});
  cases.push_back({"last stage with an end", "schedule[1]", [](Config& c) {
                     c.schedule = {StageOf(DM{}, 5), StageOf(ML{}, 5)};
                   }});
  cases.push_back({"16 stages", "", [](Config& c) {
                     c.schedule.assign(15, StageOf(DM{}, 1));
                     c.schedule.push_back(Stage(ML{}));
                   }});
  cases.push_back({"17 stages", "schedule", [](Config& c) {
                     c.schedule.assign(16, StageOf(DM{}, 1));
                     c.schedule.push_back(Stage(ML{}));
                   }});
  cases.push_back({"fraction of no maximum", "schedule[0].fraction", [](Config& c) {
                     c.run.schedule_clock = ScheduleClock::kFromStart;
                     c.schedule = {Stage(DM{}), Stage(ML{})};
                     c.schedule[0].fraction = 0.5;
                   }});
  cases.push_back({"default schedule of no maximum", "run.max_iterations",
                   [](Config& c) { c.run.schedule_clock = ScheduleClock::kFromStart; }});
  cases.push_back({"default schedule of a maximum", "", [](Config& c) {
                     c.run.schedule_clock = ScheduleClock::kFromStart;
                     c.run.max_iterations = 100;
                   }});
  return cases;
}

std::vector<Case> OtherCases() {
  std::vector<Case> cases = {{"the valid configuration", "", [](Config&) {}}};
  AddCases<int>(&cases, "run.min_points_to_start", false, {-1},
                [](Config& c, int v) { c.run.min_points_to_start = v; });
  AddCases<int>(&cases, "run.it_ends_after", false, {-1},
                [](Config& c, int v) { c.run.it_ends_after = v; });
  AddCases<int>(&cases, "run.it_ends_after", true, {0},
                [](Config& c, int v) { c.run.it_ends_after = v; });
  AddCases<int>(&cases, "run.max_iterations", false, {-1},
                [](Config& c, int v) { c.run.max_iterations = v; });
  AddCases<double>(&cases, "run.idle_timeout_s", false, {-1, kNaN, kInf},
                   [](Config& c, double v) { c.run.idle_timeout_s = v; });
  AddCases<int>(&cases, "quality.held_out_every", false, {-1, 1, 3},
                [](Config& c, int v) { c.quality.held_out_every = v; });
  AddCases<int>(&cases, "quality.held_out_every", true, {0, 4, 1000},
                [](Config& c, int v) { c.quality.held_out_every = v; });
  AddCases<double>(&cases, "clear_region.min_pixels_per_point", false, {0, -1, kNaN, kInf},
                   [](Config& c, double v) { c.clear_region.min_pixels_per_point = v; });
  AddCases<int>(&cases, "snapshots.every_iterations", false, {-1, 0},
                [](Config& c, int v) { c.snapshots.every_iterations = v; });
  AddCases<int>(&cases, "snapshots.min_interval_ms", false, {-1},
                [](Config& c, int v) { c.snapshots.min_interval_ms = v; });
  AddCases<int>(&cases, "snapshots.history", false, {0, 65},
                [](Config& c, int v) { c.snapshots.history = v; });
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Optics, ValidateTest, testing::ValuesIn(OpticsCases()));
INSTANTIATE_TEST_SUITE_P(Detector, ValidateTest, testing::ValuesIn(DetectorCases()));
INSTANTIATE_TEST_SUITE_P(Scan, ValidateTest, testing::ValuesIn(ScanCases()));
INSTANTIATE_TEST_SUITE_P(Object, ValidateTest, testing::ValuesIn(ObjectCases()));
INSTANTIATE_TEST_SUITE_P(Probe, ValidateTest, testing::ValuesIn(ProbeCases()));
INSTANTIATE_TEST_SUITE_P(Schedule, ValidateTest, testing::ValuesIn(ScheduleCases()));
INSTANTIATE_TEST_SUITE_P(Other, ValidateTest, testing::ValuesIn(OtherCases()));

TEST(ValidateAllTest, EveryViolationInFieldOrder) {
  ReconstructionConfig config = ValidConfig();
  config.snapshots.history = 0;
  config.scan.y_sign = 3;
  config.optics.distance_m = -1;
  config.probe.start_update = -1;
  std::vector<std::string> fields;
  for (const FieldViolation& v : Validate(config)) fields.push_back(v.field);
  EXPECT_THAT(fields, ElementsAre("optics.distance_m", "scan.y_sign", "probe.start_update",
                                  "snapshots.history"));
}

TEST(ValidateAllTest, DescriptionHasValueAndWhatIsAllowed) {
  ReconstructionConfig config = ValidConfig();
  config.object.padding_px = 1025;
  DifferenceMapConfig dm;
  dm.beta = 2.5;
  config.schedule = {Stage(dm)};
  EXPECT_THAT(
      Validate(config),
      ElementsAre(
          Field(&FieldViolation::description, AllOf(HasSubstr("1025"), HasSubstr("2 to 1024"))),
          Field(&FieldViolation::description, AllOf(HasSubstr("2.5"), HasSubstr("at most 2")))));
}

TEST(ResolveTest, CapacityFollowsExpectedPoints) {
  ReconstructionConfig config = ValidConfig();
  EXPECT_EQ(Resolve(config).scan.capacity, 100);
  config.scan.expected_points = 0;
  EXPECT_EQ(Resolve(config).scan.capacity, 8192);
  config.scan.capacity = 7;
  EXPECT_EQ(Resolve(config).scan.capacity, 7);
}

TEST(ResolveTest, SaturationIsTheLargestValueOfIntegers) {
  ReconstructionConfig config = ValidConfig();
  config.detector.dtype = DataType::kU8;
  EXPECT_EQ(Resolve(config).detector.saturation_counts, 255);
  config.detector.dtype = DataType::kU16;
  EXPECT_EQ(Resolve(config).detector.saturation_counts, 65535);
  config.detector.dtype = DataType::kU32;
  EXPECT_EQ(Resolve(config).detector.saturation_counts, 4294967295.0);
  config.detector.dtype = DataType::kF32;
  EXPECT_EQ(Resolve(config).detector.saturation_counts, std::nullopt);
  config.detector.saturation_counts = 1000;
  EXPECT_EQ(Resolve(config).detector.saturation_counts, 1000);
}

TEST(ResolveTest, StartNeedsTwoFastLinesOrSixteenPoints) {
  ReconstructionConfig config = ValidConfig();
  EXPECT_EQ(Resolve(config).run.min_points_to_start, 16);
  config.scan.fast_axis_points = 20;
  EXPECT_EQ(Resolve(config).run.min_points_to_start, 40);
  config.run.min_points_to_start = 3;
  EXPECT_EQ(Resolve(config).run.min_points_to_start, 3);
}

TEST(ResolveTest, DefaultScheduleIsLsqMlThenGaussianThenPoissonGradient) {
  const ReconstructionConfig config = Resolve(ValidConfig());
  ASSERT_EQ(config.schedule.size(), 3u);
  EXPECT_EQ(config.schedule[0].algorithm, AlgorithmConfig(LsqMlConfig{}));
  EXPECT_DOUBLE_EQ(config.schedule[0].fraction.value(), 0.7);
  EXPECT_EQ(config.schedule[1].algorithm,
            AlgorithmConfig(MlGradientConfig{.likelihood = Likelihood::kGaussian}));
  EXPECT_DOUBLE_EQ(config.schedule[1].fraction.value(), 0.2875);
  EXPECT_EQ(config.schedule[2].algorithm, AlgorithmConfig(MlGradientConfig{}));
  EXPECT_EQ(config.schedule[2].fraction, std::nullopt);
  EXPECT_EQ(config.run.it_ends_after, 60);
  EXPECT_THAT(Validate(config), IsEmpty());
}

TEST(ResolveTest, CropIsTheOrientedFrame) {
  ReconstructionConfig config = ValidConfig();
  config.detector.orientation = Orientation::kRot90Ccw;
  EXPECT_EQ(Resolve(config).detector.crop, (Region{0, 0, {32, 64}}));
  config.detector.auto_centre = AutoCentreConfig{{16, 16}};
  EXPECT_EQ(Resolve(config).detector.crop, std::nullopt);
}

TEST(ResolveTest, Idempotent) {
  const ReconstructionConfig once = Resolve(ValidConfig());
  ReconstructionConfig twice = Resolve(once);
  EXPECT_EQ(twice.scan.capacity, once.scan.capacity);
  EXPECT_EQ(twice.detector.crop, once.detector.crop);
  EXPECT_EQ(twice.detector.saturation_counts, once.detector.saturation_counts);
  EXPECT_EQ(twice.run.min_points_to_start, once.run.min_points_to_start);
  EXPECT_EQ(twice.schedule.size(), once.schedule.size());
}

TEST(StorageTest, SixteenBitsUnlessATrustedCountNeedsMore) {
  const auto storage = [](DataType dtype, std::optional<double> saturation,
                          std::optional<double> hot) {
    DetectorConfig detector;
    detector.dtype = dtype;
    detector.saturation_counts = saturation;
    detector.hot_pixel_counts = hot;
    return StorageFor(detector);
  };
  EXPECT_EQ(storage(DataType::kU8, {}, {}), FrameStorage::kU16);
  EXPECT_EQ(storage(DataType::kU16, {}, {}), FrameStorage::kU16);
  EXPECT_EQ(storage(DataType::kU32, {}, {}), FrameStorage::kF32);
  EXPECT_EQ(storage(DataType::kF32, {}, {}), FrameStorage::kF32);
  // 65535 is the mark of an untrusted pixel, so 65534 is the largest count in 16 bits.
  EXPECT_EQ(storage(DataType::kU32, 65535, {}), FrameStorage::kU16);
  EXPECT_EQ(storage(DataType::kU32, 65535.5, {}), FrameStorage::kF32);
  EXPECT_EQ(storage(DataType::kU32, {}, 65534.9), FrameStorage::kU16);
  EXPECT_EQ(storage(DataType::kU32, {}, 65535), FrameStorage::kF32);
  EXPECT_EQ(storage(DataType::kU16, 1e6, {}), FrameStorage::kF32);
  EXPECT_EQ(storage(DataType::kF32, 100, 100), FrameStorage::kF32);
}

TEST(StorageTest, LargestTrustedCount) {
  DetectorConfig detector;
  EXPECT_EQ(LargestTrustedCount(detector), 65534u);
  detector.saturation_counts = 1000;
  EXPECT_EQ(LargestTrustedCount(detector), 999u);
  detector.saturation_counts = 1000.5;
  EXPECT_EQ(LargestTrustedCount(detector), 1000u);
  detector.hot_pixel_counts = 500.7;
  EXPECT_EQ(LargestTrustedCount(detector), 500u);
  detector.saturation_counts = 1e9;
  detector.hot_pixel_counts = 1e12;
  EXPECT_EQ(LargestTrustedCount(detector), 65535u);
  detector.saturation_counts = 0.5;
  EXPECT_EQ(LargestTrustedCount(detector), 0u);
}

TEST(StorageTest, Bytes) {
  EXPECT_EQ(StorageBytes(FrameStorage::kU16), 2);
  EXPECT_EQ(StorageBytes(FrameStorage::kF32), 4);
  EXPECT_EQ(DataTypeBytes(DataType::kU8), 1);
  EXPECT_EQ(DataTypeBytes(DataType::kU16), 2);
  EXPECT_EQ(DataTypeBytes(DataType::kU32), 4);
  EXPECT_EQ(DataTypeBytes(DataType::kF32), 4);
}

}  // namespace
}  // namespace ptychoserve
