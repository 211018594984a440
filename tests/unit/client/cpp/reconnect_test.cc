// Writers across broken connections and restarts of the server.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "client/cpp/client.h"
#include "tests/unit/client/cpp/fake_ingest.h"
#include "tests/unit/client/cpp/restarting_server.h"

namespace ptychoserve::client {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

using Reconnect = RestartingServer;

TEST_F(Reconnect, WhatArrivedWithoutAnAcknowledgementIsNotSentAgain) {
  BreakFirstStreamAfter(5);
  const auto writer = Open();
  Push(*writer, 0, 19);
  const auto report = writer->Close(kLong);
  ASSERT_TRUE(report.ok()) << report.status();
  ExpectArrived(20);
  EXPECT_EQ(server_.duplicates(), 0);
  EXPECT_EQ(report->items, 20);
  EXPECT_EQ(report->sent_items, 20);
  EXPECT_EQ(report->known_items, 0);
  EXPECT_EQ(report->reconnects, 1);
  EXPECT_EQ(report->unacknowledged_items, 0);
  EXPECT_EQ(report->retained_items, 0);
  const auto opens = server_.opens();
  ASSERT_THAT(opens, SizeIs(2));
  EXPECT_EQ(opens[0].session(), "sessions/s");
  EXPECT_FALSE(opens[0].producer().empty());
  EXPECT_EQ(opens[0].producer(), opens[1].producer());
  EXPECT_LT(opens[0].epoch(), opens[1].epoch());
}

TEST_F(Reconnect, WhatDidNotArriveIsSentAgain) {
  server_.before = [](int stream, int batch) -> std::optional<grpc::Status> {
    if (stream == 0 && batch == 5) return Unavailable();
    return std::nullopt;
  };
  const auto writer = Open();
  Push(*writer, 0, 19);
  const auto report = writer->Close(kLong);
  ASSERT_TRUE(report.ok()) << report.status();
  ExpectArrived(20);
  EXPECT_EQ(server_.duplicates(), 0);
  EXPECT_GE(report->resent_items, 1);
  EXPECT_EQ(report->batches, 20 + report->resent_items);
}

TEST_F(Reconnect, ToAServerThatTellsNothingAllThatIsUnacknowledgedIsSentAgain) {
  server_.durability = v1::DURABILITY_UNSPECIFIED;
  BreakFirstStreamAfter(5);
  const auto writer = Open();
  Push(*writer, 0, 19);
  const auto report = writer->Close(kLong);
  ASSERT_TRUE(report.ok()) << report.status();
  ExpectArrived(20);
  EXPECT_EQ(server_.duplicates(), 5);
  EXPECT_GE(report->resent_items, 5);
}

TEST_F(Reconnect, MissingRangesAreSentAndKnownOnesAreNot) {
  std::atomic<bool> answer = false;
  server_.before = [&](int stream, int) -> std::optional<grpc::Status> {
    if (stream > 0) return std::nullopt;
    Eventually([&] { return answer.load(); });
    return Unavailable();
  };
  server_.first_ack = [](int stream, v1::IngestAck& ack) {
    if (stream == 0) return;
    ack.set_known_up_to(7);
    for (const auto& [first, last] : {std::pair{6, 6}, {3, 4}, {4, 4}}) {
      v1::IdRange& range = *ack.add_missing();
      range.set_first(first);
      range.set_last(last);
    }
  };
  const auto writer = Open();
  Push(*writer, 0, 9);
  answer = true;
  const auto report = writer->Close(kLong);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT(server_.sent().back(), ElementsAre(3, 4, 6, 8, 9));
  EXPECT_EQ(report->items, report->sent_items + report->known_items);
}

TEST_F(Reconnect, AWriterWithANameGoesOnWhereAnEarlierOneHasEnded) {
  WriterOptions options = Options();
  options.producer = "detector";
  const auto first = Open(options);
  Push(*first, 0, 9);
  Push(*first, 3, 3);  // What is repeated on purpose is sent.
  ASSERT_TRUE(first->Close(kLong).ok());
  EXPECT_EQ(server_.duplicates(), 1);
  Stop();
  const auto second = Open(options);
  Push(*second, 0, 4);  // Before it connects, and after that.
  Start();
  ASSERT_TRUE(second->Flush(kLong).ok());
  Push(*second, 5, 19);
  const auto report = second->Close(kLong);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->items, 20);
  EXPECT_EQ(report->known_items, 10);
  EXPECT_EQ(report->sent_items, 10);
  EXPECT_THAT(server_.sent().back(), ElementsAre(10, 11, 12, 13, 14, 15, 16, 17, 18, 19));
  EXPECT_EQ(server_.duplicates(), 1);
  ExpectArrived(20);
}

