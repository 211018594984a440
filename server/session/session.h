#ifndef PTYCHOSERVE_SERVER_SESSION_SESSION_H_
#define PTYCHOSERVE_SERVER_SESSION_SESSION_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/base/mutex.h"
#include "engine/scan/optics.h"
#include "engine/solver/reconstruction.h"
#include "ptychoserve/v1/session.pb.h"
#include "server/base/timer.h"
#include "server/base/worker_pool.h"
#include "server/device/device_set.h"
#include "server/journal/session_files.h"
#include "server/journal/session_journal.h"
#include "server/session/producers.h"
#include "server/session/session_key.h"
#include "server/telemetry/metrics.h"
#include "server/telemetry/session_meter.h"

namespace ptychoserve::server {

namespace v1 = ::ptychoserve::v1;

// Told that a session has changed in some way. Called often, and by several threads: note it down
// and return.
class SessionListener {
 public:
  virtual ~SessionListener() = default;
  virtual void OnSessionChange() = 0;
};

// What sessions share; all of it outlives them.
struct SessionPools {
  WorkerPool& notify;
  WorkerPool& journal;         // Writes journals.
  WorkerPool& files;           // Writes and removes the other files; a single thread, so in order.
  WorkerPool& leisure;         // Takes seconds: compares reconstructions.
  Metrics* metrics = nullptr;  // Where they count what they do; null: nowhere.
};

// How a session begins, or begins again.
struct SessionStart {
  SessionKey key;
  v1::SessionConfig requested;  // As the client sent it.
  ReconstructionConfig config;  // The same, checked and resolved.
  std::chrono::system_clock::time_point create_time = std::chrono::system_clock::now();
  std::optional<SessionFiles> files;  // None: it lives as long as the server.
  std::string unsaved_reason;         // Why there are none, when there should be.
  // Of one that goes on: see ReconstructionOptions. It is held until its journal has been replayed.
  bool held = false;
  std::shared_ptr<const Checkpoint> restored;
};

struct SessionLimits {
  std::int64_t staging_bytes = 256 << 20;
  std::chrono::milliseconds checkpoint_interval{10'000};
  std::int64_t checkpoint_wave_bytes = std::int64_t{4} << 30;
};

// A session as the service knows it: the engine's reconstruction, and its name, times, memory
// reservation, files and watchers. Thread-safe.
//
// Changes travel one way and never hold up the device worker: the engine raises a flag and posts
// one task to the `notify` pool; that task tells the listeners, who post work of their own.
class Session final : public DeviceTask, public std::enable_shared_from_this<Session> {
 public:
  // The session's turns begin at once.
  static absl::StatusOr<std::shared_ptr<Session>> Create(SessionStart start,
                                                         DeviceSet::Placement placement,
                                                         const SessionLimits& limits,
                                                         const SessionPools& pools);
  // A session that had ended before the server was started, on the device named in `session`.
  static absl::StatusOr<std::shared_ptr<Session>> CreateEnded(SessionStart start, EndedRun run,
                                                              const v1::Session& session,
                                                              const SessionPools& pools);
  ~Session() override;

  static std::string NameOf(absl::string_view id);  // "sessions/{id}"
  const SessionKey& key() const { return key_; }
  const std::string& id() const { return key_.id; }
  const std::string& name() const { return name_; }
  const v1::SessionConfig& requested() const { return requested_; }
  std::chrono::system_clock::time_point create_time() const { return create_time_; }
  const std::string& device_name() const { return device_name_; }
  std::int64_t reserved_bytes() const;  // Of the device's memory; 0 once it has ended.
  std::int64_t first_frame_id() const { return first_frame_id_; }
  Reconstruction& reconstruction() { return *reconstruction_; }
  const Reconstruction& reconstruction() const { return *reconstruction_; }

  // Null when it lives as long as the server.
  const SessionFiles* files() const { return files_ ? &*files_ : nullptr; }

  SessionState state() const { return reconstruction_->state(); }
  // The resource; the configuration is left out on request, it can be large.
  v1::Session ToProto(bool with_config = true) const;

  // Listeners are held weakly and dropped when they are gone.
  void AddListener(std::weak_ptr<SessionListener> listener);

  // Runs `done` once the session has ended and left the device; at once if it has.
  void WhenRetired(std::function<void()> done);
  // How long ago it ended, by a clock that nobody sets; for one that had ended before the server
  // was started, by the calendar until then. Nothing before it has left the device.
  std::optional<std::chrono::steady_clock::duration> SinceEnd() const;
  // The registry has forgotten the session: watchers are told, it ends, and once it has left the
  // device its files are removed, so that it does not come back. Then `done` is run.
  void Discard(std::function<void()> done);
  bool deleted() const { return deleted_; }

