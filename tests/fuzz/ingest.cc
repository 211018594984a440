// Messages of input, in any order and as odd as they come, into a session on a device without
// arithmetic. Its counters, watermarks and missing ids must be those of a plain model.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/frames/codec.h"
#include "engine/solver/reconstruction.h"
#include "server/ingest/feed.h"
#include "server/ingest/frame_message.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/fuzz/quiet_protobuf.h"
#include "tests/unit/engine/solver/fake_device.h"
#include "tests/unit/engine/test_config.h"

namespace ptychoserve::server {
namespace {

constexpr int kSide = 8;
constexpr std::int64_t kFirstId = 100;
constexpr std::int64_t kLargestId = std::numeric_limits<std::int64_t>::max();
constexpr int kSamplesPerFrame = 3;
constexpr int kMaxSteps = 200;

// What one kind of input (frames, or positions) must have come to.
struct Model {
  std::set<std::int64_t> accounted;  // Accepted, refused or skipped.
  std::set<std::int64_t> accepted;   // As far as it can be told: see `exact`.
  std::int64_t received = 0;
  bool exact = true;  // False once something came of which the model cannot tell the fate.

  MissingIds Missing(std::size_t limit) const {
    MissingIds missing{.known_up_to = accounted.empty() ? kFirstId - 1 : *accounted.rbegin()};
    std::int64_t before = kFirstId - 1;
    for (const std::int64_t id : accounted) {
      if (id != before + 1) missing.ranges.emplace_back(before + 1, id - 1);
      before = id;
    }
    if (missing.ranges.size() > limit) {
      missing.known_up_to = missing.ranges[limit].first - 1;
      missing.ranges.resize(limit);
    }
    return missing;
  }
  std::int64_t Watermark() const {
    std::int64_t watermark = kFirstId - 1;
    for (const std::int64_t id : accounted) {
      if (id != watermark + 1) break;
      watermark = id;
    }
    return watermark;
  }
  void Check(const IngestCounters& counters, const MissingIds& missing, std::size_t limit,
             std::int64_t last_watermark) const {
    FUZZ_CHECK(counters.received == counters.accepted + counters.total_rejected());
    FUZZ_CHECK(counters.received == received);
    FUZZ_CHECK(counters.watermark >= last_watermark);
    FUZZ_CHECK(counters.watermark == Watermark());
    FUZZ_CHECK(counters.accepted + counters.skipped <= static_cast<std::int64_t>(accounted.size()));
    if (exact) FUZZ_CHECK(counters.accepted == static_cast<std::int64_t>(accepted.size()));
    const MissingIds expected = Missing(limit);
    FUZZ_CHECK(missing.ranges == expected.ranges);
    FUZZ_CHECK(missing.known_up_to == expected.known_up_to);
  }
};

class Run {
 public:
  explicit Run(FuzzInput* input) : input_(*input) {
    const std::uint8_t flags = input_.Byte();
    config_ = SmallConfig(kSide);
    config_.scan.first_frame_id = kFirstId;
    config_.scan.capacity = 4 + flags % 8;
    config_.scan.bounds = ScanBounds{0, 40 * kSmallPixel_m, 0, 40 * kSmallPixel_m};
    config_.scan.encoder = EncoderConfig{.samples_per_frame = kSamplesPerFrame,
                                         .y_scale_m_per_count = kSmallPixel_m,
                                         .x_scale_m_per_count = kSmallPixel_m};
    config_.run.max_iterations = 3;
    config_.run.it_ends_after = 2;
    if ((flags & 16) != 0) config_.scan.expected_points = 8;
    if ((flags & 32) != 0) config_.scan.over_capacity = OverCapacity::kEndScan;
    if ((flags & 64) != 0) {
      config_.detector.frame_shape = {2 * kSide, 2 * kSide};
      config_.detector.auto_centre = AutoCentreConfig{.crop_shape = {kSide, kSide}, .frames = 3};
    }
    device_.record.loads_beside = input_.Flag();
    ReconstructionOptions options;
    options.clock = &clock_;
    options.staging_bytes = 1;  // Room for the least number of frames.
    options.held = (flags & 128) != 0;
    FUZZ_CHECK(Validate(config_).empty());
    auto session = Reconstruction::Create(config_, device_, options);
    FUZZ_CHECK(session.ok());
    session_ = *std::move(session);
  }