TEST_F(Reconnect, WhatAnEarlierWriterHasSentIsKeptUntilItIsSafe) {
  server_.durability = v1::DURABILITY_JOURNAL;
  server_.sync_at_end = false;
  WriterOptions options = Options();
  options.producer = "detector";
  {
    const auto first = Open(options);
    Push(*first, 0, 9);
    ASSERT_TRUE(first->Flush(kLong).ok());
  }
  const auto second = Open(options);
  ASSERT_TRUE(second->Flush(kLong).ok());
  Push(*second, 0, 9);
  EXPECT_EQ(second->report().retained_items, 10);
  server_.Crash();
  Stop();
  server_.sync_at_end = true;
  Start();
  ASSERT_TRUE(second->Close(kLong).ok());
  ExpectArrived(10);
}

TEST_F(Reconnect, ARestartedServerIsSentWhatIsNotInItsJournal) {
  server_.durability = v1::DURABILITY_JOURNAL;
  server_.sync_at_end = false;
  const auto writer = Open();
  Push(*writer, 0, 9);
  ASSERT_TRUE(writer->Flush(kLong).ok());
  EXPECT_EQ(writer->report().retained_items, 10);
  server_.Sync();
  Push(*writer, 10, 19);
  ASSERT_TRUE(writer->Flush(kLong).ok());
  Stop();
  server_.Crash();
  ExpectArrived(10);
  ASSERT_TRUE(Eventually([&] { return !writer->report().connected; }));
  Push(*writer, 20, 29);
  server_.sync_at_end = true;
  Start();
  const auto report = writer->Close(kLong);
  ASSERT_TRUE(report.ok()) << report.status();
  ExpectArrived(30);
  EXPECT_EQ(server_.duplicates(), 0);
  EXPECT_EQ(report->resent_items, 10);
}

TEST_F(Reconnect, ARestartedServerThatHasItAllIsSentNothing) {
  server_.durability = v1::DURABILITY_JOURNAL;
  server_.sync_at_end = false;
  const auto writer = Open();
  Push(*writer, 0, 9);
  ASSERT_TRUE(writer->Flush(kLong).ok());
  Stop();  // In memory as it was, but not on disk.
  Start();
  ASSERT_TRUE(Eventually([&] { return writer->report().reconnects == 1; }));
  EXPECT_EQ(writer->report().retained_items, 10);
  EXPECT_TRUE(writer->Flush(kLong).ok());
  server_.Sync();
  EXPECT_TRUE(Eventually([&] { return writer->report().retained_items == 0; }));
  const auto report = writer->Close(kLong);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->resent_items, 0);
  EXPECT_THAT(server_.sent().back(), IsEmpty());
}

TEST_F(Reconnect, FramesAreKeptUntilTheyAreInTheJournal) {
  server_.durability = v1::DURABILITY_JOURNAL;
  WriterOptions options = Options();
  options.queue_bytes = 4 * kFrameBytes;
  options.retain_bytes = 6 * kFrameBytes;
  const auto writer = Open(options);
  auto frame = std::make_shared<std::vector<std::byte>>(Frame(0));
  const std::weak_ptr<std::vector<std::byte>> alive = frame;
  const std::span<const std::byte> pixels = *frame;
  ASSERT_TRUE(writer->PushShared(0, pixels, std::move(frame), kLong).ok());
  Push(*writer, 1, 9);
  ASSERT_TRUE(writer->Flush(kLong).ok());
  const absl::Status full = writer->Push(10, Frame(10));
  EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(full.message()),
              HasSubstr(" of 768 are kept until the server has them safe"));
  EXPECT_FALSE(alive.expired());
  server_.Sync();
  EXPECT_TRUE(writer->Push(10, Frame(10), kLong).ok());
  EXPECT_TRUE(Eventually([&] { return alive.expired(); }));
  EXPECT_TRUE(writer->Close(kLong).ok());
}

TEST_F(Reconnect, WithoutAJournalFramesAreKeptUntilTheyAreAcknowledged) {
  const auto writer = Open();
  Push(*writer, 0, 9);
  ASSERT_TRUE(writer->Flush(kLong).ok());
  EXPECT_EQ(writer->report().retained_items, 0);
  Stop();
  // Nothing is left to be done, connection or not.
  EXPECT_TRUE(writer->Flush(kLong).ok());
  EXPECT_TRUE(writer->Close(kLong).ok());
}

