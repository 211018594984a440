// Snapshots and events: what readers get, whatever they do.

#include <cmath>
#include <cstring>
#include <optional>
#include <thread>

#include "client/cpp/internal/snapshot_assembler.h"
#include "tests/integration/server_test.h"

namespace ptychoserve::integration {
namespace {

using grpc::StatusCode;

v1::GetSnapshotRequest For(const std::string& name) {
  v1::GetSnapshotRequest request;
  request.set_name(name);
  return request;
}

class SnapshotTest : public ServerTest {};

TEST_F(SnapshotTest, SessionWithoutOneAnswersUnchanged) {
  const std::string name = Create(SmallScan().Config(3));
  const auto snapshot = api().Snapshot(name);
  ASSERT_THAT(snapshot.status, IsOk());
  EXPECT_TRUE(snapshot.value.header.unchanged());
  EXPECT_EQ(snapshot.value.header.version(), 0);
  EXPECT_EQ(snapshot.value.header.state(), v1::SESSION_STATE_CREATED);
}

TEST_F(SnapshotTest, NothingNewerIsAnsweredWithoutArrays) {
  RunScan(SmallScan(), 3);
  v1::GetSnapshotRequest request = For(Name());
  const auto first = api().Snapshot(request);
  ASSERT_THAT(first.status, IsOk());
  EXPECT_FALSE(first.value.header.unchanged());
  request.set_not_newer_than(first.value.header.version());
  const auto second = api().Snapshot(request);
  ASSERT_THAT(second.status, IsOk());
  EXPECT_TRUE(second.value.header.unchanged());
  EXPECT_EQ(second.value.header.arrays_size(), 0);
  request.set_not_newer_than(first.value.header.version() - 1);
  EXPECT_FALSE(api().Snapshot(request).value.header.unchanged());
}

TEST_F(SnapshotTest, ReaderCanWaitForTheNextOne) {
  const std::string name = Create(SmallScan().Config(3));
  v1::GetSnapshotRequest request = For(name);
  constexpr std::uint32_t kLongWaitMs = 60'000;
  request.set_wait_ms(kLongWaitMs);
  Result<client::Snapshot> waited;
  std::thread reader([&] { waited = api().Snapshot(request); });
  SendAll(name, SmallScan());
  reader.join();
  ASSERT_THAT(waited.status, IsOk());
  EXPECT_FALSE(waited.value.header.unchanged());
  EXPECT_GE(waited.value.header.version(), 1);
  EXPECT_FALSE(waited.value.object.empty());
}

TEST_F(SnapshotTest, WaitEndsWithTheSessionThatHasNoMore) {
  const v1::Session session = RunScan(SmallScan(), 3);
  v1::GetSnapshotRequest request = For(Name());
  request.set_not_newer_than(session.snapshot_version());
  constexpr std::uint32_t kLongWaitMs = 60'000;
  request.set_wait_ms(kLongWaitMs);
  const auto begin = std::chrono::steady_clock::now();
  const auto snapshot = api().Snapshot(request);
  ASSERT_THAT(snapshot.status, IsOk());
  EXPECT_TRUE(snapshot.value.header.unchanged());
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(kLongWaitMs));
}

TEST_F(SnapshotTest, WaitThatIsInVainAnswersUnchanged) {
  const std::string name = Create(SmallScan().Config(3));
  v1::GetSnapshotRequest request = For(name);
  request.set_wait_ms(20);
  const auto snapshot = api().Snapshot(request);
  ASSERT_THAT(snapshot.status, IsOk());
  EXPECT_TRUE(snapshot.value.header.unchanged());
}

TEST_F(SnapshotTest, KeptVersionsCanBeFetchedAndOthersAreNotFound) {
  v1::SessionConfig config = SmallScan().Config(6);
  config.mutable_snapshots()->set_history(3);
  const std::string name = Create(config);
  SendAll(name, SmallScan());
  const std::int64_t newest = api().AwaitEnd(name).value.snapshot_version();
  ASSERT_GT(newest, 3);
  v1::GetSnapshotRequest request = For(name);
  std::int64_t last_iteration = 0;
  for (std::int64_t version = newest - 2; version <= newest; ++version) {
    request.set_version(version);
    const auto snapshot = api().Snapshot(request);
    ASSERT_THAT(snapshot.status, IsOk());
    EXPECT_EQ(snapshot.value.header.version(), version);
    EXPECT_EQ(snapshot.value.header.final(), version == newest);
    EXPECT_GE(snapshot.value.header.iteration(), last_iteration);
    last_iteration = snapshot.value.header.iteration();
  }
  for (const std::int64_t version : {std::int64_t{1}, newest + 1}) {
    request.set_version(version);
    EXPECT_THAT(api().Snapshot(request).status,
                FailsWith(StatusCode::NOT_FOUND, "SNAPSHOT_NOT_FOUND"));
  }
}

TEST_F(SnapshotTest, ScannedAreaIsPartOfTheCanvasAndHoldsTheBeamCentres) {
  RunScan(SmallScan(), 3);
  v1::GetSnapshotRequest request = For(Name());
  for (const auto kind : {v1::ARRAY_KIND_OBJECT, v1::ARRAY_KIND_COVERAGE, v1::ARRAY_KIND_POINTS}) {
    request.mutable_selection()->add_arrays(kind);
  }
  const auto scanned = api().Snapshot(request);
  request.mutable_selection()->set_area(v1::OBJECT_AREA_CANVAS);
  const auto canvas = api().Snapshot(request);
  ASSERT_THAT(scanned.status, IsOk());
  ASSERT_THAT(canvas.status, IsOk());

  const v1::Region& area = scanned.value.header.area();
  const std::vector<std::int64_t> shape = {area.shape().rows(), area.shape().cols()};
  EXPECT_EQ(scanned.value.object.shape, shape);
  EXPECT_EQ(scanned.value.coverage.shape, shape);
  const auto cols = static_cast<std::size_t>(canvas.value.header.canvas().cols());
  ASSERT_EQ(canvas.value.object.values.size(), canvas.value.header.canvas().rows() * cols);
  for (std::size_t y = 0; y < area.shape().rows(); ++y) {
    for (std::size_t x = 0; x < area.shape().cols(); ++x) {
      ASSERT_EQ(scanned.value.object.values[y * area.shape().cols() + x],
                canvas.value.object.values[(y + area.row()) * cols + x + area.col()]);
    }
  }
  // Every beam's centre lies in the scanned area; a window's corner is half a frame before.
  ASSERT_EQ(scanned.value.points.size(), static_cast<std::size_t>(SmallScan().points()));
  const double half = SmallScan().side() / 2.0;
  for (const client::SnapshotPoint& p : scanned.value.points) {
    EXPECT_GE(p.row + half, -1.0);
    EXPECT_LE(p.row + half, area.shape().rows());
    EXPECT_GE(p.col + half, -1.0);
    EXPECT_LE(p.col + half, area.shape().cols());
  }
  // The area's place in the sample follows from the canvas's.
  const double pixel = scanned.value.header.pixel_size_y_m();
  EXPECT_NEAR(scanned.value.header.origin_y_m() - canvas.value.header.origin_y_m(),
              area.row() * pixel, 1e-3 * pixel);
}

TEST_F(SnapshotTest, UncoveredPixelsAreSeedOrNanAsAskedFor) {
  v1::SessionConfig config = SmallScan().Config(3);
  // Far more canvas than beam.
  const double reach = 100 * SmallScan().simulation().pixel_size().y_m;
  v1::ScanBounds& bounds = *config.mutable_scan()->mutable_bounds();
  bounds.set_y_min_m(-reach);
  bounds.set_y_max_m(reach);
  bounds.set_x_min_m(-reach);
  bounds.set_x_max_m(reach);
  config.mutable_object()->set_initial_amplitude(0.75);
  const std::string name = Create(config);
  SendAll(name, SmallScan());
  ASSERT_EQ(api().AwaitEnd(name).value.state(), v1::SESSION_STATE_COMPLETED);

  v1::GetSnapshotRequest request = For(name);
  v1::SnapshotSelection& selection = *request.mutable_selection();
  selection.add_arrays(v1::ARRAY_KIND_OBJECT);
  selection.add_arrays(v1::ARRAY_KIND_COVERAGE);
  selection.set_area(v1::OBJECT_AREA_CANVAS);
  selection.set_coverage_threshold(0);
  const auto kept = api().Snapshot(request);
  selection.set_uncovered(v1::UNCOVERED_NAN);
  const auto masked = api().Snapshot(request);
  ASSERT_THAT(kept.status, IsOk());
  ASSERT_THAT(masked.status, IsOk());
  std::int64_t uncovered = 0;
  for (std::size_t i = 0; i < kept.value.object.values.size(); ++i) {
    const std::complex<float> value = kept.value.object.values[i];
    const std::complex<float> shown = masked.value.object.values[i];
    if (kept.value.coverage.values[i] > 0) {
      ASSERT_TRUE(std::isfinite(value.real()) && std::isfinite(value.imag()));
      ASSERT_EQ(shown, value);
    } else {
      ++uncovered;
      ASSERT_EQ(value, std::complex<float>(0.75f, 0.0f)) << "the seed was touched at " << i;
      ASSERT_TRUE(std::isnan(shown.real()) && std::isnan(shown.imag()));
    }
  }
  EXPECT_GT(uncovered, 0);
}

TEST_F(SnapshotTest, DownsamplingTakesMeansOfBlocks) {
  RunScan(SmallScan(), 3);
  v1::GetSnapshotRequest request = For(Name());
  request.mutable_selection()->add_arrays(v1::ARRAY_KIND_OBJECT);
  const auto full = api().Snapshot(request);
  constexpr std::int64_t kBlock = 3;
  request.mutable_selection()->set_downsample(kBlock);
  const auto small = api().Snapshot(request);
  ASSERT_THAT(small.status, IsOk());
  const std::int64_t rows = full.value.object.shape[0];
  const std::int64_t cols = full.value.object.shape[1];
  ASSERT_EQ(small.value.object.shape, (std::vector<std::int64_t>{(rows + kBlock - 1) / kBlock,
                                                                 (cols + kBlock - 1) / kBlock}));
  std::complex<double> mean = 0;
  for (std::int64_t y = 0; y < kBlock; ++y) {
    for (std::int64_t x = 0; x < kBlock; ++x) {
      mean +=
          std::complex<double>(full.value.object.values[static_cast<std::size_t>(y * cols + x)]);
    }
  }
  mean /= static_cast<double>(kBlock * kBlock);
  EXPECT_LT(std::abs(std::complex<double>(small.value.object.values[0]) - mean), 1e-6);
  EXPECT_DOUBLE_EQ(small.value.header.pixel_size_y_m(),
                   kBlock * full.value.header.pixel_size_y_m());
}

TEST_F(SnapshotTest, ObjectAndProbeAreOfOneIteration) {
  // While the session iterates, the pair that is fetched must be the pair that was kept: asked for
  // together, and each alone by version.
  v1::SessionConfig config = SmallScan().StreamingConfig(1);
  config.mutable_snapshots()->set_history(64);
  const std::string name = Create(config);
  SendAll(name, SmallScan());
  api().Await(name, [](const auto& s) { return s.snapshot_version() >= 3; });
  std::int64_t last = 0;
  for (int i = 0; i < 5; ++i) {
    v1::GetSnapshotRequest request = For(name);
    const auto pair = api().Snapshot(request);
    ASSERT_THAT(pair.status, IsOk());
    EXPECT_GE(pair.value.header.version(), last);
    last = pair.value.header.version();
    request.set_version(last);
    request.mutable_selection()->add_arrays(v1::ARRAY_KIND_PROBE);
    const auto probe = api().Snapshot(request);
    if (!probe.ok()) continue;  // More than 64 iterations later: not kept any more.
    EXPECT_EQ(probe.value.header.iteration(), pair.value.header.iteration());
    EXPECT_EQ(probe.value.probe.values, pair.value.probe.values);
  }
  EXPECT_THAT(api().Delete(name, true), IsOk());
}

TEST_F(SnapshotTest, FramesAreAsTheDetectorHasSentThemAndAsTheModelExpectsThem) {
  v1::SessionConfig config = SmallScan().StreamingConfig(1);
  const std::string name = Create(config);
  SendAll(name, SmallScan());
  api().Await(name, [](const auto& s) {
    return s.active_points() == SmallScan().points() && s.metrics().r_factor() < 0.3;
  });
  constexpr int kId = 5;
  v1::GetFrameRequest request;
  request.set_name(name);
  request.set_frame_id(kId);
  const Result<client::FrameView> plain = api().Frame(request);
  ASSERT_THAT(plain.status, IsOk());
  EXPECT_EQ(plain.value.header.frame_id(), kId);
  EXPECT_EQ(plain.value.header.version(), 0);
  EXPECT_TRUE(plain.value.expected.empty());
  const std::string bytes = SmallScan().Frames(kId, 1).batch().data();
  std::vector<std::uint16_t> sent(bytes.size() / sizeof(std::uint16_t));
  std::memcpy(sent.data(), bytes.data(), bytes.size());
  EXPECT_THAT(plain.value.counts.values, testing::ElementsAreArray(sent));

  request.set_expected(true);
  const Result<client::FrameView> both = api().Frame(request);
  ASSERT_THAT(both.status, IsOk());
  EXPECT_GT(both.value.header.version(), 0);
  ASSERT_EQ(both.value.expected.shape, both.value.counts.shape);
  double error = 0, amplitude = 0;
  for (std::size_t i = 0; i < sent.size(); ++i) {
    const double measured = std::sqrt(both.value.counts.values[i]);
    error += std::abs(measured - std::sqrt(both.value.expected.values[i]));
    amplitude += measured;
  }
  EXPECT_LT(error / amplitude, 0.4);

  request.set_downsample(3);
  const Result<client::FrameView> small = api().Frame(request);
  EXPECT_EQ(small.value.counts.shape[0], (plain.value.counts.shape[0] + 2) / 3);
  request.clear_frame_id();
  EXPECT_THAT(api().Frame(request).status, IsOk());
  EXPECT_THAT(api().Delete(name, true), IsOk());
}

// ---- WatchSnapshots --------------------------------------------------------------------------

class Watcher {
 public:
  Watcher(Api& api, const std::string& name) : context_(Context()) {
    v1::WatchSnapshotsRequest request;
    request.set_name(name);
    reader_ = api.stub().WatchSnapshots(context_.get(), request);
  }
  // The next snapshot; nothing at the end of the call.
  std::optional<client::Snapshot> Next() {
    v1::SnapshotChunk chunk;
    while (reader_->Read(&chunk)) {
      const absl::Status added = assembler_.Add(chunk);
      EXPECT_TRUE(added.ok()) << added.ToString();
      if (auto snapshot = assembler_.Take()) return snapshot;
    }
    return std::nullopt;
  }
  void Cancel() { context_->TryCancel(); }
  grpc::Status Finish() { return reader_->Finish(); }

