#include "client/cpp/frame_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "client/cpp/client.h"
#include "tests/unit/client/cpp/fake_service.h"
#include "tests/unit/client/cpp/test_frames.h"

namespace ptychoserve::client {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

constexpr std::uint64_t kMaxMessage = 1 << 20;

v1::IngestAck Ack(std::int64_t batches, std::int64_t bytes, std::int64_t granted) {
  v1::IngestAck ack;
  ack.set_batches(batches);
  ack.set_payload_bytes(bytes);
  ack.set_granted_bytes(granted);
  ack.set_max_message_bytes(kMaxMessage);
  ack.set_state(v1::SESSION_STATE_RECEIVING);
  ack.mutable_counters()->set_accepted(bytes / kFrameBytes);
  return ack;
}

// Takes everything; `credit` bytes beyond what has arrived are granted at any time.
grpc::Status TakeAll(FakeService::FrameStream* stream, std::int64_t credit,
                     std::vector<v1::FrameBatch>& batches, std::atomic<bool>& overrun) {
  v1::StreamFramesRequest request;
  if (!stream->Read(&request) || !request.has_open()) {
    return {grpc::StatusCode::INVALID_ARGUMENT, "no open"};
  }
  std::int64_t bytes = 0;
  std::int64_t granted = credit;
  stream->Write(Ack(0, 0, granted));
  while (stream->Read(&request)) {
    batches.push_back(request.batch());
    bytes += static_cast<std::int64_t>(request.batch().data().size());
    if (bytes > granted) overrun = true;
    granted = bytes + credit;
    stream->Write(Ack(static_cast<std::int64_t>(batches.size()), bytes, granted));
  }
  return grpc::Status::OK;
}

std::vector<std::int64_t> Ids(const v1::FrameBatch& batch) {
  std::vector<std::int64_t> ids(batch.frame_ids().begin(), batch.frame_ids().end());
  for (std::uint32_t k = 0; ids.size() < batch.count(); ++k) {
    ids.push_back(batch.first_frame_id() + k);
  }
  return ids;
}

TEST(FrameWriter, DeliversEveryFrameOnceAndReportsTheFinalCounters) {
  FakeService service;
  std::vector<v1::FrameBatch> batches;
  std::atomic<bool> overrun = false;
  service.frames = [&](auto* stream) { return TakeAll(stream, 1 << 20, batches, overrun); };
  const auto client = Connect(service);
  const auto writer = client->OpenFrameWriter("s", kFormat);
  for (int id = 0; id < 300; ++id) {
    ASSERT_TRUE(writer->Push(3 * id, Frame(id % 251), kLong).ok());
  }
  const auto report = writer->Close(kLong);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->items, 300);
  EXPECT_EQ(report->sent_items, 300);
  EXPECT_EQ(report->payload_bytes, 300 * kFrameBytes);
  EXPECT_EQ(report->last_ack.counters().accepted(), 300);
  std::int64_t next = 0;
  for (const v1::FrameBatch& batch : batches) {
    EXPECT_EQ(batch.data().size(), batch.count() * kFrameBytes);
    for (std::size_t k = 0; k < batch.count(); ++k, ++next) {
      EXPECT_EQ(Ids(batch)[k], 3 * next);
      EXPECT_EQ(static_cast<unsigned char>(batch.data()[k * kFrameBytes]), next % 251);
    }
  }
  EXPECT_EQ(next, 300);
}

TEST(FrameWriter, SendsSharedFramesFromWhereTheyAreAndLetsGoOfThem) {
  FakeService service;
  std::vector<v1::FrameBatch> batches;
  std::atomic<bool> overrun = false;
  service.frames = [&](auto* stream) { return TakeAll(stream, 1 << 20, batches, overrun); };
  const auto client = Connect(service);
  const auto writer = client->OpenFrameWriter("s", kFormat);
  auto frame = std::make_shared<std::vector<std::byte>>(Frame(1));
  const std::weak_ptr<std::vector<std::byte>> alive = frame;
  const std::span<const std::byte> pixels = *frame;
  EXPECT_EQ(writer->PushShared(0, pixels.first(1), frame, kLong).code(),
            absl::StatusCode::kInvalidArgument);
  (*frame)[0] = std::byte{7};
  ASSERT_TRUE(writer->PushShared(0, pixels, std::move(frame), kLong).ok());
  ASSERT_TRUE(writer->Close(kLong).ok());
  ASSERT_EQ(batches.size(), 1u);
  EXPECT_EQ(batches[0].data(), std::string("\x07") + std::string(kFrameBytes - 1, '\x01'));
  const auto deadline = std::chrono::steady_clock::now() + kLong;
  while (!alive.expired() && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(milliseconds(1));
  }
  EXPECT_TRUE(alive.expired());
}

