#include "server/session/session.h"

#include <algorithm>
#include <utility>

#include <grpcpp/support/slice.h>

#include "absl/strings/str_cat.h"
#include "server/service/convert.h"
#include "server/service/enums.h"
#include "server/telemetry/log.h"

namespace ptychoserve::server {
namespace {

// Times that it took to write the last checkpoint: a slow disk sees fewer of them.
constexpr int kLeastPauseOfCheckpoints = 9;
constexpr std::chrono::seconds kLeastPauseOfResults{1};

}  // namespace

absl::StatusOr<std::shared_ptr<Session>> Session::Create(SessionStart start,
                                                         DeviceSet::Placement placement,
                                                         const SessionLimits& limits,
                                                         const SessionPools& pools) {
  ReconstructionOptions options;
  options.staging_bytes = limits.staging_bytes;
  const bool held = options.held = start.held;
  options.restored = start.restored;
  const ReconstructionConfig config = start.config;
  std::shared_ptr<Session> session(new Session(std::move(start), std::move(placement), pools));
  // The worker outlives every session; a session that is being destroyed is not called back.
  options.on_work = [worker = &session->device_->worker] { worker->Wake(); };
  options.run_beside = [notify = &pools.notify](std::function<void()> work) {
    notify->Post(std::move(work));
  };
  options.run_at_leisure = [leisure = &pools.leisure](std::function<void()> work) {
    leisure->Post(std::move(work));
  };
  options.on_device_lost = [device = session->device_](const absl::Status& why) {
    device->NoteLost(why);
  };
  options.outlives_device = session->files_.has_value();
  options.on_progress = [weak = std::weak_ptr<Session>(session)] {
    if (const auto self = weak.lock()) self->PostObserve();
  };
  options.most_checkpoint_wave_bytes = limits.checkpoint_wave_bytes;
  const std::int64_t restored_version =
      options.restored != nullptr ? options.restored->snapshot->version : 0;
  auto reconstruction =
      Reconstruction::Create(config, *session->device_->device, std::move(options));
  if (!reconstruction.ok()) return reconstruction.status();
  session->reconstruction_ = *std::move(reconstruction);
  session->checkpoint_interval_ = limits.checkpoint_interval;
  if (session->files_) {
    session->journal_ = std::make_shared<SessionJournal>(
        session->files_->directory(), session->files_->NextSegment(), pools.journal,
        [weak = std::weak_ptr<Session>(session)] {
          if (const auto self = weak.lock()) self->PostObserve();
        });
  }
  {
    MutexLock lock(session->mu_);
    session->checkpoint_version_ = restored_version;
    session->next_checkpoint_ = std::chrono::steady_clock::now() + limits.checkpoint_interval;
  }
  session->metered_ = pools.metrics != nullptr && !held;
  session->live_ = true;
  session->device_->worker.Add(session);
  return session;
}

absl::StatusOr<std::shared_ptr<Session>> Session::CreateEnded(SessionStart start, EndedRun run,
                                                              const v1::Session& saved,
                                                              const SessionPools& pools) {
  auto reconstruction = Reconstruction::CreateEnded(start.config, std::move(run));
  if (!reconstruction.ok()) return reconstruction.status();
  std::shared_ptr<Session> session(new Session(std::move(start), {}, pools));
  session->reconstruction_ = *std::move(reconstruction);
  session->device_name_ = saved.device();
  MutexLock lock(session->mu_);
  session->restarts_ = saved.restarts();
  session->checkpoint_version_ = saved.checkpoint_version();
  const auto since_end =
      std::chrono::system_clock::now() - session->reconstruction_->state_changes(0).back().time;
  session->retired_ = std::chrono::steady_clock::now() -
                      std::chrono::duration_cast<std::chrono::steady_clock::duration>(since_end);
  return session;
}

Session::Session(SessionStart start, DeviceSet::Placement placement, const SessionPools& pools)
    : key_(std::move(start.key)),
      name_(NameOf(key_.id)),
      requested_(std::move(start.requested)),
      create_time_(start.create_time),
      files_(std::move(start.files)),
      unsaved_reason_(std::move(start.unsaved_reason)),
      device_name_(placement.device != nullptr ? placement.device->device->name() : ""),
      device_(placement.device),
      pools_(pools),
      first_frame_id_(start.config.scan.first_frame_id),
      pixel_size_(ObjectPixelSize(start.config.optics, start.config.detector)),
      producers_([this](RecordKind kind, const std::string& id, std::uint64_t epoch) {
        state::v1::Event event;
        event.mutable_producer()->set_id(id);
        event.mutable_producer()->set_epoch(epoch);
        event.mutable_producer()->set_positions(kind == RecordKind::kPositions);
        Record(event, [] {});
      }),
      memory_(std::move(placement.memory)),
      staging_(std::move(placement.staging)) {}

Session::~Session() {
  // The device's memory goes first, then the claim to it.
  reconstruction_.reset();
}

std::string Session::NameOf(absl::string_view id) { return absl::StrCat("sessions/", id); }

v1::Session Session::ToProto(bool with_config) const {
  v1::Session out;
  ProgressToProto(reconstruction_->progress(), out);
  out.set_name(name_);
  if (with_config) {
    *out.mutable_config() = ConfigToProto(reconstruction_->config());
    out.mutable_config()->set_keep_input(requested_.keep_input());
  }
  *out.mutable_create_time() = TimeToProto(create_time_);
  out.set_device(device_name_);
  out.set_pixel_size_y_m(pixel_size_.y_m);
  out.set_pixel_size_x_m(pixel_size_.x_m);
  const StateChange last = reconstruction_->state_changes(0).back();
  if (IsFinal(last.state)) *out.mutable_end_time() = TimeToProto(last.time);
  out.set_durability(files_ ? v1::DURABILITY_JOURNAL : v1::DURABILITY_MEMORY);
  out.set_durability_failure(unsaved_reason_);
  if (!unsaved_reason_.empty()) out.set_durability(v1::DURABILITY_LOST);
  if (journal_ != nullptr && journal_->lost()) {
    out.set_durability(v1::DURABILITY_LOST);
    out.set_durability_failure(journal_->failure());
  }
  out.set_tenant(key_.tenant);
  for (const auto& [kind, counters] :
       {std::pair(RecordKind::kFrames, out.mutable_frames()),
        std::pair(RecordKind::kPositions, out.mutable_positions())}) {
    // One that had ended before the server was started has no journal any more, and lost nothing.
    const std::int64_t without = files_ ? counters->watermark() : first_frame_id_ - 1;
    counters->set_durable_watermark(
        journal_ == nullptr ? without : journal_->durable_watermark(kind, first_frame_id_));
  }
  MutexLock lock(mu_);
  if (!checkpoint_failure_.empty()) {
    out.set_durability(v1::DURABILITY_LOST);
    out.set_durability_failure(checkpoint_failure_);
  }
  out.set_device_bytes(memory_.bytes());
  out.set_checkpoint_version(checkpoint_version_);
  out.set_restarts(restarts_);
  return out;
}

std::int64_t Session::reserved_bytes() const {
  MutexLock lock(mu_);
  return memory_.bytes();
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

std::optional<std::chrono::steady_clock::duration> Session::SinceEnd() const {
  MutexLock lock(mu_);
  if (!retired_) return std::nullopt;
  return std::chrono::steady_clock::now() - *retired_;
}

void Session::Discard(std::function<void()> done) {
  deleted_ = true;  // First, so that watchers are told why it ends.
  PostObserve();
  reconstruction_->Stop(/*abort=*/true).IgnoreError();  // It may have ended already.
  WhenRetired([weak = weak_from_this(), done = std::move(done)] {
    const auto self = weak.lock();
    if (self == nullptr) return done();
    self->RemoveFiles(done);
  });
}

void Session::Record(const state::v1::Event& event, std::function<void()> done) {
  if (journal_ == nullptr) return done();
  const grpc::Slice bytes(event.SerializeAsString());
  const std::uint64_t sequence =
      journal_->Append(RecordKind::kEvent, grpc::ByteBuffer(&bytes, 1), {});
  journal_->WhenDurable(sequence, [done = std::move(done)](const absl::Status&) { done(); });
}

void Session::Resume(int restarts) {
  {
    MutexLock lock(mu_);
    restarts_ = restarts;
  }
  state::v1::Event event;
  *event.mutable_restart()->mutable_time() = TimeToProto(std::chrono::system_clock::now());
  Record(event, [] {});
  if (pools_.metrics != nullptr) {
    meter_.Begin(reconstruction_->progress());
    metered_ = true;
  }
  reconstruction_->Release();
}

void Session::MaybeCheckpoint() {
  if (!files_ || ended()) return;
  const std::shared_ptr<const Snapshot> latest = reconstruction_->latest_snapshot();
  if (latest == nullptr) return;
  {
    MutexLock lock(mu_);
    const auto now = std::chrono::steady_clock::now();
    if (checkpoint_asked_ || latest->version <= checkpoint_version_ || now < next_checkpoint_) {
      return;
    }
    checkpoint_asked_ = true;
    next_checkpoint_ = now + checkpoint_interval_;
  }
  reconstruction_->MakeCheckpoint(
      [weak = weak_from_this()](const std::shared_ptr<const Checkpoint>& checkpoint) {
        if (const auto self = weak.lock()) self->SaveCheckpoint(checkpoint, [] {});
      });
}

void Session::SaveCheckpoint(std::shared_ptr<const Checkpoint> checkpoint,
                             std::function<void()> done) {
  pools_.files.Post(
      [self = shared_from_this(), checkpoint = std::move(checkpoint), done = std::move(done)] {
        self->WriteCheckpoint(checkpoint.get());
        done();
      });
}

void Session::WriteCheckpoint(const Checkpoint* checkpoint) {
  const auto begin = std::chrono::steady_clock::now();
  const bool needed = checkpoint != nullptr && !ended() && !deleted_;
  const absl::Status written = needed ? files_->WriteCheckpoint(*checkpoint) : absl::OkStatus();
  const auto end = std::chrono::steady_clock::now();
  MutexLock lock(mu_);
  checkpoint_asked_ = false;
  if (!needed) return;
  CountWrite(written, end - begin);
  next_checkpoint_ = std::max(next_checkpoint_, end + kLeastPauseOfCheckpoints * (end - begin));
  if (written.ok()) {
    checkpoint_version_ = std::max(checkpoint_version_, checkpoint->snapshot->version);
  } else if (checkpoint_failure_.empty()) {
    Log(LogLevel::kError, "a checkpoint cannot be written; the session goes on without",
        {{"session", key_.id}, {"reason", std::string(written.message())}});
  }
  checkpoint_failure_ = std::string(written.message());
}

void Session::CountWrite(const absl::Status& written, std::chrono::duration<double> took) {
  if (pools_.metrics == nullptr) return;
  if (written.ok()) {
    pools_.metrics->ObserveCheckpoint(took.count());
  } else {
    pools_.metrics->checkpoint_failures.Increment();
  }
}

bool Session::saved() const {
  if (!unsaved_reason_.empty() || (journal_ != nullptr && journal_->lost())) return false;
  MutexLock lock(mu_);
  return checkpoint_failure_.empty();
}

void Session::Suspend(std::function<void()> done) {
  reconstruction_->Suspend(
      [self = shared_from_this(), done](const std::shared_ptr<const Checkpoint>& checkpoint) {
        if (!self->files_ || checkpoint == nullptr) return done();
        self->SaveCheckpoint(checkpoint, done);
      });
}

void Session::AfterInput(std::function<void()> work) {
  auto post = [files = &pools_.files, work = std::move(work)] { files->Post(work); };
  if (journal_ == nullptr) return post();
  journal_->WhenDurable(journal_->last_sequence(), [post](const absl::Status&) { post(); });
}

void Session::SaveResult() {
  if (!files_ || deleted_) return;
  SavedResult saved;
  *saved.result.mutable_session() = ToProto(/*with_config=*/false);
  for (const IterationRecord& record : reconstruction_->history()) {
    *saved.result.add_history() = MetricsToProto(record);
  }
  for (const StateChange& change : reconstruction_->state_changes(0)) {
    saved.result.add_states(server::ToProto(change.state));
    *saved.result.add_state_times() = TimeToProto(change.time);
  }
  saved.snapshot = reconstruction_->latest_snapshot();
  const absl::Status written = files_->WriteResult(saved, requested_.keep_input());
  if (written.ok()) journal_->Abandon([] {});
  MutexLock lock(mu_);
  const bool failed_before = result_retry_.has_value();
  result_retry_.reset();
  if (written.ok()) {
    checkpoint_failure_.clear();
    if (failed_before) Log(LogLevel::kInfo, "the result is written now", {{"session", key_.id}});
    return;
  }
  CountWrite(written, {});
  // The journal is there still: after a restart the session would go on to the same end.
  if (!failed_before) {
    Log(LogLevel::kError, "the result cannot be written; it is kept in memory, and tried again",
        {{"session", key_.id}, {"reason", std::string(written.message())}});
  }
  checkpoint_failure_ = std::string(written.message());
  const auto pause =
      std::max<std::chrono::milliseconds>(checkpoint_interval_, kLeastPauseOfResults);
  result_retry_.emplace().After(pause, [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (self != nullptr) self->pools_.files.Post([self] { self->SaveResult(); });
  });
}

void Session::RemoveFiles(std::function<void()> done) {
  if (!files_) return done();
  auto remove = [self = shared_from_this(), done = std::move(done)] {
    if (const absl::Status removed = self->files_->Remove(); !removed.ok()) {
      Log(LogLevel::kError, "the files of a deleted session cannot be removed",
          {{"session", self->key_.id}, {"reason", std::string(removed.message())}});
    }
    done();
  };
  if (journal_ == nullptr) return pools_.files.Post(std::move(remove));
  // The journal last: a file that it made after the others' end would be found by the next session
  // of this name, as input of its own.
  journal_->Abandon([files = &pools_.files, remove = std::move(remove)] { files->Post(remove); });
}

void Session::Retire() {
  Observe();  // Whoever waits for the end sees it in the session's log.
  const Progress progress = reconstruction_->progress();
  Log(progress.state == SessionState::kFailed ? LogLevel::kError : LogLevel::kInfo, "session ended",
      {{"session", key_.id},
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
    staging_.Release();
    retired_ = std::chrono::steady_clock::now();
    done.swap(when_retired_);
  }
  AfterInput([self = shared_from_this()] { self->SaveResult(); });
  for (const auto& f : done) f();
}

void Session::PostObserve() {
  if (!live_ || observe_posted_.exchange(true)) return;
  pools_.notify.Post([weak = weak_from_this()] {
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
  if (metered_) {
    meter_.Note(reconstruction_->config(), reconstruction_->progress(), *pools_.metrics);
  }
  for (const auto& listener : listeners) listener->OnSessionChange();
  MaybeCheckpoint();
}

}  // namespace ptychoserve::server
