// Starting and ending: every test has a server of its own.

#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>

#include "absl/strings/str_cat.h"
#include "tests/integration/server_test.h"

namespace ptychoserve::integration {
namespace {

using testing::HasSubstr;

// ---- Starting --------------------------------------------------------------------------------

TEST(StartTest, HelpTeachesAndEndsWithZero) {
  const FinishedServer help = RunServer({"--help"});
  EXPECT_EQ(help.exit_code, 0);
  for (const char* text : {"--listen", "--device", "--staging-bytes", "PTYCHOSERVED_LISTEN",
                           "configuration file", "ptychoctl run"}) {
    EXPECT_THAT(help.output, HasSubstr(text));
  }
}

TEST(StartTest, VersionIsPrinted) {
  const FinishedServer version = RunServer({"--version"});
  EXPECT_EQ(version.exit_code, 0);
  EXPECT_THAT(version.output, HasSubstr("ptychoserved "));
}

TEST(StartTest, UnknownFlagIsRefusedByName) {
  const FinishedServer server = RunServer({"--no-such-flag"});
  EXPECT_NE(server.exit_code, 0);
  EXPECT_THAT(server.output, HasSubstr("--no-such-flag"));
}

TEST(StartTest, ValueOutOfRangeIsRefusedByName) {
  const FinishedServer server = RunServer({"--max-sessions", "0"});
  EXPECT_NE(server.exit_code, 0);
  EXPECT_THAT(server.output, HasSubstr("--max-sessions"));
}

TEST(StartTest, AddressOfOtherMachinesNeedsConsent) {
  const FinishedServer server = RunServer({"--listen", "0.0.0.0:0"});
  EXPECT_EQ(server.exit_code, 1);
  EXPECT_THAT(server.output, HasSubstr("--allow-insecure"));
}

TEST(StartTest, UnknownDeviceIsRefusedByName) {
  const FinishedServer server = RunServer({"--listen", "127.0.0.1:0", "--device", "cuda:99"});
  EXPECT_EQ(server.exit_code, 1);
  EXPECT_THAT(server.output, HasSubstr("cuda:99"));
}

TEST(StartTest, TakenPortIsAClearError) {
  const auto first = ServerProcess::Start();
  ASSERT_NE(first, nullptr);
  const FinishedServer second =
      RunServer({"--listen", first->address(), "--device", "cpu", "--threads", "1"});
  EXPECT_EQ(second.exit_code, 1);
  EXPECT_THAT(second.output, HasSubstr(absl::StrCat("cannot listen on ", first->address())));
  EXPECT_THAT(Api(first->address()).Info().status, IsOk()) << "the first one must go on";
  EXPECT_EQ(first->Terminate(), 0);
}

TEST(StartTest, ConfigurationFileIsReadAndTheCommandLineComesFirst) {
  const std::string path =
      (std::filesystem::temp_directory_path() / absl::StrCat("config-", getpid(), ".yaml"))
          .string();
  std::ofstream(path) << "max-sessions: 7\ningest-workers: 3\n";
  const auto server = ServerProcess::Start({"--config", path, "--max-sessions", "9"});
  std::filesystem::remove(path);
  ASSERT_NE(server, nullptr);
  EXPECT_EQ(Api(server->address()).Info().value.max_sessions(), 9u);
  EXPECT_EQ(server->Terminate(), 0);
}

TEST(StartTest, ServerTellsWhatItIs) {
  const auto server = ServerProcess::Start({"--staging-bytes", "3MB"});
  ASSERT_NE(server, nullptr);
  const v1::ServerInfo info = Api(server->address()).Info().value;
  EXPECT_FALSE(info.version().empty());
  ASSERT_EQ(info.devices_size(), 1);
  EXPECT_EQ(info.devices(0).name(), "cpu");
  EXPECT_GT(info.devices(0).usable_bytes(), 0);
  EXPECT_EQ(info.dtypes_size(), 4);
  EXPECT_EQ(info.encodings_size(), 3);
  EXPECT_EQ(info.staging_bytes(), 3u << 20);
  EXPECT_EQ(server->Terminate(), 0);
}

TEST(StartTest, UnixSocketServesAsWell) {
  const auto server = ServerProcess::Start({"--listen", "unix:@/socket"});
  ASSERT_NE(server, nullptr);
  EXPECT_THAT(server->address(), testing::StartsWith("unix:/"));
  EXPECT_THAT(Api(server->address()).Info().status, IsOk());
  EXPECT_EQ(server->Terminate(), 0);
}

// ---- Health and reflection -------------------------------------------------------------------

constexpr char kReflection[] = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";
const std::string kListServices("\x3a\x00", 2);  // ServerReflectionRequest{list_services: ""}.

class DiscoveryTest : public ServerTest {};

TEST_F(DiscoveryTest, HealthServiceSaysServing) {
  // HealthCheckResponse{status: SERVING}, for the server as a whole and for the service.
  const std::string serving("\x08\x01", 2);
  EXPECT_EQ(RawCall(api(), "/grpc.health.v1.Health/Check", {""}).value.back(), serving);
  const std::string service = "ptychoserve.v1.Ptychoserve";
  const std::string request =
      absl::StrCat("\x0a", std::string(1, static_cast<char>(service.size())), service);
  EXPECT_EQ(RawCall(api(), "/grpc.health.v1.Health/Check", {request}).value.back(), serving);
}

TEST_F(DiscoveryTest, ReflectionListsTheService) {
  const auto answer = RawCall(api(), kReflection, {kListServices});
  ASSERT_EQ(answer.value.size(), 1u) << Describe(answer.status);
  EXPECT_THAT(answer.value[0], HasSubstr("ptychoserve.v1.Ptychoserve"));
  EXPECT_THAT(answer.value[0], HasSubstr("grpc.health.v1.Health"));
}

TEST(DiscoveryOffTest, ReflectionCanBeTurnedOff) {
  const auto server = ServerProcess::Start({"--reflection", "false"});
  ASSERT_NE(server, nullptr);
  Api api(server->address());
  const auto answer = RawCall(api, kReflection, {kListServices});
  EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(server->Terminate(), 0);
}

// ---- Ending ----------------------------------------------------------------------------------

class ShutdownTest : public testing::Test {
 protected:
  void Start(const std::vector<std::string>& flags = {}) {
    server_ = ServerProcess::Start(flags);
    ASSERT_NE(server_, nullptr);
    api_ = std::make_unique<Api>(server_->address());
  }
  // A session that iterates and takes more input.
  std::string StartSession() {
    const TestScan& scan = SmallScan();
    const auto created = api_->Create("scan", scan.StreamingConfig(1));
    EXPECT_THAT(created.status, IsOk());
    const std::string name = created.value.name();
    PositionInput positions(*api_, name);
    FrameInput frames(*api_, name);
    positions.Send(scan.Positions(0, scan.points()));
    frames.Send(scan.Frames(0, 20));
    EXPECT_THAT(positions.Finish(), IsOk());
    EXPECT_THAT(frames.Finish(), IsOk());
    api_->Await(name, [](const auto& s) { return s.iteration() >= 2; });
    return name;
  }