  void Step() {
    switch (input_.Below(8)) {
      case 0:
      case 1:
        SendFrames(AnyFrames());
        break;
      case 2:
        SendFrames(AnySkipped());
        break;
      case 3:
        SendPositions(AnyPositions());
        break;
      case 4:
        SendPositions(AnySamples());
        break;
      case 5:
        session_->RunTurn();
        break;
      case 6:
        if (input_.Below(8) == 0) End();
        break;
      default:
        SendAnything();
    }
    Check();
  }

  // Nothing of what was accepted stays behind.
  void Finish() {
    session_->Release();
    session_->FinishScan(std::nullopt).IgnoreError();
    for (int turns = 0; session_->RunTurn(); ++turns) FUZZ_CHECK(turns < 1000);
    Check();
    const Progress progress = session_->progress();
    FUZZ_CHECK(IsFinal(progress.state));
    FUZZ_CHECK(progress.staged_frames == 0);
    FUZZ_CHECK(progress.active_points <= progress.joined_points);
    FUZZ_CHECK(static_cast<std::int64_t>(device_.record.active.size()) == progress.active_points);
  }

 private:
  std::size_t RawBytes() const {
    return static_cast<std::size_t>(config_.detector.frame_shape.pixels()) * sizeof(std::uint16_t);
  }

  // --- Messages ------------------------------------------------------------------------------

  // Ids are few, so that they meet; but some lie at the ends of the range.
  std::int64_t AnyId() {
    const int id = input_.Byte();
    if (id < 240) return kFirstId - 4 + id % 32;
    const std::int64_t far = id % 4;
    return id < 248 ? kLargestId - far : std::numeric_limits<std::int64_t>::min() + far;
  }
  v1::StreamFramesRequest AnyFrames() {
    v1::StreamFramesRequest message;
    v1::FrameBatch& batch = *message.mutable_batch();
    const int odd = input_.Byte();
    int count = 1 + input_.Below(12);
    batch.set_first_frame_id(AnyId());
    if (input_.Flag()) {
      for (int i = 0; i < count; ++i) batch.add_frame_ids(AnyId());
    }
    batch.set_dtype(odd == 1 ? v1::DATA_TYPE_U8 : v1::DATA_TYPE_U16);
    batch.set_rows(static_cast<std::uint32_t>(config_.detector.frame_shape.rows + (odd == 2)));
    batch.set_cols(static_cast<std::uint32_t>(config_.detector.frame_shape.cols));
    batch.set_count(static_cast<std::uint32_t>(count + (odd == 3)));
    batch.set_encoding(static_cast<v1::Encoding>(1 + input_.Below(3)));
    const auto encoding = static_cast<Encoding>(batch.encoding() - 1);
    for (int i = 0; i < count; ++i) {
      const std::string pixels(RawBytes(), static_cast<char>(input_.Below(3)));
      const auto encoded =
          EncodeFrame(encoding, std::as_bytes(std::span(pixels)), sizeof(std::uint16_t));
      std::string bytes(reinterpret_cast<const char*>(encoded.data()), encoded.size());
      if (odd == 4 || (odd == 5 && i == 0)) bytes[input_.Byte() % bytes.size()] ^= input_.Byte();
      if (odd == 6 && i == 1) bytes.pop_back();
      if (encoding != Encoding::kRaw) {
        batch.add_encoded_sizes(static_cast<std::uint32_t>(bytes.size() + (odd == 7 && i == 0)));
      }
      batch.mutable_data()->append(bytes);
    }
    return message;
  }
  v1::StreamFramesRequest AnySkipped() {
    v1::StreamFramesRequest message;
    message.mutable_skipped()->set_first_frame_id(AnyId());
    message.mutable_skipped()->set_count(input_.Below(16));
    return message;
  }
  double AnyCoordinate() {
    const int px = input_.Byte();
    if (px == 255) return std::numeric_limits<double>::quiet_NaN();
    if (px == 254) return input_.Plain<double>();
    return px % 40 * kSmallPixel_m;
  }
  v1::StreamPositionsRequest AnyPositions() {
    v1::StreamPositionsRequest message;
    v1::PositionBatch& batch = *message.mutable_batch();
    const int count = 1 + input_.Below(12);
    batch.set_first_frame_id(AnyId());
    const bool ids = input_.Flag();
    for (int i = 0; i < count; ++i) {
      if (ids) batch.add_frame_ids(AnyId());
      batch.add_x_m(AnyCoordinate());
      batch.add_y_m(AnyCoordinate());
    }
    return message;
  }
  v1::StreamPositionsRequest AnySamples() {
    v1::StreamPositionsRequest message;
    v1::EncoderSamples& samples = *message.mutable_encoder_samples();
    const int first = input_.Byte();
    samples.set_first_sample(first < 250 ? first % 64 : kLargestId - first % 64);
    for (int count = 1 + input_.Below(16); count > 0; --count) {
      const int px = input_.Byte();
      samples.add_x_counts(px == 255 ? std::numeric_limits<double>::infinity() : px % 40);
      samples.add_y_counts(px % 40);
    }
    return message;
  }

