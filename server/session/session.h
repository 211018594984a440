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
#include "server/base/worker_pool.h"
#include "server/device/device_set.h"

namespace ptychoserve::server {

namespace v1 = ::ptychoserve::v1;

// Told that a session has changed in some way. Called often, and by several threads: note it down
// and return.
class SessionListener {
 public:
  virtual ~SessionListener() = default;
  virtual void OnSessionChange() = 0;
};

// A session as the service knows it: the engine's reconstruction, and its name, times, memory
// reservation and watchers. Thread-safe.
//
// Changes travel one way and never hold up the device worker: the engine raises a flag and posts
// one task to the `notify` pool; that task tells the listeners, who post work of their own.
class Session final : public DeviceTask, public std::enable_shared_from_this<Session> {
 public:
  // `id` as in the API, `requested` as the client sent it, `config` the same, checked and resolved.
  // The session's turns begin at once. `notify` outlives the session.
  static absl::StatusOr<std::shared_ptr<Session>> Create(
      std::string id, v1::SessionConfig requested, const ReconstructionConfig& config,
      DeviceSet::Placement placement, std::int64_t staging_bytes, WorkerPool& notify);
  ~Session() override;

  static std::string NameOf(absl::string_view id);  // "sessions/{id}"
  const std::string& id() const { return id_; }
  const std::string& name() const { return name_; }
  const v1::SessionConfig& requested() const { return requested_; }
  std::string device_name() const { return device_.device->name(); }
  Reconstruction& reconstruction() { return *reconstruction_; }
  const Reconstruction& reconstruction() const { return *reconstruction_; }

  SessionState state() const { return reconstruction_->state(); }
  // The resource; the configuration is left out on request, it can be large.
  v1::Session ToProto(bool with_config = true) const;

  // Listeners are held weakly and dropped when they are gone.
  void AddListener(std::weak_ptr<SessionListener> listener);

  // Runs `done` once the session has ended and left the device; at once if it has.
  void WhenRetired(std::function<void()> done);
  // The registry has forgotten the session; watchers are told.
  void MarkDeleted();
  bool deleted() const { return deleted_; }

  // Input streams that are open, among which staging memory is divided.
  std::atomic<int>& open_frame_streams() { return open_frame_streams_; }

  // DeviceTask, for the device worker only.
  bool RunTurn() override { return reconstruction_->RunTurn(); }
  bool ended() const override { return IsFinal(state()); }
  void Retire() override;

 private:
  Session(std::string id, v1::SessionConfig requested, DeviceSet::Placement placement,
          WorkerPool& notify);
  // Something has changed: have Observe run, once for any number of changes.
  void PostObserve();
  // Tells the listeners.
  void Observe() ABSL_LOCKS_EXCLUDED(mu_);

  const std::string id_;
  const std::string name_;
  const v1::SessionConfig requested_;
  const std::chrono::system_clock::time_point create_time_;
  ServingDevice& device_;
  WorkerPool& notify_;
  PixelSize pixel_size_;
  std::unique_ptr<Reconstruction> reconstruction_;  // Set once, before live_.

  std::atomic<bool> live_ = false;  // Created; the engine's call-backs count from now on.
  std::atomic<bool> observe_posted_ = false;
  std::atomic<bool> deleted_ = false;
  std::atomic<int> open_frame_streams_ = 0;

  mutable Mutex mu_;
  MemoryAdmission::Reservation memory_ ABSL_GUARDED_BY(mu_);
  std::vector<std::weak_ptr<SessionListener>> listeners_ ABSL_GUARDED_BY(mu_);
  bool retired_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<std::function<void()>> when_retired_ ABSL_GUARDED_BY(mu_);
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_SESSION_SESSION_H_