TEST(FrameWriter, PutsSmallFramesTogetherUpToTheMessageSize) {
  FakeService service;
  std::vector<v1::FrameBatch> batches;
  std::atomic<bool> overrun = false;
  service.frames = [&](auto* stream) { return TakeAll(stream, 1 << 20, batches, overrun); };
  const auto client = Connect(service);
  WriterOptions options;
  options.message_bytes = 10 * kFrameBytes;
  options.linger = kLong;  // Only full messages, until Close.
  const auto writer = client->OpenFrameWriter("s", kFormat, options);
  for (int id = 0; id < 35; ++id) ASSERT_TRUE(writer->Push(id, Frame(0), kLong).ok());
  ASSERT_TRUE(writer->Close(kLong).ok());
  ASSERT_EQ(batches.size(), 4);
  EXPECT_EQ(batches[0].count(), 10);
  EXPECT_EQ(batches[2].first_frame_id(), 20);
  EXPECT_EQ(batches[2].frame_ids_size(), 0);  // Consecutive ids are implied.
  EXPECT_EQ(batches[3].count(), 5);
}

TEST(FrameWriter, NeverSendsMoreThanGranted) {
  FakeService service;
  std::vector<v1::FrameBatch> batches;
  std::atomic<bool> overrun = false;
  service.frames = [&](auto* stream) { return TakeAll(stream, 2 * kFrameBytes, batches, overrun); };
  const auto client = Connect(service);
  const auto writer = client->OpenFrameWriter("s", kFormat);  // Messages of up to 1 MiB.
  for (int id = 0; id < 50; ++id) ASSERT_TRUE(writer->Push(id, Frame(0), kLong).ok());
  const auto report = writer->Close(kLong);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_FALSE(overrun);
  EXPECT_EQ(report->last_ack.counters().accepted(), 50);
  for (const v1::FrameBatch& batch : batches) EXPECT_LE(batch.count(), 2);
}

TEST(FrameWriter, SaysWhenTheQueueIsFullAndGoesOnWhenThereIsRoom) {
  FakeService service;
  std::mutex mu;
  std::condition_variable cv;
  bool grant = false;
  service.frames = [&](FakeService::FrameStream* stream) -> grpc::Status {
    v1::StreamFramesRequest request;
    stream->Read(&request);
    stream->Write(Ack(0, 0, 0));  // Nothing may be sent yet.
    {
      std::unique_lock lock(mu);
      cv.wait(lock, [&] { return grant; });
    }
    stream->Write(Ack(0, 0, 1 << 20));
    std::int64_t batches = 0, bytes = 0;
    while (stream->Read(&request)) {
      bytes += static_cast<std::int64_t>(request.batch().data().size());
      stream->Write(Ack(++batches, bytes, 1 << 20));
    }
    return grpc::Status::OK;
  };
  const auto client = Connect(service);
  WriterOptions options;
  options.queue_bytes = 4 * kFrameBytes;
  const auto writer = client->OpenFrameWriter("s", kFormat, options);
  for (int id = 0; id < 4; ++id) EXPECT_TRUE(writer->Push(id, Frame(0)).ok());
  const absl::Status full = writer->Push(4, Frame(0));
  EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(full.message()), HasSubstr("512 of 512 bytes"));
  EXPECT_EQ(writer->Flush(milliseconds(20)).code(), absl::StatusCode::kDeadlineExceeded);
  {
    std::lock_guard lock(mu);
    grant = true;
  }
  cv.notify_all();
  EXPECT_TRUE(writer->Push(4, Frame(0), kLong).ok());
  const auto report = writer->Close(kLong);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->last_ack.counters().accepted(), 5);
}

TEST(FrameWriter, RefusesAFrameOfTheWrongSize) {
  FakeService service;
  const auto client = Connect(service);
  const auto writer = client->OpenFrameWriter("s", kFormat);
  const absl::Status status = writer->Push(7, std::vector<std::byte>(kFrameBytes + 1));
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("frame 7 has 129 bytes"));
}

