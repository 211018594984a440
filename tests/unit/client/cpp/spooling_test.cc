// Writers that put on disk what does not fit into memory while the server is away.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <random>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "tests/temporary_directory.h"
#include "tests/unit/client/cpp/restarting_server.h"

namespace ptychoserve::client {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class Spooling : public RestartingServer {
 protected:
  // Four frames fit into memory.
  WriterOptions SpoolOptions() const {
    WriterOptions options = Options();
    options.queue_bytes = 4 * kFrameBytes;
    options.retain_bytes = 4 * kFrameBytes;
    options.producer = "detector";
    options.spool_dir = directory_.path();
    return options;
  }
  // A writer whose server has gone.
  std::unique_ptr<FrameWriter> OpenAndStop(const WriterOptions& options) {
    auto writer = Open(options);
    EXPECT_TRUE(writer->Flush(kLong).ok());
    Stop();
    EXPECT_TRUE(Eventually([&] { return !writer->report().connected; }));
    return writer;
  }
  // Does not wait for room.
  static void PushNow(FrameWriter& writer, std::int64_t first, std::int64_t last) {
    for (std::int64_t id = first; id <= last; ++id) {
      const absl::Status pushed = writer.Push(id, Frame(id));
      ASSERT_TRUE(pushed.ok()) << pushed;
    }
  }

  TemporaryDirectory directory_;
};

TEST_F(Spooling, WhatDoesNotFitWaitsOnDiskAndComesBackInOrder) {
  const auto writer = OpenAndStop(SpoolOptions());
  PushNow(*writer, 0, 3);
  EXPECT_THAT(directory_.Files(), IsEmpty());
  PushNow(*writer, 4, 49);
  EXPECT_TRUE(writer->Skip(50, 2).ok());
  PushNow(*writer, 52, 59);
  EXPECT_THAT(directory_.Files(), ElementsAre("s-detector.frames.00000001.spool"));
  WriterReport report = writer->report();
  EXPECT_EQ(report.items, 60);
  EXPECT_EQ(report.unacknowledged_items, 60);
  EXPECT_EQ(report.spooled_items, 56);
  EXPECT_EQ(report.spool_records, 55);
  Start();
  const auto closed = writer->Close(kLong);
  ASSERT_TRUE(closed.ok()) << closed.status();
  EXPECT_EQ(closed->sent_items, 60);
  EXPECT_EQ(closed->spool_records, 0);
  EXPECT_THAT(server_.arrived(), SizeIs(60));
  EXPECT_THAT(server_.skipped(), ElementsAre(50, 51));
  EXPECT_EQ(server_.duplicates(), 0);
  EXPECT_TRUE(std::ranges::is_sorted(server_.sent().back()));
  EXPECT_THAT(directory_.Files(), IsEmpty());
}

TEST_F(Spooling, IsBounded) {
  WriterOptions options = SpoolOptions();
  options.spool_bytes = 2'000;
  const auto writer = OpenAndStop(options);
  absl::Status full;
  std::int64_t pushed = 0;
  for (; full.ok(); ++pushed) full = writer->Push(pushed, Frame(pushed));
  --pushed;
  EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(full.message()), HasSubstr("the spool has "));
  EXPECT_GE(pushed, 8);
  EXPECT_EQ(writer->report().items, pushed);
  Start();
  ASSERT_TRUE(writer->Close(kLong).ok());
  ExpectArrived(pushed);
}

TEST_F(Spooling, StaysOnDiskUntilItIsInTheJournal) {
  server_.durability = v1::DURABILITY_JOURNAL;
  server_.sync_at_end = false;
  const auto writer = OpenAndStop(SpoolOptions());
  PushNow(*writer, 0, 5);
  Start();
  ASSERT_TRUE(writer->Flush(kLong).ok());
  EXPECT_EQ(writer->report().retained_items, 6);
  EXPECT_THAT(directory_.Files(), SizeIs(1));
  server_.Sync();
  EXPECT_TRUE(Eventually([&] { return directory_.Files().empty(); }));
  EXPECT_TRUE(writer->Close(kLong).ok());
}

