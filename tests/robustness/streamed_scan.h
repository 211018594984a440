#ifndef PTYCHOSERVE_TESTS_ROBUSTNESS_STREAMED_SCAN_H_
#define PTYCHOSERVE_TESTS_ROBUSTNESS_STREAMED_SCAN_H_

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <span>
#include <string>

#include "client/cpp/client.h"
#include "tests/integration/api.h"
#include "tests/integration/test_scan.h"

namespace ptychoserve::robustness {

// A client that sends a scan with the library, as acquisition software does.
class StreamedScan {
 public:
  using TestScan = integration::TestScan;

  StreamedScan(const std::string& address, const std::string& session, const TestScan& scan,
               client::WriterOptions options = {}, const client::ClientOptions& connection = {})
      : scan_(scan) {
    auto client = client::Client::Connect(address, connection);
    EXPECT_TRUE(client.ok()) << client.status();
    client_ = *std::move(client);
    const auto side = static_cast<std::uint32_t>(scan.side());
    frames_ = client_->OpenFrameWriter(session, {v1::DATA_TYPE_U16, side, side}, options);
    options.on_ack = nullptr;
    options.on_connection = nullptr;
    open_positions_ = [this, session, options] {
      return client_->OpenPositionWriter(session, options);
    };
  }

  client::FrameWriter& frames() { return *frames_; }
  // Opened when it is needed.
  client::PositionWriter& positions() {
    if (positions_ == nullptr) positions_ = open_positions_();
    return *positions_;
  }

  void Send(int first, int end) {
    for (int j = first; j < end; ++j) {
      const absl::Status position = positions().Push(j, scan_.x_m(j), scan_.y_m(j));
      ASSERT_TRUE(position.ok()) << position;
      const absl::Status frame =
          frames_->Push(j, std::as_bytes(std::span(scan_.frame(j))), integration::kCallDeadline);
      ASSERT_TRUE(frame.ok()) << frame;
    }
  }
  // What the writer of frames has done in the end.
  client::WriterReport Close() {
    if (positions_ != nullptr) {
      const auto positions = positions_->Close(integration::kCallDeadline);
      EXPECT_TRUE(positions.ok()) << positions.status();
    }
    const auto frames = frames_->Close(integration::kCallDeadline);
    EXPECT_TRUE(frames.ok()) << frames.status();
    return frames.ok() ? *frames : client::WriterReport();
  }

 private:
  const TestScan& scan_;
  std::unique_ptr<client::Client> client_;
  std::unique_ptr<client::FrameWriter> frames_;
  std::function<std::unique_ptr<client::PositionWriter>()> open_positions_;
  std::unique_ptr<client::PositionWriter> positions_;
};

// Every point of `scan` was used once; what came a second time was counted, and nothing else was
// refused.
inline void ExpectEachPointOnce(const v1::Session& session, const integration::TestScan& scan) {
  EXPECT_EQ(session.active_points(), scan.points());
  for (const v1::IngestCounters& counters : {session.frames(), session.positions()}) {
    EXPECT_EQ(counters.accepted(), scan.points());
    EXPECT_EQ(counters.received() - counters.accepted(),
              integration::Rejected(counters, v1::REJECT_REASON_DUPLICATE));
    EXPECT_EQ(counters.watermark(), scan.points() - 1);
  }
}

}  // namespace ptychoserve::robustness

#endif  // PTYCHOSERVE_TESTS_ROBUSTNESS_STREAMED_SCAN_H_
