#include "engine/store/frame_store.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <deque>
#include <limits>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "engine/frames/codec.h"
#include "engine/scan/orientation.h"
#include "engine/store/staging_pool.h"

namespace ptychoserve {
namespace {

// Positions may run ahead of their frames by this much beyond the capacity.
constexpr std::int64_t kPendingPositionsPerSlot = 8;
constexpr std::int64_t kPendingPositionsBase = 65536;
constexpr int kMinStagedFrames = 2;
constexpr std::size_t kMaxRanges = 65536;  // Of ids without a frame that are kept apart.
// Frames that are given slots and buffers, and then committed, under one lock.
constexpr std::size_t kFramesPerLock = 8;

std::int64_t EngineFrameBytes(const DetectorConfig& detector) {
  return EngineFrameShape(detector).pixels() * StorageBytes(StorageFor(detector));
}

std::string ShapeText(Shape s) { return absl::StrCat(s.rows, " x ", s.cols); }

const char* DataTypeName(DataType t) {
  switch (t) {
    case DataType::kU8:
      return "u8";
    case DataType::kU16:
      return "u16";
    case DataType::kU32:
      return "u32";
    case DataType::kF32:
      return "f32";
  }
  return "unknown";
}

bool AllFinite(std::span<const std::byte> raw, DataType dtype) {
  if (dtype != DataType::kF32) return true;
  for (std::size_t i = 0; i + sizeof(float) <= raw.size(); i += sizeof(float)) {
    float value;
    std::memcpy(&value, raw.data() + i, sizeof value);
    if (!std::isfinite(value)) return false;
  }
  return true;
}

}  // namespace

struct FrameStore::Impl {
  // One id that has a frame, a position, or both.
  struct Record {
    std::int32_t slot = -1;  // Of its frame; -1: no frame.
    bool has_frame = false;  // Accepted: staged or loaded.
    bool loaded = false;
    bool empty = false;
    bool has_position = false;
    Window window;
  };
  // An accepted frame in staging memory.
  struct Staged {
    std::int64_t id = 0;
    std::int32_t slot = 0;
    std::byte* pixels = nullptr;
  };
  // A frame that waits for the beam to be found.
  struct Held {
    Staged frame;
    std::vector<std::byte> raw;
  };
  // A frame on its way from a batch into staging memory.
  struct Reserved {
    Staged frame;
    std::size_t offset = 0, bytes = 0;  // In the batch's data.
    absl::Status decoded;
    FramePreprocessor::Result result;
    std::vector<std::byte> raw;  // Decoded, or copied because the frame may be held back.
  };

  Impl(const ReconstructionConfig& c, StagingMemory memory, std::int64_t staged_bytes)
      : config(c),
        first_id(c.scan.first_frame_id),
        raw_bytes(c.detector.frame_shape.pixels() * DataTypeBytes(c.detector.dtype)),
        engine_bytes(EngineFrameBytes(c.detector)),
        grid(c),
        staging(std::move(memory), engine_bytes, staged_bytes / engine_bytes) {}

  const ReconstructionConfig config;
  const std::int64_t first_id;
  const std::int64_t raw_bytes;
  const std::int64_t engine_bytes;

  mutable Mutex mu;
  ObjectGrid grid ABSL_GUARDED_BY(mu);
  std::optional<EncoderAssembler> encoder ABSL_GUARDED_BY(mu);
  std::shared_ptr<const FramePreprocessor> preprocessor ABSL_GUARDED_BY(mu);
  std::optional<AutoCentre> auto_centre ABSL_GUARDED_BY(mu);  // Set while the beam is sought.
  std::vector<Held> held ABSL_GUARDED_BY(mu);
  std::unordered_map<std::int64_t, Record> records ABSL_GUARDED_BY(mu);
  std::int32_t next_slot ABSL_GUARDED_BY(mu) = 0;
  std::vector<std::int32_t> returned_slots ABSL_GUARDED_BY(mu);
  StagingPool staging ABSL_GUARDED_BY(mu);
  int reserved ABSL_GUARDED_BY(mu) = 0;  // Being prepared outside the lock.
  std::vector<Staged> staged ABSL_GUARDED_BY(mu);
  std::deque<Staged> taken ABSL_GUARDED_BY(mu);  // In the order of TakeStaged.
  std::optional<LoadedFrame> last_loaded ABSL_GUARDED_BY(mu);
  std::vector<Point> new_points ABSL_GUARDED_BY(mu);
  std::vector<std::function<void()>> waiting ABSL_GUARDED_BY(mu);
  bool buffer_returned ABSL_GUARDED_BY(mu) = false;  // By a frame that was abandoned.
  bool closed ABSL_GUARDED_BY(mu) = false;
  bool dropped ABSL_GUARDED_BY(mu) = false;  // The staging memory goes when nobody writes to it.

