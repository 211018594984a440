// Sessions as a resource: created, listed, changed, finished, stopped, deleted.

#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "tests/integration/server_test.h"

namespace ptychoserve::integration {
namespace {

using grpc::StatusCode;

class SessionLifeTest : public ServerTest {};

TEST_F(SessionLifeTest, ScanOverSeveralStreamsBecomesAFiniteResult) {
  const TestScan& scan = SmallScan();
  constexpr int kIterations = 12;
  const std::string name = Create(scan.StreamingConfig(kIterations));

  // Two streams of each kind through the client library: odd and even frames.
  const auto client = client::Client::Connect(server().address());
  ASSERT_TRUE(client.ok()) << client.status();
  const auto side = static_cast<std::uint32_t>(scan.side());
  const client::FrameFormat format{v1::DATA_TYPE_U16, side, side};
  std::vector<std::unique_ptr<client::FrameWriter>> frames;
  std::vector<std::unique_ptr<client::PositionWriter>> positions;
  for (int i = 0; i < 2; ++i) {
    frames.push_back((*client)->OpenFrameWriter(name, format));
    positions.push_back((*client)->OpenPositionWriter(name));
  }
  for (int j = 0; j < scan.points(); ++j) {
    const auto stream = static_cast<std::size_t>(j % 2);
    ASSERT_TRUE(frames[stream]->Push(j, std::as_bytes(std::span(scan.frame(j)))).ok());
    ASSERT_TRUE(positions[1 - stream]->Push(j, scan.x_m(j), scan.y_m(j)).ok());
  }
  for (std::size_t i = 0; i < 2; ++i) {
    ASSERT_TRUE(frames[i]->Close(kCallDeadline).ok());
    ASSERT_TRUE(positions[i]->Close(kCallDeadline).ok());
  }
  EXPECT_TRUE((*client)->FinishScan(name).ok());

  const v1::Session session = api().AwaitEnd(name).value;
  EXPECT_EQ(session.state(), v1::SESSION_STATE_COMPLETED) << session.failure();
  EXPECT_EQ(session.end_of_data(), v1::END_OF_DATA_FINISH_SCAN);
  EXPECT_EQ(session.completion(), v1::COMPLETION_IT_ENDS_AFTER);
  EXPECT_EQ(session.iterations_after_end(), kIterations);
  EXPECT_EQ(session.active_points(), scan.points());
  EXPECT_EQ(session.frames().accepted(), scan.points());
  EXPECT_EQ(session.frames().watermark(), scan.points() - 1);
  EXPECT_EQ(session.positions().watermark(), scan.points() - 1);
  EXPECT_TRUE(AddsUp(session.frames()));
  EXPECT_TRUE(AddsUp(session.positions()));
  EXPECT_GT(session.final_fit().r_factor(), 0);

  v1::SnapshotSelection all;
  for (const auto kind : {v1::ARRAY_KIND_OBJECT, v1::ARRAY_KIND_PROBE, v1::ARRAY_KIND_COVERAGE,
                          v1::ARRAY_KIND_POINTS, v1::ARRAY_KIND_HISTORY}) {
    all.add_arrays(kind);
  }
  const auto snapshot = (*client)->GetSnapshot(name, all);
  ASSERT_TRUE(snapshot.ok()) << snapshot.status();
  EXPECT_TRUE(snapshot->header.final());
  EXPECT_EQ(snapshot->header.iteration(), session.iteration());
  ASSERT_FALSE(snapshot->object.empty());
  for (const auto& value : snapshot->object.values) {
    ASSERT_TRUE(std::isfinite(value.real()) && std::isfinite(value.imag()));
  }
  EXPECT_EQ(snapshot->probe.shape, (std::vector<std::int64_t>{1, scan.side(), scan.side()}));
  EXPECT_EQ(snapshot->points.size(), static_cast<std::size_t>(scan.points()));
  ASSERT_EQ(snapshot->history.shape.size(), 2u);
  EXPECT_EQ(snapshot->history.shape[0], session.iteration());
}

TEST_F(SessionLifeTest, CreatingTheSameAgainAnswersTheSame) {
  const v1::SessionConfig config = SmallScan().Config(5);
  const auto first = api().Create(Id(), config);
  ASSERT_THAT(first.status, IsOk());
  const auto again = api().Create(Id(), config);
  ASSERT_THAT(again.status, IsOk());
  EXPECT_EQ(again.value.name(), first.value.name());
  EXPECT_EQ(again.value.create_time().nanos(), first.value.create_time().nanos());
  EXPECT_EQ(again.value.create_time().seconds(), first.value.create_time().seconds());
}

TEST_F(SessionLifeTest, EffectiveConfigurationHasAllDefaults) {
  v1::SessionConfig config = SmallScan().Config(5);
  config.clear_schedule();
  config.mutable_run()->clear_it_ends_after();
  const auto created = api().Create(Id(), config);
  ASSERT_THAT(created.status, IsOk());
  const v1::SessionConfig& effective = created.value.config();
  EXPECT_EQ(effective.schedule_size(), 3);
  EXPECT_EQ(effective.run().it_ends_after(), 60u);
  EXPECT_EQ(effective.scan().capacity(), static_cast<std::uint32_t>(SmallScan().points()));
  EXPECT_EQ(effective.detector().orientation(), v1::ORIENTATION_IDENTITY);
  EXPECT_TRUE(effective.probe().initial().data().empty()) << "large data are left out";
  EXPECT_GT(created.value.device_bytes(), 0);
  EXPECT_NEAR(created.value.pixel_size_y_m(), SmallScan().simulation().pixel_size().y_m, 1e-15);
}

TEST_F(SessionLifeTest, DeterministicSessionsRepeatEachBitWhateverTheOrderOfArrival) {
  // The default schedule, a probe that is updated, and frames for which a GPU has a faster way.
  static const TestScan scan(49, 64, 4);
  v1::SessionConfig config = scan.Config(12);
  config.clear_schedule();
  config.set_deterministic(true);
  const auto result_of = [&](const std::string& name) {
    const auto ended = api().AwaitEnd(name);
    EXPECT_EQ(ended.value.state(), v1::SESSION_STATE_COMPLETED) << ended.value.failure();
    EXPECT_TRUE(ended.value.config().deterministic());
    v1::GetSnapshotRequest request;
    request.set_name(name);
    for (const auto kind : {v1::ARRAY_KIND_OBJECT, v1::ARRAY_KIND_PROBE, v1::ARRAY_KIND_COVERAGE}) {
      request.mutable_selection()->add_arrays(kind);
    }
    const auto snapshot = api().Snapshot(request);
    EXPECT_THAT(snapshot.status, IsOk());
    EXPECT_FALSE(snapshot.value.object.empty());
    return std::vector<std::string>{Bytes(snapshot.value.object.values),
                                    Bytes(snapshot.value.probe.values),
                                    Bytes(snapshot.value.coverage.values)};
  };

  const std::string forward = Create(config, "forward");
  EXPECT_TRUE(api().Get(forward).value.config().deterministic());
  SendAll(forward, scan);

  const std::string backward = Create(config, "backward");
  {
    FrameInput frames(api(), backward);
    PositionInput positions(api(), backward);
    for (int j = scan.points() - 1; j >= 0; --j) EXPECT_TRUE(frames.Send(scan.Frames(j, 1)));
    EXPECT_THAT(frames.Finish(), IsOk());
    for (int j = scan.points() - 1; j >= 0; --j) EXPECT_TRUE(positions.Send(scan.Positions(j, 1)));
    EXPECT_THAT(positions.Finish(), IsOk());
  }
  EXPECT_TRUE(result_of(forward) == result_of(backward));
}

TEST_F(SessionLifeTest, ValidateOnlyPlansAndCreatesNothing) {
  const auto planned = api().Create(Id(), SmallScan().Config(5), /*validate_only=*/true);
  ASSERT_THAT(planned.status, IsOk());
  EXPECT_GT(planned.value.device_bytes(), 0);
  EXPECT_THAT(api().Get(Name()).status, FailsWith(StatusCode::NOT_FOUND, "SESSION_NOT_FOUND"));
}

TEST_F(SessionLifeTest, ServerMakesAnIdWhenNoneIsGiven) {
  const auto created = api().Create("", SmallScan().Config(5));
  ASSERT_THAT(created.status, IsOk());
  EXPECT_THAT(api().Get(created.value.name()).status, IsOk());
}

TEST_F(SessionLifeTest, ListGoesPageByPageInOrderOfNames) {
  std::set<std::string> expected;
  for (int i = 0; i < 5; ++i) expected.insert(Create(SmallScan().Config(5), std::to_string(i)));
  std::vector<std::string> names;
  std::string token;
  do {
    const auto page = api().List(2, token);
    ASSERT_THAT(page.status, IsOk());
    EXPECT_LE(page.value.sessions_size(), 2);
    for (const auto& session : page.value.sessions()) names.push_back(session.name());
    token = page.value.next_page_token();
  } while (!token.empty());
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), names.size());
  for (const std::string& name : expected) EXPECT_THAT(names, testing::Contains(name));
}