  // --- Sending, and what it must come to -----------------------------------------------------

  void SendFrames(const v1::StreamFramesRequest& request) {
    const std::string bytes = request.SerializeAsString();
    FrameMessage message;
    FUZZ_CHECK(ParseFrameMessage(ByteChain(std::as_bytes(std::span(bytes))), &message));
    SendFrames(message);
  }
  void SendFrames(const FrameMessage& message) {
    int next = 0;
    while (true) {
      const bool late = session_->input_closed();
      const int begin = next;
      const auto done = FeedFrames(message, *session_, &next);
      if (!done.ok()) return CheckRefused(done.status());
      const v1::FrameBatch& batch = message.request.batch();
      const int end = *done ? static_cast<int>(batch.count()) : next;
      if (message.request.has_skipped()) {
        NoteSkipped(message.request.skipped(), late);
      } else {
        NoteFrames(message, begin, end, late);
      }
      if (*done) break;
      session_->RunTurn();
      Check();
      FUZZ_CHECK(session_->free_staging_bytes() > 0 || session_->input_closed());
    }
    std::size_t ids = 0;
    for (const auto& [first, last] : IdsOf(message.request)) {
      FUZZ_CHECK(first <= last);
      ids += static_cast<std::size_t>(last - first) + 1;
    }
    FUZZ_CHECK(ids == (message.request.has_skipped()
                           ? static_cast<std::size_t>(message.request.skipped().count())
                           : std::size_t{message.request.batch().count()}));
  }
  void SendPositions(const v1::StreamPositionsRequest& message) {
    const bool late = session_->input_closed();
    if (const absl::Status fed = FeedPositions(message, *session_); !fed.ok()) {
      return CheckRefused(fed);
    }
    if (message.has_encoder_samples()) {
      NoteSamples(message.encoder_samples(), late);
      FUZZ_CHECK(IdsOf(message).empty());
      return;
    }
    const v1::PositionBatch& batch = message.batch();
    for (int i = 0; i < batch.x_m_size(); ++i) {
      const std::int64_t id =
          batch.frame_ids().empty() ? batch.first_frame_id() + i : batch.frame_ids(i);
      NotePosition(id, batch.x_m(i), batch.y_m(i), late);
    }
  }
  // Bytes of the input as they are, as either message.
  void SendAnything() {
    const bool frames = input_.Flag();
    const std::string bytes = input_.Bytes(input_.Byte());
    if (frames) {
      FrameMessage message;
      if (!ParseFrameMessage(ByteChain(std::as_bytes(std::span(bytes))), &message)) return;
      // The model goes through all ids.
      constexpr int kMost = 1000;
      if (message.request.skipped().count() > kMost || message.request.batch().count() > kMost)
        return;
      SendFrames(message);
    } else {
      v1::StreamPositionsRequest message;
      if (message.ParseFromString(bytes)) SendPositions(message);
    }
  }
  void End() {
    if (input_.Flag()) {
      session_->FinishScan(input_.Byte()).IgnoreError();
    } else {
      session_->Stop(input_.Flag()).IgnoreError();
    }
  }

