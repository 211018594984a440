#include "server/service/convert.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <google/protobuf/unknown_field_set.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "engine/scan/optics.h"
#include "server/service/errors.h"

namespace ptychoserve::server {
namespace {

using ::google::protobuf::util::MessageDifferencer;
using ::testing::Contains;
using ::testing::Field;

// Every field has a value that is not its default.
constexpr char kFullConfig[] = R"pb(
  optics {
    wavelength_m: 1.5e-10
    distance_m: 2.5
    detector_pixel_size_y_m: 7.5e-5
    detector_pixel_size_x_m: 5.5e-5
    near_field { source_to_sample_m: 0.125 }
  }
  detector {
    frame_shape { rows: 64 cols: 48 }
    dtype: DATA_TYPE_U32
    orientation: ORIENTATION_ROT90_CW
    crop {
      row: 3
      col: 5
      shape { rows: 32 cols: 16 }
    }
    saturation_counts: 60000
    hot_pixel_counts: 50000
    beam: BEAM_POSITION_CORNER
  }
  scan {
    expected_points: 900
    capacity: 1000
    over_capacity: OVER_CAPACITY_END_SCAN
    bounds { y_min_m: -1e-6 y_max_m: 2e-6 x_min_m: -3e-6 x_max_m: 4e-6 }
    out_of_canvas: OUT_OF_CANVAS_CLAMP
    y_sign: -1
    x_sign: -1
    swap_axes: true
    fast_axis_points: 30
    first_frame_id: 7
    encoder {
      samples_per_frame: 4
      y_scale_m_per_count: 1e-9
      x_scale_m_per_count: -2e-9
      y_offset_m: 3e-6
      x_offset_m: 4e-6
      rotation_angle_deg: 30
    }
  }
  object {
    initial_amplitude: 0.5
    initial_phase_rad: 0.25
    padding_px: 8
    max_pixels: 1000000
    amplitude_limits { min: 0.1 max: 1.5 }
    phase_limits { min_rad: -1 max_rad: 2 }
    start_update: 3
    modes: 2
  }
  probe {
    initial {
      modes: 1
      shape { rows: 1 cols: 2 }
      data: "0123456789abcdef"
    }
    propagation_distance_m: 1e-4
    start_update: 5
    frozen: true
    recentre_every: 20
    modes: 3
  }
  schedule {
    difference_map {
      beta: 0.8
      sigma2: 0.3
      regularisation { absolute: 0.7 }
    }
    iterations: 11
    refine { positions: true intensities: true background: true variation: true }
  }
  schedule {
    ml_gradient {
      likelihood: LIKELIHOOD_GAUSSIAN
      epsilon: 0.2
      max_gradient: 3
      step: 0.9
      regularisation { relative: 0.04 }
      momentum: 0.7
    }
    plateau { window: 6 min_relative_change: 0.02 }
    refine { positions: true intensities: true background: true variation: true }
  }
  schedule {
    raar {
      beta: 0.6
      relaxation: 0.9
      regularisation { relative: 0.05 }
    }
    iterations: 3
  }
  schedule {
    alternating_projections {
      sigma2: 0.2
      regularisation { relative: 0.06 }
    }
    fraction: 0.1
  }
  schedule {
    lsq_ml {
      likelihood: LIKELIHOOD_POISSON
      object_step: 0.4
      probe_step: 0.3
      batch_kind: BATCH_KIND_COMPACT
      batch_size: 48
      momentum: 0.6
      regularisation { relative: 0.2 }
    }
    iterations: 4
  }
  schedule {
    epie { object_step: 0.6 probe_step: 0.4 max_batch: 24 object_alpha: 0.1 probe_alpha: 0.2 }
  }
  refinement {
    every: 3
    step: 0.6
    max_shift_px: 5
    max_intensity: 1.5
    later_stages { positions: true intensities: true background: true variation: true }
    probe_components: 3
  }
  run {
    min_points_to_start: 9
    schedule_clock: SCHEDULE_CLOCK_FROM_START
    it_ends_after: 33
    max_iterations: 500
    idle_timeout_s: 12.5
  }
  clear_region { enabled: true min_pixels_per_point: 25 }
  snapshots { every_iterations: 2 min_interval_ms: 50 history: 4 }
  deterministic: true
  single_precision_waves: true
  keep_input: true
  quality { split_halves: true held_out_every: 20 test_orientation: false }
)pb";

// The least that is accepted.
constexpr char kLeastConfig[] = R"pb(
  optics { photon_energy_ev: 8000 distance_m: 1 detector_pixel_size_y_m: 1e-4 }
  detector {
    frame_shape { rows: 16 cols: 16 }
    dtype: DATA_TYPE_U16
  }
)pb";