TEST_F(SessionLifeTest, PagesGoOnWhereADeletedSessionWas) {
  std::vector<std::string> created;
  for (int i = 0; i < 3; ++i) created.push_back(Create(SmallScan().Config(5), std::to_string(i)));
  const auto first = api().List(1000, "");
  ASSERT_THAT(first.status, IsOk());
  int before = 0;
  while (first.value.sessions(before).name() != created[0]) ++before;
  const auto page = api().List(before + 1, "");
  ASSERT_THAT(page.status, IsOk());
  EXPECT_THAT(api().Delete(created[0], /*force=*/true), IsOk());
  const auto next = api().List(1, page.value.next_page_token());
  ASSERT_THAT(next.status, IsOk());
  EXPECT_EQ(next.value.sessions(0).name(), created[1]);
}

struct Change {
  const char* path;
  void (*set)(v1::SessionConfig&);
  bool (*done)(const v1::SessionConfig&);
};

TEST_F(SessionLifeTest, EachLiveSettingCanBeChangedAlone) {
  const std::string name = Create(SmallScan().Config(5));
  const Change changes[] = {
      {"config.run.max_iterations", [](auto& c) { c.mutable_run()->set_max_iterations(1234); },
       [](const auto& c) { return c.run().max_iterations() == 1234; }},
      {"config.run.it_ends_after", [](auto& c) { c.mutable_run()->set_it_ends_after(77); },
       [](const auto& c) { return c.run().it_ends_after() == 77; }},
      {"config.snapshots.every_iterations",
       [](auto& c) { c.mutable_snapshots()->set_every_iterations(9); },
       [](const auto& c) { return c.snapshots().every_iterations() == 9; }},
      {"config.snapshots.min_interval_ms",
       [](auto& c) { c.mutable_snapshots()->set_min_interval_ms(321); },
       [](const auto& c) { return c.snapshots().min_interval_ms() == 321; }},
      {"config.snapshots.history", [](auto& c) { c.mutable_snapshots()->set_history(7); },
       [](const auto& c) { return c.snapshots().history() == 7; }},
      {"config.clear_region.enabled", [](auto& c) { c.mutable_clear_region()->set_enabled(true); },
       [](const auto& c) { return c.clear_region().enabled(); }},
      {"config.clear_region.min_pixels_per_point",
       [](auto& c) { c.mutable_clear_region()->set_min_pixels_per_point(5); },
       [](const auto& c) { return c.clear_region().min_pixels_per_point() == 5; }},
      {"config.snapshots", [](auto& c) { c.mutable_snapshots()->set_history(3); },
       [](const auto& c) { return c.snapshots().history() == 3; }},
      {"config.clear_region", [](auto& c) { c.mutable_clear_region()->set_enabled(false); },
       [](const auto& c) { return !c.clear_region().enabled(); }},
  };
  for (const Change& change : changes) {
    EXPECT_FALSE(change.done(api().Get(name).value.config())) << change.path;
    const auto updated = api().Update(name, {change.path}, change.set);
    EXPECT_THAT(updated.status, IsOk()) << change.path;
    EXPECT_TRUE(change.done(updated.value.config())) << change.path;
  }
  const v1::SessionConfig config = api().Get(name).value.config();
  EXPECT_EQ(config.run().max_iterations(), 1234u);
  EXPECT_EQ(config.snapshots().every_iterations(), 9u);
}