  IngestCounters frames ABSL_GUARDED_BY(mu);
  IngestCounters positions ABSL_GUARDED_BY(mu);
  IdRanges frame_ids ABSL_GUARDED_BY(mu);     // Accounted for: accepted, refused or skipped.
  IdRanges accepted_ids ABSL_GUARDED_BY(mu);  // Of frames.
  IdRanges skipped_ids ABSL_GUARDED_BY(mu);   // Declared lost, and without an accepted frame.
  IdRanges position_ids ABSL_GUARDED_BY(mu);
  std::int64_t joined ABSL_GUARDED_BY(mu) = 0;
  std::int64_t inputs_taken ABSL_GUARDED_BY(mu) = 0;
  std::int64_t empty_frames ABSL_GUARDED_BY(mu) = 0;
  std::vector<std::string> warnings ABSL_GUARDED_BY(mu);

  static void Count(IngestCounters& counters, Reject reason, std::int64_t id, std::int64_t n,
                    std::string detail) {
    const auto r = static_cast<std::size_t>(reason);
    if (counters.rejected[r] == 0) {
      counters.first_rejected_id[r] = id;
      counters.first_detail[r] = std::move(detail);
    }
    counters.rejected[r] += n;
    counters.received += n;
  }
  // A refused id counts for the watermark, unless there are so many gaps that keeping them apart
  // would cost memory without end.
  void Account(IdRanges& ids, std::int64_t id) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    if (id >= first_id && !closed && ids.ranges() < kMaxRanges) ids.Insert(id);
  }
  // `payload_bytes` of the frame, unless they have been counted.
  void RefuseFrame(Reject reason, std::int64_t id, std::string detail,
                   std::int64_t payload_bytes = 0) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    frames.payload_bytes += payload_bytes;
    Count(frames, reason, id, 1, std::move(detail));
    Account(frame_ids, id);
  }
  void RefusePosition(Reject reason, std::int64_t id, std::string detail)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    Count(positions, reason, id, 1, std::move(detail));
    Account(position_ids, id);
  }

  bool HasSlot() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    return next_slot < config.scan.capacity || !returned_slots.empty();
  }
  std::int32_t AcquireSlot() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    if (returned_slots.empty()) return next_slot++;
    const std::int32_t slot = returned_slots.back();
    returned_slots.pop_back();
    return slot;
  }
  void AddPoint(std::int64_t id, const Record& r) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    if (!r.empty) new_points.push_back({id, r.slot, r.window});
  }

  void NoteJoined(const Record& r) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    ++joined;
    if (r.empty) ++empty_frames;
  }

  // The outcome of preparing a reserved frame.
  void Commit(const Staged& frame, const FramePreprocessor::Result& result)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    Record& r = records[frame.id];
    r.has_frame = true;
    r.empty = result.empty;
    ++frames.received;
    ++frames.accepted;
    frames.untrusted_pixels += result.untrusted_pixels;
    frame_ids.Insert(frame.id);
    accepted_ids.Insert(frame.id);
    skipped_ids.Erase(frame.id);
    if (r.has_position) NoteJoined(r);
    staged.push_back(frame);
  }
  void Abandon(const Staged& frame, Reject reason, std::string detail)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    const auto it = records.find(frame.id);
    if (it->second.has_position) {
      it->second.slot = -1;
    } else {
      records.erase(it);
    }
    returned_slots.push_back(frame.slot);
    staging.Release(frame.pixels);
    buffer_returned = true;
    RefuseFrame(reason, frame.id, std::move(detail));
  }
  // Commits or abandons, as `result` says.
  void Settle(const Staged& frame, const FramePreprocessor::Result& result)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    if (result.finite) return Commit(frame, result);
    Abandon(frame, Reject::kNonFinite,
            absl::StrCat("frame ", frame.id, ": pixel [", result.bad_row, ", ", result.bad_col,
                         "] is negative, NaN or infinite; counts must be finite and >= 0"));
  }

  std::span<std::byte> PixelsOf(const Staged& frame) const {
    return {frame.pixels, static_cast<std::size_t>(engine_bytes)};
  }

  // Fixes the crop from the held frames and releases them.
  void FixCrop() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    const std::optional<BeamCentre> found = auto_centre->Find();
    if (!found) {
      warnings.push_back(absl::StrCat("auto-centre: no beam found in ", auto_centre->frames(),
                                      " frames; the crop is at the centre of the frame"));
    } else if (found->moved) {
      warnings.push_back(
          absl::StrCat("auto-centre: the beam is so near the edge that the crop was "
                       "moved inside the frame, to row ",
                       found->crop.row, ", column ", found->crop.col));
    }
    preprocessor = std::make_shared<FramePreprocessor>(
        config.detector, found ? found->crop : auto_centre->CentralCrop(),
        config.optics.near_field.has_value());
    auto_centre.reset();
    for (const Held& h : held) Settle(h.frame, preprocessor->Run(h.raw, PixelsOf(h.frame)));
    held.clear();
    held.shrink_to_fit();
  }

  std::optional<std::pair<Reject, std::string>> CheckBatch(const FrameBatch& batch) const {
    const DetectorConfig& d = config.detector;
    if (batch.dtype != d.dtype) {
      return std::pair(Reject::kWrongType,
                       absl::StrCat("batch.dtype is ", DataTypeName(batch.dtype),
                                    "; the session takes ", DataTypeName(d.dtype)));
    }
    if (batch.shape != d.frame_shape) {
      return std::pair(Reject::kWrongShape,
                       absl::StrCat("batch.rows x cols is ", ShapeText(batch.shape),
                                    "; the session takes ", ShapeText(d.frame_shape)));
    }
    std::uint64_t want =
        static_cast<std::uint64_t>(raw_bytes) * static_cast<std::uint64_t>(batch.frames);
    if (batch.encoding != Encoding::kRaw) {
      if (batch.encoded_sizes.size() != static_cast<std::size_t>(batch.frames)) {
        return std::pair(Reject::kCorrupt,
                         absl::StrCat("batch.encoded_sizes has ", batch.encoded_sizes.size(),
                                      " entries; one for each of the ", batch.frames, " frames"));
      }
      want = 0;
      for (const std::uint32_t size : batch.encoded_sizes) want += size;
    }
    if (batch.data.size() != want) {
      return std::pair(Reject::kCorrupt,
                       absl::StrCat("batch.data has ", batch.data.size(), " bytes; ", batch.frames,
                                    " frames need ", want));
    }
    return std::nullopt;
  }

  std::size_t EncodedBytes(const FrameBatch& batch, int i) const {
    return batch.encoding == Encoding::kRaw ? static_cast<std::size_t>(raw_bytes)
                                            : batch.encoded_sizes[static_cast<std::size_t>(i)];
  }

  // Whether a frame of that id, of `bytes` as sent, may be kept; refuses it otherwise.
  bool MayTake(std::int64_t id, std::size_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    const auto refuse = [&](Reject reason, std::string detail) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
      RefuseFrame(reason, id, std::move(detail), static_cast<std::int64_t>(bytes));
      return false;
    };
    if (id < first_id) {
      return refuse(Reject::kBadId, absl::StrCat("frame ", id, ": ids begin at ", first_id));
    }
    if (closed) return refuse(Reject::kLate, "after the end of data");
    const auto it = records.find(id);
    if (it != records.end() && it->second.slot >= 0) return refuse(Reject::kDuplicate, "");
    if (!HasSlot()) {
      return refuse(Reject::kOverCapacity,
                    absl::StrCat("frame ", id, ": all ", config.scan.capacity,
                                 " slots are taken (scan.capacity)"));
    }
    return true;
  }
  // Gives the frame a slot and a buffer, which must be there.
  Staged Reserve(std::int64_t id, std::size_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    frames.payload_bytes += static_cast<std::int64_t>(bytes);
    const Staged frame{id, AcquireSlot(), staging.Acquire()};
    records[id].slot = frame.slot;
    ++inputs_taken;
    ++reserved;
    return frame;
  }
  // Decodes, with `scratch` for the outcome, and prepares the pixels. `with` is null while the beam
  // is sought: then the frame is only decoded, into its `raw`.
  void Prepare(const FrameBatch& batch, const FramePreprocessor* with,
               std::vector<std::byte>* scratch, Reserved* frame) const ABSL_LOCKS_EXCLUDED(mu) {
    const ByteChain sent = batch.data.Part(frame->offset, frame->bytes);
    if (batch.encoding == Encoding::kRaw && with != nullptr) {
      frame->result = with->Run(sent, PixelsOf(frame->frame));
      return;
    }
    std::vector<std::byte>& raw = with != nullptr ? *scratch : frame->raw;
    raw.resize(static_cast<std::size_t>(raw_bytes));
    ChainReader reader(sent);
    frame->decoded = DecodeFrame(batch.encoding, {reader.Read(0, sent.size()), sent.size()},
                                 DataTypeBytes(batch.dtype), raw);
    if (frame->decoded.ok() && with != nullptr) {
      frame->result = with->Run(raw, PixelsOf(frame->frame));
    }
  }
  // What becomes of a frame after Prepare.
  void Finish(bool prepared, Reserved* frame) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    --reserved;
    if (!frame->decoded.ok()) {
      return Abandon(frame->frame, Reject::kCorrupt,
                     absl::StrCat("frame ", frame->frame.id, ": ", frame->decoded.message()));
    }
    if (prepared) return Settle(frame->frame, frame->result);
    if (preprocessor != nullptr) {  // The beam has been found meanwhile.
      return Settle(frame->frame, preprocessor->Run(frame->raw, PixelsOf(frame->frame)));
    }
    // Frames with a NaN must not spoil the mean; they are refused with the others.
    if (AllFinite(frame->raw, config.detector.dtype)) auto_centre->Add(frame->raw);
    held.push_back({frame->frame, std::move(frame->raw)});
    FixCropIfEnough();
  }
  // Once no more frames need to be waited for.
  void FixCropIfEnough() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    if (!auto_centre || held.empty()) return;
    std::int64_t wanted = std::min(config.detector.auto_centre->frames, config.scan.capacity);
    if (const int expected = config.scan.expected_points; expected > 0) {
      wanted = std::min(wanted, expected - skipped_ids.size());
    }
    if (static_cast<std::int64_t>(held.size()) >= wanted || closed) FixCrop();
  }

  // Refuses what of [begin, last] may not be skipped, and skips the rest.
  void SkipAllowed(std::int64_t begin, std::int64_t last) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    const std::int64_t first = std::max(begin, first_id);
    if (begin < first) {
      Count(frames, Reject::kBadId, begin, std::min(last + 1, first) - begin,
            absl::StrCat("skipped frame ", begin, ": ids begin at ", first_id));
    }
    if (first > last) return;
    if (closed) {
      Count(frames, Reject::kLate, first, last - first + 1, "after the end of data");
    } else if (skipped_ids.ranges() >= kMaxRanges) {
      Count(frames, Reject::kOverCapacity, first, last - first + 1,
            absl::StrCat("skipped frame ", first, ": ", kMaxRanges,
                         " ranges of frames are skipped already"));
    } else {
      Skip(first, last);
    }
  }
  // Takes note of [first, last], ids of the session, as lost.
  void Skip(std::int64_t first, std::int64_t last) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    const auto skip = [this](std::int64_t from, std::int64_t to) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
      if (from > to) return std::int64_t{0};
      frame_ids.InsertRange(from, to);
      return skipped_ids.InsertRange(from, to);
    };
    std::int64_t skipped = 0, begin = first;
    for (const auto& [from, to] : accepted_ids.Within(first, last)) {
      skipped += skip(begin, from - 1);
      begin = to + 1;
    }
    skipped += skip(begin, last);
    if (skipped > 0) ++inputs_taken;
    FixCropIfEnough();
  }
  void DropStaging() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    if (!dropped || reserved > 0) return;
    staged.clear();
    taken.clear();
    staging.Drop();
  }

  // Takes one position under its id.
  void AddPosition(std::int64_t id, double y_m, double x_m) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    if (id < first_id) {
      return RefusePosition(Reject::kBadId, id,
                            absl::StrCat("position ", id, ": ids begin at ", first_id));
    }
    if (closed) return RefusePosition(Reject::kLate, id, "after the end of data");
    if (!std::isfinite(y_m) || !std::isfinite(x_m)) {
      return RefusePosition(Reject::kNonFinite, id,
                            absl::StrCat("position ", id, ": (x_m, y_m) = (", x_m, ", ", y_m,
                                         "); both must be finite"));
    }
    const auto it = records.find(id);
    if (it != records.end() && it->second.has_position) {
      return RefusePosition(Reject::kDuplicate, id, "");
    }
    const std::int64_t waiting_positions = positions.accepted - joined;
    if (it == records.end() &&
        waiting_positions >=
            kPendingPositionsPerSlot * config.scan.capacity + kPendingPositionsBase) {
      return RefusePosition(Reject::kOverCapacity, id,
                            absl::StrCat("position ", id, ": ", waiting_positions,
                                         " positions already wait for their frames"));
    }
    auto placed = grid.Place(y_m, x_m);
    if (auto* reason = std::get_if<std::string>(&placed)) {
      return RefusePosition(Reject::kOutOfCanvas, id, absl::StrCat("position ", id, ": ", *reason));
    }
    const auto& p = std::get<ObjectGrid::Placed>(placed);
    if (p.clamped) ++positions.clamped;
    Record& r = it != records.end() ? it->second : records[id];
    r.has_position = true;
    r.window = p.window;
    ++positions.received;
    ++positions.accepted;
    position_ids.Insert(id);
    ++inputs_taken;
    if (r.has_frame) NoteJoined(r);
    if (r.loaded) AddPoint(id, r);
  }

  IngestCounters FrameCounters() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    IngestCounters c = frames;
    c.watermark = frame_ids.ContiguousFrom(first_id);
    c.skipped = skipped_ids.size();
    return c;
  }
  IngestCounters PositionCounters() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    IngestCounters c = positions;
    c.watermark = position_ids.ContiguousFrom(first_id);
    return c;
  }
};