TEST(FrameWriter, TellsWhyTheServerRefusedTheStream) {
  FakeService service;
  service.frames = [](FakeService::FrameStream*) {
    return grpc::Status(grpc::StatusCode::NOT_FOUND, "no session sessions/s");
  };
  const auto client = Connect(service);
  const auto writer = client->OpenFrameWriter("s", kFormat);
  EXPECT_EQ(writer->Flush(kLong).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(writer->Push(0, Frame(0)).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(writer->status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(writer->Close(kLong).status().code(), absl::StatusCode::kNotFound);
}

TEST(FrameWriter, TellsThatTheServerEndedTheStreamEarly) {
  FakeService service;
  service.frames = [](FakeService::FrameStream* stream) {
    v1::StreamFramesRequest request;
    stream->Read(&request);
    v1::IngestAck ack = Ack(0, 0, 1 << 20);
    ack.set_state(v1::SESSION_STATE_COMPLETED);
    stream->Write(ack);
    return grpc::Status::OK;
  };
  const auto client = Connect(service);
  const auto writer = client->OpenFrameWriter("s", kFormat);
  absl::Status status;
  while (status.ok()) status = writer->Push(0, Frame(0), kLong);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("SESSION_STATE_COMPLETED"));
}

TEST(FrameWriter, GivesUpClosingAtTheDeadline) {
  FakeService service;
  service.frames = [](FakeService::FrameStream* stream) {
    v1::StreamFramesRequest request;
    stream->Read(&request);
    stream->Write(Ack(0, 0, 0));  // No credit, ever.
    while (stream->Read(&request)) {
    }
    return grpc::Status::OK;
  };
  const auto client = Connect(service);
  const auto writer = client->OpenFrameWriter("s", kFormat);
  ASSERT_TRUE(writer->Push(0, Frame(0)).ok());
  const auto report = writer->Close(milliseconds(50));
  EXPECT_EQ(report.status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(std::string(report.status().message()), HasSubstr("128 bytes were not sent"));
  EXPECT_EQ(writer->report().items, 1);
  EXPECT_EQ(writer->report().sent_items, 0);
}

TEST(FrameWriter, HandsOverEachAcknowledgement) {
  FakeService service;
  std::vector<v1::FrameBatch> batches;
  std::atomic<bool> overrun = false;
  service.frames = [&](auto* stream) { return TakeAll(stream, 1 << 20, batches, overrun); };
  const auto client = Connect(service);
  std::vector<std::int64_t> seen;
  WriterOptions options;
  options.linger = milliseconds(0);
  options.on_ack = [&](const v1::IngestAck& ack) { seen.push_back(ack.batches()); };
  const auto writer = client->OpenFrameWriter("s", kFormat, options);
  for (int id = 0; id < 3; ++id) {
    ASSERT_TRUE(writer->Push(id, Frame(0), kLong).ok());
    ASSERT_TRUE(writer->Flush(kLong).ok());
  }
  ASSERT_TRUE(writer->Close(kLong).ok());
  EXPECT_THAT(seen, ::testing::ElementsAre(0, 1, 2, 3));
}

TEST(FrameWriter, RefusesAFrameLargerThanTheServerTakes) {
  FakeService service;
  std::vector<v1::FrameBatch> batches;
  std::atomic<bool> overrun = false;
  service.frames = [&](auto* stream) { return TakeAll(stream, 1 << 24, batches, overrun); };
  const auto client = Connect(service);
  const FrameFormat large{v1::DATA_TYPE_U32, 1024, 1024, v1::ENCODING_RAW};
  const auto writer = client->OpenFrameWriter("s", large);
  ASSERT_TRUE(writer->Flush(kLong).ok());  // The first acknowledgement is here.
  const absl::Status status = writer->Push(0, std::vector<std::byte>(large.raw_bytes()));
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("4194304"));
}

TEST(FrameWriter, EndsWithTheSizesWhenAFrameTurnsOutToBeTooLarge) {
  FakeService service;
  std::mutex mu;
  std::condition_variable cv;
  bool pushed = false;
  service.frames = [&](FakeService::FrameStream* stream) {
    v1::StreamFramesRequest request;
    stream->Read(&request);
    {
      std::unique_lock lock(mu);
      cv.wait(lock, [&] { return pushed; });
    }
    stream->Write(Ack(0, 0, 1 << 24));  // Tells the limit.
    while (stream->Read(&request)) {
    }
    return grpc::Status::OK;
  };
  const auto client = Connect(service);
  const FrameFormat large{v1::DATA_TYPE_U32, 1024, 1024, v1::ENCODING_RAW};
  const auto writer = client->OpenFrameWriter("s", large);
  EXPECT_TRUE(writer->Push(0, std::vector<std::byte>(large.raw_bytes())).ok());
  {
    std::lock_guard lock(mu);
    pushed = true;
  }
  cv.notify_all();
  const absl::Status status = writer->Flush(kLong);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("4194304"));
  EXPECT_THAT(std::string(status.message()), HasSubstr(std::to_string(kMaxMessage - 4096)));
  EXPECT_EQ(writer->Close(kLong).status(), status);
}

TEST(FrameWriter, CanBeDestroyedWhileFramesWaitForCompany) {
  FakeService service;
  std::vector<v1::FrameBatch> batches;
  std::atomic<bool> overrun = false;
  service.frames = [&](auto* stream) { return TakeAll(stream, 1 << 20, batches, overrun); };
  for (const milliseconds linger : {milliseconds(1), kLong}) {
    const auto client = Connect(service);
    WriterOptions options;
    options.linger = linger;
    const auto writer = client->OpenFrameWriter("s", kFormat, options);
    ASSERT_TRUE(writer->Flush(kLong).ok());
    EXPECT_TRUE(writer->Push(0, Frame(0)).ok());
  }
}

}  // namespace
}  // namespace ptychoserve::client