TEST_F(SessionLifeTest, FieldsOutsideTheMaskAreLeftAlone) {
  const std::string name = Create(SmallScan().Config(5));
  const auto updated = api().Update(name, {"config.run.max_iterations"}, [](v1::SessionConfig& c) {
    c.mutable_run()->set_max_iterations(50);
    c.mutable_run()->set_it_ends_after(99);
    c.mutable_scan()->set_capacity(1);
  });
  ASSERT_THAT(updated.status, IsOk());
  EXPECT_EQ(updated.value.config().run().max_iterations(), 50u);
  EXPECT_EQ(updated.value.config().run().it_ends_after(), 5u);
  EXPECT_EQ(updated.value.config().scan().capacity(),
            static_cast<std::uint32_t>(SmallScan().points()));
}

TEST_F(SessionLifeTest, RunCanBeMadeToEndWhileItIterates) {
  const std::string name = StartEndlessSession();
  ASSERT_THAT(api()
                  .Update(name, {"config.run.max_iterations"},
                          [](v1::SessionConfig& c) { c.mutable_run()->set_max_iterations(1); })
                  .status,
              IsOk());
  const v1::Session session = api().AwaitEnd(name).value;
  EXPECT_EQ(session.state(), v1::SESSION_STATE_COMPLETED);
  EXPECT_EQ(session.completion(), v1::COMPLETION_MAX_ITERATIONS);
  EXPECT_EQ(session.end_of_data(), v1::END_OF_DATA_UNSPECIFIED);
  EXPECT_TRUE(api().Snapshot(name).value.header.final());
}