v1::SessionConfig Parse(const char* text) {
  v1::SessionConfig config;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &config));
  return config;
}

// Fields of `message` and below that are not set, of oneofs where no member is.
void CollectUnset(const google::protobuf::Message& message, const std::string& path,
                  std::vector<std::string>& unset) {
  const auto* reflection = message.GetReflection();
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
    const auto* field = message.GetDescriptor()->field(i);
    const std::string name = path + "." + field->name();
    if (field->is_repeated()) {
      if (reflection->FieldSize(message, field) == 0) unset.push_back(name);
      continue;
    }
    if (const auto* oneof = field->real_containing_oneof()) {
      if (!reflection->HasOneof(message, oneof)) unset.push_back(path + "." + oneof->name());
      if (!reflection->HasField(message, field)) continue;
    } else if (!reflection->HasField(message, field)) {
      unset.push_back(name);
      continue;
    }
    if (field->cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE) {
      CollectUnset(reflection->GetMessage(message, field), name, unset);
    }
  }
}

TEST(ConfigConversion, EveryFieldSurvivesTheWayThereAndBack) {
  v1::SessionConfig in = Parse(kFullConfig);
  in.mutable_detector()->set_bad_pixels(std::string(64 * 48, '\1'));
  std::vector<std::string> unset;
  CollectUnset(in, "config", unset);
  ASSERT_THAT(unset, testing::IsEmpty()) << "the test's configuration must set every field";

  const EdgeConfig edge = ConfigFromProto(in);
  EXPECT_THAT(edge.violations, testing::IsEmpty());
  EXPECT_EQ(edge.config.detector.bad_pixels.size(), 64u * 48u);
  ASSERT_EQ(edge.config.probe.initial.data.size(), 2u);
  EXPECT_EQ(std::memcmp(edge.config.probe.initial.data.data(), "0123456789abcdef", 16), 0);

  // Pixels of mask and probe are not echoed.
  v1::SessionConfig expected = in;
  expected.mutable_detector()->clear_bad_pixels();
  expected.mutable_probe()->mutable_initial()->clear_data();
  expected.clear_keep_input();  // The server's own, not the engine's: the session echoes it.
  std::string difference;
  MessageDifferencer differencer;
  differencer.ReportDifferencesToString(&difference);
  EXPECT_TRUE(differencer.Compare(expected, ConfigToProto(edge.config))) << difference;
}

TEST(ConfigConversion, NearFieldOfAParallelBeamIsNoFarField) {
  v1::SessionConfig in = Parse(kLeastConfig);
  EXPECT_FALSE(ConfigToProto(ConfigFromProto(in).config).optics().has_near_field());
  in.mutable_optics()->mutable_near_field();
  const v1::SessionConfig out = ConfigToProto(ConfigFromProto(in).config);
  EXPECT_TRUE(out.optics().has_near_field());
  EXPECT_FALSE(out.optics().near_field().has_source_to_sample_m());
}

TEST(ConfigConversion, OtherMembersOfOneofsSurviveToo) {
  v1::SessionConfig in = Parse(kFullConfig);
  in.clear_keep_input();
  in.mutable_detector()->mutable_auto_centre()->mutable_crop_shape()->set_rows(24);
  in.mutable_detector()->mutable_auto_centre()->mutable_crop_shape()->set_cols(26);
  in.mutable_detector()->mutable_auto_centre()->set_frames(10);
  in.mutable_detector()->mutable_auto_centre()->set_threshold(0.1);
  in.mutable_schedule(0)->mutable_difference_map()->set_relaxation(0.6);
  in.mutable_schedule(0)->set_fraction(0.4);
  in.mutable_probe()->clear_initial();
  const EdgeConfig edge = ConfigFromProto(in);
  EXPECT_THAT(edge.violations, testing::IsEmpty());
  EXPECT_TRUE(MessageDifferencer::Equals(in, ConfigToProto(edge.config)));
}

