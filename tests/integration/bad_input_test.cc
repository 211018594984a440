// Bad requests, and the limits of the server; what is wrong with input streams is in
// bad_stream_test.cc.

#include "tests/integration/bad_input_test.h"

#include <cstring>

#include "absl/strings/str_cat.h"

namespace ptychoserve::integration {
namespace {

using grpc::StatusCode;
using testing::HasSubstr;

// ---- CreateSession ---------------------------------------------------------------------------

TEST_F(BadInputTest, SessionIdThatIsNotOne) {
  for (const std::string& id :
       {std::string("Upper"), std::string("a/b"), std::string("a b"), std::string(64, 'a')}) {
    const grpc::Status status = api().Create(id, SmallScan().Config(1)).status;
    EXPECT_THAT(status, FailsWith(StatusCode::INVALID_ARGUMENT, kInvalidRequest)) << id;
    EXPECT_THAT(status, BlamesField("session_id", "[a-z0-9-]{1,63}"));
  }
}

TEST_F(BadInputTest, ConfigurationMissing) {
  v1::CreateSessionRequest request;
  request.set_session_id(Id());
  v1::Session response;
  const grpc::Status status = api().stub().CreateSession(Context().get(), request, &response);
  EXPECT_THAT(status, FailsWith(StatusCode::INVALID_ARGUMENT, kInvalidConfig));
  EXPECT_THAT(status, BlamesField("config", "required"));
}

TEST_F(BadInputTest, RequiredFieldsMissing) {
  v1::SessionConfig empty;
  empty.mutable_snapshots();
  const grpc::Status status = api().Create(Id(), empty).status;
  EXPECT_THAT(status, FailsWith(StatusCode::INVALID_ARGUMENT, kInvalidConfig));
  // All of them at once, so that one attempt is enough to mend them.
  for (const char* field : {"optics.source", "optics.distance_m", "optics.detector_pixel_size_y_m",
                            "detector.dtype", "detector.frame_shape.rows"}) {
    EXPECT_THAT(status, BlamesField(field, "")) << field;
  }
}

struct Spoiler {
  const char* field;
  void (*spoil)(v1::SessionConfig&);
};

TEST_F(BadInputTest, ConfigurationOutOfRange) {
  const Spoiler spoilers[] = {
      {"optics.wavelength_m", [](auto& c) { c.mutable_optics()->set_wavelength_m(-1e-10); }},
      {"optics.distance_m", [](auto& c) { c.mutable_optics()->set_distance_m(kNan); }},
      {"detector.frame_shape.rows",
       [](auto& c) { c.mutable_detector()->mutable_frame_shape()->set_rows(4'000'000'000u); }},
      {"detector.frame_shape.cols",
       [](auto& c) { c.mutable_detector()->mutable_frame_shape()->set_cols(7); }},
      {"detector.saturation_counts",
       [](auto& c) { c.mutable_detector()->set_saturation_counts(kNan); }},
      {"scan.capacity", [](auto& c) { c.mutable_scan()->set_capacity(16'777'217); }},
      {"scan.y_sign", [](auto& c) { c.mutable_scan()->set_y_sign(2); }},
      {"scan.first_frame_id", [](auto& c) { c.mutable_scan()->set_first_frame_id(-1); }},
      {"scan.out_of_canvas",
       [](auto& c) { c.mutable_scan()->set_out_of_canvas(v1::OUT_OF_CANVAS_CLAMP); }},
      {"scan.bounds.y_max_m",
       [](auto& c) { c.mutable_scan()->mutable_bounds()->set_y_min_m(1e-6); }},
      {"object.initial_amplitude", [](auto& c) { c.mutable_object()->set_initial_amplitude(0); }},
      {"object.padding_px", [](auto& c) { c.mutable_object()->set_padding_px(1); }},
      {"object.max_pixels", [](auto& c) { c.mutable_object()->set_max_pixels(~0ull); }},
      {"schedule[0].difference_map.beta",
       [](auto& c) { c.mutable_schedule(0)->mutable_difference_map()->set_beta(3); }},
      {"schedule[0].algorithm", [](auto& c) { c.mutable_schedule(0)->clear_difference_map(); }},
      {"run.idle_timeout_s", [](auto& c) { c.mutable_run()->set_idle_timeout_s(-1); }},
      {"snapshots.history", [](auto& c) { c.mutable_snapshots()->set_history(65); }},
      {"clear_region.min_pixels_per_point",
       [](auto& c) { c.mutable_clear_region()->set_min_pixels_per_point(0); }},
  };
  for (const Spoiler& s : spoilers) {
    const grpc::Status status = CreateSpoilt(s.spoil);
    EXPECT_THAT(status, FailsWith(StatusCode::INVALID_ARGUMENT, kInvalidConfig)) << s.field;
    EXPECT_THAT(status, BlamesField(s.field, "")) << s.field;
    EXPECT_EQ(DetailsOf(status).field_violations.size(), 1u) << Describe(status);
  }
}

TEST_F(BadInputTest, EnumerationValueUnknown) {
  const grpc::Status status = CreateSpoilt(
      [](auto& c) { c.mutable_detector()->set_orientation(static_cast<v1::Orientation>(99)); });
  EXPECT_THAT(status, FailsWith(StatusCode::INVALID_ARGUMENT, kInvalidConfig));
  EXPECT_THAT(status, BlamesField("detector.orientation", "99"));
}

TEST_F(BadInputTest, ConfigurationFieldUnknown) {
  const grpc::Status status = CreateSpoilt([](v1::SessionConfig& c) {
    constexpr int kUnknownField = 1000;
    c.mutable_scan()
        ->GetReflection()
        ->MutableUnknownFields(c.mutable_scan())
        ->AddVarint(kUnknownField, 1);
  });
  EXPECT_THAT(status, FailsWith(StatusCode::INVALID_ARGUMENT, kInvalidConfig));
  EXPECT_THAT(status, BlamesField("scan", "1000"));
}

TEST_F(BadInputTest, MillionStages) {
  const grpc::Status status = CreateSpoilt([](v1::SessionConfig& c) {
    for (int i = 0; i < 1'000'000; ++i) c.add_schedule();
  });
  EXPECT_THAT(status, FailsWith(StatusCode::INVALID_ARGUMENT, kInvalidConfig));
  EXPECT_THAT(status, BlamesField("schedule", "at most 16"));
}

TEST_F(BadInputTest, ProbeWithMoreModesThanAskedFor) {
  const grpc::Status status = CreateSpoilt([](v1::SessionConfig& c) {
    c.mutable_probe()->set_modes(2);
    v1::ComplexArray& probe = *c.mutable_probe()->mutable_initial();
    probe.set_modes(3);
    *probe.mutable_data() += probe.data() + probe.data();
  });
  EXPECT_THAT(status, FailsWith(StatusCode::INVALID_ARGUMENT, kInvalidConfig));
  EXPECT_THAT(status, BlamesField("probe.initial", "set probe.modes to at least 3"));
}

TEST_F(BadInputTest, ProbeOfTheWrongShape) {
  const grpc::Status status = CreateSpoilt([](v1::SessionConfig& c) {
    v1::ComplexArray& probe = *c.mutable_probe()->mutable_initial();
    probe.mutable_shape()->set_rows(16);
    probe.mutable_shape()->set_cols(16);
    probe.mutable_data()->resize(16 * 16 * 8);
  });
  EXPECT_THAT(status, FailsWith(StatusCode::INVALID_ARGUMENT, kInvalidConfig));
  EXPECT_THAT(status, BlamesField("probe.initial", "16 x 16"));
  EXPECT_THAT(CreateSpoilt([](v1::SessionConfig& c) {
                c.mutable_probe()->mutable_initial()->mutable_data()->pop_back();
              }),
              BlamesField("probe.initial.data", "8191 bytes"));
}

TEST_F(BadInputTest, ProbeThatIsNotFinite) {
  const grpc::Status status = CreateSpoilt([](v1::SessionConfig& c) {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    std::memcpy(c.mutable_probe()->mutable_initial()->mutable_data()->data() + 800, &nan,
                sizeof nan);
  });
  EXPECT_THAT(status, FailsWith(StatusCode::INVALID_ARGUMENT, kInvalidConfig));
  EXPECT_THAT(status, BlamesField("probe.initial", "NaN"));
}

TEST_F(BadInputTest, BadPixelMaskOfTheWrongSize) {
  const grpc::Status status =
      CreateSpoilt([](auto& c) { c.mutable_detector()->set_bad_pixels(std::string(100, '\0')); });
  EXPECT_THAT(status, FailsWith(StatusCode::INVALID_ARGUMENT, kInvalidConfig));
  EXPECT_THAT(status, BlamesField("detector.bad_pixels", "1024"));
}

TEST_F(BadInputTest, SessionExistsWithAnotherConfiguration) {
  Create(SmallScan().Config(1));
  const grpc::Status status = api().Create(Id(), SmallScan().Config(2)).status;
  EXPECT_THAT(status, FailsWith(StatusCode::ALREADY_EXISTS, "SESSION_EXISTS"));
  EXPECT_EQ(DetailsOf(status).resource_name, Name());
}

TEST_F(BadInputTest, SessionThatCanNeverFit) {
  const grpc::Status status = CreateSpoilt([](v1::SessionConfig& c) {
    c.mutable_detector()->mutable_frame_shape()->set_rows(4096);
    c.mutable_detector()->mutable_frame_shape()->set_cols(4096);
    c.mutable_probe()->clear_initial();
    c.mutable_object()->set_max_pixels(1u << 26);
    c.mutable_scan()->set_capacity(16'777'216);
  });
  EXPECT_THAT(status, FailsWith(StatusCode::RESOURCE_EXHAUSTED, "DEVICE_MEMORY"));
  const client::ErrorDetails details = DetailsOf(status);
  for (const char* key : {"needed_bytes", "free_bytes", "usable_bytes", "device"}) {
    EXPECT_TRUE(details.metadata.contains(key)) << key;
  }
  EXPECT_GT(std::stod(details.metadata.at("needed_bytes")),
            std::stod(details.metadata.at("usable_bytes")));
  EXPECT_FALSE(details.retry_after_s.has_value()) << "to wait would be in vain";
}

// ---- Calls about a session -------------------------------------------------------------------

TEST_F(BadInputTest, SessionUnknown) {
  const std::string name = Name();
  const auto not_found = FailsWith(StatusCode::NOT_FOUND, "SESSION_NOT_FOUND");
  EXPECT_THAT(api().Get(name).status, not_found);
  EXPECT_EQ(DetailsOf(api().Get(name).status).resource_name, name);
  EXPECT_THAT(api().Update(name, {"config.run.max_iterations"}, [](auto&) {}).status, not_found);
  EXPECT_THAT(api().Delete(name), not_found);
  EXPECT_THAT(api().Finish(name).status, not_found);
  EXPECT_THAT(api().Stop(name).status, not_found);
  EXPECT_THAT(FrameInput(api(), name).Status(), not_found);
  EXPECT_THAT(PositionInput(api(), name).Status(), not_found);
  v1::GetSnapshotRequest snapshot;
  snapshot.set_name(name);
  auto context = Context();
  EXPECT_THAT(api().stub().GetSnapshot(context.get(), snapshot)->Finish(), not_found);
  v1::WatchSnapshotsRequest snapshots;
  snapshots.set_name(name);
  context = Context();
  EXPECT_THAT(api().stub().WatchSnapshots(context.get(), snapshots)->Finish(), not_found);
  v1::WatchSessionRequest events;
  events.set_name(name);
  context = Context();
  EXPECT_THAT(api().stub().WatchSession(context.get(), events)->Finish(), not_found);
}

TEST_F(BadInputTest, NameThatIsNotOne) {
  for (const std::string& name : {std::string(), std::string("scan"), std::string("sessions/"),
                                  std::string("sessions/A"), std::string(1 << 20, 'x')}) {
    const grpc::Status status = api().Get(name).status;
    EXPECT_THAT(status, FailsWith(StatusCode::INVALID_ARGUMENT, kInvalidRequest));
    EXPECT_THAT(status, BlamesField("name", "sessions/{session_id}"));
  }
}

TEST_F(BadInputTest, UpdateMaskMissingOrOfFixedFields) {
  const std::string name = Create(SmallScan().Config(1));
  const auto change = [](v1::SessionConfig& c) { c.mutable_scan()->set_capacity(10); };
  EXPECT_THAT(api().Update(name, {}, change).status, BlamesField("update_mask", "empty"));
  for (const char* path : {"config.scan.capacity", "config", "config.run", "name", "state",
                           "config.run.idle_timeout_s", "config.run.max_iterations.x"}) {
    const grpc::Status status = api().Update(name, {path}, change).status;
    EXPECT_THAT(status, FailsWith(StatusCode::INVALID_ARGUMENT, kInvalidRequest)) << path;
    EXPECT_THAT(status, BlamesField("update_mask", path));
  }
  EXPECT_EQ(api().Get(name).value.config().scan().capacity(),
            static_cast<std::uint32_t>(SmallScan().points()));
}

TEST_F(BadInputTest, UpdateOutOfRange) {
  const std::string name = Create(SmallScan().Config(1));
  const grpc::Status status = api()
                                  .Update(name, {"config.snapshots.history"},
                                          [](auto& c) { c.mutable_snapshots()->set_history(65); })
                                  .status;
  EXPECT_THAT(status, FailsWith(StatusCode::INVALID_ARGUMENT, kInvalidRequest));
  EXPECT_THAT(status, BlamesField("session.config.snapshots.history", "65"));
  EXPECT_EQ(api().Get(name).value.config().snapshots().history(), 1u);
}

TEST_F(BadInputTest, UpdateOfAnEndedSession) {
  RunScan(SmallScan(), 1);
  EXPECT_THAT(api()
                  .Update(Name(), {"config.run.max_iterations"},
                          [](auto& c) { c.mutable_run()->set_max_iterations(5); })
                  .status,
              FailsWith(StatusCode::FAILED_PRECONDITION, "SESSION_ENDED"));
}

TEST_F(BadInputTest, DeletionOfASessionThatRuns) {
  const std::string name = Create(SmallScan().Config(1));
  const grpc::Status status = api().Delete(name);
  EXPECT_THAT(status, FailsWith(StatusCode::FAILED_PRECONDITION, "SESSION_ACTIVE"));
  EXPECT_THAT(status.error_message(), HasSubstr("force"));
  EXPECT_THAT(api().Get(name).status, IsOk());
}

TEST_F(BadInputTest, StopOfAnEndedSession) {
  RunScan(SmallScan(), 1);
  EXPECT_THAT(api().Stop(Name()).status,
              FailsWith(StatusCode::FAILED_PRECONDITION, "SESSION_ENDED"));
}

TEST_F(BadInputTest, StopModeUnknown) {
  const std::string name = Create(SmallScan().Config(1));
  const grpc::Status status = api().Stop(name, static_cast<v1::StopSessionRequest::Mode>(9)).status;
  EXPECT_THAT(status, FailsWith(StatusCode::INVALID_ARGUMENT, kInvalidRequest));
  EXPECT_THAT(status, BlamesField("mode", "9"));
}

TEST_F(BadInputTest, FinishScanOfAStoppedSession) {
  const std::string name = Create(SmallScan().Config(1));
  ASSERT_THAT(api().Stop(name).status, IsOk());
  EXPECT_THAT(api().Finish(name).status,
              FailsWith(StatusCode::FAILED_PRECONDITION, "SESSION_ENDED"));
}

TEST_F(BadInputTest, FinishScanWithANegativeCount) {
  v1::FinishScanRequest request;
  request.set_name(Create(SmallScan().Config(1)));
  request.set_expected_frames(-1);
  v1::Session response;
  const grpc::Status status = api().stub().FinishScan(Context().get(), request, &response);
  EXPECT_THAT(status, FailsWith(StatusCode::INVALID_ARGUMENT, kInvalidRequest));
  EXPECT_THAT(status, BlamesField("expected_frames", "-1"));
}

TEST_F(BadInputTest, PageTokenThatIsNotOne) {
  for (const char* token : {"x", "%%%%", "YWZ0ZXI6QQ=="}) {
    const grpc::Status status = api().List(10, token).status;
    EXPECT_THAT(status, FailsWith(StatusCode::INVALID_ARGUMENT, kInvalidRequest)) << token;
    EXPECT_THAT(status, BlamesField("page_token", ""));
  }
  EXPECT_THAT(api().List(-1, "").status, BlamesField("page_size", "-1"));
}

TEST_F(BadInputTest, SnapshotVersionThatIsNotKept) {
  RunScan(SmallScan(), 1);
  v1::GetSnapshotRequest request;
  request.set_name(Name());
  request.set_version(12345);
  const grpc::Status status = api().Snapshot(request).status;
  EXPECT_THAT(status, FailsWith(StatusCode::NOT_FOUND, "SNAPSHOT_NOT_FOUND"));
}

TEST_F(BadInputTest, SnapshotRequestOutOfRange) {
  const std::string name = Create(SmallScan().Config(1));
  const auto status_of = [&](const std::function<void(v1::GetSnapshotRequest&)>& spoil) {
    v1::GetSnapshotRequest request;
    request.set_name(name);
    spoil(request);
    const grpc::Status status = api().Snapshot(request).status;
    EXPECT_THAT(status, FailsWith(StatusCode::INVALID_ARGUMENT, kInvalidRequest));
    return status;
  };
  EXPECT_THAT(status_of([](auto& r) { r.set_version(-1); }), BlamesField("version", "-1"));
  EXPECT_THAT(status_of([](auto& r) { r.set_not_newer_than(-2); }),
              BlamesField("not_newer_than", "-2"));
  EXPECT_THAT(status_of([](auto& r) { r.set_wait_ms(60'001); }), BlamesField("wait_ms", "60001"));
  EXPECT_THAT(status_of([](auto& r) { r.mutable_selection()->set_downsample(65); }),
              BlamesField("selection.downsample", "65"));
  EXPECT_THAT(status_of([](auto& r) { r.mutable_selection()->set_coverage_threshold(kNan); }),
              BlamesField("selection.coverage_threshold", "nan"));
  EXPECT_THAT(status_of([](auto& r) { r.mutable_selection()->add_arrays(v1::ArrayKind(17)); }),
              BlamesField("selection.arrays[0]", "17"));
  EXPECT_THAT(status_of([](auto& r) {
                for (int i = 0; i < 1'000'000; ++i) {
                  r.mutable_selection()->add_arrays(v1::ARRAY_KIND_OBJECT);
                }
              }),
              BlamesField("selection.arrays[1]", "twice"));
}

TEST_F(BadInputTest, FrameThatIsNotThere) {
  const std::string name = Create(SmallScan().Config(1));
  v1::GetFrameRequest request;
  request.set_name(name);
  EXPECT_THAT(api().Frame(request).status, FailsWith(StatusCode::NOT_FOUND, "FRAME_NOT_FOUND"));
  SendAll(name, SmallScan());
  api().AwaitEnd(name);
  const Result<client::FrameView> last = api().Frame(request);
  ASSERT_THAT(last.status, IsOk());
  request.set_frame_id(last.value.header.frame_id() - 1);
  const grpc::Status status = api().Frame(request).status;
  EXPECT_THAT(status, FailsWith(StatusCode::FAILED_PRECONDITION, "FRAME_NOT_KEPT"));
  EXPECT_THAT(status.error_message(),
              testing::HasSubstr(absl::StrCat("frame ", last.value.header.frame_id())));
  request.set_downsample(65);
  EXPECT_THAT(api().Frame(request).status, BlamesField("downsample", "65"));
}

TEST_F(BadInputTest, WatchIntervalOutOfRange) {
  const std::string name = Create(SmallScan().Config(1));
  v1::WatchSessionRequest events;
  events.set_name(name);
  events.set_min_interval_ms(60'001);
  auto context = Context();
  EXPECT_THAT(api().stub().WatchSession(context.get(), events)->Finish(),
              BlamesField("min_interval_ms", "60001"));
  v1::WatchSnapshotsRequest snapshots;
  snapshots.set_name(name);
  snapshots.set_min_interval_ms(60'001);
  context = Context();
  EXPECT_THAT(api().stub().WatchSnapshots(context.get(), snapshots)->Finish(),
              BlamesField("min_interval_ms", "60001"));
}

// ---- Limits of the server --------------------------------------------------------------------

class LimitsTest : public ServerTest {
 protected:
  static void SetUpTestSuite() {
    StartServer({"--max-sessions", "2", "--cpu-memory-limit", "64MB", "--open-timeout-s", "1"});
  }
  void TearDown() override {
    const auto left = api().List(1000, "");
    for (const auto& s : left.value.sessions()) {
      EXPECT_THAT(api().Delete(s.name(), /*force=*/true), IsOk());
    }
  }
};

TEST_F(LimitsTest, SessionsBeyondTheLimit) {
  Create(SmallScan().Config(1), "a");
  Create(SmallScan().Config(1), "b");
  const grpc::Status status = api().Create(Id("c"), SmallScan().Config(1)).status;
  EXPECT_THAT(status, FailsWith(StatusCode::RESOURCE_EXHAUSTED, "SESSION_LIMIT"));
  EXPECT_EQ(DetailsOf(status).metadata.at("limit"), "2");
  ASSERT_EQ(DetailsOf(status).quota_violations.size(), 1u);
  EXPECT_THAT(api().Create(Id("b"), SmallScan().Config(1)).status, IsOk()) << "it is there";
  EXPECT_THAT(api().Delete(Name("a"), /*force=*/true), IsOk());
  EXPECT_THAT(api().Create(Id("c"), SmallScan().Config(1)).status, IsOk());
}

TEST_F(LimitsTest, SessionThatDoesNotFitNow) {
  v1::SessionConfig config = SmallScan().StreamingConfig(1);
  config.mutable_scan()->set_capacity(3000);  // More than half of what there is.
  const auto first = api().Create(Id("a"), config);
  ASSERT_THAT(first.status, IsOk());
  const grpc::Status status = api().Create(Id("b"), config).status;
  EXPECT_THAT(status, FailsWith(StatusCode::RESOURCE_EXHAUSTED, "DEVICE_MEMORY"));
  const client::ErrorDetails details = DetailsOf(status);
  EXPECT_EQ(details.metadata.at("needed_bytes"), absl::StrCat(first.value.device_bytes()));
  EXPECT_EQ(details.metadata.at("free_bytes"),
            absl::StrCat((64 << 20) - first.value.device_bytes()));
  EXPECT_TRUE(details.retry_after_s.has_value()) << "it may fit later";
  EXPECT_THAT(api().Delete(Name("a"), /*force=*/true), IsOk());
  EXPECT_THAT(api().Create(Id("b"), config).status, IsOk());
}

TEST(ServerLimitsTest, StreamsBeyondTheLimit) {
  const auto server = ServerProcess::Start({"--max-streams", "2"});
  ASSERT_NE(server, nullptr);
  Api api(server->address());
  const std::string name = api.Create("a", SmallScan().Config(1)).value.name();
  auto frames = std::make_unique<FrameInput>(api, name);
  PositionInput positions(api, name);
  ASSERT_TRUE(frames->AwaitBatches(0));
  ASSERT_TRUE(positions.AwaitBatches(0));
  FrameInput third(api, name);
  EXPECT_THAT(third.Status(), FailsWith(StatusCode::RESOURCE_EXHAUSTED, "STREAM_LIMIT"));
  const auto context = Context();
  v1::WatchSessionRequest watch;
  watch.set_name(name);
  const auto events = api.stub().WatchSession(context.get(), watch);
  v1::SessionEvent event;
  EXPECT_FALSE(events->Read(&event));
  EXPECT_THAT(events->Finish(), FailsWith(StatusCode::RESOURCE_EXHAUSTED, "STREAM_LIMIT"));
  EXPECT_THAT(api.Get(name).status, IsOk()) << "calls that do not stay open go on";
  EXPECT_THAT(frames->Finish(), IsOk());
  FrameInput after(api, name);
  EXPECT_TRUE(after.AwaitBatches(0));
  EXPECT_EQ(api.Info().value.max_streams(), 2u);
}

TEST(ServerLimitsTest, StagingMemoryBeyondTheLimit) {
  const auto server = ServerProcess::Start({"--host-memory-limit", "1MB"});
  ASSERT_NE(server, nullptr);
  Api api(server->address());
  v1::SessionConfig config = SmallScan().StreamingConfig(1);
  config.mutable_scan()->set_capacity(300);  // Of 2 KiB each.
  ASSERT_THAT(api.Create("a", config).status, IsOk());
  const grpc::Status refused = api.Create("b", config).status;
  EXPECT_THAT(refused, FailsWith(StatusCode::RESOURCE_EXHAUSTED, "DEVICE_MEMORY"));
  EXPECT_THAT(refused.error_message(), testing::HasSubstr("host"));
  EXPECT_GT(api.Info().value.host_memory_reserved_bytes(), 0u);
  EXPECT_THAT(api.Delete("sessions/a", /*force=*/true), IsOk());
  EXPECT_EQ(api.Info().value.host_memory_reserved_bytes(), 0u);
  EXPECT_THAT(api.Create("b", config).status, IsOk());
}

TEST_F(LimitsTest, StreamThatSaysNothing) {
  FrameInput frames(api());
  EXPECT_THAT(frames.Status(), FailsWith(StatusCode::DEADLINE_EXCEEDED, "FIRST_MESSAGE_TIMEOUT"));
  PositionInput positions(api());
  EXPECT_THAT(positions.Status(),
              FailsWith(StatusCode::DEADLINE_EXCEEDED, "FIRST_MESSAGE_TIMEOUT"));
}

}  // namespace
}  // namespace ptychoserve::integration
