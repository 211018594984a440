// Which way frames lie, found out by a session itself and when it is asked.

#include <chrono>
#include <string>

#include "tests/integration/server_test.h"

namespace ptychoserve::integration {
namespace {

using testing::Contains;
using testing::HasSubstr;

// With frames that come turned.
v1::SessionConfig Turned() {
  v1::SessionConfig config = WideScan().StreamingConfig(400);
  config.mutable_detector()->set_orientation(v1::ORIENTATION_FLIP_LR);
  // As in a run that takes longer than its test: no test but those that are asked for.
  config.mutable_quality()->set_test_orientation(false);
  return config;
}

class OrientationTest : public ServerTest {};

TEST_F(OrientationTest, IsFoundOutWhenAskedAndWarnedOf) {
  const std::string name = Create(Turned());
  SendAll(name, WideScan());
  const auto test = api().TestOrientation(name, kCallDeadline);
  ASSERT_THAT(test.status, IsOk());
  EXPECT_EQ(test.value.points(), 32u);
  EXPECT_EQ(test.value.declared(), v1::ORIENTATION_FLIP_LR);
  EXPECT_TRUE(test.value.clear());
  EXPECT_FALSE(test.value.confirmed());
  ASSERT_EQ(test.value.trials_size(), 8);  // There is a probe to start from.
  const v1::OrientationTrial& best = test.value.trials(0);
  EXPECT_EQ(best.orientation(), v1::ORIENTATION_IDENTITY);
  EXPECT_EQ(best.twin(), v1::ORIENTATION_ROT180);
  EXPECT_EQ(best.instead(), "scan.x_sign reversed");
  EXPECT_GT(test.value.margin(), 0.05);

  const v1::Session session = api().Get(name).value;
  EXPECT_EQ(session.orientation_test().SerializeAsString(), test.value.SerializeAsString());
  EXPECT_THAT(session.warnings(), Contains(HasSubstr("lie otherwise than declared")));
  EXPECT_THAT(api().Stop(name).status, IsOk());
  // What was found stays with the session, which cannot be asked again.
  EXPECT_EQ(api().Get(name).value.orientation_test().trials_size(), 8);
  const auto again = api().TestOrientation(name, kCallDeadline);
  EXPECT_THAT(again.status, FailsWith(grpc::StatusCode::FAILED_PRECONDITION, "SESSION_ENDED"));
}

TEST_F(OrientationTest, ASessionFindsItOutByItself) {
  v1::SessionConfig config = Turned();
  config.mutable_quality()->clear_test_orientation();
  const std::string name = Create(config);
  EXPECT_TRUE(api().Get(name).value.config().quality().test_orientation());
  SendAll(name, WideScan());
  const auto found =
      api().Await(name, [](const v1::Session& s) { return s.has_orientation_test(); });
  EXPECT_FALSE(found.value.orientation_test().confirmed());
  EXPECT_THAT(api().Stop(name).status, IsOk());
}

TEST_F(OrientationTest, WhoDoesNotWaitForPointsIsToldSo) {
  const std::string name = Create(Turned());
  const auto early = api().TestOrientation(name, std::chrono::milliseconds(50));
  EXPECT_EQ(early.status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_THAT(api().Delete(name, /*force=*/true), IsOk());
  const auto gone = api().TestOrientation(name, kCallDeadline);
  EXPECT_THAT(gone.status, FailsWith(grpc::StatusCode::NOT_FOUND, "SESSION_NOT_FOUND"));
}

}  // namespace
}  // namespace ptychoserve::integration