std::int64_t FrameStore::StagingBytes(const ReconstructionConfig& config, std::int64_t most_bytes) {
  const std::int64_t frame_bytes = EngineFrameBytes(config.detector);
  std::int64_t at_least = kMinStagedFrames;
  if (config.detector.auto_centre) {
    at_least = std::max<std::int64_t>(at_least, config.detector.auto_centre->frames);
  }
  const std::int64_t at_most = std::max<std::int64_t>(at_least, config.scan.capacity);
  return std::clamp(most_bytes / frame_bytes, at_least, at_most) * frame_bytes;
}

FrameStore::FrameStore(const ReconstructionConfig& config, StagingMemory staging,
                       std::int64_t most_bytes)
    : impl_(std::make_unique<Impl>(config, std::move(staging), StagingBytes(config, most_bytes))) {
  const DetectorConfig& d = config.detector;
  MutexLock lock(impl_->mu);
  if (config.scan.encoder) {
    impl_->encoder.emplace(*config.scan.encoder, config.scan.first_frame_id);
  }
  if (d.auto_centre) {
    impl_->auto_centre.emplace(d);
  } else {
    const Shape oriented = OrientedShape(d.frame_shape, d.orientation);
    impl_->preprocessor = std::make_shared<FramePreprocessor>(
        d, d.crop.value_or(Region{0, 0, oriented}), config.optics.near_field.has_value());
  }
}