  std::unique_ptr<ServerProcess> server_;
  std::unique_ptr<Api> api_;
};

TEST_F(ShutdownTest, IdleServerEndsAtOnceOnEitherSignal) {
  for (const int signal : {SIGTERM, SIGINT}) {
    Start();
    server_->Signal(signal);
    EXPECT_EQ(server_->Wait(), 0);
    EXPECT_THAT(server_->log(), HasSubstr("stopped"));
  }
}

TEST_F(ShutdownTest, StreamsAreEndedAndSessionsStoppedWithTheirResults) {
  Start();
  const std::string name = StartSession();
  const TestScan& scan = SmallScan();
  FrameInput frames(*api_, name);
  PositionInput positions(*api_, name);
  ASSERT_TRUE(frames.AwaitBatches(0));
  ASSERT_TRUE(positions.AwaitBatches(0));
  const auto context = Context();
  v1::WatchSessionRequest watch;
  watch.set_name(name);
  const auto events = api_->stub().WatchSession(context.get(), watch);
  v1::SessionEvent event;
  ASSERT_TRUE(events->Read(&event));
  const auto snapshot_context = Context();
  v1::WatchSnapshotsRequest snapshot_watch;
  snapshot_watch.set_name(name);
  const auto snapshots = api_->stub().WatchSnapshots(snapshot_context.get(), snapshot_watch);
  v1::SnapshotChunk chunk;
  ASSERT_TRUE(snapshots->Read(&chunk));

  // One batch is certainly dealt with before the signal, the others meet it somewhere.
  ASSERT_TRUE(frames.Send(scan.Frames(20, 1)));
  ASSERT_TRUE(frames.AwaitBatches(1));
  std::thread sender([&] {
    for (int j = 21; frames.Send(scan.Frames(j % scan.points(), 1)); ++j) {
    }
  });
  server_->Signal(SIGTERM);
  sender.join();
  EXPECT_THAT(frames.Status(), FailsWith(grpc::StatusCode::UNAVAILABLE, "DRAINING"));
  EXPECT_THAT(positions.Status(), FailsWith(grpc::StatusCode::UNAVAILABLE, "DRAINING"));
  EXPECT_TRUE(AddsUp(frames.last_ack().counters()));
  EXPECT_GE(frames.last_ack().counters().accepted(), 21);

  // Watchers see the session stop, and get its final snapshot.
  while (events->Read(&event)) {
  }
  EXPECT_THAT(events->Finish(), IsOk());
  EXPECT_EQ(event.session().state(), v1::SESSION_STATE_STOPPED);
  bool final = false;
  do {
    final = final || chunk.header().final();
  } while (snapshots->Read(&chunk));
  EXPECT_THAT(snapshots->Finish(), IsOk());
  EXPECT_TRUE(final);

  EXPECT_EQ(server_->Wait(), 0);
  EXPECT_THAT(server_->log(), HasSubstr("STOPPED"));
}

TEST_F(ShutdownTest, ReaderThatNeverReadsDoesNotHoldItUp) {
  Start({"--shutdown-timeout-s", "2"});
  const std::string name = StartSession();
  const auto context = Context();
  v1::WatchSnapshotsRequest watch;
  watch.set_name(name);
  watch.mutable_selection()->set_area(v1::OBJECT_AREA_CANVAS);
  const auto snapshots = api_->stub().WatchSnapshots(context.get(), watch);
  // Far more than the buffers of a connection hold.
  const std::int64_t version = api_->Get(name).value.snapshot_version();
  api_->Await(name, [&](const auto& s) { return s.snapshot_version() > version + 100; });
  EXPECT_EQ(server_->Terminate(std::chrono::seconds(30)), 0) << "2 s are allowed";
  context->TryCancel();
  v1::SnapshotChunk chunk;
  while (snapshots->Read(&chunk)) {
  }
  snapshots->Finish();
}

TEST_F(ShutdownTest, ClientsThatWaitDoNotHoldItUp) {
  Start();
  const std::string name = StartSession();
  FrameInput silent(*api_);  // Never opens anything.
  FrameInput idle(*api_, name);
  ASSERT_TRUE(idle.AwaitBatches(0));
  v1::GetSnapshotRequest request;
  request.set_name(name);
  request.set_not_newer_than(1'000'000'000);
  request.set_wait_ms(60'000);
  const auto context = Context();
  const auto waiting = api_->stub().GetSnapshot(context.get(), request);
  EXPECT_EQ(server_->Terminate(), 0);
  EXPECT_THAT(silent.Status(), FailsWith(grpc::StatusCode::UNAVAILABLE, "DRAINING"));
  EXPECT_THAT(idle.Status(), FailsWith(grpc::StatusCode::UNAVAILABLE, "DRAINING"));
  v1::SnapshotChunk chunk;
  while (waiting->Read(&chunk)) {
  }
  waiting->Finish();
}

TEST_F(ShutdownTest, SecondSignalEndsItAtOnce) {
  Start({"--shutdown-timeout-s", "3600"});
  const std::string name = StartSession();
  // Something that takes its time: a reader that never reads.
  const auto context = Context();
  v1::WatchSnapshotsRequest watch;
  watch.set_name(name);
  watch.mutable_selection()->set_area(v1::OBJECT_AREA_CANVAS);
  const auto snapshots = api_->stub().WatchSnapshots(context.get(), watch);
  const std::int64_t version = api_->Get(name).value.snapshot_version();
  api_->Await(name, [&](const auto& s) { return s.snapshot_version() > version + 100; });
  server_->Signal(SIGTERM);
  while (server_->running() && server_->log().find("shutting down") == std::string::npos) {
    std::this_thread::yield();
  }
  ASSERT_TRUE(server_->running());
  server_->Signal(SIGTERM);
  EXPECT_EQ(server_->Wait(), 128 + SIGTERM);
  v1::SnapshotChunk chunk;
  while (snapshots->Read(&chunk)) {
  }
  snapshots->Finish();
}

}  // namespace
}  // namespace ptychoserve::integration
