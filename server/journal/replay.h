#ifndef PTYCHOSERVE_SERVER_JOURNAL_REPLAY_H_
#define PTYCHOSERVE_SERVER_JOURNAL_REPLAY_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "engine/io/record_file.h"
#include "ptychoserve/state/v1/state.pb.h"
#include "server/session/session.h"

namespace ptychoserve::server {

// Tells a held session once more what an earlier one was told: its input record by record, as if it
// came over the wire, and then the requests of its life. Waits for staging memory as a client
// would. One thread.
class Replay {
 public:
  enum class From {
    kItsJournal,  // The records are the session's own.
    kElsewhere,   // They become its own: they go into its journal, if it has one.
  };
  Replay(Session& session, From from) : session_(session), from_(from) {}

  void Take(const Record& record);
  // The session's settings become those that it was told; it still is held.
  void ApplyUpdates();
  // Waits until what has become its own is on disk, or will not get there.
  void AwaitDurable() const;
  // After its release: the end of data, and `stops`, which are left out of a run that begins anew.
  void ApplyEnds(bool stops);

  int restarts() const { return restarts_; }  // That the records tell of.
  std::int64_t records() const { return records_; }
  std::int64_t refused() const { return refused_; }

 private:
  absl::Status TakeFrames(std::span<const std::byte> bytes, std::vector<ClosedRange>* ids);
  absl::Status TakePositions(std::span<const std::byte> bytes, std::vector<ClosedRange>* ids);
  absl::Status TakeEvent(std::span<const std::byte> bytes);
  // Into the journal of a session whose record it was not before.
  void Append(const Record& record, std::vector<ClosedRange> ids);

  Session& session_;
  const From from_;
  std::vector<state::v1::Event> events_;
  int restarts_ = 0;
  std::int64_t records_ = 0, refused_ = 0;
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_JOURNAL_REPLAY_H_