FrameStore::~FrameStore() = default;

int FrameStore::AddFrames(const FrameBatch& batch, int begin) {
  const int end = TakeFrames(batch, begin);
  NotifyOfReturned();
  return end;
}

void FrameStore::NotifyOfReturned() {
  std::vector<std::function<void()>> ready;
  {
    MutexLock lock(impl_->mu);
    if (std::exchange(impl_->buffer_returned, false)) ready.swap(impl_->waiting);
  }
  for (const auto& f : ready) f();
}

int FrameStore::TakeFrames(const FrameBatch& batch, int begin) {
  Impl& s = *impl_;
  if (auto wrong = s.CheckBatch(batch)) {
    MutexLock lock(s.mu);
    for (int i = begin; i < batch.count(); ++i) {
      s.RefuseFrame(wrong->first, batch.id(i), i == begin ? wrong->second : std::string());
    }
    return batch.count();
  }
  std::size_t offset = 0;
  for (int i = 0; i < begin; ++i) offset += s.EncodedBytes(batch, i);

  std::vector<Impl::Reserved> chunk;
  chunk.reserve(kFramesPerLock);
  std::vector<std::byte> scratch;
  int i = begin;
  for (bool space = true; space && i < batch.count();) {
    chunk.clear();
    std::shared_ptr<const FramePreprocessor> preprocessor;
    {
      MutexLock lock(s.mu);
      for (; i < batch.count() && chunk.size() < kFramesPerLock; ++i) {
        const std::size_t bytes = s.EncodedBytes(batch, i);
        if (s.MayTake(batch.id(i), bytes)) {
          space = !s.staging.empty();
          if (!space) break;
          chunk.push_back({s.Reserve(batch.id(i), bytes), offset, bytes});
        }
        offset += bytes;
      }
      preprocessor = s.preprocessor;
    }
    for (Impl::Reserved& frame : chunk) s.Prepare(batch, preprocessor.get(), &scratch, &frame);
    MutexLock lock(s.mu);
    for (Impl::Reserved& frame : chunk) s.Finish(preprocessor != nullptr, &frame);
    s.DropStaging();
  }
  return i;
}

