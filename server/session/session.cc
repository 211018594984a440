#include "server/session/session.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/service/convert.h"
#include "server/service/enums.h"
#include "server/telemetry/log.h"

namespace ptychoserve::server {

absl::StatusOr<std::shared_ptr<Session>> Session::Create(
    std::string id, v1::SessionConfig requested, const ReconstructionConfig& config,
    DeviceSet::Placement placement, std::int64_t staging_bytes, WorkerPool& notify) {
  std::shared_ptr<Session> session(
      new Session(std::move(id), std::move(requested), std::move(placement), notify));
  ReconstructionOptions options;
  options.staging_bytes = staging_bytes;
  // The worker outlives every session; a session that is being destroyed is not called back.
  options.on_work = [worker = &session->device_.worker] { worker->Wake(); };
  options.run_beside = [&notify](std::function<void()> work) { notify.Post(std::move(work)); };
  options.on_progress = [weak = std::weak_ptr<Session>(session)] {
    if (const auto self = weak.lock()) self->PostObserve();
  };
  auto reconstruction =
      Reconstruction::Create(config, *session->device_.device, std::move(options));
  if (!reconstruction.ok()) return reconstruction.status();
  session->reconstruction_ = *std::move(reconstruction);
  session->pixel_size_ = ObjectPixelSize(config.optics, config.detector);
  session->live_ = true;
  session->device_.worker.Add(session);
  return session;
}

Session::Session(std::string id, v1::SessionConfig requested, DeviceSet::Placement placement,
                 WorkerPool& notify)
    : id_(std::move(id)),
      name_(NameOf(id_)),
      requested_(std::move(requested)),
      create_time_(std::chrono::system_clock::now()),
      device_(*placement.device),
      notify_(notify),
      memory_(std::move(placement.memory)) {}

Session::~Session() {
  // The device's memory goes first, then the claim to it.
  reconstruction_.reset();
}

std::string Session::NameOf(absl::string_view id) { return absl::StrCat("sessions/", id); }

v1::Session Session::ToProto(bool with_config) const {
  v1::Session out;
  ProgressToProto(reconstruction_->progress(), out);
  out.set_name(name_);
  if (with_config) *out.mutable_config() = ConfigToProto(reconstruction_->config());
  *out.mutable_create_time() = TimeToProto(create_time_);
  out.set_device(device_.device->name());
  out.set_pixel_size_y_m(pixel_size_.y_m);
  out.set_pixel_size_x_m(pixel_size_.x_m);
  const StateChange last = reconstruction_->state_changes(0).back();
  if (IsFinal(last.state)) *out.mutable_end_time() = TimeToProto(last.time);
  MutexLock lock(mu_);
  out.set_device_bytes(memory_.bytes());
  return out;
}

void Session::AddListener(std::weak_ptr<SessionListener> listener) {
  MutexLock lock(mu_);
  std::erase_if(listeners_, [](const auto& l) { return l.expired(); });
  listeners_.push_back(std::move(listener));
}

void Session::WhenRetired(std::function<void()> done) {
  {
    MutexLock lock(mu_);
    if (!retired_) {
      when_retired_.push_back(std::move(done));
      return;
    }
  }
  done();
}

void Session::MarkDeleted() {
  deleted_ = true;
  PostObserve();
}

void Session::Retire() {
  Observe();  // Whoever waits for the end sees it in the session's log.
  const Progress progress = reconstruction_->progress();
  Log(progress.state == SessionState::kFailed ? LogLevel::kError : LogLevel::kInfo, "session ended",
      {{"session", id_},
       {"state", StateName(progress.state)},
       {"iterations", progress.iteration},
       {"points", progress.active_points},
       {"frames", progress.frames.accepted},
       {"frames_rejected", progress.frames.total_rejected()},
       {"positions", progress.positions.accepted},
       {"positions_rejected", progress.positions.total_rejected()},
       {"failure", progress.failure}});
  std::vector<std::function<void()>> done;
  {
    MutexLock lock(mu_);
    // A result lives on the host. What still is on the device goes with the session.
    if (progress.device_bytes == 0) memory_.Release();
    retired_ = true;
    done.swap(when_retired_);
  }
  for (const auto& f : done) f();
}

void Session::PostObserve() {
  if (!live_ || observe_posted_.exchange(true)) return;
  notify_.Post([weak = weak_from_this()] {
    const auto self = weak.lock();
    if (self == nullptr) return;
    self->observe_posted_ = false;
    self->Observe();
  });
}

void Session::Observe() {
  std::vector<std::shared_ptr<SessionListener>> listeners;
  {
    MutexLock lock(mu_);
    for (const auto& weak : listeners_) {
      if (auto listener = weak.lock()) listeners.push_back(std::move(listener));
    }
  }
  for (const auto& listener : listeners) listener->OnSessionChange();
}

}  // namespace ptychoserve::server
