#include "client/cli/feeder.h"

#include <algorithm>
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
constexpr double kMaxGiveUpAfter = 1e6;

struct EncodingName {
  const char* name;
  Encoding engine;
  v1::Encoding proto;
};
constexpr EncodingName kEncodings[] = {{"raw", Encoding::kRaw, v1::ENCODING_RAW},
                                       {"lz4", Encoding::kLz4, v1::ENCODING_LZ4},
                                       {"bslz4", Encoding::kBslz4, v1::ENCODING_BSLZ4}};

// A session that has ended takes nothing, which is no error if it has all of the scan's frames.
template <typename Writer>
absl::Status UnlessItHasAll(const Writer& writer, std::int64_t frames, absl::Status status) {
  if (!absl::IsFailedPrecondition(status)) return status;
  const std::int64_t accounted_for = writer.report().last_ack.counters().watermark() + 1;
  return accounted_for >= frames ? absl::OkStatus() : status;
}

}  // namespace

absl::Status CheckFeed(const FeedOptions& options) {
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
  if (!(options.give_up_after >= 0 && options.give_up_after <= kMaxGiveUpAfter)) {
    return absl::InvalidArgumentError(absl::StrCat("--give-up-after is ", options.give_up_after,
                                                   "; seconds 0..", kMaxGiveUpAfter,
                                                   " are allowed"));
  }
  if (options.spool_always && options.spool_dir.empty()) {
    return absl::InvalidArgumentError("--spool-always needs --spool-dir");
  }
  if (!options.spool_dir.empty() && options.producer.empty()) {
    return absl::InvalidArgumentError(
        "--spool-dir needs --producer: by that name a later run finds what this one leaves there");
  }
  return options.producer.empty() ? absl::OkStatus() : client::CheckProducer(options.producer);
}

milliseconds FeedOptions::GiveUpAfter() const {
  return milliseconds(static_cast<std::int64_t>(give_up_after * 1e3));
}

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
  command
      ->add_option("--give-up-after", options.give_up_after,
                   "Seconds that a broken connection is tried again; 0: not at all")
      ->capture_default_str()
      ->group(group);
  command
      ->add_option("--producer", options.producer,
                   "Name of the sender. A later run of the same name sends what is missing, and "
                   "ends an earlier one that still runs")
      ->group(group);
  command
      ->add_option("--spool-dir", options.spool_dir,
                   "Directory for what the server does not take while it is away; needs --producer")
      ->group(group);
  command
      ->add_flag("--spool-always", options.spool_always,
                 "Write everything to --spool-dir first, so that it survives this program")
      ->group(group);
}

Json ToJson(const FeedReport& report) {
  Json out;
  out["frames"] = report.frames;
  out["known"] = report.known;
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
  PS_RETURN_IF_ERROR(CheckFeed(options));
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
  feeder->OpenWriters(client, session, format);
  if (options.spool_dir.empty()) return feeder;
  // What an earlier run has left in the spool goes first. Then the streams begin anew, and learn
  // that the session has it.
  PS_RETURN_IF_ERROR(feeder->CloseWriters());
  feeder->frame_writers_.clear();
  feeder->position_writer_.reset();
  feeder->OpenWriters(client, session, format);
  return feeder;
}