absl::Status FrameStore::SkipFrames(std::int64_t first_frame_id, std::int64_t count) {
  if (count < 1 || count > kMaxSkippedAtOnce ||
      first_frame_id > std::numeric_limits<std::int64_t>::max() - count) {
    return absl::InvalidArgumentError(absl::StrCat("skipped.count: ", count, " from frame ",
                                                   first_frame_id, " on; 1 to ", kMaxSkippedAtOnce,
                                                   " ids are allowed"));
  }
  {
    MutexLock lock(impl_->mu);
    impl_->SkipAllowed(first_frame_id, first_frame_id + count - 1);
  }
  NotifyOfReturned();
  return absl::OkStatus();
}
void FrameStore::AddPositions(const PositionBatch& batch) {
  MutexLock lock(impl_->mu);
  impl_->positions.payload_bytes +=
      static_cast<std::int64_t>(batch.x_m.size_bytes() + batch.y_m.size_bytes());
  for (int i = 0; i < batch.count(); ++i) {
    const auto k = static_cast<std::size_t>(i);
    impl_->AddPosition(batch.id(i), batch.y_m[k], batch.x_m[k]);
  }
}

absl::Status FrameStore::AddEncoderSamples(const EncoderBatch& batch) {
  Impl& s = *impl_;
  MutexLock lock(s.mu);
  if (!s.encoder) {
    return absl::InvalidArgumentError(
        "encoder_samples: the session has no scan.encoder; set it at CreateSession, or send "
        "positions in metres");
  }
  s.positions.payload_bytes +=
      static_cast<std::int64_t>(batch.x_counts.size_bytes() + batch.y_counts.size_bytes());
  const std::int64_t first_frame = s.encoder->FrameOf(batch.first_sample);
  if (s.closed) {
    Impl::Count(s.positions, Reject::kLate, first_frame,
                static_cast<std::int64_t>(batch.x_counts.size()), "after the end of data");
    return absl::OkStatus();
  }
  const EncoderAssembler::Added added = s.encoder->Add(batch);
  if (added.duplicate_samples > 0) {
    Impl::Count(s.positions, Reject::kDuplicate, first_frame, added.duplicate_samples,
                "encoder samples sent again");
  }
  if (added.non_finite_samples > 0) {
    Impl::Count(s.positions, Reject::kNonFinite, added.first_bad_frame, added.non_finite_samples,
                absl::StrCat("encoder sample of frame ", added.first_bad_frame, " is not finite"));
  }
  if (added.refused_samples > 0) {
    Impl::Count(s.positions, Reject::kOverCapacity, first_frame, added.refused_samples,
                absl::StrCat("encoder samples from index ", batch.first_sample,
                             " on: the index is beyond all frame ids, or ",
                             EncoderAssembler::kMaxIncompleteFrames,
                             " frames wait for their samples already"));
  }
  for (const EncoderAssembler::Position& p : added.complete) {
    s.AddPosition(p.frame_id, p.y_m, p.x_m);
  }
  return absl::OkStatus();
}

