#include "server/journal/session_journal.h"

#include <grpcpp/support/slice.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <span>

#include "absl/strings/str_format.h"
#include "engine/base/status_macros.h"
#include "server/telemetry/log.h"

namespace ptychoserve::server {

SessionJournal::SessionJournal(std::string directory, int first_segment, WorkerPool& pool,
                               std::function<void()> on_durable)
    : directory_(std::move(directory)),
      pool_(pool),
      on_durable_(std::move(on_durable)),
      segment_(first_segment) {}

void SessionJournal::NoteReplayed(RecordKind kind, std::uint64_t sequence,
                                  const std::vector<ClosedRange>& ids) {
  MutexLock lock(mu_);
  durable_ = sequence;
  next_sequence_ = sequence + 1;
  InsertIdsLocked(kind, ids);
}

void SessionJournal::InsertIdsLocked(RecordKind kind, const std::vector<ClosedRange>& ids) {
  IdRanges& known = kind == RecordKind::kFrames ? frame_ids_ : position_ids_;
  for (const auto& [first, last] : ids) known.InsertRange(first, last);
}

std::uint64_t SessionJournal::Append(RecordKind kind, grpc::ByteBuffer message,
                                     std::vector<ClosedRange> ids) {
  MutexLock lock(mu_);
  const std::uint64_t sequence = next_sequence_++;
  if (abandoned_) return sequence;
  const auto bytes = static_cast<std::int64_t>(message.Length());
  if (!failure_.empty() && waiting_bytes_ + bytes > kMaxQueueBytes) {
    gap_ = true;
    ++dropped_;
    return sequence;
  }
  waiting_bytes_ += bytes;
  queue_.push_back({kind, sequence, std::move(message), std::move(ids)});
  if (failure_.empty()) PostDrainLocked();
  return sequence;
}

bool SessionJournal::full() const {
  MutexLock lock(mu_);
  return failure_.empty() && waiting_bytes_ >= kMaxQueueBytes;
}

void SessionJournal::NotifyWhenRoom(std::function<void()> ready) {
  {
    MutexLock lock(mu_);
    if (failure_.empty() && waiting_bytes_ >= kMaxQueueBytes) {
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
    if (durable_ < sequence && failure_.empty() && !gap_ && !abandoned_) {
      waiters_.emplace_back(sequence, std::move(done));
      return;
    }
    if (durable_ < sequence) {
      status = absl::DataLossError(failure_.empty() ? "it is not on disk" : failure_);
    }
  }
  done(status);
}

std::uint64_t SessionJournal::durable_sequence() const {
  MutexLock lock(mu_);
  return durable_;
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
    retry_.Cancel();
    room.swap(room_);
    waiters.swap(waiters_);
    if (draining_) idle_.push_back(std::exchange(idle, nullptr));
  }
  for (const auto& ready : room) ready();
  for (const auto& [sequence, done] : waiters) done(absl::CancelledError("the session has ended"));
  if (idle != nullptr) idle();
}

void SessionJournal::PostDrainLocked() {
  if (draining_ || abandoned_) return;
  draining_ = true;
  pool_.Post([self = shared_from_this()] { self->Drain(); });
}

void SessionJournal::Drain() {
  {
    MutexLock lock(mu_);
    if (abandoned_) group_.clear();  // Of an attempt that failed.
    std::int64_t bytes = 0;
    for (const Entry& entry : group_) bytes += static_cast<std::int64_t>(entry.message.Length());
    while (!queue_.empty() && bytes < kGroupBytes) {
      bytes += static_cast<std::int64_t>(queue_.front().message.Length());
      group_.push_back(std::move(queue_.front()));
      queue_.pop_front();
    }
  }
  Settle(group_.empty() ? absl::OkStatus() : Write());
}

absl::Status SessionJournal::Write() {
  std::int64_t left = 0;
  for (const Entry& entry : group_) left += static_cast<std::int64_t>(entry.message.Length());
  lanes_used_ = static_cast<int>(std::clamp<std::int64_t>(left / kLaneBytes, 1, kLanes));
  // Runs of neighbours, of about the same size.
  auto rest = std::span<const Entry>(group_);
  for (int lane = 0; lane < lanes_used_; ++lane) {
    const std::int64_t share = left / (lanes_used_ - lane);
    std::size_t count = 0;
    std::int64_t bytes = 0;
    while (count < rest.size() && (lane + 1 == lanes_used_ || bytes < share)) {
      bytes += static_cast<std::int64_t>(rest[count++].message.Length());
    }
    parts_[static_cast<std::size_t>(lane)] = rest.first(count);
    rest = rest.subspan(count);
    left -= bytes;
  }
  bool roll = false;
  for (const RecordWriter& writer : writers_) roll |= writer.bytes() > kSegmentBytes / kLanes;
  if (roll) {
    for (RecordWriter& writer : writers_) writer = RecordWriter();
    ++segment_;
  }

  // Whoever has time takes the next lane; this thread too, so that it waits for nobody who waits.
  struct Progress {
    std::atomic<int> next = 0;
    Mutex mu;
    CondVar done;
    int left ABSL_GUARDED_BY(mu);
    absl::Status status ABSL_GUARDED_BY(mu);
  };
  const auto progress = std::make_shared<Progress>();
  {
    MutexLock lock(progress->mu);
    progress->left = lanes_used_;
  }
  const auto work = [self = shared_from_this(), progress, lanes = lanes_used_] {
    for (int lane = progress->next++; lane < lanes; lane = progress->next++) {
      const absl::Status written = self->WriteLane(lane);
      MutexLock lock(progress->mu);
      progress->status.Update(written);
      if (--progress->left == 0) progress->done.NotifyAll();
    }
  };
  for (int helper = 1; helper < lanes_used_; ++helper) pool_.Post(work);
  work();
  MutexLock lock(progress->mu);
  while (progress->left > 0) progress->done.Wait(progress->mu);
  return progress->status;
}

absl::Status SessionJournal::WriteLane(int lane) {
  const auto index = static_cast<std::size_t>(lane);
  if (parts_[index].empty()) return absl::OkStatus();
  RecordWriter& writer = writers_[index];
  if (writer.is_open()) return WriteTo(writer, parts_[index]);
  const std::string path = absl::StrFormat("%s/input-%06d-%d.rec", directory_, segment_, lane);
  absl::StatusOr<RecordWriter> created = RecordWriter::Create(path);
  absl::Status written = created.status();
  if (written.ok()) written = WriteTo(*created, parts_[index]);
  if (written.ok()) written = SyncDirectory(directory_);
  if (!written.ok()) {
    std::error_code ignored;  // Nothing in it counts; attempts must not fill the directory.
    std::filesystem::remove(path, ignored);
    return written;
  }
  writer = *std::move(created);
  return absl::OkStatus();
}

absl::Status SessionJournal::WriteTo(RecordWriter& writer, std::span<const Entry> part) {
  std::vector<grpc::Slice> slices;
  std::vector<std::span<const std::byte>> pieces;
  for (const Entry& entry : part) {
    if (const grpc::Status dumped = entry.message.Dump(&slices); !dumped.ok()) {
      return absl::InternalError(dumped.error_message());
    }
    pieces.clear();
    for (const grpc::Slice& slice : slices) {
      pieces.push_back(std::as_bytes(std::span(slice.begin(), slice.size())));
    }
    PS_RETURN_IF_ERROR(
        writer.Append(static_cast<std::uint32_t>(entry.kind), entry.sequence, pieces));
  }
  return writer.Sync();
}

void SessionJournal::Settle(const absl::Status& written) {
  std::vector<std::function<void()>> room;
  std::vector<std::pair<absl::Status, std::function<void(absl::Status)>>> waiters;
  std::vector<std::function<void()>> idle;
  bool changed = false;
  {
    MutexLock lock(mu_);
    draining_ = false;
    if (written.ok()) {
      changed = !group_.empty() || !failure_.empty();
      if (!failure_.empty())
        Log(LogLevel::kInfo, "the journal is written again",
            {{"directory", directory_}, {"dropped_records", dropped_}});
      failure_.clear();
      for (const Entry& entry : group_) {
        waiting_bytes_ -= static_cast<std::int64_t>(entry.message.Length());
        // Numbers go on without a gap as long as nothing was left out.
        if (entry.sequence == durable_ + 1) durable_ = entry.sequence;
        InsertIdsLocked(entry.kind, entry.ids);
      }
      group_.clear();
      if (!queue_.empty()) PostDrainLocked();
    } else {
      changed = failure_.empty();
      if (failure_.empty()) {
        Log(LogLevel::kError, "the journal cannot be written; the session goes on without",
            {{"directory", directory_}, {"reason", std::string(written.message())}});
      }
      failure_ = std::string(written.message());
      // A file that could not be synchronised is not to be trusted any more, nor its end.
      for (RecordWriter& writer : writers_) writer = RecordWriter();
      ++segment_;
      if (!abandoned_) {
        retry_.After(kRetryInterval, [weak = weak_from_this()] {
          const auto self = weak.lock();
          if (self == nullptr) return;
          MutexLock retry_lock(self->mu_);
          self->PostDrainLocked();
        });
      }
    }
    if (!failure_.empty() || waiting_bytes_ < kMaxQueueBytes) room.swap(room_);
    while (!waiters_.empty() && (waiters_.front().first <= durable_ || !failure_.empty() || gap_)) {
      const bool done = waiters_.front().first <= durable_;
      waiters.emplace_back(done ? absl::OkStatus() : absl::DataLossError(failure_),
                           std::move(waiters_.front().second));
      waiters_.pop_front();
    }
    idle.swap(idle_);
  }
  for (const auto& ready : room) ready();
  for (const auto& [status, done] : waiters) done(status);
  for (const auto& f : idle) f();
  if (changed) on_durable_();
}

}  // namespace ptychoserve::server
