#ifndef PTYCHOSERVE_TESTS_INTEGRATION_BAD_INPUT_TEST_H_
#define PTYCHOSERVE_TESTS_INTEGRATION_BAD_INPUT_TEST_H_

#include <functional>
#include <limits>

#include "tests/integration/server_test.h"

namespace ptychoserve::integration {

// Every row of docs/errors.md is a test of this suite (or of LimitsTest), through the real server:
// what a client sees when it sends nonsense, and that the server goes on as if nothing had
// happened.

inline constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
inline constexpr char kInvalidConfig[] = "INVALID_CONFIG";
inline constexpr char kInvalidRequest[] = "INVALID_REQUEST";
inline constexpr char kProtocolViolation[] = "PROTOCOL_VIOLATION";

class BadInputTest : public ServerTest {
 protected:
  // Whatever a test has done, the server takes a scan afterwards.
  void TearDown() override {
    if (!server().running()) return;  // TearDownTestSuite reports it.
    const v1::Session session = RunScan(SmallScan(), 1, "after");
    EXPECT_EQ(session.state(), v1::SESSION_STATE_COMPLETED) << session.failure();
    const auto left = api().List(1000, "");
    for (const auto& s : left.value.sessions()) {
      EXPECT_THAT(api().Delete(s.name(), /*force=*/true), IsOk());
    }
  }

  // What CreateSession answers to a good configuration that has been spoilt.
  grpc::Status CreateSpoilt(const std::function<void(v1::SessionConfig&)>& spoil) {
    v1::SessionConfig config = SmallScan().Config(1);
    spoil(config);
    const auto created = api().Create(Id(), config);
    if (!created.ok()) {
      EXPECT_THAT(api().Get(Name()).status,
                  FailsWith(grpc::StatusCode::NOT_FOUND, "SESSION_NOT_FOUND"))
          << "a refused session must not exist";
    }
    return created.status;
  }
  // Status of a stream that is opened well and then sends `request`.
  grpc::Status StreamStatus(const v1::StreamFramesRequest& request) {
    FrameInput frames(api(), Create(SmallScan().Config(1)));
    frames.Send(request);
    return frames.Status();
  }
  grpc::Status StreamStatus(const v1::StreamPositionsRequest& request) {
    PositionInput positions(api(), Create(SmallScan().Config(1)));
    positions.Send(request);
    return positions.Status();
  }
  // The session tells the same as the acknowledgement, and what is on disk.
  static void ExpectSame(v1::IngestCounters told, const v1::IngestCounters& acknowledged) {
    told.clear_durable_watermark();
    EXPECT_EQ(told.ShortDebugString(), acknowledged.ShortDebugString());
  }
  // Counters after one spoilt batch of two frames and one good one: the stream goes on.
  v1::IngestCounters CountersAfter(const v1::SessionConfig& config,
                                   const v1::StreamFramesRequest& bad,
                                   const v1::StreamFramesRequest& good) {
    const std::string name = Create(config);
    FrameInput frames(api(), name);
    frames.Send(bad);
    frames.Send(good);
    EXPECT_THAT(frames.Finish(), IsOk());
    const v1::IngestCounters counters = frames.last_ack().counters();
    EXPECT_TRUE(AddsUp(counters));
    EXPECT_EQ(counters.accepted(), 1);
    ExpectSame(api().Get(name).value.frames(), counters);
    return counters;
  }
  v1::IngestCounters CountersAfter(const v1::SessionConfig& config,
                                   const v1::StreamPositionsRequest& bad,
                                   const v1::StreamPositionsRequest& good) {
    const std::string name = Create(config);
    PositionInput positions(api(), name);
    positions.Send(bad);
    positions.Send(good);
    EXPECT_THAT(positions.Finish(), IsOk());
    const v1::IngestCounters counters = positions.last_ack().counters();
    EXPECT_TRUE(AddsUp(counters));
    ExpectSame(api().Get(name).value.positions(), counters);
    return counters;
  }
};

}  // namespace ptychoserve::integration

#endif  // PTYCHOSERVE_TESTS_INTEGRATION_BAD_INPUT_TEST_H_
