#include "client/cli/session_flags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <string>

#include "client/cli/config_file.h"
#include "client/cli/exit_codes.h"
#include "client/cli/output.h"
#include "engine/io/npy.h"

namespace ptychoserve::cli {
namespace {

using ::testing::HasSubstr;

CxiScanInfo Scan() {
  CxiScanInfo scan;
  scan.frames = 3;
  scan.frame_shape = {16, 32};
  scan.dtype = DataType::kU32;
  scan.wavelength_m = 1e-10;
  scan.distance_m = 2;
  scan.detector_pixel_size_y_m = 55e-6;
  scan.detector_pixel_size_x_m = 75e-6;
  scan.bad_pixels.assign(16 * 32, 0);
  scan.bad_pixels[5] = 1;
  scan.x_m = {3e-6, 1e-6, 2e-6};
  scan.y_m = {-1e-6, 0, 5e-6};
  return scan;
}

// A file in the test's directory, removed at the end.
class File {
 public:
  File(const std::string& name, const std::string& text) : path_(::testing::TempDir() + name) {
    std::ofstream(path_) << text;
  }
  ~File() { std::remove(path_.c_str()); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

TEST(BuildConfig, TakesOpticsFramesMaskAndRangeFromTheScan) {
  const CxiScanInfo scan = Scan();
  const auto config = BuildConfig({}, &scan);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->optics().wavelength_m(), 1e-10);
  EXPECT_EQ(config->optics().distance_m(), 2);
  EXPECT_EQ(config->optics().detector_pixel_size_y_m(), 55e-6);
  EXPECT_EQ(config->optics().detector_pixel_size_x_m(), 75e-6);
  EXPECT_EQ(config->detector().frame_shape().rows(), 16);
  EXPECT_EQ(config->detector().frame_shape().cols(), 32);
  EXPECT_EQ(config->detector().dtype(), v1::DATA_TYPE_U32);
  EXPECT_EQ(config->detector().bad_pixels().size(), 16 * 32);
  EXPECT_EQ(config->detector().bad_pixels()[5], 1);
  EXPECT_EQ(config->scan().expected_points(), 3);
  EXPECT_EQ(config->scan().bounds().x_min_m(), 1e-6);
  EXPECT_EQ(config->scan().bounds().x_max_m(), 3e-6);
  EXPECT_EQ(config->scan().bounds().y_min_m(), -1e-6);
  EXPECT_EQ(config->scan().bounds().y_max_m(), 5e-6);
  EXPECT_FALSE(config->run().has_it_ends_after());
}

TEST(BuildConfig, PutsTheFileOverTheScanAndTheFlagsOverTheFile) {
  const File file("config.textproto",
                  "optics { distance_m: 3 } run { max_iterations: 10 it_ends_after: 7 } "
                  "schedule { epie {} }");
  const CxiScanInfo scan = Scan();
  SessionFlags flags;
  flags.config_file = file.path();
  flags.max_iterations = 20;
  const auto config = BuildConfig(flags, &scan);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->optics().distance_m(), 3);
  EXPECT_EQ(config->optics().wavelength_m(), 1e-10);
  EXPECT_EQ(config->run().max_iterations(), 20);
  EXPECT_EQ(config->run().it_ends_after(), 7);
  EXPECT_TRUE(config->schedule(0).has_epie());
}

TEST(BuildConfig, TakesNearFieldAndOrientationFromTheScan) {
  CxiScanInfo scan = Scan();
  EXPECT_FALSE(BuildConfig({}, &scan)->optics().has_near_field());
  EXPECT_EQ(BuildConfig({}, &scan)->detector().orientation(), v1::ORIENTATION_UNSPECIFIED);
  scan.near_field.emplace();
  scan.orientation = Orientation::kRot90Cw;
  EXPECT_TRUE(BuildConfig({}, &scan)->optics().has_near_field());
  EXPECT_FALSE(BuildConfig({}, &scan)->optics().near_field().has_source_to_sample_m());
  EXPECT_EQ(BuildConfig({}, &scan)->detector().orientation(), v1::ORIENTATION_ROT90_CW);
  scan.near_field->source_to_sample_m = 0.25;
  EXPECT_EQ(BuildConfig({}, &scan)->optics().near_field().source_to_sample_m(), 0.25);
}

TEST(BuildConfig, PutsOpticsOfFlagsOverAllOthers) {
  const File file("optics.textproto", "optics { wavelength_m: 3e-10 distance_m: 3 }");
  const CxiScanInfo scan = Scan();
  SessionFlags flags;
  flags.config_file = file.path();
  flags.photon_energy_ev = 8000;
  flags.distance_m = 4;
  flags.pixel_size_m = 6e-6;
  flags.near_field = true;
  flags.source_to_sample_m = 0.5;
  const auto config = BuildConfig(flags, &scan);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->optics().photon_energy_ev(), 8000);
  EXPECT_EQ(config->optics().distance_m(), 4);
  EXPECT_EQ(config->optics().detector_pixel_size_y_m(), 6e-6);
  EXPECT_EQ(config->optics().detector_pixel_size_x_m(), 6e-6);
  EXPECT_EQ(config->optics().near_field().source_to_sample_m(), 0.5);
  flags.photon_energy_ev.reset();
  flags.wavelength_m = 2e-10;
  EXPECT_EQ(BuildConfig(flags, &scan)->optics().wavelength_m(), 2e-10);
}

TEST(BuildConfig, RefusesOpticsThatContradictEachOther) {
  const CxiScanInfo scan = Scan();
  SessionFlags flags;
  flags.source_to_sample_m = 0.5;
  EXPECT_THAT(std::string(BuildConfig(flags, &scan).status().message()),
              HasSubstr("give --near-field with it"));
  flags = {};
  flags.wavelength_m = 1e-10;
  flags.photon_energy_ev = 8000;
  EXPECT_THAT(std::string(BuildConfig(flags, &scan).status().message()), HasSubstr("not both"));
}

TEST(BuildConfig, LeavesOpticsOutThatTheScanLacks) {
  CxiScanInfo scan = Scan();
  scan.wavelength_m = 0;
  EXPECT_EQ(BuildConfig({}, &scan)->optics().source_case(), v1::Optics::SOURCE_NOT_SET);
}

TEST(BuildConfig, PutsEachFlagIntoItsField) {
  SessionFlags flags;
  flags.iterations = 11;
  flags.max_iterations = 12;
  flags.min_points = 13;
  flags.capacity = 14;
  flags.modes = 4;
  flags.probe_start = 15;
  flags.snapshot_every = 16;
  flags.idle_timeout_s = 17.5;
  flags.frozen_probe = true;
  flags.deterministic = true;
  flags.single_precision_waves = true;
  const auto config = BuildConfig(flags, nullptr);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->run().it_ends_after(), 11);
  EXPECT_EQ(config->run().max_iterations(), 12);
  EXPECT_EQ(config->run().min_points_to_start(), 13);
  EXPECT_EQ(config->scan().capacity(), 14);
  EXPECT_EQ(config->probe().modes(), 4);
  EXPECT_EQ(config->probe().start_update(), 15);
  EXPECT_EQ(config->snapshots().every_iterations(), 16);
  EXPECT_EQ(config->run().idle_timeout_s(), 17.5);
  EXPECT_TRUE(config->probe().frozen());
  EXPECT_TRUE(config->deterministic());
  EXPECT_TRUE(config->single_precision_waves());
}

