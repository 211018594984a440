#ifndef PTYCHOSERVE_TESTS_ROBUSTNESS_ROBUSTNESS_TEST_H_
#define PTYCHOSERVE_TESTS_ROBUSTNESS_ROBUSTNESS_TEST_H_

#include <string>
#include <vector>

#include "tests/eventually.h"
#include "tests/integration/server_test.h"
#include "tests/robustness/process_stats.h"

namespace ptychoserve::robustness {

// What a server must be after whatever was done to it: it answers, says that it is healthy, has
// counted everything, holds no more descriptors than before, and found nothing that is an error of
// its own.
class RobustnessTest : public integration::ServerTest {
 protected:
  void SetUp() override {
    ServerTest::SetUp();
    ExpectHealthy();
    ASSERT_THAT(api().Info().status, integration::IsOk());  // Its connection counts, too.
    descriptors_ = StatsOf(server().pid()).descriptors;
  }
  void TearDown() override {
    ExpectHealthy();
    const auto sessions = api().List(1000, "");
    EXPECT_THAT(sessions.status, integration::IsOk());
    for (const v1::Session& session : sessions.value.sessions()) {
      EXPECT_TRUE(integration::AddsUp(session.frames())) << session.name();
      EXPECT_TRUE(integration::AddsUp(session.positions())) << session.name();
      EXPECT_THAT(api().Delete(session.name(), /*force=*/true), integration::IsOk());
    }
    EXPECT_TRUE(Eventually([&] { return StatsOf(server().pid()).descriptors <= descriptors_; }))
        << StatsOf(server().pid()).descriptors << " descriptors, before there were "
        << descriptors_;
    const std::string log = server().log();
    EXPECT_EQ(log.find(" error "), std::string::npos) << log;
    EXPECT_EQ(log.find(" critical "), std::string::npos) << log;
  }

  // Asks as a stranger would, by a connection of its own.
  static void ExpectHealthy() {
    integration::Api stranger(server().address());
    const std::string serving("\x08\x01", 2);  // HealthCheckResponse{status: SERVING}
    const auto health = integration::RawCall(stranger, "/grpc.health.v1.Health/Check", {""});
    ASSERT_THAT(health.status, integration::IsOk());
    EXPECT_EQ(health.value.back(), serving);
    EXPECT_THAT(stranger.Info().status, integration::IsOk());
  }
  static std::int64_t ResidentBytes() { return StatsOf(server().pid()).resident_bytes; }

 private:
  int descriptors_ = 0;
};

}  // namespace ptychoserve::robustness

#endif  // PTYCHOSERVE_TESTS_ROBUSTNESS_ROBUSTNESS_TEST_H_