TEST_F(Reconnect, WhenTheJournalIsLostTheOldestAreForgottenAndCounted) {
  server_.durability = v1::DURABILITY_LOST;
  server_.sync_at_end = false;
  WriterOptions options = Options();
  options.queue_bytes = 4 * kFrameBytes;
  options.retain_bytes = 6 * kFrameBytes;
  const auto writer = Open(options);
  Push(*writer, 0, 19);
  ASSERT_TRUE(writer->Flush(kLong).ok());
  EXPECT_EQ(writer->report().forgotten_items, 14);
  EXPECT_EQ(writer->report().retained_items, 6);
  Stop();
  server_.Crash();
  Start();
  const auto report = writer->Close(kLong);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->resent_items, 6);
  EXPECT_EQ(report->forgotten_items, 20);
  EXPECT_EQ(report->last_ack.durability(), v1::DURABILITY_LOST);
  EXPECT_EQ(server_.arrived().begin()->first, 14);
}

TEST_F(Reconnect, ClosingWaitsForTheJournalEvenIfTheServerDoesNot) {
  server_.durability = v1::DURABILITY_JOURNAL;
  server_.sync_at_end = false;
  const auto writer = Open();
  Push(*writer, 0, 9);
  std::jthread disk([&] {
    Eventually([&] { return server_.streams() == 2; });
    server_.Sync();
  });
  const auto report = writer->Close(kLong);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->retained_items, 0);
  EXPECT_EQ(report->resent_items, 0);
}

TEST_F(Reconnect, ClosingGetsOverABreak) {
  const auto writer = Open();
  ASSERT_TRUE(writer->Flush(kLong).ok());
  Stop();
  Push(*writer, 0, 9);
  std::jthread restart([&] {
    Eventually([&] { return !writer->report().connected; });
    Start();
  });
  const auto report = writer->Close(kLong);
  ASSERT_TRUE(report.ok()) << report.status();
  ExpectArrived(10);
}

TEST_F(Reconnect, ClosingGivesUpAtItsDeadline) {
  const auto writer = Open();
  ASSERT_TRUE(writer->Flush(kLong).ok());
  Stop();
  ASSERT_TRUE(Eventually([&] { return !writer->report().connected; }));
  Push(*writer, 0, 9);
  EXPECT_EQ(writer->Flush(milliseconds(10)).code(), absl::StatusCode::kDeadlineExceeded);
  const auto report = writer->Close(milliseconds(50));
  EXPECT_EQ(report.status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(std::string(report.status().message()), HasSubstr("10 frames were not acknowledged"));
  EXPECT_EQ(writer->status(), report.status());
  EXPECT_EQ(writer->report().unacknowledged_items, 10);
}

TEST_F(Reconnect, GivesUpAfterTheTimeThatItIsGiven) {
  WriterOptions options = Options();
  options.give_up_after = milliseconds(150);
  const auto writer = Open(options);
  ASSERT_TRUE(writer->Flush(kLong).ok());
  Stop();
  ASSERT_TRUE(Eventually([&] { return !writer->report().connected; }));
  Push(*writer, 0, 2);
  const absl::Status status = writer->Flush(kLong);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("gave up after 0."));
  EXPECT_THAT(std::string(status.message()), HasSubstr("3 frames were not acknowledged"));
  EXPECT_EQ(writer->Push(3, Frame(3)), status);
  EXPECT_EQ(writer->Close(kLong).status(), status);
  EXPECT_EQ(writer->report().unacknowledged_items, 3);
}

TEST_F(Reconnect, DoesNotTryAgainWhenItIsNotTo) {
  WriterOptions options = Options();
  options.give_up_after = milliseconds(0);
  const auto writer = Open(options);
  ASSERT_TRUE(writer->Flush(kLong).ok());
  Stop();
  ASSERT_TRUE(Eventually([&] { return !writer->status().ok(); }));
  EXPECT_EQ(writer->status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(server_.streams(), 1);
}

TEST_F(Reconnect, ASessionThatIsGoneIsFinal) {
  const auto writer = Open();
  ASSERT_TRUE(writer->Flush(kLong).ok());
  Stop();
  ASSERT_TRUE(Eventually([&] { return !writer->report().connected; }));
  Push(*writer, 0, 2);
  const FakeService forgetful(port_, [](FakeService& service) {
    service.frames = [](FakeService::FrameStream*) {
      return grpc::Status(grpc::StatusCode::NOT_FOUND, "no session sessions/s");
    };
  });
  const absl::Status status = writer->Flush(kLong);
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("no session sessions/s; 3 frames were not"));
}

