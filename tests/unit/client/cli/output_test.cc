#include "client/cli/output.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "client/cli/exit_codes.h"
#include "client/cli/progress_line.h"
#include "client/cli/session_view.h"
#include "client/cpp/internal/status_conversion.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "ptychoserve/v1/session.pb.h"

namespace ptychoserve::cli {
namespace {

// As a server sends it: one wrong field, a reason and a hint.
absl::Status WrongField() {
  google::rpc::Status proto;
  google::rpc::ErrorInfo info;
  info.set_reason("CONFIG_INVALID");
  info.set_domain("ptychoserve");
  (*info.mutable_metadata())["hint"] = "give the distance in metres";
  (*info.mutable_metadata())["need"] = "12";
  proto.add_details()->PackFrom(info);
  google::rpc::BadRequest bad;
  auto* violation = bad.add_field_violations();
  violation->set_field("config.optics.distance_m");
  violation->set_description("is -1; must be > 0");
  proto.add_details()->PackFrom(bad);
  return client::internal::FromGrpc(grpc::Status(
      grpc::StatusCode::INVALID_ARGUMENT, "the configuration is wrong", proto.SerializeAsString()));
}

TEST(ErrorLine, NamesFieldValueWhatIsAllowedAndTheHint) {
  EXPECT_EQ(ErrorLine(WrongField()),
            "INVALID_ARGUMENT: the configuration is wrong; config.optics.distance_m: is -1; must "
            "be > 0 (hint: give the distance in metres) [CONFIG_INVALID]");
}

TEST(ErrorLine, StaysOneLineAndDoesNotRepeatTheMessage) {
  EXPECT_EQ(ErrorLine(absl::NotFoundError("no session\nsessions/x")),
            "NOT_FOUND: no session sessions/x");
}

TEST(ErrorLine, TellsThatTheSessionIsKept) {
  const absl::Status error = KeptSession(absl::InternalError("disk full"), "sessions/x");
  EXPECT_EQ(ErrorLine(error), "INTERNAL: disk full; sessions/x is kept on the server");
  EXPECT_EQ(ErrorJson(error)["error"]["kept_session"], "sessions/x");
  EXPECT_FALSE(ErrorJson(absl::InternalError("disk full"))["error"].contains("kept_session"));
}

TEST(ErrorJson, CarriesReasonFieldsAndMetadata) {
  const Json error = ErrorJson(WrongField())["error"];
  EXPECT_EQ(error["code"], "INVALID_ARGUMENT");
  EXPECT_EQ(error["reason"], "CONFIG_INVALID");
  EXPECT_EQ(error["fields"][0]["field"], "config.optics.distance_m");
  EXPECT_EQ(error["fields"][0]["description"], "is -1; must be > 0");
  EXPECT_EQ(error["metadata"]["need"], "12");
  EXPECT_EQ(error["hint"], "give the distance in metres");
  EXPECT_EQ(error["exit_code"], 2);
}

TEST(ExitCode, TellsInputServerAndInterruptApart) {
  EXPECT_EQ(ExitCodeFor(absl::OkStatus()), kExitOk);
  EXPECT_EQ(ExitCodeFor(absl::InvalidArgumentError("")), kExitBadInput);
  EXPECT_EQ(ExitCodeFor(BadInput(absl::NotFoundError("no file"))), kExitBadInput);
  EXPECT_EQ(ExitCodeFor(absl::NotFoundError("no session")), kExitServerError);
  EXPECT_EQ(ExitCodeFor(absl::UnavailableError("")), kExitServerError);
  EXPECT_EQ(ExitCodeFor(absl::CancelledError("")), kExitInterrupted);
}

v1::Session Example() {
  v1::Session session;
  session.set_name("sessions/s");
  session.set_state(v1::SESSION_STATE_RECONSTRUCTING);
  session.mutable_frames()->set_accepted(258);
  session.set_active_points(240);
  session.set_iteration(12);
  session.set_iterations_per_second(8.26);
  session.mutable_metrics()->set_r_factor(0.18349);
  return session;
}

TEST(ToJson, WritesNumbersNamesAndTimes) {
  v1::Session session = Example();
  session.mutable_frames()->set_payload_bytes(std::int64_t{1} << 53);
  session.mutable_metrics()->set_step(std::numeric_limits<double>::quiet_NaN());
  session.mutable_config()->mutable_detector()->set_bad_pixels(std::string(100, '\0'));
  session.mutable_create_time()->set_seconds(1'700'000'000);
  const Json json = ToJson(session);
  EXPECT_EQ(json["state"], "SESSION_STATE_RECONSTRUCTING");
  EXPECT_EQ(json["frames"]["payload_bytes"], std::int64_t{1} << 53);
  EXPECT_EQ(json["metrics"]["r_factor"], 0.18349);
  EXPECT_TRUE(json["metrics"]["step"].is_null());
  EXPECT_EQ(json["config"]["detector"]["bad_pixels"], "100 bytes");
  EXPECT_EQ(json["create_time"], "2023-11-14T22:13:20Z");
  EXPECT_EQ(json["partial"], false);
  EXPECT_FALSE(json.contains("final_fit"));
}

TEST(ProgressLine, ShowsFramesWhileTheyArrive) {
  EXPECT_EQ(ProgressLine(Example(), 516, 60),
            "[##########----------] frames 258/516 | points 240 | it 12 (8.3/s) | R 0.1835 | "
            "RECONSTRUCTING");
}

TEST(ProgressLine, ShowsIterationsAfterTheEndOfData) {
  v1::Session session = Example();
  session.set_state(v1::SESSION_STATE_REFINING);
  session.set_end_of_data(v1::END_OF_DATA_FINISH_SCAN);
  session.set_iterations_after_end(45);
  EXPECT_THAT(ProgressLine(session, 516, 60), ::testing::StartsWith("[###############-----] "));
}

TEST(ProgressLine, ShowsThePowersOfSeveralModes) {
  v1::Session session = Example();
  session.mutable_metrics()->add_mode_powers(0.7124);
  session.mutable_metrics()->add_mode_powers(0.2876);
  EXPECT_THAT(ProgressLine(session, 0, 0), ::testing::HasSubstr("R 0.1835 | modes 0.712 0.288 |"));
  session.mutable_metrics()->add_object_mode_powers(0.9);
  session.mutable_metrics()->add_object_mode_powers(0.1);
  EXPECT_THAT(ProgressLine(session, 0, 0),
              ::testing::HasSubstr("| modes 0.712 0.288 | object modes 0.900 0.100 |"));
}

TEST(ProgressLine, ShowsHowFarTheSplitHalvesAre) {
  v1::Session session = Example();
  session.set_state(v1::SESSION_STATE_REFINING);
  session.mutable_split_halves()->set_iterations(30);
  session.mutable_split_halves()->set_iterations_planned(120);
  EXPECT_EQ(ProgressLine(session, 516, 60),
            "[#####---------------] frames 258/516 | points 240 | it 12 (8.3/s) | R 0.1835 | "
            "halves 30/120 | REFINING");
  session.set_state(v1::SESSION_STATE_COMPLETED);
  EXPECT_THAT(ProgressLine(session, 516, 60), ::testing::Not(::testing::HasSubstr("halves")));
}

TEST(DescribeSession, ShowsTheSplitHalves) {
  v1::Session session = Example();
  session.mutable_split_halves()->set_iterations(30);
  session.mutable_split_halves()->set_iterations_planned(120);
  EXPECT_THAT(DescribeSession(session), ::testing::HasSubstr("halves     30 of 120 iterations"));
  v1::RingCorrelation& rings = *session.mutable_split_halves()->mutable_ring_correlation();
  rings.set_side_px(256);
  rings.set_half_bit_of_nyquist(0.5781);
  rings.set_half_bit_resolution_m(1.73e-8);
  EXPECT_THAT(DescribeSession(session),
              ::testing::HasSubstr("halves     half-bit 0.578 of Nyquist (1.73e-08 m)"));
}

TEST(ProgressLine, HasNoBarWhenTheEndIsNotKnown) {
  EXPECT_EQ(ProgressLine(v1::Session(), 0, 0), "frames 0 | points 0 | it 0 (0.0/s) | UNSPECIFIED");
}

}  // namespace
}  // namespace ptychoserve::cli