// What config.proto says of each.
constexpr char kDefaults[] = R"pb(
  detector {
    orientation: ORIENTATION_IDENTITY
    auto_centre { frames: 64 threshold: 0.02 }
    beam: BEAM_POSITION_CENTRE
  }
  scan {
    capacity: 8192
    over_capacity: OVER_CAPACITY_REJECT
    out_of_canvas: OUT_OF_CANVAS_REJECT
    y_sign: 1
    x_sign: 1
  }
  object { initial_amplitude: 1 padding_px: 4 max_pixels: 16777216 modes: 1 }
  probe { start_update: 2 modes: 1 }
  schedule {
    difference_map {
      beta: 0.9
      relaxation: 0.8
      regularisation { relative: 0.02 }
    }
  }
  schedule {
    raar {
      beta: 0.9
      relaxation: 0.8
      regularisation { relative: 0.02 }
    }
  }
  schedule {
    alternating_projections {
      relaxation: 0.8
      regularisation { relative: 0.02 }
    }
  }
  schedule {
    epie { object_step: 0.8 probe_step: 0.8 object_alpha: 1 probe_alpha: 1 }
    plateau { window: 10 min_relative_change: 0.01 }
  }
  schedule {
    ml_gradient {
      likelihood: LIKELIHOOD_POISSON
      epsilon: 0.05
      max_gradient: 5
      step: 1
      regularisation { relative: 0.02 }
      momentum: 0.9
    }
  }
  run {
    min_points_to_start: 16
    schedule_clock: SCHEDULE_CLOCK_AFTER_END_OF_DATA
    it_ends_after: 60
    idle_timeout_s: 300
  }
  clear_region { min_pixels_per_point: 16 }
  snapshots { every_iterations: 5 min_interval_ms: 200 history: 1 }
  refinement { every: 2 step: 0.5 max_shift_px: 4 max_intensity: 2 probe_components: 2 }
)pb";

TEST(ConfigConversion, DefaultsAreThoseThatTheApiStates) {
  v1::SessionConfig in = Parse(kLeastConfig);
  v1::AutoCentre& centre = *in.mutable_detector()->mutable_auto_centre();
  centre.mutable_crop_shape()->set_rows(8);
  centre.mutable_crop_shape()->set_cols(8);
  in.add_schedule()->mutable_difference_map();
  in.add_schedule()->mutable_raar();
  in.add_schedule()->mutable_alternating_projections();
  in.add_schedule()->mutable_epie();
  for (v1::Stage& stage : *in.mutable_schedule()) stage.mutable_plateau();
  in.add_schedule()->mutable_ml_gradient();
  const auto config = CheckedConfig(in);
  ASSERT_TRUE(config.ok()) << config.status();
  std::string difference;
  MessageDifferencer differencer;
  differencer.set_scope(MessageDifferencer::PARTIAL);
  differencer.ReportDifferencesToString(&difference);
  EXPECT_TRUE(differencer.Compare(Parse(kDefaults), ConfigToProto(*config))) << difference;
}

TEST(ConfigConversion, DefaultsOfTheLeastConfiguration) {
  const auto config = CheckedConfig(Parse(kLeastConfig));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_DOUBLE_EQ(config->optics.wavelength_m, WavelengthFromPhotonEnergy(8000));
  EXPECT_EQ(config->optics.detector_pixel_size_x_m, 1e-4);
  EXPECT_EQ(config->scan.capacity, 8192);
  EXPECT_EQ(config->scan.y_sign, 1);
  EXPECT_EQ(config->object.max_pixels, 1 << 24);
  EXPECT_EQ(config->object.padding_px, 4);
  EXPECT_EQ(config->probe.start_update, 2);
  EXPECT_EQ(config->run.it_ends_after, 60);
  EXPECT_EQ(config->run.idle_timeout_s, 300);
  EXPECT_EQ(config->snapshots.every_iterations, 5);
  EXPECT_EQ(config->snapshots.history, 1);
  EXPECT_FALSE(config->deterministic);
  EXPECT_FALSE(config->single_precision_waves);
}