TEST(BuildConfig, OneStageAloneSetsTheIterationsAfterTheEndOfData) {
  SessionFlags flags;
  flags.schedule = "dm:60";
  const auto config = BuildConfig(flags, nullptr);
  ASSERT_TRUE(config.ok()) << config.status();
  ASSERT_EQ(config->schedule_size(), 1);
  EXPECT_EQ(config->schedule(0).iterations(), 60);
  EXPECT_EQ(config->run().it_ends_after(), 60);
}

TEST(BuildConfig, MoreIterationsThanTheScheduleHasProlongItsLastStage) {
  SessionFlags flags;
  flags.schedule = "dm:40,ml_grad:20";
  flags.iterations = 100;
  const auto config = BuildConfig(flags, nullptr);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->run().it_ends_after(), 100);
  EXPECT_EQ(config->schedule(0).iterations(), 40);
  EXPECT_EQ(config->schedule(1).until_case(), v1::Stage::UNTIL_NOT_SET);
}

TEST(BuildConfig, ReadsTheProbe) {
  ComplexStack probe(1, {2, 3});
  for (int k = 0; k < 6; ++k) probe.data[static_cast<std::size_t>(k)] = Complex64(1.0f * k, -1);
  const std::string path = ::testing::TempDir() + "probe.npy";
  ASSERT_TRUE(WriteProbeNpy(path, probe).ok());
  SessionFlags flags;
  flags.probe = path;
  const auto config = BuildConfig(flags, nullptr);
  std::remove(path.c_str());
  ASSERT_TRUE(config.ok()) << config.status();
  const v1::ComplexArray& initial = config->probe().initial();
  EXPECT_EQ(initial.modes(), 1);
  EXPECT_EQ(initial.shape().rows(), 2);
  EXPECT_EQ(initial.shape().cols(), 3);
  ASSERT_EQ(initial.data().size(), 48);
  EXPECT_EQ(reinterpret_cast<const float*>(initial.data().data())[10], 5.0f);
}

TEST(BuildConfig, BadFlagsAndFilesAreBadInput) {
  SessionFlags schedule;
  schedule.schedule = "dm:x";
  EXPECT_EQ(ExitCodeFor(BuildConfig(schedule, nullptr).status()), kExitBadInput);
  SessionFlags file;
  file.config_file = "/nowhere/config.json";
  const absl::Status missing = BuildConfig(file, nullptr).status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ExitCodeFor(missing), kExitBadInput);
  SessionFlags probe;
  probe.probe = "scan.cxi";
  EXPECT_THAT(std::string(BuildConfig(probe, nullptr).status().message()),
              HasSubstr("--probe: scan.cxi names no dataset"));
}

TEST(ParseConfig, TakesJsonAndTextFormat) {
  const auto json =
      ParseConfig(R"( {"run": {"itEndsAfter": 5}, "detector": {"dtype": "DATA_TYPE_U8"}})");
  ASSERT_TRUE(json.ok()) << json.status();
  EXPECT_EQ(json->run().it_ends_after(), 5);
  EXPECT_EQ(json->detector().dtype(), v1::DATA_TYPE_U8);
  const auto text = ParseConfig("run { it_ends_after: 6 }");
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_EQ(text->run().it_ends_after(), 6);
}

TEST(ParseConfig, RefusesUnknownFieldsWithTheirPlace) {
  const auto text = ParseConfig("run {\n  it_ends_befor: 6\n}");
  EXPECT_EQ(text.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(text.status().message()), HasSubstr("line 2"));
  EXPECT_THAT(std::string(text.status().message()), HasSubstr("it_ends_befor"));
  const auto json = ParseConfig(R"({"rum": {}})");
  EXPECT_EQ(json.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(json.status().message()), HasSubstr("rum"));
}

}  // namespace
}  // namespace ptychoserve::cli
