#ifndef PTYCHOSERVE_TESTS_UNIT_CLIENT_CPP_RESTARTING_SERVER_H_
#define PTYCHOSERVE_TESTS_UNIT_CLIENT_CPP_RESTARTING_SERVER_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "client/cpp/client.h"
#include "tests/eventually.h"
#include "tests/unit/client/cpp/fake_ingest.h"
#include "tests/unit/client/cpp/test_frames.h"

namespace ptychoserve::client {

using std::chrono::milliseconds;

inline grpc::Status Unavailable() {
  return {grpc::StatusCode::UNAVAILABLE, "the server shuts down"};
}

// One frame a message, sent at once; short pauses between attempts.
inline WriterOptions Options() {
  WriterOptions options;
  options.message_bytes = kFrameBytes;
  options.linger = milliseconds(0);
  options.retry_initial = milliseconds(1);
  options.retry_max = milliseconds(20);
  return options;
}

// A writer's client, and a server that can be stopped and started again.
class RestartingServer : public ::testing::Test {
 protected:
  void Start() {
    service_ = std::make_unique<FakeService>(
        port_, [this](FakeService& service) { server_.Register(service); });
    port_ = service_->port();
  }
  void Stop() { service_.reset(); }
  void SetUp() override {
    Start();
    client_ = Connect(*service_);
  }
  std::unique_ptr<FrameWriter> Open(WriterOptions options = Options()) {
    return client_->OpenFrameWriter("s", kFormat, std::move(options));
  }
  void Push(FrameWriter& writer, std::int64_t first, std::int64_t last) {
    for (std::int64_t id = first; id <= last; ++id) {
      const absl::Status pushed = writer.Push(id, Frame(id), kLong);
      ASSERT_TRUE(pushed.ok()) << pushed;
    }
  }
  // Frames 0..n-1 have arrived, with their pixels, and no others.
  void ExpectArrived(std::int64_t n) {
    const auto arrived = server_.arrived();
    EXPECT_THAT(arrived, ::testing::SizeIs(n));
    for (const auto& [id, value] : arrived) {
      EXPECT_TRUE(0 <= id && id < n) << id;
      EXPECT_EQ(value, id % 251) << id;
    }
  }
  // The first stream breaks after it has taken in so many batches, without acknowledging them.
  void BreakFirstStreamAfter(int batches) {
    server_.acknowledge_batches = false;
    server_.after = [this, batches](int stream, int batch) -> std::optional<grpc::Status> {
      if (stream > 0) server_.acknowledge_batches = true;
      if (stream == 0 && batch + 1 == batches) return Unavailable();
      return std::nullopt;
    };
  }

  int port_ = 0;
  FakeIngest server_;
  std::unique_ptr<FakeService> service_;
  std::unique_ptr<Client> client_;
};

}  // namespace ptychoserve::client

#endif  // PTYCHOSERVE_TESTS_UNIT_CLIENT_CPP_RESTARTING_SERVER_H_