TEST_F(Spooling, ALaterWriterBeginsWithWhatTheFirstOneHasLeft) {
  {
    const auto writer = OpenAndStop(SpoolOptions());
    PushNow(*writer, 0, 19);
    const auto closed = writer->Close(milliseconds(1));
    EXPECT_EQ(closed.status().code(), absl::StatusCode::kDeadlineExceeded);
    EXPECT_THAT(std::string(closed.status().message()),
                HasSubstr("20 frames were not acknowledged; 20 records are in the spool"));
    EXPECT_EQ(writer->Push(20, Frame(20)), closed.status());
  }
  // A record that was being written when the process was killed.
  std::ofstream(directory_.path() + "/s-detector.frames.00000001.spool",
                std::ios::app | std::ios::binary)
      << std::string(60, '\0');
  Start();
  const auto writer = Open(SpoolOptions());
  Push(*writer, 20, 29);
  const auto closed = writer->Close(kLong);
  ASSERT_TRUE(closed.ok()) << closed.status();
  ExpectArrived(30);
  EXPECT_EQ(closed->items, 30);
  EXPECT_EQ(closed->torn_records, 1);
  EXPECT_THAT(directory_.Files(), IsEmpty());
}

TEST_F(Spooling, ALaterWriterDoesNotSendWhatTheServerHas) {
  {
    const auto writer = OpenAndStop(SpoolOptions());
    PushNow(*writer, 0, 19);
  }
  Start();
  {
    const auto other = Open();
    Push(*other, 0, 9);
    ASSERT_TRUE(other->Close(kLong).ok());
  }
  const auto writer = Open(SpoolOptions());
  const auto closed = writer->Close(kLong);
  ASSERT_TRUE(closed.ok()) << closed.status();
  EXPECT_EQ(closed->known_items, 10);
  EXPECT_EQ(closed->sent_items, 10);
  EXPECT_EQ(server_.duplicates(), 0);
  ExpectArrived(20);
  EXPECT_THAT(directory_.Files(), IsEmpty());
}