TEST_F(Reconnect, ALaterWriterOfTheSameProducerIsFinal) {
  server_.after = [](int, int) {
    return grpc::Status(grpc::StatusCode::ABORTED, "a later stream of producer detector");
  };
  WriterOptions options = Options();
  options.producer = "detector";
  const auto writer = Open(options);
  Push(*writer, 0, 0);
  EXPECT_EQ(writer->Flush(kLong).code(), absl::StatusCode::kAborted);
  EXPECT_EQ(server_.opens()[0].producer(), "detector");
  EXPECT_EQ(server_.streams(), 1);
}

TEST_F(Reconnect, RefusesAProducerThatIsNoName) {
  WriterOptions options = Options();
  options.producer = "a b";
  const auto writer = Open(options);
  EXPECT_EQ(writer->Push(0, Frame(0)).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(writer->status().message()), HasSubstr("'a b'"));
  EXPECT_EQ(server_.streams(), 0);
}

TEST_F(Reconnect, TellsOfEachBreakAndEachConnection) {
  std::vector<std::string> seen;  // By callbacks, which follow each other.
  WriterOptions options = Options();
  options.on_connection = [&](bool connected, const absl::Status& why) {
    seen.push_back(connected ? "connected" : std::string(why.message()));
  };
  server_.after = [](int stream, int) -> std::optional<grpc::Status> {
    if (stream == 0) return Unavailable();
    if (stream == 1) return grpc::Status(grpc::StatusCode::UNKNOWN, "Stream removed");
    return grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "too much");
  };
  const auto writer = Open(options);
  ASSERT_TRUE(writer->Flush(kLong).ok());
  Push(*writer, 0, 0);
  ASSERT_TRUE(Eventually([&] { return writer->report().reconnects == 1; }));
  Push(*writer, 1, 1);
  ASSERT_TRUE(Eventually([&] { return writer->report().reconnects == 2; }));
  Push(*writer, 2, 2);
  EXPECT_EQ(writer->Flush(kLong).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(seen, ElementsAre("the server shuts down", "connected", "Stream removed", "connected",
                                "too much; 1 frames were not acknowledged"));
}

TEST_F(Reconnect, AServerThatDoesNotAnswerIsTriedAgain) {
  std::atomic<int> calls = 0;
  std::atomic<bool> end = false;
  service_->frames = [&](FakeService::FrameStream* stream) {
    if (calls++ > 0) {
      v1::StreamFramesRequest request;
      stream->Read(&request);
      stream->Write(v1::IngestAck());
      while (stream->Read(&request)) {
      }
      return grpc::Status::OK;
    }
    Eventually([&] { return end.load(); });
    return grpc::Status::OK;
  };
  WriterOptions options = Options();
  options.open_timeout = milliseconds(50);
  const auto writer = Open(options);
  EXPECT_TRUE(writer->Flush(kLong).ok());
  end = true;
  EXPECT_EQ(calls, 2);
}

TEST_F(Reconnect, CanBeDestroyedWhileItIsBroken) {
  for (const milliseconds pause : {milliseconds(1), kLong}) {
    WriterOptions options = Options();
    options.retry_initial = options.retry_max = pause;
    const auto writer = Open(options);
    ASSERT_TRUE(writer->Flush(kLong).ok());
    Stop();
    ASSERT_TRUE(Eventually([&] { return !writer->report().connected; }));
    Push(*writer, 0, 2);
    Start();
  }
}

TEST_F(Reconnect, SkippedFramesGoInTheirPlaceAndAgainAfterABreak) {
  server_.before = [](int stream, int batch) -> std::optional<grpc::Status> {
    if (stream == 0 && batch == 1) return Unavailable();
    return std::nullopt;
  };
  const auto writer = Open();
  Push(*writer, 0, 0);
  EXPECT_TRUE(writer->Skip(1, 3, kLong).ok());
  Push(*writer, 4, 4);
  EXPECT_EQ(writer->Skip(5, 0).code(), absl::StatusCode::kInvalidArgument);
  const auto report = writer->Close(kLong);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT(server_.skipped(), ElementsAre(1, 2, 3));
  EXPECT_THAT(server_.sent().front(), ElementsAre(0));
  EXPECT_THAT(server_.sent().back(), ElementsAre(4));
  EXPECT_EQ(report->items, 5);
  EXPECT_EQ(report->sent_items, 5);
}

