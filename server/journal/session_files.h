#ifndef PTYCHOSERVE_SERVER_JOURNAL_SESSION_FILES_H_
#define PTYCHOSERVE_SERVER_JOURNAL_SESSION_FILES_H_

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/solver/checkpoint.h"
#include "engine/solver/snapshot.h"
#include "ptychoserve/state/v1/state.pb.h"
#include "server/session/session_key.h"

namespace ptychoserve::server {

// How a session has ended: what the service said of it last, and its last snapshot, if any.
struct SavedResult {
  state::v1::Result result;
  std::shared_ptr<const Snapshot> snapshot;
};

state::v1::Manifest ManifestOf(const std::string& session_id,
                               const ptychoserve::v1::SessionConfig& requested,
                               std::chrono::system_clock::time_point create_time);

// The files of one session, a directory of its own:
//   manifest.rec      written first: that there is the session, and its configuration
//   input-NNNNNN-L.rec  the journal: segment N, lane L
//   checkpoint.rec    the last state of the run that was saved
//   result.rec        written at the end; then the journal and the checkpoint go
// Each but the journal is replaced as a whole. Errors of all: those of the record files.
class SessionFiles {
 public:
  explicit SessionFiles(std::string directory) : directory_(std::move(directory)) {}

  const std::string& directory() const { return directory_; }

  // Whether a session has left something here that could be taken for another one's.
  bool InUse() const;
  absl::Status Create(const state::v1::Manifest& manifest) const;
  absl::StatusOr<state::v1::Manifest> ReadManifest() const;

  absl::Status WriteCheckpoint(const Checkpoint& checkpoint) const;
  // Null when there is none.
  absl::StatusOr<std::shared_ptr<const Checkpoint>> ReadCheckpoint() const;

  // Once it is on disk, what it makes superfluous is removed: the checkpoint and, unless it is to
  // be kept, the journal.
  absl::Status WriteResult(const SavedResult& result, bool keep_input) const;
  // Errors: kNotFound when the session has not ended.
  absl::StatusOr<SavedResult> ReadResult() const;

  // Paths of the journal's files by segment, in the order in which these were written; those of one
  // segment were written side by side.
  std::vector<std::vector<std::string>> JournalSegments() const;
  // Number of the journal's next segment.
  int NextSegment() const;

  // Removes everything: at once for whoever looks for sessions, then file by file.
  absl::Status Remove() const;

 private:
  std::string PathOf(const char* name) const;
  std::map<int, std::vector<std::string>> Segments() const;

  std::string directory_;
};

// Where a server keeps its sessions. One server has it at a time.
class StateDirectory {
 public:
  // Makes the directory if need be. Errors: kFailedPrecondition when another server uses it;
  // kInvalidArgument when it cannot be written to.
  static absl::StatusOr<std::unique_ptr<StateDirectory>> Open(const std::string& path);
  ~StateDirectory();
  StateDirectory(const StateDirectory&) = delete;
  StateDirectory& operator=(const StateDirectory&) = delete;

  const std::string& path() const { return path_; }
  SessionFiles FilesOf(const SessionKey& key) const;
  // Sessions that have files, in order; what was half removed goes.
  std::vector<SessionKey> Sessions() const;

 private:
  StateDirectory(std::string path, int lock) : path_(std::move(path)), lock_(lock) {}

  const std::string path_;
  const int lock_;  // Held open, and so locked, as long as this lives.
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_JOURNAL_SESSION_FILES_H_