TEST_F(Spooling, WhatCannotBeReadAgainIsAnErrorOfClosing) {
  const auto writer = OpenAndStop(SpoolOptions());
  PushNow(*writer, 0, 9);
  {
    std::fstream file(directory_.path() + "/s-detector.frames.00000001.spool",
                      std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(-1, std::ios::end);
    file.put('X');
  }
  Start();
  const auto closed = writer->Close(kLong);
  EXPECT_EQ(closed.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(writer->report().damaged_records, 1);
  ExpectArrived(9);
}

TEST_F(Spooling, EverythingIsOnDiskBeforePushReturnsIfAsked) {
  server_.durability = v1::DURABILITY_JOURNAL;
  server_.sync_at_end = false;
  WriterOptions options = SpoolOptions();
  options.spool_always = true;
  const auto writer = Open(options);
  ASSERT_TRUE(writer->Flush(kLong).ok());
  PushNow(*writer, 0, 1);
  EXPECT_THAT(directory_.Files(), SizeIs(1));
  ASSERT_TRUE(writer->Flush(kLong).ok());
  // What a process that is killed now would leave.
  TemporaryDirectory killed;
  std::filesystem::copy(directory_.path(), killed.path());
  server_.sync_at_end = true;
  ASSERT_TRUE(writer->Close(kLong).ok());
  EXPECT_THAT(directory_.Files(), IsEmpty());

  FakeIngest empty;
  empty.Register(*service_);
  options.spool_dir = killed.path();
  const auto heir = Open(options);
  const auto closed = heir->Close(kLong);
  ASSERT_TRUE(closed.ok()) << closed.status();
  EXPECT_EQ(closed->sent_items, 2);
  EXPECT_THAT(empty.arrived(), SizeIs(2));
  EXPECT_THAT(killed.Files(), IsEmpty());
}

TEST_F(Spooling, ASpoolOfOtherFramesIsRefused) {
  {
    const auto writer = OpenAndStop(SpoolOptions());
    PushNow(*writer, 0, 19);
  }
  const auto writer =
      client_->OpenFrameWriter("s", {v1::DATA_TYPE_U8, 8, 8, v1::ENCODING_RAW}, SpoolOptions());
  EXPECT_EQ(writer->status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(writer->status().message()), HasSubstr("DATA_TYPE_U8"));
}

TEST_F(Spooling, PositionsAndEncoderSamplesComeBackToo) {
  std::vector<v1::StreamPositionsRequest> seen;
  const auto serve = [&](FakeService::PositionStream* stream) {
    v1::StreamPositionsRequest request;
    stream->Read(&request);
    v1::IngestAck ack;
    ack.set_granted_bytes(1 << 20);
    ack.set_max_message_bytes(1 << 20);
    stream->Write(ack);
    while (stream->Read(&request)) {
      seen.push_back(request);
      ack.set_batches(static_cast<std::int64_t>(seen.size()));
      stream->Write(ack);
    }
    return grpc::Status::OK;
  };
  service_->positions = serve;
  WriterOptions options = SpoolOptions();
  options.queue_bytes = 16;
  options.message_bytes = 16;
  const auto writer = client_->OpenPositionWriter("s", options);
  ASSERT_TRUE(writer->Flush(kLong).ok());
  Stop();
  ASSERT_TRUE(Eventually([&] { return !writer->report().connected; }));
  const std::vector<std::int64_t> ids = {4, 9};
  const std::vector<double> x = {1, 2}, y = {3, 4};
  ASSERT_TRUE(writer->Push(1, 0.5, 0.25).ok());
  ASSERT_TRUE(writer->Push(ids, x, y, milliseconds(0)).ok());
  ASSERT_TRUE(writer->PushEncoderSamples(70, x, y, milliseconds(0)).ok());
  EXPECT_THAT(directory_.Files(), ElementsAre("s-detector.positions.00000001.spool"));
  const FakeService service(port_, [&](FakeService& made) { made.positions = serve; });
  ASSERT_TRUE(writer->Close(kLong).ok());
  ASSERT_THAT(seen, SizeIs(3));
  EXPECT_THAT(seen[1].batch().frame_ids(), ElementsAre(4, 9));
  EXPECT_THAT(seen[1].batch().y_m(), ElementsAre(3, 4));
  EXPECT_EQ(seen[2].encoder_samples().first_sample(), 70);
  EXPECT_THAT(seen[2].encoder_samples().x_counts(), ElementsAre(1, 2));
}

// Writers that come and go, a server that breaks and forgets: what the one leaves the next sends.
TEST_F(Spooling, NoFrameIsLostOverBreaksAndWriters) {
  for (int round = 0; round < 60; ++round) {
    SCOPED_TRACE(round);
    Stop();
    std::mt19937 random(static_cast<unsigned>(round));
    std::mutex mu;
    const auto chance = [&](int n) {
      std::lock_guard lock(mu);
      return static_cast<int>(random() % static_cast<unsigned>(n));
    };
    FakeIngest server;
    const bool journal = chance(2) == 0;
    server.durability = journal ? v1::DURABILITY_JOURNAL : v1::DURABILITY_MEMORY;
    server.after = [&](int, int) -> std::optional<grpc::Status> {
      if (chance(6) != 0) return std::nullopt;
      if (journal && chance(2) == 0) server.Crash();
      return Unavailable();
    };
    FakeService service;
    server.Register(service);
    const auto client = Client::Connect(service.address());
    ASSERT_TRUE(client.ok());
    const std::jthread disk([&](const std::stop_token& stop) {
      while (!stop.stop_requested()) {
        std::this_thread::sleep_for(milliseconds(1));
        server.Sync();
      }
    });
    WriterOptions options = SpoolOptions();
    options.retry_max = milliseconds(3);
    options.spool_always = chance(2) == 0;
    options.spool_bytes = 40'000;
    std::int64_t next = 0;
    for (int k = 0; k < 3; ++k) {
      const auto writer = (*client)->OpenFrameWriter("s", kFormat, options);
      for (const std::int64_t end = next + chance(40); next < end; ++next) {
        const absl::Status pushed = writer->Push(next, Frame(next), kLong);
        ASSERT_TRUE(pushed.ok()) << pushed;
      }
    }  // Destroyed, not closed.
    const auto writer = (*client)->OpenFrameWriter("s", kFormat, options);
    const auto closed = writer->Close(kLong);
    ASSERT_TRUE(closed.ok()) << closed.status();
    EXPECT_THAT(server.arrived(), SizeIs(next));
    EXPECT_EQ(closed->damaged_records + closed->torn_records, 0);
    EXPECT_THAT(directory_.Files(), IsEmpty());
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace ptychoserve::client