TEST_F(SessionLifeTest, DeletedSessionIsForgottenAndItsMemoryFree) {
  const std::int64_t before = api().Info().value.devices(0).reserved_bytes();
  const std::string name = StartEndlessSession();
  const std::int64_t held = api().Info().value.devices(0).reserved_bytes();
  EXPECT_EQ(held - before, api().Get(name).value.device_bytes());
  EXPECT_GT(held, before);
  EXPECT_THAT(api().Delete(name, /*force=*/true), IsOk());
  EXPECT_EQ(api().Info().value.devices(0).reserved_bytes(), before);
  EXPECT_THAT(api().Get(name).status, FailsWith(StatusCode::NOT_FOUND, "SESSION_NOT_FOUND"));
  // The id is free for another session.
  EXPECT_THAT(api().Create(Id(), OtherScan().Config(3)).status, IsOk());
}

TEST_F(SessionLifeTest, EndedSessionIsDeletedWithoutForce) {
  RunScan(SmallScan(), 2);
  EXPECT_THAT(api().Delete(Name()), IsOk());
  EXPECT_THAT(api().Delete(Name()), FailsWith(StatusCode::NOT_FOUND, "SESSION_NOT_FOUND"));
}

TEST_F(SessionLifeTest, EndedSessionHoldsNoDeviceMemory) {
  const std::int64_t before = api().Info().value.devices(0).reserved_bytes();
  RunScan(SmallScan(), 2);
  api().Await(Name(), [](const v1::Session& s) { return s.device_bytes() == 0; });
  EXPECT_EQ(api().Info().value.devices(0).reserved_bytes(), before);
  EXPECT_FALSE(api().Snapshot(Name()).value.object.empty());
}

TEST_F(SessionLifeTest, FinishScanMayBeRepeated) {
  const std::string name = Create(SmallScan().StreamingConfig(5));
  SendAll(name, SmallScan());
  EXPECT_THAT(api().Finish(name).status, IsOk());
  EXPECT_THAT(api().Finish(name).status, IsOk());
  const v1::Session ended = api().AwaitEnd(name).value;
  EXPECT_EQ(ended.iterations_after_end(), 5);
  const auto after = api().Finish(name);
  EXPECT_THAT(after.status, IsOk());
  EXPECT_EQ(after.value.state(), v1::SESSION_STATE_COMPLETED);
  EXPECT_EQ(after.value.iteration(), ended.iteration());
}

TEST_F(SessionLifeTest, FinishScanWarnsWhenFramesAreMissing) {
  const std::string name = Create(SmallScan().StreamingConfig(2));
  SendAll(name, SmallScan());
  v1::FinishScanRequest request;
  request.set_name(name);
  request.set_expected_frames(SmallScan().points() + 1);
  v1::Session response;
  ASSERT_THAT(api().stub().FinishScan(Context().get(), request, &response), IsOk());
  const v1::Session session = api().AwaitEnd(name).value;
  ASSERT_EQ(session.warnings_size(), 1);
  EXPECT_THAT(session.warnings(0), testing::HasSubstr("expected 50 frames; 49"));
}

