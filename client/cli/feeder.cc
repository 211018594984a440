#include "client/cli/feeder.h"

#include <functional>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cli/interrupt.h"
#include "client/cli/session_flags.h"
#include "engine/base/status_macros.h"
#include "engine/frames/codec.h"

namespace ptychoserve::cli {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// How long a wait lasts before Ctrl-C is looked at again.
constexpr milliseconds kSlice{200};
constexpr milliseconds kCloseTimeout{60'000};
// With --batch, messages are not sent earlier because frames are slow to come.
constexpr milliseconds kBatchLinger{1'000};
constexpr int kMaxStreams = 64;

struct EncodingName {
  const char* name;
  Encoding engine;
  v1::Encoding proto;
};
constexpr EncodingName kEncodings[] = {{"raw", Encoding::kRaw, v1::ENCODING_RAW},
                                       {"lz4", Encoding::kLz4, v1::ENCODING_LZ4},
                                       {"bslz4", Encoding::kBslz4, v1::ENCODING_BSLZ4}};

absl::Status Check(const FeedOptions& options) {
  if (options.streams < 1 || options.streams > kMaxStreams) {
    return absl::InvalidArgumentError(
        absl::StrCat("--streams is ", options.streams, "; 1..", kMaxStreams, " is allowed"));
  }
  if (!(options.rate >= 0)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--rate is ", options.rate, "; frames a second >= 0 are allowed"));
  }
  if (options.batch < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("--batch is ", options.batch, "; frames a message >= 0 are allowed"));
  }
  return absl::OkStatus();
}

// Repeats an attempt of kSlice until it succeeds, fails for another reason than time or room, or
// Ctrl-C is pressed.
absl::Status Persist(const std::function<absl::Status()>& attempt,
                     const std::function<absl::Status()>& stream_status) {
  for (;;) {
    absl::Status status = attempt();
    const bool again = absl::IsResourceExhausted(status) || absl::IsDeadlineExceeded(status);
    if (!again) return status;
    PS_RETURN_IF_ERROR(stream_status());
    if (Interrupted()) return absl::CancelledError("interrupted");
  }
}

}  // namespace

void AddFeedFlags(CLI::App* command, FeedOptions& options) {
  const std::string group = "Streaming";
  command->add_option("--streams", options.streams, "Frame streams, each on its own connection")
      ->capture_default_str()
      ->group(group);
  command->add_option("--rate", options.rate, "Frames a second; 0: as fast as possible")
      ->capture_default_str()
      ->group(group);
  command->add_option("--encoding", options.encoding, "Of the frames on the wire")
      ->check(CLI::IsMember({"raw", "lz4", "bslz4"}))
      ->capture_default_str()
      ->group(group);
  command->add_option("--batch", options.batch, "Frames a message; 0: about 2 MiB of them")
      ->capture_default_str()
      ->group(group);
}

Json ToJson(const FeedReport& report) {
  Json out;
  out["frames"] = report.frames;
  out["positions"] = report.positions;
  out["payload_bytes"] = report.payload_bytes;
  out["seconds"] = report.seconds;
  return out;
}

Feeder::Feeder(CxiScanReader& scan, const FeedOptions& options, Encoding encoding)
    : scan_(scan),
      options_(options),
      encoding_(encoding),
      position_sent_(static_cast<std::size_t>(scan.info().frames)) {}

absl::StatusOr<std::unique_ptr<Feeder>> Feeder::Open(client::Client& client,
                                                     const std::string& session,
                                                     CxiScanReader& scan,
                                                     const FeedOptions& options) {
  PS_RETURN_IF_ERROR(Check(options));
  const v1::Detector detector = ConfigFromScan(scan.info()).detector();
  client::FrameFormat format;
  format.dtype = detector.dtype();
  format.rows = detector.frame_shape().rows();
  format.cols = detector.frame_shape().cols();
  Encoding encoding = Encoding::kRaw;
  for (const EncodingName& e : kEncodings) {
    if (options.encoding == e.name) {
      encoding = e.engine;
      format.encoding = e.proto;
    }
  }
  std::unique_ptr<Feeder> feeder(new Feeder(scan, options, encoding));
  feeder->frame_.resize(format.raw_bytes());
  if (options.frames) {
    client::WriterOptions writer;
    if (options.batch > 0) {
      writer.message_bytes = static_cast<std::size_t>(options.batch) * format.raw_bytes();
      writer.linger = kBatchLinger;
    }
    for (int k = 0; k < options.streams; ++k) {
      feeder->frame_writers_.push_back(client.OpenFrameWriter(session, format, writer));
    }
  }
  if (options.positions) feeder->position_writer_ = client.OpenPositionWriter(session);
  return feeder;
}

absl::Status Feeder::Send(std::span<const std::int64_t> frame_ids) {
  if (!start_.has_value()) start_ = steady_clock::now();
  for (const std::int64_t id : frame_ids) {
    if (Interrupted()) return absl::CancelledError("interrupted");
    PS_RETURN_IF_ERROR(SendPosition(id));
    if (options_.frames) PS_RETURN_IF_ERROR(SendFrame(id));
  }
  return absl::OkStatus();
}

absl::Status Feeder::SendPositions(std::span<const std::int64_t> frame_ids) {
  for (const std::int64_t id : frame_ids) PS_RETURN_IF_ERROR(SendPosition(id));
  return absl::OkStatus();
}

absl::Status Feeder::SendPosition(std::int64_t id) {
  const auto k = static_cast<std::size_t>(id);
  if (!options_.positions || position_sent_[k]) return absl::OkStatus();
  position_sent_[k] = true;
  client::PositionWriter& writer = *position_writer_;
  return Persist(
      [&] {
        return writer.Push({&id, 1}, {&scan_.info().x_m[k], 1}, {&scan_.info().y_m[k], 1}, kSlice);
      },
      [&] { return writer.status(); });
}

absl::Status Feeder::SendFrame(std::int64_t id) {
  PS_RETURN_IF_ERROR(BadInput(scan_.ReadFrames(id, 1, frame_)));
  Pace();
  client::FrameWriter& writer =
      *frame_writers_[static_cast<std::size_t>(frames_) % frame_writers_.size()];
  ++frames_;
  std::vector<std::byte> encoded;
  std::span<const std::byte> bytes = frame_;
  if (encoding_ != Encoding::kRaw) {
    const auto pixels = static_cast<std::size_t>(scan_.info().frame_shape.pixels());
    encoded = EncodeFrame(encoding_, frame_, static_cast<int>(frame_.size() / pixels));
    bytes = encoded;
  }
  return Persist([&] { return writer.Push(id, bytes, kSlice); }, [&] { return writer.status(); });
}

// Waits until the next frame is due.
void Feeder::Pace() {
  if (options_.rate <= 0) return;
  const std::chrono::duration<double> due(static_cast<double>(frames_) / options_.rate);
  const auto when = *start_ + std::chrono::duration_cast<steady_clock::duration>(due);
  while (!Interrupted() && steady_clock::now() < when) {
    std::this_thread::sleep_until(std::min(when, steady_clock::now() + kSlice));
  }
}

absl::Status Feeder::Flush() {
  for (const auto& writer : frame_writers_) {
    PS_RETURN_IF_ERROR(
        Persist([&] { return writer->Flush(kSlice); }, [&] { return writer->status(); }));
  }
  if (position_writer_ == nullptr) return absl::OkStatus();
  return Persist([&] { return position_writer_->Flush(kSlice); },
                 [&] { return position_writer_->status(); });
}

absl::Status Feeder::Close() {
  PS_RETURN_IF_ERROR(Flush());
  for (const auto& writer : frame_writers_) {
    PS_RETURN_IF_ERROR(writer->Close(kCloseTimeout).status());
  }
  if (position_writer_ != nullptr) {
    PS_RETURN_IF_ERROR(position_writer_->Close(kCloseTimeout).status());
  }
  end_ = steady_clock::now();
  return absl::OkStatus();
}

FeedReport Feeder::report() const {
  FeedReport out;
  for (const auto& writer : frame_writers_) {
    const client::WriterReport report = writer->report();
    out.frames += report.sent_items;
    out.payload_bytes += report.payload_bytes;
  }
  if (position_writer_ != nullptr) out.positions = position_writer_->report().sent_items;
  const auto end = end_.has_value() ? *end_ : steady_clock::now();
  if (start_.has_value()) out.seconds = std::chrono::duration<double>(end - *start_).count();
  return out;
}

}  // namespace ptychoserve::cli
