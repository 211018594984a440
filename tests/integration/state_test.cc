// Sessions as files: exported, taken up elsewhere, run once more.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "client/cpp/client.h"
#include "tests/integration/api.h"
#include "tests/integration/input_stream.h"
#include "tests/integration/server_process.h"
#include "tests/integration/test_scan.h"
#include "tests/temporary_directory.h"

namespace ptychoserve::integration {
namespace {

using ::testing::HasSubstr;

constexpr int kStateIterations = 20;

class StateTest : public testing::Test {
 protected:
  // A server that keeps its sessions on disk, unless `in_memory`.
  void Start(bool in_memory = false) {
    std::vector<std::string> flags;
    if (!in_memory) flags = {"--state-dir", folder_.path()};
    server_ = ServerProcess::Start(flags);
    ASSERT_NE(server_, nullptr);
    api_ = std::make_unique<Api>(server_->address());
    client_ = *client::Client::Connect(server_->address());
  }
  Api& api() { return *api_; }

  std::string Send(const std::string& id, const TestScan& scan, const v1::SessionConfig& config,
                   int first_frame, int frames) {
    const auto created = api().Create(id, config);
    EXPECT_THAT(created.status, IsOk());
    const std::string name = created.value.name();
    PositionInput positions(api(), name);
    EXPECT_TRUE(positions.Send(scan.Positions(0, scan.points())));
    EXPECT_THAT(positions.Finish(), IsOk());
    FrameInput input(api(), name);
    for (int j = first_frame; j < first_frame + frames; ++j) {
      EXPECT_TRUE(input.Send(scan.Frames(j, 1)));
    }
    EXPECT_THAT(input.Finish(), IsOk());
    return name;
  }

  absl::StatusOr<std::string> Export(const std::string& name, client::ExportOptions options = {}) {
    std::string file;
    const absl::Status status = client_->ExportState(name, options, [&](std::string_view part) {
      EXPECT_LE(part.size(), 1u << 20);
      file.append(part);
      return absl::OkStatus();
    });
    if (!status.ok()) return status;
    return file;
  }