TEST(ConfigConversion, ElectronsHaveTheirOwnWavelength) {
  v1::SessionConfig in = Parse(kLeastConfig);
  in.mutable_optics()->set_electron_energy_ev(200e3);
  EXPECT_DOUBLE_EQ(ConfigFromProto(in).config.optics.wavelength_m,
                   WavelengthFromElectronEnergy(200e3));
}

TEST(ConfigConversion, LsqMlHasDefaultsOfItsOwn) {
  v1::SessionConfig in = Parse(kLeastConfig);
  in.add_schedule()->mutable_lsq_ml();
  const auto config = CheckedConfig(in);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->schedule[0].algorithm, AlgorithmConfig(LsqMlConfig{}));
}

TEST(ConfigConversion, StagesThatAllCountIterationsSetTheLengthOfTheRun) {
  v1::SessionConfig in = Parse(kLeastConfig);
  in.add_schedule()->mutable_difference_map();
  in.add_schedule()->mutable_ml_gradient();
  in.mutable_schedule(0)->set_iterations(40);
  in.mutable_schedule(1)->set_iterations(25);
  auto config = CheckedConfig(in);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->run.it_ends_after, 65);
  EXPECT_EQ(config->schedule[0].iterations, 40);
  EXPECT_EQ(config->schedule[1].iterations, std::nullopt);

  in.mutable_run()->set_it_ends_after(90);
  config = CheckedConfig(in);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->run.it_ends_after, 90);
}

TEST(ConfigConversion, LastStageCountsOnlyWhenAllDo) {
  v1::SessionConfig in = Parse(kLeastConfig);
  in.add_schedule()->mutable_difference_map();
  in.add_schedule()->mutable_ml_gradient();
  in.mutable_schedule(0)->set_fraction(0.5);
  in.mutable_schedule(1)->set_iterations(25);
  EXPECT_THAT(ConfigFromProto(in).violations,
              Contains(Field(&FieldViolation::field, "schedule[1].iterations")));
}

struct BadField {
  const char* text;   // Merged into the least configuration.
  const char* field;  // That is to be named.
};
class RefusedConfig : public testing::TestWithParam<BadField> {};

TEST_P(RefusedConfig, NamesTheField) {
  v1::SessionConfig in = Parse(kLeastConfig);
  v1::SessionConfig change;
  google::protobuf::TextFormat::Parser parser;
  ASSERT_TRUE(parser.ParseFromString(GetParam().text, &change));
  in.MergeFrom(change);
  EXPECT_THAT(ConfigFromProto(in).violations,
              Contains(Field(&FieldViolation::field, GetParam().field)));
  const auto config = CheckedConfig(in);
  EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReasonOf(config.status()), reason::kInvalidConfig);
  EXPECT_THAT(std::string(config.status().message()), testing::HasSubstr(GetParam().field));
}

INSTANTIATE_TEST_SUITE_P(
    AtTheEdge, RefusedConfig,
    testing::Values(
        BadField{"optics { photon_energy_ev: -1 }", "optics.photon_energy_ev"},
        BadField{"optics { electron_energy_ev: nan }", "optics.electron_energy_ev"},
        BadField{"scan { capacity: 4294967295 }", "scan.capacity"},
        BadField{"object { max_pixels: 18446744073709551615 }", "object.max_pixels"},
        BadField{"probe { initial { modes: 1 shape { rows: 4 cols: 4 } data: 'short' } }",
                 "probe.initial.data"},
        BadField{
            "probe { initial { modes: 4294967295 shape { rows: 4294967295 cols: 4294967295 } } }",
            "probe.initial.data"},
        BadField{"schedule { iterations: 5 }", "schedule[0].algorithm"},
        BadField{"schedule { epie {} iterations: 0 }", "schedule[0].iterations"}));

TEST(ConfigConversion, MissingSourceAndTypeAreNamedWithoutBlamingTheirStandIns) {
  v1::SessionConfig in = Parse(kLeastConfig);
  in.mutable_optics()->clear_source();
  in.mutable_detector()->clear_dtype();
  const auto config = CheckedConfig(in);
  const std::string message(config.status().message());
  EXPECT_THAT(message, testing::HasSubstr("optics.source"));
  EXPECT_THAT(message, testing::HasSubstr("detector.dtype"));
  EXPECT_THAT(message, testing::Not(testing::HasSubstr("optics.wavelength_m:")));
}