void FrameStore::Close() {
  std::vector<std::function<void()>> ready;
  {
    MutexLock lock(impl_->mu);
    impl_->closed = true;
    if (impl_->auto_centre && !impl_->held.empty()) impl_->FixCrop();
    ready.swap(impl_->waiting);
  }
  for (const auto& f : ready) f();
}

bool FrameStore::closed() const {
  MutexLock lock(impl_->mu);
  return impl_->closed;
}

void FrameStore::Drop() {
  MutexLock lock(impl_->mu);
  impl_->new_points.clear();
  impl_->dropped = true;
  impl_->DropStaging();
}

void FrameStore::NotifyWhenSpace(std::function<void()> ready) {
  {
    MutexLock lock(impl_->mu);
    if (impl_->staging.empty() && !impl_->closed) {
      impl_->waiting.push_back(std::move(ready));
      return;
    }
  }
  ready();
}

std::int64_t FrameStore::free_staging_bytes() const {
  MutexLock lock(impl_->mu);
  return impl_->staging.free_bytes();
}

std::vector<FrameToLoad> FrameStore::TakeStaged() {
  std::vector<FrameToLoad> frames;
  MutexLock lock(impl_->mu);
  // Streams come in between each other; slots and buffers were given out in the same order.
  std::ranges::sort(impl_->staged, {}, &Impl::Staged::slot);
  frames.reserve(impl_->staged.size());
  for (const Impl::Staged& f : impl_->staged) frames.push_back({f.slot, f.pixels});
  impl_->taken.insert(impl_->taken.end(), impl_->staged.begin(), impl_->staged.end());
  impl_->staged.clear();
  return frames;
}