TEST_F(Reconnect, PositionsThatAreKnownAreSparedEncoderSamplesAreNot) {
  std::vector<v1::StreamPositionsRequest> first, second;
  std::atomic<int> streams = 0;
  service_->positions = [&](FakeService::PositionStream* stream) -> grpc::Status {
    const bool begun = streams++ == 0;
    v1::StreamPositionsRequest request;
    stream->Read(&request);
    v1::IngestAck ack;
    ack.set_granted_bytes(1 << 20);
    ack.set_max_message_bytes(1 << 20);
    ack.set_durability(v1::DURABILITY_MEMORY);
    ack.set_known_up_to(begun ? -1 : 1);
    stream->Write(ack);
    while (stream->Read(&request)) {
      (begun ? first : second).push_back(request);
      if (begun && first.size() == 4) return Unavailable();
      ack.set_batches(static_cast<std::int64_t>((begun ? first : second).size()));
      if (!begun) stream->Write(ack);
    }
    return grpc::Status::OK;
  };
  WriterOptions options = Options();
  options.message_bytes = 16;
  const auto writer = client_->OpenPositionWriter("s", options);
  const std::vector<double> samples = {1, 2};
  ASSERT_TRUE(writer->Push(0, 0.5, 0.5).ok());
  ASSERT_TRUE(writer->Push(1, 0.5, 0.5).ok());
  ASSERT_TRUE(writer->PushEncoderSamples(0, samples, samples, kLong).ok());
  ASSERT_TRUE(writer->Push(2, 0.5, 0.5).ok());
  const auto report = writer->Close(kLong);
  ASSERT_TRUE(report.ok()) << report.status();
  ASSERT_THAT(second, SizeIs(2));
  EXPECT_EQ(second[0].encoder_samples().x_counts_size(), 2);
  EXPECT_EQ(second[1].batch().first_frame_id(), 2);
  EXPECT_EQ(report->resent_items, 3);
}

// Whatever breaks, whenever, and whatever the server forgets: in the end it has each frame.
TEST_F(Reconnect, NoFrameIsLostAndNoneArrivesTwiceWhateverBreaks) {
  constexpr int kRounds = 200;
  constexpr grpc::StatusCode kCodes[] = {grpc::StatusCode::UNAVAILABLE, grpc::StatusCode::INTERNAL,
                                         grpc::StatusCode::UNKNOWN, grpc::StatusCode::CANCELLED};
  for (int round = 0; round < kRounds; ++round) {
    SCOPED_TRACE(round);
    Stop();
    std::mt19937 random(static_cast<unsigned>(round));
    const auto chance = [&random, mu = std::make_shared<std::mutex>()](int n) {
      std::lock_guard lock(*mu);
      return static_cast<int>(random() % static_cast<unsigned>(n));
    };
    FakeIngest server;
    server.durability = chance(2) == 0 ? v1::DURABILITY_JOURNAL : v1::DURABILITY_MEMORY;
    const bool journal = server.durability == v1::DURABILITY_JOURNAL;
    server.credit = static_cast<std::int64_t>(kFrameBytes) * (1 + chance(20));
    server.acknowledge_batches = chance(4) != 0;
    if (!server.acknowledge_batches) server.credit = 1 << 20;
    const auto fault = [&](bool crash) -> std::optional<grpc::Status> {
      if (journal && chance(8) == 0) server.Sync();
      if (chance(12) != 0) return std::nullopt;
      if (crash && journal && chance(2) == 0) server.Crash();
      return grpc::Status(kCodes[chance(4)], "broken");
    };
    server.before = [&](int, int) { return fault(false); };
    server.after = [&](int, int) { return fault(true); };
    FakeService service;
    server.Register(service);
    const auto client = Client::Connect(service.address());
    ASSERT_TRUE(client.ok());
    WriterOptions options = Options();
    options.retry_max = milliseconds(3);
    options.message_bytes = kFrameBytes * static_cast<std::size_t>(1 + chance(4));
    options.linger = milliseconds(chance(2));
    const int frames = 1 + chance(60);
    const auto writer = (*client)->OpenFrameWriter("s", kFormat, options);
    for (int id = 0; id < frames; ++id) {
      if (chance(10) == 0) {
        ASSERT_TRUE(writer->Skip(id, 1, kLong).ok());
      } else {
        ASSERT_TRUE(writer->Push(id, Frame(id), kLong).ok());
      }
    }
    const auto report = writer->Close(kLong);
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_EQ(report->items, frames);
    EXPECT_EQ(report->sent_items + report->known_items, frames);
    EXPECT_EQ(report->unacknowledged_items + report->retained_items, 0);
    // gRPC drops an acknowledgement that is not read before the error that follows it.
    EXPECT_LE(report->reconnects, server.streams() - 1);
    EXPECT_EQ(server.duplicates(), 0) << "it was told what is known";
    EXPECT_THAT(server.arrived(), SizeIs(frames));
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace ptychoserve::client
