// What becomes of frames and positions: every one is accepted or counted, and told in the
// acknowledgements.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <span>
#include <thread>

#include "engine/frames/codec.h"
#include "tests/integration/server_test.h"
#include "tests/temporary_directory.h"

namespace ptychoserve::integration {
namespace {

using grpc::StatusCode;

constexpr int kIngestIterations = 8;

class IngestTest : public ServerTest {
 protected:
  std::vector<std::complex<float>> ObjectOf(const std::string& name) {
    const auto snapshot = api().Snapshot(name);
    EXPECT_THAT(snapshot.status, IsOk());
    return snapshot.value.object.values;
  }
};

TEST_F(IngestTest, AcknowledgementsAddUpAndNeverGoBack) {
  const TestScan& scan = SmallScan();
  const std::string name = Create(scan.StreamingConfig(kIngestIterations));
  PositionInput positions(api(), name);
  FrameInput frames(api(), name);
  std::int64_t payload = 0;
  for (int j = 0; j < scan.points(); ++j) {
    positions.Send(scan.Positions(j, 1));
    frames.Send(scan.Frames(j, 1));
    frames.Send(scan.Frames(j / 2, 1));  // Once more, a duplicate.
    payload += 2 * static_cast<std::int64_t>(scan.frame_bytes());
  }
  EXPECT_THAT(positions.Finish(), IsOk());
  EXPECT_THAT(frames.Finish(), IsOk());
  v1::IngestAck last = frames.acks().front();
  for (const v1::IngestAck& ack : frames.acks()) {
    EXPECT_TRUE(AddsUp(ack.counters()));
    EXPECT_GE(ack.batches(), last.batches());
    EXPECT_GE(ack.payload_bytes(), last.payload_bytes());
    EXPECT_GE(ack.granted_bytes(), last.granted_bytes());
    EXPECT_GT(ack.granted_bytes(), ack.payload_bytes()) << "a client could not go on";
    EXPECT_GE(ack.counters().watermark(), last.counters().watermark());
    EXPECT_GE(ack.counters().received(), last.counters().received());
    last = ack;
  }
  EXPECT_EQ(frames.acks().front().batches(), 0) << "the first one answers OpenStream";
  EXPECT_EQ(last.batches(), 2 * scan.points());
  EXPECT_EQ(last.payload_bytes(), payload);
  EXPECT_EQ(last.counters().payload_bytes(), payload);
  EXPECT_EQ(last.counters().accepted(), scan.points());
  EXPECT_EQ(Rejected(last.counters(), v1::REJECT_REASON_DUPLICATE), scan.points());
  EXPECT_EQ(last.counters().watermark(), scan.points() - 1);
  EXPECT_EQ(positions.last_ack().counters().accepted(), scan.points());
}

TEST_F(IngestTest, WatermarkStopsBeforeTheFirstMissingId) {
  const TestScan& scan = SmallScan();
  v1::SessionConfig config = scan.StreamingConfig(kIngestIterations);
  config.mutable_scan()->set_first_frame_id(5);
  FrameInput frames(api(), Create(config));
  ASSERT_TRUE(frames.AwaitBatches(0));
  EXPECT_EQ(frames.last_ack().counters().watermark(), 4);
  frames.Send(scan.Frames(10, 5));
  ASSERT_TRUE(frames.AwaitBatches(1));
  EXPECT_EQ(frames.last_ack().counters().watermark(), 4);
  frames.Send(scan.Frames(5, 3));
  ASSERT_TRUE(frames.AwaitBatches(2));
  EXPECT_EQ(frames.last_ack().counters().watermark(), 7);
  frames.Send(scan.Frames(8, 2));
  EXPECT_THAT(frames.Finish(), IsOk());
  EXPECT_EQ(frames.last_ack().counters().watermark(), 14);
}

TEST_F(IngestTest, RefusedIdsAreAccountedForInTheWatermark) {
  const TestScan& scan = SmallScan();
  const std::string name = Create(scan.StreamingConfig(kIngestIterations));
  FrameInput frames(api(), name);
  v1::StreamFramesRequest damaged = scan.Frames(0, 2);
  damaged.mutable_batch()->mutable_data()->pop_back();
  frames.Send(damaged);
  frames.Send(scan.Frames(2, 2));
  EXPECT_THAT(frames.Finish(), IsOk());
  const v1::IngestCounters counters = frames.last_ack().counters();
  EXPECT_EQ(counters.watermark(), 3);
  EXPECT_EQ(counters.accepted(), 2);
}

TEST_F(IngestTest, CapacityLeavesExactlySoManyPointsAndTheSessionGoesOn) {
  const TestScan& scan = SmallScan();
  constexpr int kCapacity = 23;  // No multiple of the batches.
  v1::SessionConfig config = scan.StreamingConfig(kIngestIterations);
  config.mutable_scan()->set_capacity(kCapacity);
  const std::string name = Create(config);
  PositionInput positions(api(), name);
  FrameInput frames(api(), name);
  positions.Send(scan.Positions(0, scan.points()));
  constexpr int kBatch = 7;
  for (int j = 0; j < scan.points(); j += kBatch) frames.Send(scan.Frames(j, kBatch));
  EXPECT_THAT(frames.Finish(), IsOk());
  EXPECT_THAT(positions.Finish(), IsOk());
  const v1::Session running =
      api().Await(name, [](const auto& s) { return s.active_points() == kCapacity; }).value;
  EXPECT_EQ(running.state(), v1::SESSION_STATE_RECONSTRUCTING);
  EXPECT_EQ(Rejected(running.frames(), v1::REJECT_REASON_OVER_CAPACITY), scan.points() - kCapacity);
  const std::int64_t iteration = running.iteration();
  api().Await(name, [&](const auto& s) { return s.iteration() > iteration + 3; });
  EXPECT_THAT(api().Finish(name).status, IsOk());
  const v1::Session session = api().AwaitEnd(name).value;
  EXPECT_EQ(session.state(), v1::SESSION_STATE_COMPLETED);
  EXPECT_EQ(session.active_points(), kCapacity);
  for (const auto& value : ObjectOf(name)) ASSERT_TRUE(std::isfinite(std::abs(value)));
}

TEST_F(IngestTest, FullStoreEndsTheDataWhenAskedTo) {
  const TestScan& scan = SmallScan();
  v1::SessionConfig config = scan.StreamingConfig(kIngestIterations);
  config.mutable_scan()->set_capacity(20);
  config.mutable_scan()->set_over_capacity(v1::OVER_CAPACITY_END_SCAN);
  const std::string name = Create(config);
  SendAll(name, scan);
  const v1::Session session = api().AwaitEnd(name).value;
  EXPECT_EQ(session.state(), v1::SESSION_STATE_COMPLETED);
  EXPECT_EQ(session.end_of_data(), v1::END_OF_DATA_CAPACITY);
  EXPECT_EQ(session.active_points(), 20);
}

// The same scan through every pixel type and packing: the results agree to the bit wherever the
// counts do.
TEST_F(IngestTest, EveryPixelTypeAndEncodingGivesTheSameResult) {
  const TestScan& scan = SmallScan();
  RunScan(scan, kIngestIterations, "raw-u16");
  const auto reference = ObjectOf(Name("raw-u16"));

  const auto run = [&](const std::string& suffix, v1::DataType dtype, v1::Encoding encoding) {
    v1::SessionConfig config = scan.Config(kIngestIterations);
    config.mutable_detector()->set_dtype(dtype);
    const std::string name = Create(config, suffix);
    PositionInput positions(api(), name);
    FrameInput frames(api(), name);
    positions.Send(scan.Positions(0, scan.points()));
    v1::StreamFramesRequest request = scan.Frames(0, scan.points());
    v1::FrameBatch& batch = *request.mutable_batch();
    batch.set_dtype(dtype);
    batch.set_encoding(encoding);
    batch.clear_data();
    for (int j = 0; j < scan.points(); ++j) {
      const std::vector<std::uint16_t>& counts = scan.frame(j);
      std::string raw;
      int element = 0;
      if (dtype == v1::DATA_TYPE_U16) {
        raw = Bytes(counts);
        element = 2;
      } else if (dtype == v1::DATA_TYPE_U32) {
        raw = Bytes(std::vector<std::uint32_t>(counts.begin(), counts.end()));
        element = 4;
      } else if (dtype == v1::DATA_TYPE_F32) {
        raw = Bytes(std::vector<float>(counts.begin(), counts.end()));
        element = 4;
      }
      if (encoding == v1::ENCODING_RAW) {
        batch.mutable_data()->append(raw);
        continue;
      }
      const Encoding how = encoding == v1::ENCODING_LZ4 ? Encoding::kLz4 : Encoding::kBslz4;
      const auto packed = EncodeFrame(how, std::as_bytes(std::span(raw)), element);
      batch.add_encoded_sizes(static_cast<std::uint32_t>(packed.size()));
      batch.mutable_data()->append(reinterpret_cast<const char*>(packed.data()), packed.size());
    }
    frames.Send(request);
    EXPECT_THAT(frames.Finish(), IsOk());
    EXPECT_THAT(positions.Finish(), IsOk());
    const v1::Session session = api().AwaitEnd(name).value;
    EXPECT_EQ(session.state(), v1::SESSION_STATE_COMPLETED) << suffix;
    EXPECT_EQ(session.frames().accepted(), scan.points()) << session.frames().ShortDebugString();
    return ObjectOf(name);
  };
  EXPECT_TRUE(run("lz4-u16", v1::DATA_TYPE_U16, v1::ENCODING_LZ4) == reference);
  EXPECT_TRUE(run("bslz4-u16", v1::DATA_TYPE_U16, v1::ENCODING_BSLZ4) == reference);
  EXPECT_TRUE(run("raw-u32", v1::DATA_TYPE_U32, v1::ENCODING_RAW) == reference);
  EXPECT_TRUE(run("bslz4-u32", v1::DATA_TYPE_U32, v1::ENCODING_BSLZ4) == reference);
  EXPECT_TRUE(run("raw-f32", v1::DATA_TYPE_F32, v1::ENCODING_RAW) == reference);
  EXPECT_TRUE(run("lz4-f32", v1::DATA_TYPE_F32, v1::ENCODING_LZ4) == reference);
}

TEST_F(IngestTest, EightBitFramesAgreeWithSixteenBitFramesOfTheSameCounts) {
  const TestScan& scan = SmallScan();
  const auto run = [&](const std::string& suffix, bool narrow, v1::Encoding encoding) {
    v1::SessionConfig config = scan.Config(kIngestIterations);
    config.mutable_detector()->set_dtype(narrow ? v1::DATA_TYPE_U8 : v1::DATA_TYPE_U16);
    constexpr std::uint16_t kMaxCount = 254;  // 255 is saturation.
    const std::string name = Create(config, suffix);
    PositionInput positions(api(), name);
    FrameInput frames(api(), name);
    positions.Send(scan.Positions(0, scan.points()));
    for (int j = 0; j < scan.points(); ++j) {
      v1::StreamFramesRequest request = scan.Frames(j, 1);
      v1::FrameBatch& batch = *request.mutable_batch();
      std::vector<std::uint16_t> counts = scan.frame(j);
      for (std::uint16_t& c : counts) c = std::min(c, kMaxCount);
      batch.set_dtype(config.detector().dtype());
      batch.set_data(narrow ? Bytes(std::vector<std::uint8_t>(counts.begin(), counts.end()))
                            : Bytes(counts));
      if (encoding == v1::ENCODING_BSLZ4) {
        const auto packed =
            EncodeFrame(Encoding::kBslz4, std::as_bytes(std::span(batch.data())), narrow ? 1 : 2);
        batch.set_encoding(encoding);
        batch.add_encoded_sizes(static_cast<std::uint32_t>(packed.size()));
        batch.set_data(std::string(reinterpret_cast<const char*>(packed.data()), packed.size()));
      }
      frames.Send(request);
    }
    EXPECT_THAT(frames.Finish(), IsOk());
    EXPECT_THAT(positions.Finish(), IsOk());
    EXPECT_EQ(api().AwaitEnd(name).value.state(), v1::SESSION_STATE_COMPLETED);
    return ObjectOf(name);
  };
  const auto reference = run("u16", false, v1::ENCODING_RAW);
  EXPECT_TRUE(run("u8", true, v1::ENCODING_RAW) == reference);
  EXPECT_TRUE(run("u8-bslz4", true, v1::ENCODING_BSLZ4) == reference);
}

TEST_F(IngestTest, EncoderSamplesGiveTheResultOfThePositionsTheyMeasure) {
  const TestScan& scan = SmallScan();
  RunScan(scan, kIngestIterations, "positions");
  v1::SessionConfig config = scan.Config(kIngestIterations);
  constexpr int kSamples = 4;
  constexpr double kScale = 1e-9;
  v1::Encoder& encoder = *config.mutable_scan()->mutable_encoder();
  encoder.set_samples_per_frame(kSamples);
  encoder.set_x_scale_m_per_count(kScale);
  encoder.set_y_scale_m_per_count(-kScale);
  const std::string name = Create(config, "samples");
  FrameInput frames(api(), name);
  PositionInput positions(api(), name);
  frames.Send(scan.Frames(0, scan.points()));
  // Blocks of three samples, in reverse, that do not end where frames do.
  std::vector<double> x, y;
  for (int j = 0; j < scan.points(); ++j) {
    for (const double wobble : {-3.0, 1.0, -1.0, 3.0}) {
      x.push_back(scan.x_m(j) / kScale + wobble);
      y.push_back(-scan.y_m(j) / kScale - wobble);
    }
  }
  constexpr std::size_t kBlock = 3;
  for (std::size_t end = x.size(); end > 0;) {
    const std::size_t begin = end > kBlock ? end - kBlock : 0;
    v1::StreamPositionsRequest request;
    request.mutable_encoder_samples()->set_first_sample(static_cast<std::int64_t>(begin));
    for (std::size_t i = begin; i < end; ++i) {
      request.mutable_encoder_samples()->add_x_counts(x[i]);
      request.mutable_encoder_samples()->add_y_counts(y[i]);
    }
    positions.Send(request);
    end = begin;
  }
  EXPECT_THAT(frames.Finish(), IsOk());
  EXPECT_THAT(positions.Finish(), IsOk());
  const v1::Session session = api().AwaitEnd(name).value;
  EXPECT_EQ(session.active_points(), scan.points());
  // Equal but for the last digits of the positions.
  const auto a = ObjectOf(Name("positions"));
  const auto b = ObjectOf(name);
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) ASSERT_LT(std::abs(a[i] - b[i]), 1e-2) << i;
}

TEST_F(IngestTest, CancelledClientLeavesTheSessionHealthy) {
  const TestScan& scan = SmallScan();
  const std::string name = Create(scan.StreamingConfig(kIngestIterations));
  {
    PositionInput positions(api(), name);
    FrameInput frames(api(), name);
    positions.Send(scan.Positions(0, 10));
    frames.Send(scan.Frames(0, 10));
    ASSERT_TRUE(frames.AwaitBatches(1));
    frames.Cancel();
    positions.Cancel();
    EXPECT_EQ(frames.Status().error_code(), grpc::StatusCode::CANCELLED);
    EXPECT_EQ(positions.Status().error_code(), grpc::StatusCode::CANCELLED);
  }
  EXPECT_FALSE(IsFinal(api().Get(name).value.state()));
  // Another connection carries on where it stopped; what comes again is a duplicate.
  Api other(server().address());
  PositionInput positions(other, name);
  FrameInput frames(other, name);
  positions.Send(scan.Positions(0, scan.points()));
  frames.Send(scan.Frames(0, scan.points()));
  EXPECT_THAT(positions.Finish(), IsOk());
  EXPECT_THAT(frames.Finish(), IsOk());
  EXPECT_THAT(api().Finish(name).status, IsOk());
  const v1::Session session = api().AwaitEnd(name).value;
  EXPECT_EQ(session.state(), v1::SESSION_STATE_COMPLETED);
  EXPECT_EQ(session.active_points(), scan.points());
}

TEST_F(IngestTest, StreamIsToldThatItsSessionHasEnded) {
  const TestScan& scan = SmallScan();
  const std::string name = Create(scan.StreamingConfig(kIngestIterations));
  FrameInput frames(api(), name);
  ASSERT_TRUE(frames.AwaitBatches(0));
  ASSERT_THAT(api().Stop(name).status, IsOk());
  EXPECT_TRUE(frames.AwaitAck(
      [](const v1::IngestAck& ack) { return ack.state() == v1::SESSION_STATE_STOPPED; }));
}

TEST_F(IngestTest, StreamsEndWhenTheirSessionIsDeleted) {
  const TestScan& scan = SmallScan();
  const std::string live = Create(scan.StreamingConfig(kIngestIterations), "live");
  const std::string ended = Create(scan.StreamingConfig(kIngestIterations), "ended");
  FrameInput to_live(api(), live);
  PositionInput to_ended(api(), ended);
  ASSERT_TRUE(to_live.AwaitBatches(0));
  ASSERT_TRUE(to_ended.AwaitBatches(0));
  ASSERT_THAT(api().Stop(ended).status, IsOk());
  ASSERT_TRUE(to_ended.AwaitAck(
      [](const v1::IngestAck& ack) { return ack.state() == v1::SESSION_STATE_STOPPED; }));
  EXPECT_THAT(api().Delete(live, /*force=*/true), IsOk());
  EXPECT_THAT(api().Delete(ended), IsOk());
  EXPECT_THAT(to_live.Status(), FailsWith(StatusCode::NOT_FOUND, "SESSION_DELETED"));
  EXPECT_THAT(to_ended.Status(), FailsWith(StatusCode::NOT_FOUND, "SESSION_DELETED"));
}

// ---- Back-pressure ---------------------------------------------------------------------------

class BackPressureTest : public ServerTest {
 protected:
  static constexpr std::int64_t kStagingBytes = 1 << 20;
  static void SetUpTestSuite() {
    StartServer({"--staging-bytes", std::to_string(kStagingBytes), "--max-message-bytes",
                 std::to_string(kStagingBytes)});
  }
  static const TestScan& LargeScan() {
    static const TestScan scan(144, 128, 3);  // 4.5 MiB: several times the staging memory.
    return scan;
  }
};

TEST_F(BackPressureTest, SolverThatIsSlowerThanTheDetectorLosesNothing) {
  const TestScan& scan = LargeScan();
  const std::string name = Create(scan.StreamingConfig(1));
  {
    PositionInput positions(api(), name);
    positions.Send(scan.Positions(0, scan.points()));
    EXPECT_THAT(positions.Finish(), IsOk());
  }
  // Sends as fast as the connection takes it, whatever the credit, on two streams.
  const std::int64_t staged_limit = kStagingBytes / static_cast<std::int64_t>(scan.frame_bytes());
  std::atomic<int> sending = 2;
  const auto send = [&](int first, int end) {
    Api own(server().address());
    FrameInput frames(own, name);
    constexpr int kBatch = 8;
    for (int j = first; j < end; j += kBatch) {
      EXPECT_TRUE(frames.Send(scan.Frames(j, std::min(kBatch, end - j))));
    }
    EXPECT_THAT(frames.Finish(), IsOk());
    const v1::IngestAck ack = frames.last_ack();
    EXPECT_LE(ack.granted_bytes() - ack.payload_bytes(), kStagingBytes);
    --sending;
  };
  std::thread first(send, 0, scan.points() / 2);
  std::thread second(send, scan.points() / 2, scan.points());
  while (sending > 0) {
    const v1::Session session = api().Get(name).value;
    EXPECT_LE(session.staged_frames(), staged_limit);
    EXPECT_TRUE(AddsUp(session.frames()));
  }
  first.join();
  second.join();
  const v1::Session session =
      api().Await(name, [&](const auto& s) { return s.active_points() == scan.points(); }).value;
  EXPECT_EQ(session.frames().accepted(), scan.points());
  EXPECT_EQ(session.frames().received(), scan.points());
  EXPECT_THAT(api().Delete(name, /*force=*/true), IsOk());
}

TEST_F(BackPressureTest, WriterThatKeepsToItsCreditNeverWaitsForever) {
  const TestScan& scan = LargeScan();
  const std::string name = Create(scan.Config(1));
  const auto client = client::Client::Connect(server().address());
  ASSERT_TRUE(client.ok()) << client.status();
  const auto positions = (*client)->OpenPositionWriter(name);
  for (int j = 0; j < scan.points(); ++j) {
    ASSERT_TRUE(positions->Push(j, scan.x_m(j), scan.y_m(j)).ok());
  }
  ASSERT_TRUE(positions->Close(kCallDeadline).ok());
  const auto side = static_cast<std::uint32_t>(scan.side());
  client::WriterOptions options;
  options.queue_bytes = 4 * scan.frame_bytes();
  const auto frames = (*client)->OpenFrameWriter(name, {v1::DATA_TYPE_U16, side, side}, options);
  for (int j = 0; j < scan.points(); ++j) {
    const absl::Status pushed =
        frames->Push(j, std::as_bytes(std::span(scan.frame(j))), kCallDeadline);
    ASSERT_TRUE(pushed.ok()) << pushed;
  }
  const auto report = frames->Close(kCallDeadline);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->last_ack.counters().accepted(), scan.points());
  EXPECT_EQ(api().AwaitEnd(name).value.state(), v1::SESSION_STATE_COMPLETED);
}