void Feeder::OpenWriters(client::Client& client, const std::string& session,
                         const client::FrameFormat& format) {
  client::WriterOptions writer;
  writer.give_up_after = options_.GiveUpAfter();
  writer.producer = options_.producer;
  writer.spool_dir = options_.spool_dir;
  writer.spool_always = options_.spool_always;
  if (options_.positions) position_writer_ = client.OpenPositionWriter(session, writer);
  if (options_.frames) {
    if (options_.batch > 0) {
      writer.message_bytes = static_cast<std::size_t>(options_.batch) * format.raw_bytes();
      writer.linger = kBatchLinger;
    }
    for (int k = 0; k < options_.streams; ++k) {
      // No two streams that live at the same time may have one name.
      if (k > 0 && !options_.producer.empty()) {
        writer.producer = absl::StrCat(options_.producer, ":", k + 1);
      }
      frame_writers_.push_back(client.OpenFrameWriter(session, format, writer));
    }
  }
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

// Repeats an attempt of kSlice until it succeeds, fails for another reason than time or room, or
// Ctrl-C is pressed.
template <typename Writer, typename Attempt>
absl::Status Feeder::Try(Writer& writer, Attempt attempt) const {
  for (;;) {
    absl::Status status = attempt();
    const bool again = absl::IsResourceExhausted(status) || absl::IsDeadlineExceeded(status);
    if (again) status = writer.status();
    if (!again || !status.ok()) return UnlessItHasAll(writer, scan_.info().frames, status);
    if (Interrupted()) return absl::CancelledError("interrupted");
  }
}

absl::Status Feeder::Skip(std::span<const std::int64_t> frame_ids) {
  if (!options_.frames) return absl::OkStatus();
  client::FrameWriter& writer = *frame_writers_.front();
  for (const std::int64_t id : frame_ids) {
    PS_RETURN_IF_ERROR(Try(writer, [&] { return writer.Skip(id, 1, kSlice); }));
  }
  return absl::OkStatus();
}

absl::Status Feeder::SendPosition(std::int64_t id) {
  const auto k = static_cast<std::size_t>(id);
  if (!options_.positions || position_sent_[k]) return absl::OkStatus();
  position_sent_[k] = true;
  client::PositionWriter& writer = *position_writer_;
  return Try(writer, [&] {
    return writer.Push({&id, 1}, {&scan_.info().x_m[k], 1}, {&scan_.info().y_m[k], 1}, kSlice);
  });
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
  return Try(writer, [&] { return writer.Push(id, bytes, kSlice); });
}

// Waits until the next frame is due. Those that the session has take no time.
void Feeder::Pace() {
  if (options_.rate <= 0) return;
  const std::chrono::duration<double> due(static_cast<double>(frames_ - known_frames()) /
                                          options_.rate);
  const auto when = *start_ + std::chrono::duration_cast<steady_clock::duration>(due);
  while (!Interrupted() && steady_clock::now() < when) {
    std::this_thread::sleep_until(std::min(when, steady_clock::now() + kSlice));
  }
}

absl::Status Feeder::Flush() {
  for (const auto& writer : frame_writers_) {
    PS_RETURN_IF_ERROR(Try(*writer, [&] { return writer->Flush(kSlice); }));
  }
  if (position_writer_ == nullptr) return absl::OkStatus();
  return Try(*position_writer_, [&] { return position_writer_->Flush(kSlice); });
}

absl::Status Feeder::Close() {
  PS_RETURN_IF_ERROR(CloseWriters());
  end_ = steady_clock::now();
  return absl::OkStatus();
}

absl::Status Feeder::CloseWriters() {
  PS_RETURN_IF_ERROR(Flush());
  const auto close = [this](auto& writer) {
    return UnlessItHasAll(writer, scan_.info().frames, writer.Close(kCloseTimeout).status());
  };
  for (const auto& writer : frame_writers_) PS_RETURN_IF_ERROR(close(*writer));
  return position_writer_ == nullptr ? absl::OkStatus() : close(*position_writer_);
}

std::int64_t Feeder::known_frames() const {
  std::int64_t known = 0;
  for (const auto& writer : frame_writers_) known += writer->report().known_items;
  return known;
}

FeedReport Feeder::report() const {
  FeedReport out;
  for (const auto& writer : frame_writers_) {
    const client::WriterReport report = writer->report();
    out.frames += report.sent_items;
    out.payload_bytes += report.payload_bytes;
  }
  out.known = known_frames();
  if (position_writer_ != nullptr) out.positions = position_writer_->report().sent_items;
  const auto end = end_.has_value() ? *end_ : steady_clock::now();
  if (start_.has_value()) out.seconds = std::chrono::duration<double>(end - *start_).count();
  return out;
}

}  // namespace ptychoserve::cli