bool FrameStore::ReleaseStaged(std::int64_t under_way) {
  std::vector<std::function<void()>> ready;
  {
    MutexLock lock(impl_->mu);
    if (static_cast<std::int64_t>(impl_->taken.size()) <= under_way) return false;
    while (static_cast<std::int64_t>(impl_->taken.size()) > under_way) {
      const Impl::Staged& f = impl_->taken.front();
      Impl::Record& r = impl_->records[f.id];
      r.loaded = true;
      if (r.has_position) impl_->AddPoint(f.id, r);
      impl_->last_loaded = {f.id, f.slot};
      impl_->staging.Release(f.pixels);
      impl_->taken.pop_front();
    }
    ready.swap(impl_->waiting);
  }
  for (const auto& f : ready) f();
  return true;
}

std::vector<FrameStore::Point> FrameStore::NewPoints() {
  MutexLock lock(impl_->mu);
  return std::exchange(impl_->new_points, {});
}

std::optional<FrameStore::LoadedFrame> FrameStore::Loaded(
    std::optional<std::int64_t> frame_id) const {
  MutexLock lock(impl_->mu);
  if (!frame_id) return impl_->last_loaded;
  const auto it = impl_->records.find(*frame_id);
  if (it == impl_->records.end() || !it->second.loaded) return std::nullopt;
  return LoadedFrame{*frame_id, it->second.slot};
}

FrameStore::Status FrameStore::status() const {
  const Impl& s = *impl_;
  MutexLock lock(s.mu);
  Status status;
  status.frames = s.FrameCounters();
  status.positions = s.PositionCounters();
  status.joined_points = s.joined;
  status.empty_frames = s.empty_frames;
  status.frames_without_position = s.frames.accepted - s.joined;
  status.positions_without_frame = s.positions.accepted - s.joined;
  status.incomplete_encoder_frames = s.encoder ? s.encoder->incomplete_frames() : 0;
  status.staged_frames =
      static_cast<std::int64_t>(s.staged.size() + s.taken.size() + s.held.size()) + s.reserved;
  status.full = !s.HasSlot() && s.reserved == 0;
  status.warnings = s.warnings;
  return status;
}

IngestCounters FrameStore::frame_counters() const {
  MutexLock lock(impl_->mu);
  return impl_->FrameCounters();
}

IngestCounters FrameStore::position_counters() const {
  MutexLock lock(impl_->mu);
  return impl_->PositionCounters();
}

MissingIds FrameStore::MissingFrames(std::size_t limit) const {
  MutexLock lock(impl_->mu);
  return impl_->frame_ids.MissingUpTo(impl_->first_id, limit);
}

MissingIds FrameStore::MissingPositions(std::size_t limit) const {
  MutexLock lock(impl_->mu);
  return impl_->position_ids.MissingUpTo(impl_->first_id, limit);
}

std::int64_t FrameStore::inputs_taken() const {
  MutexLock lock(impl_->mu);
  return impl_->inputs_taken;
}

Region FrameStore::canvas() const {
  MutexLock lock(impl_->mu);
  return impl_->grid.canvas();
}

Region FrameStore::scanned() const {
  MutexLock lock(impl_->mu);
  Region area = impl_->grid.scanned();
  area.row += impl_->grid.canvas().row;
  area.col += impl_->grid.canvas().col;
  return area;
}

}  // namespace ptychoserve