TEST_F(SessionLifeTest, IncompleteScanIsReportedAsPartial) {
  const TestScan& scan = SmallScan();
  v1::SessionConfig config = scan.Config(3);
  const std::string name = Create(config);
  PositionInput positions(api(), name);
  FrameInput frames(api(), name);
  positions.Send(scan.Positions(0, scan.points()));
  frames.Send(scan.Frames(0, scan.points() / 2));
  EXPECT_THAT(positions.Finish(), IsOk());
  EXPECT_THAT(frames.Finish(), IsOk());
  EXPECT_THAT(api().Finish(name).status, IsOk());
  const v1::Session session = api().AwaitEnd(name).value;
  EXPECT_EQ(session.state(), v1::SESSION_STATE_COMPLETED);
  EXPECT_TRUE(session.partial());
  EXPECT_EQ(session.active_points(), scan.points() / 2);
  EXPECT_EQ(session.positions_without_frame(), scan.points() - scan.points() / 2);
}

TEST_F(SessionLifeTest, IdleInputEndsTheDataByItself) {
  const TestScan& scan = SmallScan();
  v1::SessionConfig config = scan.Config(3);
  config.mutable_run()->set_idle_timeout_s(0.2);
  const std::string name = Create(config);
  PositionInput positions(api(), name);
  FrameInput frames(api(), name);
  positions.Send(scan.Positions(0, scan.points() / 2));
  frames.Send(scan.Frames(0, scan.points() / 2));
  const v1::Session session = api().AwaitEnd(name).value;
  EXPECT_EQ(session.state(), v1::SESSION_STATE_COMPLETED);
  EXPECT_EQ(session.end_of_data(), v1::END_OF_DATA_IDLE_TIMEOUT);
  EXPECT_TRUE(session.partial());
}

TEST_F(SessionLifeTest, ExpectedPointsEndTheData) {
  const v1::Session session = RunScan(SmallScan(), 4);
  EXPECT_EQ(session.state(), v1::SESSION_STATE_COMPLETED);
  EXPECT_EQ(session.end_of_data(), v1::END_OF_DATA_EXPECTED_POINTS);
  EXPECT_EQ(session.iteration(), 4);
  EXPECT_FALSE(session.partial());
}

TEST_F(SessionLifeTest, MaxIterationsEndARunWhileDataStillCome) {
  const TestScan& scan = SmallScan();
  v1::SessionConfig config = scan.StreamingConfig(100);
  config.mutable_run()->set_max_iterations(6);
  const std::string name = Create(config);
  PositionInput positions(api(), name);
  FrameInput frames(api(), name);
  positions.Send(scan.Positions(0, 20));
  frames.Send(scan.Frames(0, 20));
  const v1::Session session = api().AwaitEnd(name).value;
  EXPECT_EQ(session.completion(), v1::COMPLETION_MAX_ITERATIONS);
  EXPECT_EQ(session.iteration(), 6);
  const auto snapshot = api().Snapshot(name);
  ASSERT_THAT(snapshot.status, IsOk());
  EXPECT_TRUE(snapshot.value.header.final());
  EXPECT_EQ(snapshot.value.header.iteration(), 6);
}

TEST_F(SessionLifeTest, NothingIteratesBelowTheStartThreshold) {
  const TestScan& scan = SmallScan();
  v1::SessionConfig config = scan.StreamingConfig(3);
  config.mutable_run()->set_min_points_to_start(20);
  const std::string name = Create(config);
  PositionInput positions(api(), name);
  FrameInput frames(api(), name);
  positions.Send(scan.Positions(0, scan.points()));
  frames.Send(scan.Frames(0, 19));
  ASSERT_TRUE(frames.AwaitBatches(1));
  const v1::Session waiting = api()
                                  .Await(name,
                                         [](const v1::Session& s) {
                                           return s.joined_points() == 19 && s.staged_frames() == 0;
                                         })
                                  .value;
  EXPECT_EQ(waiting.state(), v1::SESSION_STATE_RECEIVING);
  EXPECT_EQ(waiting.iteration(), 0);
  frames.Send(scan.Frames(19, 1));
  const v1::Session started =
      api().Await(name, [](const v1::Session& s) { return s.iteration() > 0; }).value;
  EXPECT_EQ(started.state(), v1::SESSION_STATE_RECONSTRUCTING);
  EXPECT_EQ(started.active_points(), 20);
}