  absl::StatusOr<v1::Session> Import(const std::string& file, const v1::ImportStart& start) {
    std::size_t next = 0;
    return client_->ImportState(start, [&]() -> absl::StatusOr<std::string> {
      const std::string part = file.substr(next, 100'000);
      next += part.size();
      return part;
    });
  }
  absl::StatusOr<v1::Session> Import(const std::string& file, const std::string& id,
                                     v1::ImportStart::Mode mode = v1::ImportStart::MODE_CONTINUE) {
    v1::ImportStart start;
    start.set_session_id(id);
    start.set_mode(mode);
    return Import(file, start);
  }

  void ExpectSameBits(const std::string& a, const std::string& b) {
    const auto one = api().Snapshot(a), other = api().Snapshot(b);
    ASSERT_THAT(one.status, IsOk());
    ASSERT_THAT(other.status, IsOk());
    EXPECT_EQ(one.value.object.values, other.value.object.values);
    EXPECT_EQ(one.value.probe.values, other.value.probe.values);
  }

  TemporaryDirectory folder_;
  std::unique_ptr<ServerProcess> server_;
  std::unique_ptr<Api> api_;
  std::unique_ptr<client::Client> client_;
};

TEST_F(StateTest, RunOnceMoreItComesOutWithTheSameBits) {
  const TestScan& scan = SmallScan();
  Start();
  v1::SessionConfig config = scan.Config(kStateIterations);
  config.set_keep_input(true);
  const std::string live = Send("live", scan, config, 0, scan.points());
  ASSERT_THAT(api().AwaitEnd(live).status, IsOk());
  const auto file = Export(live);
  ASSERT_TRUE(file.ok()) << file.status();
  const auto again = Import(*file, "again", v1::ImportStart::MODE_RERUN);
  ASSERT_TRUE(again.ok()) << again.status();
  const v1::Session ended = api().AwaitEnd(again->name()).value;
  EXPECT_EQ(ended.state(), v1::SESSION_STATE_COMPLETED) << ended.failure();
  EXPECT_EQ(ended.iteration(), kStateIterations);
  EXPECT_EQ(ended.frames().accepted(), scan.points());
  ExpectSameBits(live, again->name());
  // Also after a restart, and on a server that keeps nothing.
  EXPECT_EQ(server_->Terminate(), 0);
  Start();
  const auto later = Export(live);
  ASSERT_TRUE(later.ok()) << later.status();
  EXPECT_EQ(*later, *file);
  EXPECT_EQ(server_->Terminate(), 0);
  Start(/*in_memory=*/true);
  const auto elsewhere = Import(*file, "", v1::ImportStart::MODE_RERUN);
  ASSERT_TRUE(elsewhere.ok()) << elsewhere.status();
  EXPECT_EQ(elsewhere->durability(), v1::DURABILITY_MEMORY);
  EXPECT_EQ(api().AwaitEnd(elsewhere->name()).value.final_fit().r_factor(),
            ended.final_fit().r_factor());
}

TEST_F(StateTest, ARunGoesOnElsewhereWithTheSameBits) {
  const TestScan& scan = SmallScan();
  Start();
  v1::SessionConfig config = scan.Config(200);
  v1::StageRefinement& refined = *config.mutable_refinement()->mutable_later_stages();
  refined.set_positions(true);
  refined.set_intensities(true);
  refined.set_background(true);
  refined.set_variation(true);
  const std::string whole = Send("whole", scan, config, 0, scan.points());
  const std::string first = Send("first", scan, config, 0, scan.points());
  api().Await(first, [](const v1::Session& s) { return s.iteration() >= 20; });
  const auto file = Export(first);
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_THAT(api().AwaitEnd(whole).status, IsOk());
  const auto second = Import(*file, "second");
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_GE(second->iteration(), 20);
  server_->Signal(SIGKILL);  // It is on disk.
  server_->Wait();
  Start();
  EXPECT_GE(api().Get(second->name()).value.iteration(), 20);
  const v1::Session ended = api().AwaitEnd(second->name()).value;
  EXPECT_EQ(ended.iteration(), 200);
  ExpectSameBits(whole, second->name());
}

TEST_F(StateTest, ModesOfTheObjectGoElsewhereToo) {
  const TestScan& scan = SmallScan();
  Start();
  constexpr int kEnd = 60;
  v1::SessionConfig config = scan.Config(kEnd);
  config.mutable_object()->set_modes(2);
  const std::string whole = Send("whole", scan, config, 0, scan.points());
  const std::string first = Send("first", scan, config, 0, scan.points());
  api().Await(first, [](const v1::Session& s) { return s.iteration() >= 10; });
  const auto file = Export(first);
  ASSERT_TRUE(file.ok()) << file.status();
  const v1::Session there = api().AwaitEnd(whole).value;
  EXPECT_EQ(there.metrics().object_mode_powers_size(), 2);
  const auto second = Import(*file, "second");
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(api().AwaitEnd(second->name()).value.iteration(), kEnd);
  const auto modes = [this](const std::string& name) {
    v1::GetSnapshotRequest request;
    request.set_name(name);
    request.mutable_selection()->add_arrays(v1::ARRAY_KIND_OBJECT);
    request.mutable_selection()->add_arrays(v1::ARRAY_KIND_OBJECT_MODES);
    const auto snapshot = api().Snapshot(request);
    EXPECT_THAT(snapshot.status, IsOk());
    const auto& object = snapshot.value.object.values;
    const auto& all = snapshot.value.object_modes;
    EXPECT_EQ(all.shape[0], 2);
    EXPECT_TRUE(std::equal(object.begin(), object.end(), all.values.begin()));
    return all.values;
  };
  EXPECT_EQ(modes(second->name()), modes(whole));

  // What has two modes is a start for three, and too much for one.
  v1::ImportStart warm;
  warm.set_mode(v1::ImportStart::MODE_WARM_START);
  *warm.mutable_config() = scan.Config(1);
  const auto refused = Import(*file, warm);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument) << refused.status();
  warm.mutable_config()->mutable_object()->set_modes(3);
  const auto begun = Import(*file, warm);
  ASSERT_TRUE(begun.ok()) << begun.status();
  const v1::Session ended = api().AwaitEnd(begun->name()).value;
  EXPECT_EQ(ended.iteration(), 1);
  EXPECT_EQ(ended.metrics().object_mode_powers_size(), 3);
}

TEST_F(StateTest, ASessionThatStillTakesInputDoesSoElsewhere) {
  const TestScan& scan = SmallScan();
  Start();
  const std::string whole = Send("whole", scan, scan.Config(kStateIterations), 0, scan.points());
  const std::string first = Send("first", scan, scan.Config(kStateIterations), 0, 20);
  const auto file = Export(first);
  ASSERT_TRUE(file.ok()) << file.status();
  const auto second = Import(*file, "second");
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(second->frames().accepted(), 20);
  EXPECT_EQ(second->positions().accepted(), scan.points());
  // What was imported is as durable as what is streamed.
  EXPECT_EQ(server_->Terminate(), 0);
  Start();
  EXPECT_EQ(api().Get(second->name()).value.frames().accepted(), 20);
  FrameInput input(api(), second->name());
  EXPECT_TRUE(input.Send(scan.Frames(20, scan.points() - 20)));
  EXPECT_THAT(input.Finish(), IsOk());
  ASSERT_THAT(api().AwaitEnd(second->name()).status, IsOk());
  ASSERT_THAT(api().AwaitEnd(whole).status, IsOk());
  ExpectSameBits(whole, second->name());
}

TEST_F(StateTest, AWarmStartBeginsWithTheObjectAndTheProbe) {
  const TestScan& scan = SmallScan();
  Start();
  const std::string live = Send("live", scan, scan.Config(300), 0, scan.points());
  const double r = api().AwaitEnd(live).value.final_fit().r_factor();
  const auto file = Export(live, {.input = false});
  ASSERT_TRUE(file.ok()) << file.status();
  v1::ImportStart start;
  start.set_session_id("warm");
  start.set_mode(v1::ImportStart::MODE_WARM_START);
  *start.mutable_config() = scan.Config(1);
  const auto warm = Import(*file, start);
  ASSERT_TRUE(warm.ok()) << warm.status();
  EXPECT_EQ(warm->iteration(), 0);
  EXPECT_EQ(warm->snapshot_version(), 1);
  const std::string name = warm->name();
  PositionInput positions(api(), name);
  EXPECT_TRUE(positions.Send(scan.Positions(0, scan.points())));
  FrameInput frames(api(), name);
  EXPECT_TRUE(frames.Send(scan.Frames(0, scan.points())));
  const v1::Session ended = api().AwaitEnd(name).value;
  EXPECT_EQ(ended.iteration(), 1);
  EXPECT_LT(ended.metrics().r_factor(), 1.1 * r) << "where the other run has ended";
}

TEST_F(StateTest, SaysWhatItDoesNotHave) {
  const TestScan& scan = SmallScan();
  Start();
  const std::string live = Send("live", scan, scan.Config(kStateIterations), 0, scan.points());
  ASSERT_THAT(api().AwaitEnd(live).status, IsOk());
  const auto refused = Export(live);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("keep_input"));
  EXPECT_TRUE(Export(live, {.input = false}).ok());
  EXPECT_EQ(Export("none").status().code(), absl::StatusCode::kNotFound);
  Start(/*in_memory=*/true);
  const std::string other = Send("live", scan, scan.Config(kStateIterations), 0, 5);
  EXPECT_THAT(std::string(Export(other).status().message()), HasSubstr("--state-dir"));
}

TEST_F(StateTest, WhatIsNotWholeIsRefusedAndLeavesNothing) {
  const TestScan& scan = SmallScan();
  Start();
  const std::string live = Send("live", scan, scan.Config(kStateIterations), 0, 20);
  const std::string file = *Export(live);
  const auto refusal = [&](const std::string& bad) {
    const auto imported = Import(bad, "bad");
    EXPECT_EQ(imported.status().code(), absl::StatusCode::kInvalidArgument) << imported.status();
    EXPECT_THAT(api().Get("sessions/bad").status,
                FailsWith(grpc::StatusCode::NOT_FOUND, "SESSION_NOT_FOUND"));
    return std::string(imported.status().message());
  };
  EXPECT_THAT(refusal("no state file"), HasSubstr("is none"));
  EXPECT_THAT(refusal(""), HasSubstr("is none"));
  EXPECT_THAT(refusal(file.substr(0, file.size() - 5)), HasSubstr("is damaged"));
  std::string damaged = file;
  damaged[file.size() / 2] ^= 1;
  EXPECT_THAT(refusal(damaged), HasSubstr("is damaged"));
  const std::size_t last_record = 40 + 2;  // A header and a small number.
  EXPECT_THAT(refusal(file.substr(0, file.size() - last_record)), HasSubstr("is not whole"));

  v1::ImportStart start;
  start.set_session_id("bad");
  *start.mutable_config() = scan.Config(kStateIterations);
  start.mutable_config()->mutable_optics()->set_wavelength_m(-1);
  EXPECT_EQ(Import(file, start).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Import(file, "live").status().code(), absl::StatusCode::kAlreadyExists);
}

}  // namespace
}  // namespace ptychoserve::integration
