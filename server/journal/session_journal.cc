#include "server/journal/session_journal.h"

#include <grpcpp/support/slice.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <span>

#include "absl/strings/str_format.h"
#include "engine/base/status_macros.h"
#include "engine/io/payload_hash.h"
#include "server/telemetry/log.h"

namespace ptychoserve::server {
namespace {

std::int64_t BytesOf(const grpc::ByteBuffer& message) {
  return static_cast<std::int64_t>(message.Length());
}

// The bytes of a message where gRPC has them.
class Pieces {
 public:
  explicit Pieces(const grpc::ByteBuffer& message) {
    if (!message.Dump(&slices_).ok()) return;  // There is nothing in it.
    for (const grpc::Slice& slice : slices_) {
      pieces_.push_back(std::as_bytes(std::span(slice.begin(), slice.size())));
    }
  }
  std::span<const std::span<const std::byte>> all() const { return pieces_; }

 private:
  std::vector<grpc::Slice> slices_;
  std::vector<std::span<const std::byte>> pieces_;
};

}  // namespace

SessionJournal::SessionJournal(std::string directory, int first_segment, WorkerPool& pool,
                               std::function<void()> on_durable)
    : directory_(std::move(directory)),
      pool_(pool),
      on_durable_(std::move(on_durable)),
      lanes_(static_cast<std::size_t>(pool.threads())),
      segment_(first_segment) {
  MutexLock lock(mu_);
  for (int lane = pool.threads() - 1; lane >= 0; --lane) free_lanes_.push_back(lane);
}

void SessionJournal::NoteReplayed(RecordKind kind, std::uint64_t sequence,
                                  const std::vector<ClosedRange>& ids) {
  MutexLock lock(mu_);
  // What was not found is not looked for any more. After an error a record may come late.
  written_.InsertRange(1, static_cast<std::int64_t>(sequence));
  next_sequence_ = std::max(next_sequence_, sequence + 1);
  InsertIdsLocked(kind, ids);
}

void SessionJournal::InsertIdsLocked(RecordKind kind, const std::vector<ClosedRange>& ids) {
  IdRanges& known = kind == RecordKind::kFrames ? frame_ids_ : position_ids_;
  for (const auto& [first, last] : ids) known.InsertRange(first, last);
}

std::uint64_t SessionJournal::Append(RecordKind kind, grpc::ByteBuffer message,
                                     std::vector<ClosedRange> ids) {
  const std::uint64_t hash = PayloadHash(Pieces(message).all());
  MutexLock lock(mu_);
  const std::uint64_t sequence = next_sequence_++;
  if (abandoned_) return sequence;
  const std::int64_t bytes = BytesOf(message);
  if (!failure_.empty() && waiting_bytes_ + bytes > kMaxQueueBytes) {
    gap_ = true;
    ++dropped_;
    return sequence;
  }
  waiting_bytes_ += bytes;
  queued_bytes_ += bytes;
  queue_.push_back({kind, sequence, std::move(message), hash, std::move(ids)});
  if (failure_.empty()) PostDrainsLocked();
  return sequence;
}

bool SessionJournal::FullLocked() const {
  return failure_.empty() && waiting_bytes_ >= kMaxQueueBytes;
}

bool SessionJournal::full() const {
  MutexLock lock(mu_);
  return FullLocked();
}

void SessionJournal::NotifyWhenRoom(std::function<void()> ready) {
  {
    MutexLock lock(mu_);
    if (FullLocked()) {
      room_.push_back(std::move(ready));
      return;
    }
  }
  ready();
}

void SessionJournal::WhenDurable(std::uint64_t sequence, std::function<void(absl::Status)> done) {
  absl::Status status;
  {
    MutexLock lock(mu_);
    const bool durable = DurableLocked() >= sequence;
    if (!durable && failure_.empty() && !gap_ && !abandoned_) {
      waiters_.emplace_back(sequence, std::move(done));
      return;
    }
    if (!durable) {
      status = absl::DataLossError(failure_.empty() ? "it is not on disk" : failure_);
    }
  }
  done(status);
}

std::uint64_t SessionJournal::DurableLocked() const {
  return static_cast<std::uint64_t>(written_.ContiguousFrom(1));
}

std::uint64_t SessionJournal::durable_sequence() const {
  MutexLock lock(mu_);
  return DurableLocked();
}

std::uint64_t SessionJournal::last_sequence() const {
  MutexLock lock(mu_);
  return next_sequence_ - 1;
}

std::int64_t SessionJournal::durable_watermark(RecordKind kind, std::int64_t first) const {
  MutexLock lock(mu_);
  return (kind == RecordKind::kFrames ? frame_ids_ : position_ids_).ContiguousFrom(first);
}

bool SessionJournal::lost() const {
  MutexLock lock(mu_);
  return gap_ || !failure_.empty();
}

std::string SessionJournal::failure() const {
  MutexLock lock(mu_);
  return failure_;
}

std::int64_t SessionJournal::dropped_records() const {
  MutexLock lock(mu_);
  return dropped_;
}

void SessionJournal::Abandon(std::function<void()> idle) {
  std::vector<std::function<void()>> room;
  decltype(waiters_) waiters;
  {
    MutexLock lock(mu_);
    abandoned_ = true;
    queue_.clear();
    waiting_bytes_ -= std::exchange(queued_bytes_, 0);
    retry_.Cancel();
    room.swap(room_);
    waiters.swap(waiters_);
    if (under_way_ > 0) idle_.push_back(std::exchange(idle, nullptr));
  }
  for (const auto& ready : room) ready();
  for (const auto& [sequence, done] : waiters) done(absl::CancelledError("the session has ended"));
  if (idle != nullptr) idle();
}

void SessionJournal::PostDrainsLocked() {
  if (queue_.empty()) return;  // Also when it is abandoned.
  while (under_way_ == 0 || (failure_.empty() && under_way_ < static_cast<int>(lanes_.size()) &&
                             queued_bytes_ >= (posted_ + 1) * kLeastPartBytes)) {
    ++posted_;
    ++under_way_;
    pool_.Post([self = shared_from_this()] { self->Drain(); });
  }
}

void SessionJournal::Drain() {
  Part part;
  {
    MutexLock lock(mu_);
    --posted_;
    part = TakePartLocked();
  }
  Settle(part, part.entries.empty() ? absl::OkStatus() : Write(part));
}

SessionJournal::Part SessionJournal::TakePartLocked() {
  Part part;
  part.lane = free_lanes_.back();
  free_lanes_.pop_back();
  part.retry = !failure_.empty();
  if (part.retry && under_way_ > 1) return part;  // One is enough to see whether the disk works.
  if (segment_bytes_ > kSegmentBytes) {
    ++segment_;
    segment_bytes_ = 0;
  }
  part.segment = segment_;
  const std::int64_t share = std::clamp(queued_bytes_ / static_cast<std::int64_t>(lanes_.size()),
                                        kLeastPartBytes, kMostPartBytes);
  std::int64_t bytes = 0;
  while (!queue_.empty() && bytes < share) {
    bytes += BytesOf(queue_.front().message);
    part.entries.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  queued_bytes_ -= bytes;
  segment_bytes_ += bytes;
  return part;
}

absl::Status SessionJournal::Write(const Part& part) {
  Lane& lane = lanes_[static_cast<std::size_t>(part.lane)];
  if (lane.writer.is_open() && lane.segment == part.segment) {
    return WriteTo(lane.writer, part.entries);
  }
  lane = {};
  const std::string path =
      absl::StrFormat("%s/input-%06d-%d.rec", directory_, part.segment, part.lane);
  absl::StatusOr<RecordWriter> created = RecordWriter::Create(path);
  absl::Status written = created.status();
  if (written.ok()) written = WriteTo(*created, part.entries);
  if (written.ok()) written = SyncDirectory(directory_);
  if (!written.ok()) {
    std::error_code ignored;  // Nothing in it counts; attempts must not fill the directory.
    std::filesystem::remove(path, ignored);
    return written;
  }
  lane = {.writer = *std::move(created), .segment = part.segment};
  return absl::OkStatus();
}

absl::Status SessionJournal::WriteTo(RecordWriter& writer, std::span<const Entry> entries) {
  for (const Entry& entry : entries) {
    PS_RETURN_IF_ERROR(writer.Append(static_cast<std::uint32_t>(entry.kind), entry.sequence,
                                     Pieces(entry.message).all(), entry.payload_hash));
  }
  return writer.Sync();
}

void SessionJournal::PutBackLocked(Part& part) {
  for (const Entry& entry : part.entries) queued_bytes_ += BytesOf(entry.message);
  // Other parts may have failed before.
  const auto after = std::ranges::upper_bound(queue_, part.entries.back().sequence, {},
                                              [](const Entry& entry) { return entry.sequence; });
  queue_.insert(after, std::move_iterator(part.entries.begin()),
                std::move_iterator(part.entries.end()));
  part.entries.clear();
}

void SessionJournal::Settle(Part& part, const absl::Status& written) {
  std::vector<std::function<void()>> room;
  std::vector<std::pair<absl::Status, std::function<void(absl::Status)>>> waiters;
  std::vector<std::function<void()>> idle;
  bool changed = false;
  {
    MutexLock lock(mu_);
    --under_way_;
    free_lanes_.push_back(part.lane);
    const std::uint64_t durable_before = DurableLocked();
    if (written.ok()) {
      for (const Entry& entry : part.entries) {
        waiting_bytes_ -= BytesOf(entry.message);
        written_.Insert(static_cast<std::int64_t>(entry.sequence));
        InsertIdsLocked(entry.kind, entry.ids);
      }
      if (part.retry && !part.entries.empty()) {
        changed = true;
        failure_.clear();
        Log(LogLevel::kInfo, "the journal is written again",
            {{"directory", directory_}, {"dropped_records", dropped_}});
      }
    } else {
      changed = failure_.empty();
      if (failure_.empty()) {
        Log(LogLevel::kError, "the journal cannot be written; the session goes on without",
            {{"directory", directory_}, {"reason", std::string(written.message())}});
      }
      failure_ = std::string(written.message());
      // A file that could not be synchronised is not to be trusted any more, nor its end.
      lanes_[static_cast<std::size_t>(part.lane)] = {};
      ++segment_;
      segment_bytes_ = 0;
      if (!abandoned_) PutBackLocked(part);
    }
    const std::uint64_t durable = DurableLocked();
    changed = changed || durable != durable_before;
    if (failure_.empty()) {
      PostDrainsLocked();
    } else if (under_way_ == 0 && !abandoned_) {
      retry_.After(kRetryInterval, [weak = weak_from_this()] {
        const auto self = weak.lock();
        if (self == nullptr) return;
        MutexLock retry_lock(self->mu_);
        self->PostDrainsLocked();
      });
    }
    if (!FullLocked()) room.swap(room_);
    while (!waiters_.empty() && (waiters_.front().first <= durable || !failure_.empty() || gap_)) {
      const bool done = waiters_.front().first <= durable;
      waiters.emplace_back(done ? absl::OkStatus() : absl::DataLossError(failure_),
                           std::move(waiters_.front().second));
      waiters_.pop_front();
    }
    if (under_way_ == 0) idle.swap(idle_);
  }
  for (const auto& ready : room) ready();
  for (const auto& [status, done] : waiters) done(status);
  for (const auto& f : idle) f();
  if (changed) on_durable_();
}

}  // namespace ptychoserve::server