  // Where its input goes; null when it is not kept.
  const std::shared_ptr<SessionJournal>& journal() const { return journal_; }
  Producers& producers() { return producers_; }
  // Puts an event into the journal; `done` is run when it is on disk, or will not get there. At
  // once without a journal.
  void Record(const state::v1::Event& event, std::function<void()> done);
  // The journal has been replayed, for the `restarts`-th time: the session goes on.
  void Resume(int restarts);
  // Holds the run after its present iteration and saves its state, then runs `done`. For the end of
  // the server.
  void Suspend(std::function<void()> done);
  // Runs `work` among what is written to the session's files, in order, once all input until now is
  // on disk, or will not get there: then the last acknowledgements tell the truth, and what an
  // ended session has to save has been saved when later work is run.
  void AfterInput(std::function<void()> work);

  // Whether all of it that is to be on disk is, or will be.
  bool saved() const;

  // Input streams that are open, among which staging memory is divided.
  std::atomic<int>& open_frame_streams() { return open_frame_streams_; }

  // DeviceTask, for the device worker only.
  bool RunTurn() override { return reconstruction_->RunTurn(); }
  bool ended() const override { return IsFinal(state()); }
  void Retire() override;

 private:
  Session(SessionStart start, DeviceSet::Placement placement, const SessionPools& pools);
  // Removes the session's files, then runs `done`. It must have been retired.
  void RemoveFiles(std::function<void()> done);
  // Something has changed: have Observe run, once for any number of changes.
  void PostObserve();
  // Tells the listeners, and has a checkpoint saved when it is time.
  void Observe() ABSL_LOCKS_EXCLUDED(mu_);
  void MaybeCheckpoint() ABSL_LOCKS_EXCLUDED(mu_);
  // `checkpoint` may be null: there is nothing to save.
  void SaveCheckpoint(std::shared_ptr<const Checkpoint> checkpoint, std::function<void()> done);
  void WriteCheckpoint(const Checkpoint* checkpoint) ABSL_LOCKS_EXCLUDED(mu_);
  // A checkpoint or a result has been written, or not.
  void CountWrite(const absl::Status& written, std::chrono::duration<double> took);
  // Saves how the session has ended; what was saved for going on is not needed any more. Tried
  // again and again when the disk does not take it.
  void SaveResult() ABSL_LOCKS_EXCLUDED(mu_);

  const SessionKey key_;
  const std::string name_;
  const v1::SessionConfig requested_;
  const std::chrono::system_clock::time_point create_time_;
  const std::optional<SessionFiles> files_;
  const std::string unsaved_reason_;
  std::string device_name_;
  ServingDevice* const device_;  // Null for one that had ended before.
  const SessionPools pools_;
  const std::int64_t first_frame_id_;
  std::chrono::milliseconds checkpoint_interval_{0};
  PixelSize pixel_size_;
  std::shared_ptr<SessionJournal> journal_;  // Set once, before live_.
  Producers producers_;
  std::unique_ptr<Reconstruction> reconstruction_;  // Set once, before live_.

  SessionMeter meter_;
  std::atomic<bool> metered_ =
      false;                        // What comes now is news, and not read back from the journal.
  std::atomic<bool> live_ = false;  // Created; the engine's call-backs count from now on.
  std::atomic<bool> observe_posted_ = false;
  std::atomic<bool> deleted_ = false;
  std::atomic<int> open_frame_streams_ = 0;

  mutable Mutex mu_;
  MemoryAdmission::Reservation memory_ ABSL_GUARDED_BY(mu_);
  MemoryAdmission::Reservation staging_ ABSL_GUARDED_BY(mu_);
  std::vector<std::weak_ptr<SessionListener>> listeners_ ABSL_GUARDED_BY(mu_);
  // When it ended and left the device, in the time of this process.
  std::optional<std::chrono::steady_clock::time_point> retired_ ABSL_GUARDED_BY(mu_);
  int restarts_ ABSL_GUARDED_BY(mu_) = 0;
  bool checkpoint_asked_ ABSL_GUARDED_BY(mu_) = false;
  std::int64_t checkpoint_version_ ABSL_GUARDED_BY(mu_) = 0;
  std::chrono::steady_clock::time_point next_checkpoint_ ABSL_GUARDED_BY(mu_){};
  std::string checkpoint_failure_ ABSL_GUARDED_BY(mu_);
  std::optional<Timer> result_retry_ ABSL_GUARDED_BY(mu_);  // Of a result that was not written.
  std::vector<std::function<void()>> when_retired_ ABSL_GUARDED_BY(mu_);
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_SESSION_SESSION_H_