  void NoteFrames(const FrameMessage& message, int begin, int end, bool late) {
    const v1::FrameBatch& batch = message.request.batch();
    std::size_t offset = 0;
    const bool whole = IsWhole(message);
    std::string data(message.payload.size(), '\0');
    message.payload.CopyTo(0, std::as_writable_bytes(std::span(data)));
    for (int i = 0; i < end; ++i) {
      const bool raw = batch.encoded_sizes().empty();
      const std::size_t bytes = raw ? RawBytes() : batch.encoded_sizes(i);
      if (i >= begin) {
        const std::int64_t id =
            batch.frame_ids().empty() ? batch.first_frame_id() + i : batch.frame_ids(i);
        NoteFrame(id, late, whole, whole && Decodes(batch, data.substr(offset, bytes)));
      }
      offset += bytes;
    }
  }
  // `whole` is false when the batch contradicts the session or itself: all of it is refused.
  void NoteFrame(std::int64_t id, bool late, bool whole, bool decodes) {
    ++frames_.received;
    if (id < kFirstId || late) return;
    frames_.accounted.insert(id);
    if (!whole) return;
    if (!decodes) frames_.exact = false;  // Others may have met its slot taken.
    if (static_cast<int>(frames_.accepted.size()) < config_.scan.capacity) {
      frames_.accepted.insert(id);
    }
  }
  bool IsWhole(const FrameMessage& message) const {
    const v1::FrameBatch& batch = message.request.batch();
    std::size_t want = RawBytes() * batch.count();
    if (!batch.encoded_sizes().empty()) want = 0;
    for (const std::uint32_t size : batch.encoded_sizes()) want += size;
    return batch.dtype() == v1::DATA_TYPE_U16 && message.payload.size() == want &&
           static_cast<int>(batch.rows()) == config_.detector.frame_shape.rows &&
           static_cast<int>(batch.cols()) == config_.detector.frame_shape.cols;
  }
  bool Decodes(const v1::FrameBatch& batch, const std::string& frame) const {
    const Encoding encoding = batch.encoding() == v1::ENCODING_LZ4     ? Encoding::kLz4
                              : batch.encoding() == v1::ENCODING_BSLZ4 ? Encoding::kBslz4
                                                                       : Encoding::kRaw;
    std::vector<std::byte> pixels(RawBytes());
    return DecodeFrame(encoding, std::as_bytes(std::span(frame)), sizeof(std::uint16_t), pixels)
        .ok();
  }
  void NoteSkipped(const v1::SkippedFrames& skipped, bool late) {
    for (std::int64_t i = 0; i < skipped.count(); ++i) {
      const std::int64_t id = skipped.first_frame_id() + i;
      if (id < kFirstId || late) {
        ++frames_.received;  // Refused.
      } else {
        frames_.accounted.insert(id);
      }
    }
  }
  void NotePosition(std::int64_t id, double x_m, double y_m, bool late) {
    ++positions_.received;
    if (id < kFirstId || late) return;
    positions_.accounted.insert(id);
    if (!std::isfinite(x_m) || !std::isfinite(y_m)) return;
    const auto outside = [](double m) { return m < 0 || m > 40 * kSmallPixel_m; };
    if (outside(x_m) || outside(y_m)) {
      positions_.exact = false;
    } else {
      positions_.accepted.insert(id);
    }
  }
  void NoteSamples(const v1::EncoderSamples& samples, bool late) {
    // A frame's position comes after all samples of the message have been taken.
    std::vector<std::pair<std::int64_t, std::pair<double, double>>> complete;
    for (int i = 0; i < samples.x_counts_size(); ++i) {
      const std::int64_t sample = samples.first_sample() + i;
      const std::int64_t frame = sample / kSamplesPerFrame;
      const double x = samples.x_counts(i), y = samples.y_counts(i);
      if (late || frame > kLargestId - kFirstId || !std::isfinite(x) || !std::isfinite(y)) {
        ++positions_.received;  // Refused.
        continue;
      }
      auto& arrived = samples_[frame];
      if (!arrived.try_emplace(sample % kSamplesPerFrame, x, y).second) {
        ++positions_.received;  // Twice.
        continue;
      }
      if (arrived.size() < kSamplesPerFrame) continue;
      double sum_x = 0, sum_y = 0;
      for (const auto& [index, xy] : arrived) {
        sum_x += xy.first;
        sum_y += xy.second;
      }
      complete.push_back({kFirstId + frame, {sum_x, sum_y}});
    }
    for (const auto& [id, sum] : complete) {
      NotePosition(id, sum.first / kSamplesPerFrame * kSmallPixel_m,
                   sum.second / kSamplesPerFrame * kSmallPixel_m, late);
    }
  }

