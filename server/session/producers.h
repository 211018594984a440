#ifndef PTYCHOSERVE_SERVER_SESSION_PRODUCERS_H_
#define PTYCHOSERVE_SERVER_SESSION_PRODUCERS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "engine/base/mutex.h"
#include "server/journal/session_journal.h"

namespace ptychoserve::server {

// A stream that a later one of the same producer takes the place of.
class Fenceable {
 public:
  virtual ~Fenceable() = default;
  virtual void Fence(std::uint64_t by_epoch) = 0;
};

// Who sends to a session, so that a connection that is half dead and the one that replaces it never
// both feed it. Thread-safe.
class Producers {
 public:
  // `note` is told of each producer's new epoch.
  using Note = std::function<void(RecordKind kind, const std::string& id, std::uint64_t epoch)>;
  explicit Producers(Note note) : note_(std::move(note)) {}

  // `stream` is the one of producer `id` from now on; the one before it is fenced.
  // Errors: kInvalidArgument unless `id` is 1 to 64 of [A-Za-z0-9._:-]; kAborted unless `epoch` is
  // later than the last.
  absl::Status Attach(RecordKind kind, const std::string& id, std::uint64_t epoch,
                      std::weak_ptr<Fenceable> stream) ABSL_LOCKS_EXCLUDED(mu_);
  // What was noted before a restart.
  void Restore(RecordKind kind, const std::string& id, std::uint64_t epoch)
      ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Producer {
    std::uint64_t epoch = 0;
    std::weak_ptr<Fenceable> stream;
  };

  const Note note_;
  Mutex mu_;
  std::map<std::pair<RecordKind, std::string>, Producer> producers_ ABSL_GUARDED_BY(mu_);
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_SESSION_PRODUCERS_H_
