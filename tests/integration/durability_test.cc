// Sessions that are kept on disk: what was said to be there is there after the server was killed at
// any moment, and the run goes on to the same end.

#include <cmath>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/eventually.h"
#include "tests/integration/server_test.h"
#include "tests/temporary_directory.h"

namespace ptychoserve::integration {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
namespace fs = std::filesystem;

constexpr int kDurabilityIterations = 20;

// A folder of its own, removed at the end, and the server that keeps its sessions there.
class DurabilityTest : public testing::Test {
 protected:
  // With `failpoints` in its environment.
  void Start(const std::string& failpoints = "", const std::vector<std::string>& more = {}) {
    std::vector<std::string> flags = {"--state-dir", folder_.path()};
    flags.insert(flags.end(), more.begin(), more.end());
    if (more.empty()) flags.insert(flags.end(), {"--checkpoint-interval-s", "0.1"});
    setenv("PTYCHOSERVE_FAILPOINTS", failpoints.c_str(), 1);
    server_ = ServerProcess::Start(flags);
    unsetenv("PTYCHOSERVE_FAILPOINTS");
    ASSERT_NE(server_, nullptr);
    api_ = std::make_unique<Api>(server_->address());
  }
  void Kill() {
    server_->Signal(SIGKILL);
    server_->Wait();
  }
  void Restart() {
    Kill();
    Start();
  }
  // Until it has ended by itself.
  void AwaitKilled() { EXPECT_EQ(server_->Wait(), 128 + SIGKILL); }

  std::string Create(const v1::SessionConfig& config) {
    const auto created = api().Create("kept", config);
    EXPECT_THAT(created.status, IsOk());
    EXPECT_EQ(created.value.durability(), v1::DURABILITY_JOURNAL);
    return created.value.name();
  }
  // Frames [first, first + count), until they are on disk. The last acknowledgement.
  v1::IngestAck SendFrames(const std::string& name, const TestScan& scan, int first, int count) {
    FrameInput frames(api(), name);
    EXPECT_TRUE(frames.Send(scan.Frames(first, count)));
    EXPECT_THAT(frames.Finish(), IsOk());
    EXPECT_EQ(frames.last_ack().durable_batches(), 1);
    return frames.last_ack();
  }
  void SendPositions(const std::string& name, const TestScan& scan, int first, int count) {
    PositionInput positions(api(), name);
    EXPECT_TRUE(positions.Send(scan.Positions(first, count)));
    EXPECT_THAT(positions.Finish(), IsOk());
    EXPECT_EQ(positions.last_ack().durable_batches(), 1);
  }
  // The result of the scan without anything happening to it.
  v1::Session Undisturbed(const TestScan& scan) {
    const auto created = api().Create("undisturbed", scan.Config(kDurabilityIterations));
    EXPECT_THAT(created.status, IsOk());
    SendPositions(created.value.name(), scan, 0, scan.points());
    SendFrames(created.value.name(), scan, 0, scan.points());
    return api().AwaitEnd(created.value.name()).value;
  }
  static void ExpectSameResult(const v1::Session& session, const v1::Session& undisturbed,
                               double tolerance = 1e-3) {
    EXPECT_EQ(session.state(), v1::SESSION_STATE_COMPLETED) << session.failure();
    EXPECT_EQ(session.active_points(), undisturbed.active_points());
    const v1::FitMetrics& fit = session.final_fit();
    const v1::FitMetrics& expected = undisturbed.final_fit();
    EXPECT_NEAR(fit.r_factor() / expected.r_factor(), 1, tolerance);
    EXPECT_NEAR(fit.poisson_nll() / expected.poisson_nll(), 1, tolerance);
  }
  fs::path FilesOf(const std::string& id) const {
    return fs::path(folder_.path()) / "sessions" / id;
  }

  ServerProcess& server() { return *server_; }
  Api& api() { return *api_; }