  void CheckRefused(const absl::Status& status) const {
    FUZZ_CHECK(absl::IsInvalidArgument(status) ||
               (absl::IsFailedPrecondition(status) && IsFinal(session_->state())));
  }
  void Check() {
    const Progress progress = session_->progress();
    const std::size_t limit = 1 + static_cast<std::size_t>(steps_++ % 4);
    // Frames that wait for the beam to be found are not counted yet.
    const bool counted = !config_.detector.auto_centre || session_->input_closed();
    if (counted) {
      frames_.Check(progress.frames, session_->MissingFrames(limit), limit, frames_watermark_);
    } else {
      FUZZ_CHECK(progress.frames.received ==
                 progress.frames.accepted + progress.frames.total_rejected());
      FUZZ_CHECK(progress.frames.received <= frames_.received);
      FUZZ_CHECK(progress.frames.watermark >= frames_watermark_);
    }
    frames_watermark_ = progress.frames.watermark;
    positions_.Check(progress.positions, session_->MissingPositions(limit), limit,
                     positions_watermark_);
    positions_watermark_ = progress.positions.watermark;
    if (counted && frames_.exact && positions_.exact) {
      std::int64_t joined = 0;
      for (const std::int64_t id : frames_.accepted) joined += positions_.accepted.contains(id);
      FUZZ_CHECK(progress.joined_points == joined);
    }
  }

  FuzzInput& input_;
  ReconstructionConfig config_;
  ManualClock clock_;
  FakeDevice device_;
  std::unique_ptr<Reconstruction> session_;
  Model frames_, positions_;
  std::int64_t frames_watermark_ = kFirstId - 1, positions_watermark_ = kFirstId - 1;
  // Of the encoder, by frame.
  std::map<std::int64_t, std::map<std::int64_t, std::pair<double, double>>> samples_;
  int steps_ = 0;
};

}  // namespace
}  // namespace ptychoserve::server

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ptychoserve;
  QuietProtobuf();
  FuzzInput input(data, size);
  server::Run run(&input);
  for (int step = 0; step < server::kMaxSteps && !input.empty(); ++step) run.Step();
  run.Finish();
  return 0;
}