 private:
  std::unique_ptr<grpc::ClientContext> context_;
  std::unique_ptr<grpc::ClientReader<v1::SnapshotChunk>> reader_;
  client::internal::SnapshotAssembler assembler_;
};

class WatchTest : public ServerTest {};

TEST_F(WatchTest, SnapshotsComeInOrderAndTheLastOneIsFinal) {
  const std::string name = Create(SmallScan().Config(25));
  Watcher watcher(api(), name);
  std::thread sender([&] { SendAll(name, SmallScan()); });
  std::int64_t version = 0;
  std::int64_t iteration = 0;
  bool final = false;
  while (const auto snapshot = watcher.Next()) {
    EXPECT_FALSE(final) << "nothing comes after the final one";
    EXPECT_GT(snapshot->header.version(), version);
    EXPECT_GE(snapshot->header.iteration(), iteration);
    if (version > 0) {
      EXPECT_EQ(snapshot->header.skipped(), snapshot->header.version() - version - 1);
    }
    version = snapshot->header.version();
    iteration = snapshot->header.iteration();
    final = snapshot->header.final();
  }
  sender.join();
  EXPECT_THAT(watcher.Finish(), IsOk());
  EXPECT_TRUE(final);
  EXPECT_EQ(iteration, 25);
}

TEST_F(WatchTest, SlowReaderGetsTheLatestAndIsToldWhatItMissed) {
  const std::string name = StartEndlessSession();
  Watcher watcher(api(), name);
  const auto first = watcher.Next();
  ASSERT_TRUE(first.has_value());
  // More versions than fit into the buffers of a connection.
  const std::int64_t begin = first->header.version();
  api().Await(name, [&](const auto& s) { return s.snapshot_version() > begin + 50; });
  ASSERT_THAT(api().Stop(name).status, IsOk());
  std::int64_t received = 1;
  std::int64_t skipped = 0;
  v1::SnapshotHeader last = first->header;
  while (const auto snapshot = watcher.Next()) {
    EXPECT_GT(snapshot->header.version(), last.version());
    ++received;
    skipped += snapshot->header.skipped();
    last = snapshot->header;
  }
  EXPECT_THAT(watcher.Finish(), IsOk());
  EXPECT_TRUE(last.final());
  EXPECT_GT(skipped, 0);
  EXPECT_EQ(received + skipped, last.version() - begin + 1);
}

TEST_F(WatchTest, DeadWatchersDoNotHoldUpTheSession) {
  const std::string name = Create(SmallScan().Config(40));
  std::vector<std::unique_ptr<Watcher>> watchers;
  for (int i = 0; i < 4; ++i) watchers.push_back(std::make_unique<Watcher>(api(), name));
  SendAll(name, SmallScan());
  watchers[0]->Cancel();
  watchers[1]->Cancel();
  // The other two never read.
  const v1::Session session = api().AwaitEnd(name).value;
  EXPECT_EQ(session.state(), v1::SESSION_STATE_COMPLETED);
  EXPECT_EQ(session.iteration(), 40);
  EXPECT_TRUE(api().Snapshot(name).value.header.final());
  for (int i = 2; i < 4; ++i) watchers[static_cast<std::size_t>(i)]->Cancel();
  for (auto& watcher : watchers) {
    while (watcher->Next().has_value()) {
    }
    watcher->Finish();
  }
}

TEST_F(WatchTest, WatcherOfADeletedSessionIsToldSo) {
  const std::string name = StartEndlessSession();
  Watcher watcher(api(), name);
  ASSERT_TRUE(watcher.Next().has_value());
  EXPECT_THAT(api().Delete(name, /*force=*/true), IsOk());
  while (const auto snapshot = watcher.Next()) EXPECT_FALSE(snapshot->header.final());
  EXPECT_THAT(watcher.Finish(), FailsWith(StatusCode::NOT_FOUND, "SESSION_DELETED"));
}

// ---- WatchSession ----------------------------------------------------------------------------

struct Events {
  std::vector<v1::SessionEvent> all;
  grpc::Status status;