// The lines in the middle are those of docs/api.md.
TEST_F(IngestTest, TheWriterOfTheDocumentation) {
  const TestScan& scan = SmallScan();
  ASSERT_THAT(api().Create("scan-4711", scan.StreamingConfig(1)).status, IsOk());
  const auto connected = client::Client::Connect(server().address());
  ASSERT_TRUE(connected.ok()) << connected.status();
  client::Client* const client = connected->get();
  const auto side = static_cast<std::uint32_t>(scan.side());
  const client::FrameFormat format{v1::DATA_TYPE_U16, side, side};
  const auto pixels = std::as_bytes(std::span(scan.frame(0)));
  const TemporaryDirectory folder;
  const std::string spool_dir = folder.path();
  const auto Log = [](bool up, const absl::Status& why) { EXPECT_TRUE(up) << why; };

  client::WriterOptions options;
  options.producer = "eiger-1";
  options.spool_dir = spool_dir;
  options.on_connection = [&](bool up, const absl::Status& why) { Log(up, why); };
  auto writer = client->OpenFrameWriter("scan-4711", format, options);
  absl::Status status = writer->Push(0, pixels);
  status.Update(writer->Skip(/*first_frame_id=*/1, /*count=*/48));  // Lost by the detector.
  auto report = writer->Close(std::chrono::minutes(1));

  EXPECT_TRUE(status.ok()) << status;
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->last_ack.counters().accepted(), 1);
  EXPECT_EQ(report->last_ack.counters().skipped(), scan.points() - 1);
  EXPECT_THAT(api().Delete("sessions/scan-4711", /*force=*/true), IsOk());
}

TEST_F(BackPressureTest, StoppingASessionReleasesAStreamThatWaits) {
  const TestScan& scan = LargeScan();
  // Without positions no frame is used, but all are loaded: to hold the stream up, the store is
  // larger than what the solver takes between two iterations.
  const std::string name = Create(scan.StreamingConfig(1));
  PositionInput positions(api(), name);
  positions.Send(scan.Positions(0, scan.points()));
  EXPECT_THAT(positions.Finish(), IsOk());
  FrameInput frames(api(), name);
  std::thread sender([&] {
    for (int j = 0; j < scan.points() && frames.Send(scan.Frames(j, 1)); ++j) {
    }
  });
  api().Await(name, [](const auto& s) { return s.iteration() >= 1; });
  ASSERT_THAT(api().Stop(name).status, IsOk());
  sender.join();
  const grpc::Status status = frames.Finish();
  // All had gone through before the stop, or the stream was ended by it.
  if (frames.last_ack().counters().received() < scan.points()) {
    EXPECT_THAT(status, FailsWith(grpc::StatusCode::FAILED_PRECONDITION, "SESSION_ENDED"));
  }
  EXPECT_TRUE(AddsUp(frames.last_ack().counters()));
}

}  // namespace
}  // namespace ptychoserve::integration
