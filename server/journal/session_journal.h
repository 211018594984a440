#ifndef PTYCHOSERVE_SERVER_JOURNAL_SESSION_JOURNAL_H_
#define PTYCHOSERVE_SERVER_JOURNAL_SESSION_JOURNAL_H_

#include <grpcpp/support/byte_buffer.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "engine/base/mutex.h"
#include "engine/io/record_file.h"
#include "engine/scan/id_ranges.h"
#include "server/base/timer.h"
#include "server/base/worker_pool.h"

namespace ptychoserve::server {

// Kinds of records in a journal.
enum class RecordKind : std::uint32_t {
  kFrames = 1,     // A StreamFramesRequest, as it came.
  kPositions = 2,  // A StreamPositionsRequest, likewise.
  kEvent = 3,      // A state.v1.Event.
};

// Ids `first`..`last`.
using ClosedRange = std::pair<std::int64_t, std::int64_t>;

// The input of one session on its way to disk, behind the fast path: Append hands a message over
// and returns; a thread of the pool takes what has come together as its part, writes it and
// synchronises once for all of it. When more comes than one thread writes, further ones take parts
// of their own, each to a file of its own (a lane), and none waits for another.
//
// When writing a part fails, the session goes on and durability is reported as lost. What had not
// been synchronised is kept and written again, to a new file, every kRetryInterval; what comes
// meanwhile waits with it up to kMaxQueueBytes, and beyond that is left out and counted.
//
// Thread-safe. Parts may get to the disk in any order; a record is called durable when all before
// it are.
class SessionJournal : public std::enable_shared_from_this<SessionJournal> {
 public:
  static constexpr std::int64_t kMaxQueueBytes = 256 << 20;
  static constexpr std::int64_t kSegmentBytes = std::int64_t{1} << 30;
  // Of a part, as far as there is so much: each lane's share of what waits, so that a slow disk
  // synchronises seldom and a fast one has all threads writing. The least is what is worth another
  // thread: one alone does not get two gigabytes a second into the system's memory.
  static constexpr std::int64_t kLeastPartBytes = 4 << 20;
  static constexpr std::int64_t kMostPartBytes = 64 << 20;
  static constexpr std::chrono::milliseconds kRetryInterval{1000};

  // Files are `directory`/input-NNNNNN-L.rec, from segment `first_segment` on, L the lane; there
  // are as many lanes as the pool has threads. `on_durable` is called, on threads of the pool,
  // after each step forward and each change of lost().
  SessionJournal(std::string directory, int first_segment, WorkerPool& pool,
                 std::function<void()> on_durable);
  // Of a record that is on disk already: numbers go on after it. Before the first Append.
  void NoteReplayed(RecordKind kind, std::uint64_t sequence, const std::vector<ClosedRange>& ids);

  // Hands a record over and returns its number. `ids` are those that the message accounts for.
  std::uint64_t Append(RecordKind kind, grpc::ByteBuffer message, std::vector<ClosedRange> ids);
  // Whether input should be held back until more has been written.
  bool full() const;
  // Runs `ready` once, when full() is false; at once if it is.
  void NotifyWhenRoom(std::function<void()> ready);
  // Runs `done` once all records up to `sequence` are on disk, or with the reason why that cannot
  // be waited for.
  void WhenDurable(std::uint64_t sequence, std::function<void(absl::Status)> done);

  // All records up to this number are on disk.
  std::uint64_t durable_sequence() const;
  // Number of the record that was handed over last; 0 before the first.
  std::uint64_t last_sequence() const;
  // All ids from `first` on to this one are accounted for on disk.
  std::int64_t durable_watermark(RecordKind kind, std::int64_t first) const;
  // Whether something is not on disk because writing has failed.
  bool lost() const;
  // The reason, in words; empty unless lost.
  std::string failure() const;
  std::int64_t dropped_records() const;

  // Nothing more is written; what waits is let go of. For a session whose input is not needed any
  // more. Runs `idle` once no file is created or written any more, so that another session may have
  // the directory.
  void Abandon(std::function<void()> idle);

 private:
  struct Entry {
    RecordKind kind;
    std::uint64_t sequence;
    grpc::ByteBuffer message;
    std::uint64_t payload_hash;  // Taken by Append, where the message is in the cache still.
    std::vector<ClosedRange> ids;
  };
  struct Lane {
    RecordWriter writer;
    int segment = 0;  // Of the writer's file.
  };
  // What one thread writes at a time.
  struct Part {
    std::vector<Entry> entries;
    int lane = 0;
    int segment = 0;
    bool retry = false;  // Taken after a failure, alone: once it is on disk, the disk works again.
  };
  void InsertIdsLocked(RecordKind kind, const std::vector<ClosedRange>& ids)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Has as many threads take parts as what waits is worth.
  void PostDrainsLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Drain() ABSL_LOCKS_EXCLUDED(mu_);
  Part TakePartLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Writes and synchronises the part.
  absl::Status Write(const Part& part);
  static absl::Status WriteTo(RecordWriter& writer, std::span<const Entry> entries);
  void Settle(Part& part, const absl::Status& written) ABSL_LOCKS_EXCLUDED(mu_);
  // Back to where it was taken from.
  void PutBackLocked(Part& part) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool FullLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  std::uint64_t DurableLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const std::string directory_;
  WorkerPool& pool_;
  const std::function<void()> on_durable_;
  std::vector<Lane> lanes_;  // Each of the Drain that has taken it from free_lanes_.

  mutable Mutex mu_;
  std::deque<Entry> queue_ ABSL_GUARDED_BY(mu_);         // By number.
  std::int64_t queued_bytes_ ABSL_GUARDED_BY(mu_) = 0;   // In queue_,
  std::int64_t waiting_bytes_ ABSL_GUARDED_BY(mu_) = 0;  // in queue_ and in parts.
  std::vector<int> free_lanes_ ABSL_GUARDED_BY(mu_);
  int segment_ ABSL_GUARDED_BY(mu_);                     // Of the parts that are taken next.
  std::int64_t segment_bytes_ ABSL_GUARDED_BY(mu_) = 0;  // Of the parts taken for it.
  int posted_ ABSL_GUARDED_BY(mu_) = 0;                  // Drains that have not begun,
  int under_way_ ABSL_GUARDED_BY(mu_) = 0;               // or not ended.
  bool abandoned_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<std::function<void()>> idle_ ABSL_GUARDED_BY(mu_);  // Wait for the last Drain.
  std::uint64_t next_sequence_ ABSL_GUARDED_BY(mu_) = 1;
  IdRanges written_ ABSL_GUARDED_BY(mu_);  // Numbers of the records that are on disk.
  bool gap_ ABSL_GUARDED_BY(mu_) = false;  // Records were left out: DurableLocked() stays.
  std::string failure_ ABSL_GUARDED_BY(mu_);
  std::int64_t dropped_ ABSL_GUARDED_BY(mu_) = 0;
  IdRanges frame_ids_ ABSL_GUARDED_BY(mu_);
  IdRanges position_ids_ ABSL_GUARDED_BY(mu_);
  std::vector<std::function<void()>> room_ ABSL_GUARDED_BY(mu_);
  std::deque<std::pair<std::uint64_t, std::function<void(absl::Status)>>> waiters_
      ABSL_GUARDED_BY(mu_);
  Timer retry_ ABSL_GUARDED_BY(mu_);
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_JOURNAL_SESSION_JOURNAL_H_