  std::vector<v1::SessionState> states() const {
    std::vector<v1::SessionState> out;
    for (const auto& event : all) {
      if (event.kind() == v1::SessionEvent::KIND_STATE) out.push_back(event.session().state());
    }
    return out;
  }
};

Events Watch(Api& api, const std::string& name, const std::function<void()>& on_first) {
  const auto context = Context();
  v1::WatchSessionRequest request;
  request.set_name(name);
  request.set_min_interval_ms(10);
  const auto reader = api.stub().WatchSession(context.get(), request);
  Events out;
  v1::SessionEvent event;
  while (reader->Read(&event)) {
    out.all.push_back(event);
    if (out.all.size() == 1) on_first();
  }
  out.status = reader->Finish();
  return out;
}

TEST_F(WatchTest, EveryStateOfASessionIsToldInOrder) {
  const std::string name = Create(SmallScan().StreamingConfig(5));
  std::thread sender;
  const Events events = Watch(api(), name, [&] {
    sender = std::thread([&] {
      SendAll(name, SmallScan());
      api().Await(name, [](const auto& s) { return s.iteration() >= 2; });
      EXPECT_THAT(api().Finish(name).status, IsOk());
    });
  });
  sender.join();
  EXPECT_THAT(events.status, IsOk());
  EXPECT_EQ(events.states(), (std::vector<v1::SessionState>{
                                 v1::SESSION_STATE_CREATED, v1::SESSION_STATE_RECEIVING,
                                 v1::SESSION_STATE_RECONSTRUCTING, v1::SESSION_STATE_REFINING,
                                 v1::SESSION_STATE_COMPLETED}));
  EXPECT_EQ(events.all.back().kind(), v1::SessionEvent::KIND_STATE);
  EXPECT_EQ(events.all.back().session().state(), v1::SESSION_STATE_COMPLETED);
  std::int64_t iteration = 0;
  for (const auto& event : events.all) {
    EXPECT_FALSE(event.session().has_config());
    if (event.kind() != v1::SessionEvent::KIND_PROGRESS) continue;
    EXPECT_GE(event.session().iteration(), iteration);
    iteration = event.session().iteration();
  }
}

TEST_F(WatchTest, WarningsAreTold) {
  const std::string name = Create(SmallScan().StreamingConfig(3));
  SendAll(name, SmallScan());
  const Events events = Watch(api(), name, [&] {
    v1::FinishScanRequest request;
    request.set_name(name);
    request.set_expected_frames(1000);
    v1::Session response;
    EXPECT_THAT(api().stub().FinishScan(Context().get(), request, &response), IsOk());
  });
  std::vector<std::string> warnings;
  for (const auto& event : events.all) {
    if (event.kind() == v1::SessionEvent::KIND_WARNING) warnings.push_back(event.warning());
  }
  EXPECT_THAT(warnings, testing::ElementsAre(testing::HasSubstr("expected 1000 frames")));
}

TEST_F(WatchTest, DeletionIsTheLastEvent) {
  const std::string name = StartEndlessSession();
  std::thread deleter;
  const Events events = Watch(api(), name, [&] {
    deleter = std::thread([&] { EXPECT_THAT(api().Delete(name, /*force=*/true), IsOk()); });
  });
  deleter.join();
  EXPECT_THAT(events.status, IsOk());
  ASSERT_FALSE(events.all.empty());
  EXPECT_EQ(events.all.back().kind(), v1::SessionEvent::KIND_DELETED);
  EXPECT_EQ(events.states().back(), v1::SESSION_STATE_STOPPED);
}

TEST_F(WatchTest, WatcherOfAnEndedSessionGetsItsFinalState) {
  RunScan(SmallScan(), 2);
  const Events events = Watch(api(), Name(), [] {});
  EXPECT_THAT(events.status, IsOk());
  EXPECT_EQ(events.states(), (std::vector<v1::SessionState>{v1::SESSION_STATE_COMPLETED}));
}

}  // namespace
}  // namespace ptychoserve::integration