TEST_F(SessionLifeTest, SnapshotHistoryDoesNotChangeTheRun) {
  std::vector<std::int64_t> iterations;
  for (const std::uint32_t history : {1u, 8u}) {
    v1::SessionConfig config = SmallScan().Config(20);
    config.mutable_snapshots()->set_history(history);
    const std::string name = Create(config, std::to_string(history));
    SendAll(name, SmallScan());
    iterations.push_back(api().AwaitEnd(name).value.iteration());
  }
  EXPECT_EQ(iterations, (std::vector<std::int64_t>{20, 20}));
}

TEST_F(SessionLifeTest, StoppingKeepsAFinalResultAndCannotBeRepeated) {
  const std::string name = StartEndlessSession();
  const auto begin = std::chrono::steady_clock::now();
  const auto stopped = api().Stop(name);
  ASSERT_THAT(stopped.status, IsOk());
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
  EXPECT_EQ(stopped.value.state(), v1::SESSION_STATE_STOPPED);
  EXPECT_EQ(stopped.value.completion(), v1::COMPLETION_STOPPED);
  EXPECT_GT(stopped.value.final_fit().r_factor(), 0);
  const auto snapshot = api().Snapshot(name);
  ASSERT_THAT(snapshot.status, IsOk());
  EXPECT_TRUE(snapshot.value.header.final());
  EXPECT_EQ(snapshot.value.header.iteration(), stopped.value.iteration());
  EXPECT_THAT(api().Stop(name).status, FailsWith(StatusCode::FAILED_PRECONDITION, "SESSION_ENDED"));
}

TEST_F(SessionLifeTest, AbortKeepsTheLastSnapshotAsItWas) {
  const std::string name = StartEndlessSession();
  // From here on no snapshot is taken by itself.
  ASSERT_THAT(api()
                  .Update(name, {"config.snapshots.every_iterations"},
                          [](auto& c) { c.mutable_snapshots()->set_every_iterations(1'000'000); })
                  .status,
              IsOk());
  const std::int64_t iteration = api().Get(name).value.iteration();
  api().Await(name, [&](const auto& s) { return s.iteration() >= iteration + 5; });
  const auto before = api().Snapshot(name);
  const auto stopped = api().Stop(name, v1::StopSessionRequest::MODE_ABORT);
  ASSERT_THAT(stopped.status, IsOk());
  EXPECT_EQ(stopped.value.state(), v1::SESSION_STATE_STOPPED);
  const auto after = api().Snapshot(name);
  EXPECT_EQ(after.value.header.version(), before.value.header.version());
  EXPECT_EQ(after.value.object.values, before.value.object.values);
  EXPECT_FALSE(after.value.header.final());
}

TEST_F(SessionLifeTest, SessionThatNeverStartedCanBeStopped) {
  const std::string name = Create(SmallScan().Config(5));
  const auto stopped = api().Stop(name);
  ASSERT_THAT(stopped.status, IsOk());
  EXPECT_EQ(stopped.value.state(), v1::SESSION_STATE_STOPPED);
  EXPECT_EQ(stopped.value.snapshot_version(), 0);
}

TEST_F(SessionLifeTest, RefusedConfigurationLeavesTheSessionAsItWas) {
  const std::string name = Create(SmallScan().Config(5));
  v1::SessionConfig bad = SmallScan().Config(5);
  bad.mutable_object()->set_padding_px(1);
  EXPECT_THAT(api().Create(Id(), bad).status,
              FailsWith(StatusCode::INVALID_ARGUMENT, "INVALID_CONFIG"));
  EXPECT_EQ(api().Get(name).value.config().object().padding_px(), 4u);
  EXPECT_THAT(api().Create(Id("new"), bad).status,
              FailsWith(StatusCode::INVALID_ARGUMENT, "INVALID_CONFIG"));
  EXPECT_THAT(api().Get(Name("new")).status, FailsWith(StatusCode::NOT_FOUND, "SESSION_NOT_FOUND"));
}

TEST_F(SessionLifeTest, WarmStartProbeIsTakenAsItIs) {
  v1::SessionConfig config = SmallScan().Config(2);
  config.mutable_probe()->set_frozen(true);
  const std::string name = Create(config);
  SendAll(name, SmallScan());
  ASSERT_EQ(api().AwaitEnd(name).value.state(), v1::SESSION_STATE_COMPLETED);
  const auto snapshot = api().Snapshot(name);
  ASSERT_THAT(snapshot.status, IsOk());
  EXPECT_EQ(Bytes(snapshot.value.probe.values), config.probe().initial().data());
}

}  // namespace
}  // namespace ptychoserve::integration