TEST(ConfigConversion, UnknownEnumValuesAndFieldsAreRefused) {
  v1::SessionConfig in = Parse(kLeastConfig);
  in.mutable_scan()->set_over_capacity(static_cast<v1::OverCapacity>(77));
  in.mutable_detector()->set_beam(static_cast<v1::BeamPosition>(78));
  v1::RunRules& run = *in.mutable_run();
  run.GetReflection()->MutableUnknownFields(&run)->AddVarint(999, 1);
  const auto violations = ConfigFromProto(in).violations;
  EXPECT_THAT(violations, Contains(Field(&FieldViolation::field, "scan.over_capacity")));
  EXPECT_THAT(violations, Contains(Field(&FieldViolation::field, "detector.beam")));
  EXPECT_THAT(violations, Contains(Field(&FieldViolation::field, "run")));
}

TEST(ProgressConversion, RejectionsAreListedByReason) {
  IngestCounters counters;
  counters.received = 12;
  counters.accepted = 9;
  counters.rejected[static_cast<std::size_t>(Reject::kCorrupt)] = 3;
  counters.first_rejected_id[static_cast<std::size_t>(Reject::kCorrupt)] = 41;
  counters.first_detail[static_cast<std::size_t>(Reject::kCorrupt)] = "short";
  counters.watermark = 8;
  const v1::IngestCounters out = CountersToProto(counters);
  EXPECT_EQ(out.received(), 12);
  EXPECT_EQ(out.accepted(), 9);
  EXPECT_EQ(out.watermark(), 8);
  ASSERT_EQ(out.rejections_size(), 1);
  EXPECT_EQ(out.rejections(0).reason(), v1::REJECT_REASON_CORRUPT);
  EXPECT_EQ(out.rejections(0).count(), 3);
  EXPECT_EQ(out.rejections(0).first_frame_id(), 41);
  EXPECT_EQ(out.rejections(0).detail(), "short");
}

TEST(ProgressConversion, SplitHalvesSurviveTheWayThereAndBack) {
  Progress progress;
  v1::Session session;
  ProgressToProto(progress, session);
  EXPECT_FALSE(session.has_split_halves());
  EXPECT_FALSE(ProgressFromProto(session).split_halves.has_value());

  progress.split_halves = {.iterations = 7, .iterations_planned = 40, .ring_correlation = {}};
  ProgressToProto(progress, session);
  EXPECT_FALSE(session.split_halves().has_ring_correlation());
  progress.split_halves->ring_correlation = {.side_px = 6,
                                             .correlation = {1, 0.75, 0.5},
                                             .half_bit_of_nyquist = 0.6,
                                             .one_bit_of_nyquist = 0.5,
                                             .half_bit_resolution_m = 2e-8,
                                             .one_bit_resolution_m = 3e-8,
                                             .mean_to_half_nyquist = 0.9,
                                             .mean_to_nyquist = 0.8};
  ProgressToProto(progress, session);
  std::vector<std::string> unset;
  CollectUnset(session.split_halves(), "split_halves", unset);
  EXPECT_THAT(unset, testing::IsEmpty());
  const Progress back = ProgressFromProto(session);
  ASSERT_TRUE(back.split_halves && back.split_halves->ring_correlation);
  EXPECT_EQ(back.split_halves->iterations, 7);
  EXPECT_EQ(back.split_halves->iterations_planned, 40);
  EXPECT_EQ(back.split_halves->ring_correlation->correlation,
            progress.split_halves->ring_correlation->correlation);
  v1::Session again;
  ProgressToProto(back, again);
  EXPECT_TRUE(MessageDifferencer::Equals(again.split_halves(), session.split_halves()));
}

TEST(ProgressConversion, TimeKeepsNanosecondsBeforeTheEpoch) {
  const auto t = std::chrono::system_clock::time_point(std::chrono::milliseconds(-1500));
  const auto out = TimeToProto(t);
  EXPECT_EQ(out.seconds(), -2);
  EXPECT_EQ(out.nanos(), 500'000'000);
}

}  // namespace
}  // namespace ptychoserve::server