  TemporaryDirectory folder_;

 private:
  std::unique_ptr<ServerProcess> server_;
  std::unique_ptr<Api> api_;
};

TEST_F(DurabilityTest, InputThatIsOnDiskIsThereAfterAKill) {
  const TestScan& scan = SmallScan();
  Start();
  const v1::Session undisturbed = Undisturbed(scan);
  const std::string name = Create(scan.Config(kDurabilityIterations));
  SendPositions(name, scan, 0, scan.points());
  const v1::IngestAck ack = SendFrames(name, scan, 0, 20);
  EXPECT_EQ(ack.durability(), v1::DURABILITY_JOURNAL);
  EXPECT_EQ(ack.durable_watermark(), 19);
  SendFrames(name, scan, 30, 10);
  Restart();
  const auto taken_up = api().Get(name);
  ASSERT_THAT(taken_up.status, IsOk());
  EXPECT_EQ(taken_up.value.frames().accepted(), 30);
  EXPECT_EQ(taken_up.value.frames().received(), 30);
  EXPECT_EQ(taken_up.value.positions().accepted(), scan.points());
  EXPECT_EQ(taken_up.value.restarts(), 1);
  // The client learns what is missing, sends it, and the session ends as if nothing had happened.
  FrameInput frames(api(), name);
  ASSERT_TRUE(frames.AwaitAck([](const auto&) { return true; }));
  const v1::IngestAck first = frames.acks().front();
  EXPECT_EQ(first.known_up_to(), 39);
  ASSERT_EQ(first.missing_size(), 1);
  EXPECT_EQ(first.missing(0).first(), 20);
  EXPECT_EQ(first.missing(0).last(), 29);
  EXPECT_LE(first.durable_batches(), 0);  // -1 until it is on disk that it was taken up.
  EXPECT_EQ(first.durable_watermark(), 19);
  EXPECT_TRUE(frames.Send(scan.Frames(20, 10)));
  EXPECT_TRUE(frames.Send(scan.Frames(40, scan.points() - 40)));
  EXPECT_THAT(frames.Finish(), IsOk());
  EXPECT_EQ(frames.last_ack().durable_watermark(), scan.points() - 1);
  const v1::Session session = api().AwaitEnd(name).value;
  ExpectSameResult(session, undisturbed);
  EXPECT_EQ(session.frames().accepted(), scan.points());
  EXPECT_EQ(session.frames().rejections_size(), 0);
}

TEST_F(DurabilityTest, ARunGoesOnFromItsCheckpoint) {
  const TestScan& scan = SmallScan();
  Start();
  const std::string name = Create(scan.StreamingConfig(1'000'000));
  SendPositions(name, scan, 0, scan.points());
  SendFrames(name, scan, 0, scan.points());
  const auto before = api().Await(name, [](const v1::Session& s) {
    return s.checkpoint_version() > 1 && s.iteration() >= 100;
  });
  ASSERT_THAT(before.status, IsOk());
  Restart();
  const auto after = api().Await(name, [&](const v1::Session& s) {
    return s.iteration() > before.value.metrics().iteration();
  });
  ASSERT_THAT(after.status, IsOk());
  // It has not begun again: the R-factor is where it was.
  EXPECT_LT(after.value.metrics().r_factor(), 1.2 * before.value.metrics().r_factor());
  EXPECT_GT(after.value.snapshot_version(), before.value.checkpoint_version());
  EXPECT_THAT(api().Stop(name).status, IsOk());
  EXPECT_THAT(api().Delete(name), IsOk());
  EXPECT_FALSE(fs::exists(FilesOf("kept")));
}

TEST_F(DurabilityTest, WhatASessionWasToldIsNotForgotten) {
  const TestScan& scan = SmallScan();
  Start();
  const std::string name = Create(scan.StreamingConfig(1'000'000));
  SendPositions(name, scan, 0, scan.points());
  SendFrames(name, scan, 0, scan.points());
  EXPECT_THAT(api()
                  .Update(name, {"config.run.it_ends_after"},
                          [](v1::SessionConfig& c) { c.mutable_run()->set_it_ends_after(7); })
                  .status,
              IsOk());
  Restart();
  EXPECT_EQ(api().Get(name).value.config().run().it_ends_after(), 7u);
  EXPECT_THAT(api().Finish(name).status, IsOk());
  Restart();
  const v1::Session ended = api().AwaitEnd(name).value;
  EXPECT_EQ(ended.state(), v1::SESSION_STATE_COMPLETED);
  EXPECT_EQ(ended.end_of_data(), v1::END_OF_DATA_FINISH_SCAN);
  EXPECT_EQ(ended.iterations_after_end(), 7);
}

TEST_F(DurabilityTest, ResultsAreThereUntilTheyAreDeleted) {
  const TestScan& scan = SmallScan();
  Start();
  const std::string name = Undisturbed(scan).name();
  // It has ended a moment before it has left the device.
  v1::Session before =
      api().Await(name, [](const v1::Session& s) { return s.device_bytes() == 0; }).value;
  const auto snapshot = api().Snapshot(before.name());
  EXPECT_EQ(server().Terminate(), 0);
  EXPECT_THAT(
      std::vector<std::string>(1, FilesOf("undisturbed") / "result.rec"),
      ElementsAre(testing::ResultOf([](const std::string& p) { return fs::exists(p); }, true)));
  Start();
  v1::Session after = api().Get(before.name()).value;
  EXPECT_GE(after.checkpoint_version(), before.checkpoint_version());  // One may be under way.
  after.clear_checkpoint_version();
  before.clear_checkpoint_version();
  EXPECT_EQ(after.SerializeAsString(), before.SerializeAsString());
  const auto again = api().Snapshot(before.name());
  ASSERT_THAT(again.status, IsOk());
  EXPECT_EQ(again.value.header.SerializeAsString(), snapshot.value.header.SerializeAsString());
  EXPECT_EQ(again.value.object.values, snapshot.value.object.values);
  EXPECT_EQ(again.value.probe.values, snapshot.value.probe.values);
  EXPECT_THAT(api().Create("undisturbed", scan.Config(kDurabilityIterations)).status,
              IsOk());  // The same.
  FrameInput frames(api(), before.name());
  EXPECT_THAT(frames.Status(), FailsWith(grpc::StatusCode::FAILED_PRECONDITION, "SESSION_ENDED"));
  FrameInput back(api());  // A producer that comes back learns that all had arrived.
  back.Open(before.name(), "detector", 1);
  EXPECT_THAT(back.Status(), FailsWith(grpc::StatusCode::FAILED_PRECONDITION, "SESSION_ENDED"));
  ASSERT_FALSE(back.acks().empty());
  EXPECT_EQ(back.acks().front().known_up_to(), scan.points() - 1);
  EXPECT_EQ(back.acks().front().missing_size(), 0);
  EXPECT_THAT(api().Delete(before.name()), IsOk());
  Restart();
  EXPECT_THAT(api().Get(before.name()).status,
              FailsWith(grpc::StatusCode::NOT_FOUND, "SESSION_NOT_FOUND"));
}

TEST_F(DurabilityTest, SplitHalvesThatWereInterruptedAreDoneAgain) {
  const TestScan scan(100, 64, 3);
  v1::SessionConfig config = scan.Config(150);
  config.mutable_quality()->set_split_halves(true);
  Start();
  const std::string name = Create(config);
  SendPositions(name, scan, 0, scan.points());
  SendFrames(name, scan, 0, scan.points());
  // With a checkpoint of the finished run.
  const v1::Session before = api()
                                 .Await(name,
                                        [](const v1::Session& s) {
                                          return s.split_halves().iterations() > 50 &&
                                                 s.checkpoint_version() == s.snapshot_version();
                                        })
                                 .value;
  ASSERT_EQ(before.state(), v1::SESSION_STATE_REFINING);
  Restart();
  const v1::Session after = api().AwaitEnd(name).value;
  ExpectSameResult(after, before);
  EXPECT_EQ(after.iteration(), 150);
  EXPECT_EQ(after.restarts(), 1);
  EXPECT_EQ(after.split_halves().iterations(), 300);
  EXPECT_TRUE(after.split_halves().has_ring_correlation());

  // It is part of the result. The run is over a little before that is on disk.
  while (!fs::exists(FilesOf("kept") / "result.rec")) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  Restart();
  EXPECT_EQ(api().Get(name).value.split_halves().SerializeAsString(),
            after.split_halves().SerializeAsString());
}

TEST_F(DurabilityTest, ResultsGoWhenTheirTimeIsOver) {
  Start();
  const v1::Session ended = Undisturbed(SmallScan());
  EXPECT_EQ(server().Terminate(), 0);
  Start("", {"--retention-h", "1"});
  EXPECT_THAT(api().Get(ended.name()).status, IsOk());
  EXPECT_EQ(server().Terminate(), 0);
  Start("", {"--retention-h", "1e-9"});
  EXPECT_THAT(api().Get(ended.name()).status,
              FailsWith(grpc::StatusCode::NOT_FOUND, "SESSION_NOT_FOUND"));
  EXPECT_EQ(server().Terminate(), 0);
  EXPECT_FALSE(fs::exists(FilesOf("undisturbed")));
}

TEST_F(DurabilityTest, OrderlyEndGoesOnLater) {
  const TestScan& scan = SmallScan();
  Start();
  const v1::Session undisturbed = Undisturbed(scan);
  const std::string name = Create(scan.Config(kDurabilityIterations));
  SendPositions(name, scan, 0, scan.points());
  FrameInput frames(api(), name);
  EXPECT_TRUE(frames.Send(scan.Frames(0, 30)));
  EXPECT_TRUE(frames.AwaitBatches(1));
  EXPECT_EQ(server().Terminate(), 0);
  EXPECT_THAT(frames.Status(), FailsWith(grpc::StatusCode::UNAVAILABLE, "DRAINING"));
  Start();
  EXPECT_EQ(api().Get(name).value.frames().accepted(), 30);
  SendFrames(name, scan, 30, scan.points() - 30);
  ExpectSameResult(api().AwaitEnd(name).value, undisturbed);
}

TEST_F(DurabilityTest, OrderlyEndSavesTheIterationUnderWay) {
  const TestScan& scan = SmallScan();
  Start("", {"--checkpoint-interval-s", "3600"});
  const std::string name = Create(scan.StreamingConfig(1'000'000));
  SendPositions(name, scan, 0, scan.points());
  SendFrames(name, scan, 0, scan.points());
  const auto before = api().Await(name, [](const v1::Session& s) { return s.iteration() >= 100; });
  EXPECT_EQ(before.value.checkpoint_version(), 0);
  EXPECT_EQ(server().Terminate(), 0);
  Start();
  EXPECT_GE(api().Get(name).value.iteration(), before.value.iteration());
  EXPECT_THAT(api().Stop(name).status, IsOk());
}

TEST_F(DurabilityTest, OneServerAtATime) {
  Start();
  const FinishedServer second =
      RunServer({"--listen", "127.0.0.1:0", "--device", "cpu", "--state-dir", folder_.path()});
  EXPECT_EQ(second.exit_code, 1);
  EXPECT_THAT(second.output, HasSubstr("another server uses it"));
}

TEST_F(DurabilityTest, WithoutStateDirectoryNothingIsClaimed) {
  const auto server = ServerProcess::Start();
  ASSERT_NE(server, nullptr);
  Api api(server->address());
  const auto created = api.Create("s", SmallScan().Config(1));
  EXPECT_EQ(created.value.durability(), v1::DURABILITY_MEMORY);
  FrameInput frames(api, created.value.name());
  EXPECT_TRUE(frames.Send(SmallScan().Frames(0, 5)));
  EXPECT_THAT(frames.Finish(), IsOk());
  EXPECT_EQ(frames.last_ack().durability(), v1::DURABILITY_MEMORY);
  EXPECT_EQ(frames.last_ack().durable_batches(), 0);
  EXPECT_EQ(frames.last_ack().durable_watermark(), -1);
}

// ---- Producers -------------------------------------------------------------------------------

TEST_F(DurabilityTest, ALaterEpochTakesOverAndIsRemembered) {
  const TestScan& scan = SmallScan();
  Start();
  const std::string name = Create(scan.Config(kDurabilityIterations));
  FrameInput first(api());
  EXPECT_TRUE(first.Open(name, "detector", 5));
  EXPECT_TRUE(first.Send(scan.Frames(0, 5)));
  EXPECT_TRUE(first.AwaitBatches(1));
  FrameInput same(api());
  same.Open(name, "detector", 5);
  EXPECT_THAT(same.Status(), FailsWith(grpc::StatusCode::ABORTED, "PRODUCER_FENCED"));
  FrameInput later(api());
  EXPECT_TRUE(later.Open(name, "detector", 6));
  EXPECT_TRUE(later.AwaitAck([](const auto&) { return true; }));
  EXPECT_THAT(first.Status(), FailsWith(grpc::StatusCode::ABORTED, "PRODUCER_FENCED"));
  PositionInput positions(api());  // The other kind of input is another matter.
  EXPECT_TRUE(positions.Open(name, "detector", 1));
  EXPECT_TRUE(positions.Send(scan.Positions(0, 5)));
  EXPECT_THAT(positions.Finish(), IsOk());
  EXPECT_TRUE(later.Send(scan.Frames(5, 5)));
  EXPECT_THAT(later.Finish(), IsOk());
  Restart();
  FrameInput stale(api());
  stale.Open(name, "detector", 6);
  EXPECT_THAT(stale.Status(), FailsWith(grpc::StatusCode::ABORTED, "PRODUCER_FENCED"));
  FrameInput unnamed(api());
  unnamed.Open(name, "no spaces", 1);
  EXPECT_THAT(unnamed.Status(), BlamesField("open.producer", "no spaces"));
  EXPECT_EQ(api().Get(name).value.frames().accepted(), 10);
}

TEST_F(DurabilityTest, FramesThatTheDetectorLostEndTheScanInTime) {
  const TestScan& scan = SmallScan();
  Start();
  const std::string name = Create(scan.Config(kDurabilityIterations));
  SendPositions(name, scan, 0, scan.points());
  FrameInput frames(api(), name);
  EXPECT_TRUE(frames.Send(scan.Frames(0, scan.points() - 4)));
  v1::StreamFramesRequest skipped;
  skipped.mutable_skipped()->set_first_frame_id(scan.points() - 4);
  skipped.mutable_skipped()->set_count(3);
  EXPECT_TRUE(frames.Send(skipped));
  EXPECT_THAT(frames.Finish(), IsOk());
  EXPECT_EQ(frames.last_ack().counters().skipped(), 3);
  EXPECT_EQ(frames.last_ack().durable_watermark(), scan.points() - 2);
  Restart();
  EXPECT_EQ(api().Get(name).value.frames().skipped(), 3);
  SendFrames(name, scan, scan.points() - 1, 1);
  const v1::Session session = api().AwaitEnd(name).value;
  EXPECT_EQ(session.state(), v1::SESSION_STATE_COMPLETED);
  EXPECT_EQ(session.active_points(), scan.points() - 3);
}

// ---- Damage ----------------------------------------------------------------------------------

TEST_F(DurabilityTest, DamagedRecordsAreMissedAndAskedForAgain) {
  const TestScan& scan = SmallScan();
  Start();
  const std::string name = Create(scan.Config(kDurabilityIterations));
  SendPositions(name, scan, 0, scan.points());
  for (int j = 0; j < 10; ++j) SendFrames(name, scan, j, 1);
  Kill();
  fs::path journal;
  for (const auto& entry : fs::directory_iterator(FilesOf("kept"))) {
    if (entry.path().filename().string().starts_with("input-")) journal = entry.path();
  }
  {
    std::fstream file(journal, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(-static_cast<std::streamoff>(5 * scan.frame_bytes()), std::ios::end);
    file.put('\x55').put('\xaa');
    file.seekp(0, std::ios::end);
    file << "torn";
  }
  Start();
  EXPECT_EQ(api().Get(name).value.frames().accepted(), 9);
  FrameInput frames(api(), name);
  ASSERT_TRUE(frames.AwaitAck([](const auto&) { return true; }));
  ASSERT_EQ(frames.acks().front().missing_size(), 1);
  const v1::IdRange lost = frames.acks().front().missing(0);
  EXPECT_EQ(lost.first(), lost.last());
  EXPECT_THAT(server().log(), HasSubstr("lost_bytes"));
}

TEST_F(DurabilityTest, ASessionThatCannotBeTakenUpKeepsItsNameAndItsInput) {
  const TestScan& scan = SmallScan();
  Start();
  const std::string name = Create(scan.Config(kDurabilityIterations));
  SendFrames(name, scan, 0, 10);
  Kill();
  const fs::path manifest = FilesOf("kept") / "manifest.rec";
  fs::resize_file(manifest, fs::file_size(manifest) - 1);
  Start();
  EXPECT_THAT(api().Get(name).status, FailsWith(grpc::StatusCode::NOT_FOUND, "SESSION_NOT_FOUND"));
  EXPECT_THAT(server().log(), HasSubstr("its files stay"));
  const grpc::Status refused = api().Create("kept", scan.Config(kDurabilityIterations)).status;
  EXPECT_THAT(refused, FailsWith(grpc::StatusCode::ALREADY_EXISTS, "SESSION_EXISTS"));
  EXPECT_THAT(refused.error_message(), HasSubstr(FilesOf("kept").string()));
  EXPECT_THAT(api().Create("another", scan.Config(kDurabilityIterations)).status, IsOk());
  // Without them, the name is free.
  fs::rename(FilesOf("kept"), fs::path(folder_.path()) / "aside");
  EXPECT_THAT(api().Create("kept", scan.Config(kDurabilityIterations)).status, IsOk());
  EXPECT_EQ(api().Get(name).value.frames().accepted(), 0);
}

// What goes wrong from when on, and the system's words for it.
struct DiskFault {
  const char* name;
  const char* failpoint;
  const char* words;
};

class DiskTest : public DurabilityTest, public testing::WithParamInterface<DiskFault> {};

TEST_P(DiskTest, IsToldAndNothingIsClaimedThatIsNotThere) {
  const TestScan& scan = SmallScan();
  Start();
  const v1::Session undisturbed = Undisturbed(scan);
  EXPECT_EQ(server().Terminate(), 0);
  Start(GetParam().failpoint);
  const std::string name = Create(scan.Config(kDurabilityIterations));
  PositionInput positions(api(), name);
  EXPECT_TRUE(positions.Send(scan.Positions(0, scan.points())));
  EXPECT_THAT(positions.Finish(), IsOk());
  FrameInput frames(api(), name);
  for (int j = 0; j < scan.points(); ++j) {
    EXPECT_TRUE(frames.Send(scan.Frames(j, 1)));
    EXPECT_TRUE(frames.AwaitBatches(j + 1));
  }
  EXPECT_THAT(frames.Finish(), IsOk());
  const v1::IngestAck last = frames.last_ack();
  EXPECT_EQ(last.batches(), scan.points());
  EXPECT_EQ(last.durability(), v1::DURABILITY_LOST);
  EXPECT_LT(last.durable_batches(), scan.points());
  EXPECT_LT(last.durable_watermark(), scan.points() - 1);
  const v1::Session session = api().AwaitEnd(name).value;
  ExpectSameResult(session, undisturbed);
  EXPECT_EQ(session.durability(), v1::DURABILITY_LOST);
  EXPECT_THAT(session.durability_failure(), HasSubstr(GetParam().words));

  Restart();  // With a disk that works.
  const auto after = api().Get(name);
  ASSERT_THAT(after.status, IsOk());
  EXPECT_GE(after.value.frames().watermark(), last.durable_watermark());
}

INSTANTIATE_TEST_SUITE_P(
    Faults, DiskTest,
    // From the 8th on: there is room for the manifest and the first batches.
    testing::Values(DiskFault{"Full", "record.write=enospc@8-", "space"},
                    DiskFault{"WriteError", "record.write=eio@8-", "Input/output"},
                    DiskFault{"SyncError", "record.sync=eio@6-", "Input/output"},
                    DiskFault{"ReadOnly", "record.write=erofs@8-,record.create=erofs@3-",
                              "Read-only"}),
    [](const auto& fault) { return std::string(fault.param.name); });

TEST_F(DurabilityTest, AResultThatTheDiskDoesNotTakeIsTriedAgain) {
  const TestScan& scan = SmallScan();
  Start();
  const std::string name = Create(scan.Config(kDurabilityIterations));
  // A folder where the file is to be written.
  const fs::path in_the_way = FilesOf("kept") / "result.rec.new";
  fs::create_directory(in_the_way);
  SendPositions(name, scan, 0, scan.points());
  SendFrames(name, scan, 0, scan.points());
  const v1::Session ended = api().AwaitEnd(name).value;
  const auto durability = [&] { return api().Get(name).value.durability(); };
  EXPECT_TRUE(Eventually([&] { return durability() == v1::DURABILITY_LOST; }));
  EXPECT_THAT(api().Get(name).value.durability_failure(), HasSubstr("Is a directory"));
  EXPECT_FALSE(fs::exists(FilesOf("kept") / "result.rec"));
  fs::remove(in_the_way);
  EXPECT_TRUE(Eventually([&] { return durability() == v1::DURABILITY_JOURNAL; }));
  Restart();
  const v1::Session after = api().Get(name).value;
  ExpectSameResult(after, ended, 0);
  EXPECT_EQ(after.restarts(), 0) << "it was read, and not computed again";
}

// ---- A GPU that is lost ------------------------------------------------------------------------

TEST_F(DurabilityTest, ALostDeviceEndsTheServerAndTheSessionGoesOnInTheNext) {
  const TestScan& scan = SmallScan();
  Start("device.iterate=eio@30-", {"--checkpoint-interval-s", "0.1"});
  const v1::Session undisturbed = Undisturbed(scan);  // Takes the first 20 iterations.
  const std::string name = Create(scan.Config(kDurabilityIterations));
  SendPositions(name, scan, 0, scan.points());
  FrameInput frames(api(), name);
  EXPECT_TRUE(frames.Send(scan.Frames(0, scan.points())));
  EXPECT_EQ(server().Wait(), 4);
  EXPECT_THAT(server().log(), HasSubstr("a device is lost"));
  EXPECT_THAT(frames.Status(), FailsWith(grpc::StatusCode::UNAVAILABLE, "DRAINING"));
  Start();
  ExpectSameResult(api().AwaitEnd(name).value, undisturbed);
}

TEST_F(DurabilityTest, ASessionInMemoryFailsWithItsDevice) {
  setenv("PTYCHOSERVE_FAILPOINTS", "device.iterate=eio", 1);
  const auto server = ServerProcess::Start();
  unsetenv("PTYCHOSERVE_FAILPOINTS");
  ASSERT_NE(server, nullptr);
  Api api(server->address());
  const auto created = api.Create("gone", SmallScan().Config(kDurabilityIterations));
  ASSERT_THAT(created.status, IsOk());
  const auto context = Context();
  v1::WatchSessionRequest watch;
  watch.set_name(created.value.name());
  const auto events = api.stub().WatchSession(context.get(), watch);
  PositionInput positions(api, created.value.name());
  FrameInput frames(api, created.value.name());
  EXPECT_TRUE(positions.Send(SmallScan().Positions(0, SmallScan().points())));
  EXPECT_TRUE(frames.Send(SmallScan().Frames(0, SmallScan().points())));
  v1::SessionEvent event;
  while (events->Read(&event)) {
  }
  EXPECT_EQ(event.session().state(), v1::SESSION_STATE_FAILED);
  EXPECT_THAT(event.session().failure(), HasSubstr("the device failed"));
  EXPECT_EQ(server->Wait(), 4);
}

// ---- Kill between any two steps --------------------------------------------------------------

class KillPointTest : public DurabilityTest, public testing::WithParamInterface<const char*> {};

TEST_P(KillPointTest, LeavesAnOlderOrANewerState) {
  const TestScan& scan = SmallScan();
  Start();
  const v1::Session undisturbed = Undisturbed(scan);
  const std::string name = Create(scan.Config(kDurabilityIterations));
  SendPositions(name, scan, 0, scan.points());
  SendFrames(name, scan, 0, 10);
  Kill();
  Start(GetParam());
  // Goes as far as the point lets it, and what was said to be durable is remembered.
  std::int64_t durable = 9;
  {
    FrameInput frames(api(), name);
    // The first ones alone, so that each is a group of the journal.
    for (int j = 10; j < 14 && frames.Send(scan.Frames(j, 1)); ++j) {
      frames.AwaitAck([&](const v1::IngestAck& ack) {
        durable = std::max(durable, ack.durable_watermark());
        return ack.durable_batches() > j - 10;
      });
    }
    for (int j = 14; j < scan.points() && frames.Send(scan.Frames(j, 1)); ++j) {
    }
    frames.HalfClose();
    frames.AwaitAck([&](const v1::IngestAck& ack) {
      durable = std::max(durable, ack.durable_watermark());
      return false;
    });
    (void)frames.Status();  // It may have come to its end before.
  }
  AwaitKilled();
  Start();
  const auto session = api().Get(name);
  ASSERT_THAT(session.status, IsOk());
  EXPECT_GE(session.value.frames().watermark(), durable);
  if (!IsFinal(session.value.state())) {
    FrameInput frames(api(), name);
    for (int j = 10; j < scan.points(); ++j) frames.Send(scan.Frames(j, 1));
    EXPECT_THAT(
        frames.Finish(),
        testing::AnyOf(IsOk(), FailsWith(grpc::StatusCode::FAILED_PRECONDITION, "SESSION_ENDED")));
  }
  ExpectSameResult(api().AwaitEnd(name).value, undisturbed);
}

INSTANTIATE_TEST_SUITE_P(
    Points, KillPointTest,
    // The first file, two writes and one synchronisation are those of being taken up.
    testing::Values("record.create=kill@2", "record.write=kill@3", "record.write=kill@5",
                    "record.write=kill@9", "record.sync=kill@2", "record.sync=kill@4",
                    "replace.before_write=kill", "replace.before_sync=kill",
                    "replace.before_rename=kill", "replace.after_rename=kill",
                    "result.before_cleanup=kill"),
    [](const auto& point) {
      std::string name = point.param;
      for (char& c : name) {
        if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
      }
      return name;
    });

}  // namespace
}  // namespace ptychoserve::integration
