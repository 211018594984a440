#include "engine/solver/reconstruction.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/algorithms/projections.h"
#include "engine/base/status_macros.h"
#include "engine/solver/plausibility.h"
#include "engine/solver/reconstruction_impl.h"

namespace ptychoserve {
namespace {

bool NeedsExitWaves(const ReconstructionConfig& config) {
  return std::any_of(config.schedule.begin(), config.schedule.end(),
                     [](const StageConfig& stage) { return KeepsExitWaves(stage.algorithm); });
}

}  // namespace

absl::Status Reconstruction::Impl::Ended(SessionState state) {
  const char* how = state == SessionState::kCompleted ? "completed"
                    : state == SessionState::kStopped ? "been stopped"
                                                      : "failed";
  return absl::FailedPreconditionError(absl::StrCat(
      "the session has ", how, "; its result can be read, but it takes no more input"));
}

absl::Status Reconstruction::Impl::CheckOpen() const {
  return IsFinal(shown.state) ? Ended(shown.state) : absl::OkStatus();
}

void Reconstruction::Impl::EnterLocked(SessionState state) {
  shown.state = state;
  states.push_back({state, std::chrono::system_clock::now()});
}

void Reconstruction::Impl::NoteInput(bool accepted) {
  bool changed = false;
  if (accepted) {
    MutexLock lock(mu);
    last_input = options.clock->Now();
    any_input = true;
    if (shown.state == SessionState::kCreated) {
      EnterLocked(SessionState::kReceiving);
      changed = true;
    }
  }
  if (changed) options.on_progress();
  options.on_work();
}

void Reconstruction::Impl::Restore(std::shared_ptr<const Snapshot> snapshot) {
  run = snapshot->run;
  restored_points = static_cast<std::int64_t>(snapshot->points.size());
  last_record = snapshot->metrics;
  last_coverage = snapshot->metrics.coverage;
  last_mode_powers = snapshot->metrics.mode_powers;
  last_object_mode_powers = snapshot->metrics.object_mode_powers;
  snapshot_iteration = snapshot->iteration;
  last_snapshot_time = created;
  watch.StartFrom(snapshot);
  MutexLock lock(mu);
  versions = snapshot->version;
  ShowPositionLocked();
  shown.last = snapshot->metrics;
  shown.snapshot_version = snapshot->version;
  snapshots.push_back(std::move(snapshot));
}

void Reconstruction::Impl::ShowPositionLocked() {
  shown.iteration = run.iteration;
  shown.iterations_after_end = run.iteration_at_end ? run.iteration - *run.iteration_at_end : 0;
  shown.stage = run.stage;
  shown.rollbacks = run.rollbacks;
  shown.probe_defocus_m = run.probe_defocus_m;
}

int Reconstruction::Impl::AddAndLoad(const FrameBatch& batch, int begin) {
  int end = begin;
  do {
    end = store->AddFrames(batch, end);
    if (!loader->runs_beside()) return end;
    // Errors come back to the worker in its next turn, and end the session there.
    loader->Run(/*wait=*/false).IgnoreError();
  } while (end < batch.count() && loader->MakeSpace().value_or(false));
  return end;
}

BackendConfig Reconstruction::BackendConfigFor(const ReconstructionConfig& config) {
  BackendConfig backend;
  backend.frame_shape = EngineFrameShape(config.detector);
  backend.storage = StorageFor(config.detector);
  backend.capacity = config.scan.capacity;
  backend.keeps_exit_waves = NeedsExitWaves(config);
  backend.max_object_pixels =
      config.scan.bounds ? ObjectGrid(config).canvas().shape.pixels() : config.object.max_pixels;
  backend.initial_object = InitialObject(config.object);
  backend.object_modes = config.object.modes;
  backend.probe_modes = config.probe.modes;
  backend.probe_components = ProbeComponents(config);
  backend.deterministic = config.deterministic;
  backend.half_waves = !config.single_precision_waves;
  backend.near_field = SpaceToDetector(config.optics, config.detector);
  return backend;
}

absl::StatusOr<std::unique_ptr<Reconstruction>> Reconstruction::Create(
    ReconstructionConfig config, Device& device, ReconstructionOptions options) {
  config = Resolve(std::move(config));
  const BackendConfig backend_config = BackendConfigFor(config);
  const auto restored = std::exchange(options.restored, nullptr);
  if (restored != nullptr) {
    PS_RETURN_IF_ERROR(CheckRestored(*restored, config, backend_config.max_object_pixels));
  }
  PS_ASSIGN_OR_RETURN(std::unique_ptr<Backend> backend, device.CreateBackend(backend_config));
  const std::int64_t staging_bytes = options.staging_bytes;
  PS_ASSIGN_OR_RETURN(StagingMemory staging,
                      device.AllocateStaging(FrameStore::StagingBytes(config, staging_bytes)));
  std::unique_ptr<Reconstruction> reconstruction(new Reconstruction(config, std::move(options)));
  Impl& impl = *reconstruction->impl_;
  impl.store = std::make_unique<FrameStore>(config, std::move(staging), staging_bytes);
  impl.loader = std::make_unique<FrameLoader>(*backend, *impl.store);
  impl.solver = std::make_unique<Solver>(config, std::move(backend), *impl.store,
                                         impl.options.run_beside, restored);
  if (restored != nullptr) impl.Restore(restored->snapshot);
  MutexLock lock(impl.mu);
  impl.EnterLocked(SessionState::kCreated);
  impl.shown.device_bytes = device.EstimateBytes(backend_config);
  impl.shown.warnings = SettingsWarnings(config);
  return reconstruction;
}

absl::StatusOr<std::unique_ptr<Reconstruction>> Reconstruction::CreateEnded(
    ReconstructionConfig config, EndedRun ended) {
  if (!IsFinal(ended.progress.state)) {
    return absl::InvalidArgumentError("progress.state is not final");
  }
  std::unique_ptr<Reconstruction> reconstruction(
      new Reconstruction(Resolve(std::move(config)), ReconstructionOptions()));
  Impl& impl = *reconstruction->impl_;
  MutexLock lock(impl.mu);
  impl.shown = std::move(ended.progress);
  impl.states = std::move(ended.state_changes);
  impl.history.assign(ended.history.begin(), ended.history.end());
  if (ended.snapshot != nullptr) impl.snapshots.push_back(std::move(ended.snapshot));
  return reconstruction;
}

Reconstruction::Reconstruction(ReconstructionConfig config, ReconstructionOptions options)
    : impl_(std::make_unique<Impl>(std::move(config), std::move(options))) {}

Reconstruction::~Reconstruction() = default;

absl::StatusOr<int> Reconstruction::AddFrames(const FrameBatch& batch, int begin) {
  {
    MutexLock lock(impl_->mu);
    PS_RETURN_IF_ERROR(impl_->CheckOpen());
  }
  const std::int64_t before = impl_->store->inputs_taken();
  const int end = impl_->AddAndLoad(batch, begin);
  impl_->NoteInput(impl_->store->inputs_taken() != before);
  return end;
}

void Reconstruction::NotifyWhenSpace(std::function<void()> ready) {
  if (impl_->store == nullptr) return ready();
  impl_->store->NotifyWhenSpace(std::move(ready));
}

absl::Status Reconstruction::AddPositions(const PositionBatch& batch) {
  {
    MutexLock lock(impl_->mu);
    PS_RETURN_IF_ERROR(impl_->CheckOpen());
  }
  const std::int64_t before = impl_->store->inputs_taken();
  impl_->store->AddPositions(batch);
  impl_->NoteInput(impl_->store->inputs_taken() != before);
  return absl::OkStatus();
}

absl::Status Reconstruction::AddEncoderSamples(const EncoderBatch& batch) {
  {
    MutexLock lock(impl_->mu);
    PS_RETURN_IF_ERROR(impl_->CheckOpen());
  }
  const std::int64_t before = impl_->store->inputs_taken();
  PS_RETURN_IF_ERROR(impl_->store->AddEncoderSamples(batch));
  impl_->NoteInput(impl_->store->inputs_taken() != before);
  return absl::OkStatus();
}

absl::Status Reconstruction::SkipFrames(std::int64_t first_frame_id, std::int64_t count) {
  {
    MutexLock lock(impl_->mu);
    PS_RETURN_IF_ERROR(impl_->CheckOpen());
  }
  const std::int64_t before = impl_->store->inputs_taken();
  PS_RETURN_IF_ERROR(impl_->store->SkipFrames(first_frame_id, count));
  impl_->NoteInput(impl_->store->inputs_taken() != before);
  return absl::OkStatus();
}

MissingIds Reconstruction::MissingFrames(std::size_t limit) const {
  if (impl_->store == nullptr) return {.known_up_to = progress().frames.watermark};
  return impl_->store->MissingFrames(limit);
}

MissingIds Reconstruction::MissingPositions(std::size_t limit) const {
  if (impl_->store == nullptr) return {.known_up_to = progress().positions.watermark};
  return impl_->store->MissingPositions(limit);
}

bool Reconstruction::input_closed() const {
  return impl_->store == nullptr || impl_->store->closed();
}

std::int64_t Reconstruction::free_staging_bytes() const {
  return impl_->store != nullptr ? impl_->store->free_staging_bytes() : 0;
}

absl::Status Reconstruction::FinishScan(std::optional<std::int64_t> expected_frames) {
  {
    MutexLock lock(impl_->mu);
    if (impl_->shown.state == SessionState::kCompleted) return absl::OkStatus();
    PS_RETURN_IF_ERROR(impl_->CheckOpen());
    impl_->finish_asked = true;
    if (expected_frames) impl_->expected_frames = expected_frames;
  }
  impl_->store->Close();
  impl_->options.on_work();
  return absl::OkStatus();
}

absl::Status Reconstruction::Stop(bool abort) {
  {
    MutexLock lock(impl_->mu);
    PS_RETURN_IF_ERROR(impl_->CheckOpen());
    impl_->stop_asked = true;
    impl_->abort_asked |= abort;
  }
  impl_->options.on_work();
  return absl::OkStatus();
}

void Reconstruction::MakeCheckpoint(TakeCheckpoint done) {
  impl_->AskForCheckpoint(/*hold=*/false, std::move(done));
}

void Reconstruction::Suspend(TakeCheckpoint done) {
  impl_->AskForCheckpoint(/*hold=*/true, std::move(done));
}

void Reconstruction::Impl::AskForCheckpoint(bool hold, TakeCheckpoint done) {
  bool ended = false;
  {
    MutexLock lock(mu);
    ended = IsFinal(shown.state);
    if (!ended) {
      held |= hold;
      checkpoint_asked.push_back(std::move(done));
    }
  }
  if (ended) return done(nullptr);
  options.on_work();
}

void Reconstruction::TestOrientation(TakeOrientation done) {
  absl::Status open;
  {
    MutexLock lock(impl_->mu);
    open = impl_->CheckOpen();
    if (open.ok()) impl_->orientation_asked.push_back(std::move(done));
  }
  if (!open.ok()) return done(open);
  impl_->options.on_work();
}

void Reconstruction::ReadFrame(std::optional<std::int64_t> frame_id, TakeFrame done) {
  bool ended = false;
  {
    MutexLock lock(impl_->mu);
    ended = IsFinal(impl_->shown.state);
    if (!ended) impl_->frames_asked.push_back({frame_id, std::move(done)});
  }
  if (ended) return done(impl_->KeptFrame(frame_id));
  impl_->options.on_work();
}

absl::StatusOr<MeasuredFrame> Reconstruction::Impl::KeptFrame(
    std::optional<std::int64_t> frame_id) const {
  MutexLock lock(mu);
  if (last_frame && frame_id.value_or(last_frame->frame_id) == last_frame->frame_id) {
    return *last_frame;
  }
  return absl::FailedPreconditionError(
      last_frame ? absl::StrCat("the session has ended and has kept frame ", last_frame->frame_id,
                                " alone, the last one")
                 : "the session has ended and has kept no frame");
}

std::vector<Reconstruction::Impl::AskedFrame> Reconstruction::Impl::TakeAskedFrames() {
  MutexLock lock(mu);
  return std::exchange(frames_asked, {});
}

std::optional<ExpectedFrame> Reconstruction::FindExpectedFrame(std::int64_t frame_id) const {
  const std::shared_ptr<const Snapshot> snapshot = latest_snapshot();
  if (snapshot == nullptr) return std::nullopt;
  const auto point =
      std::ranges::lower_bound(snapshot->points, frame_id, {}, &SnapshotPoint::frame_id);
  if (point == snapshot->points.end() || point->frame_id != frame_id) return std::nullopt;
  std::optional<FloatImage> counts = ExpectedCounts(*snapshot, *point, impl_->near_field);
  if (!counts) return std::nullopt;
  return ExpectedFrame{snapshot->version, *std::move(counts)};
}

void Reconstruction::Release() {
  {
    MutexLock lock(impl_->mu);
    if (!std::exchange(impl_->held, false)) return;
    impl_->last_input = impl_->options.clock->Now();
  }
  impl_->options.on_work();
}

absl::StatusOr<std::vector<FieldViolation>> Reconstruction::UpdateSettings(
    const std::function<void(ReconstructionConfig&)>& change) {
  {
    MutexLock lock(impl_->mu);
    PS_RETURN_IF_ERROR(impl_->CheckOpen());
    ReconstructionConfig changed = impl_->config;
    change(changed);
    std::vector<FieldViolation> violations = Validate(changed);
    if (!violations.empty()) return violations;
    impl_->config.run = changed.run;
    impl_->config.snapshots = changed.snapshots;
    impl_->config.clear_region = changed.clear_region;
  }
  impl_->options.on_work();
  return std::vector<FieldViolation>();
}

ReconstructionConfig Reconstruction::config() const {
  MutexLock lock(impl_->mu);
  return impl_->config;
}

SessionState Reconstruction::state() const {
  MutexLock lock(impl_->mu);
  return impl_->shown.state;
}

std::vector<StateChange> Reconstruction::state_changes(std::size_t from) const {
  MutexLock lock(impl_->mu);
  from = std::min(from, impl_->states.size());
  return {impl_->states.begin() + static_cast<std::ptrdiff_t>(from), impl_->states.end()};
}

Progress Reconstruction::progress() const {
  if (impl_->store == nullptr) {
    MutexLock lock(impl_->mu);
    return impl_->shown;
  }
  FrameStore::Status input = impl_->store->status();
  MutexLock lock(impl_->mu);
  Progress p = impl_->shown;
  p.frames = std::move(input.frames);
  p.positions = std::move(input.positions);
  p.joined_points = input.joined_points;
  p.empty_frames = input.empty_frames;
  p.frames_without_position = input.frames_without_position;
  p.positions_without_frame = input.positions_without_frame;
  p.incomplete_encoder_frames = input.incomplete_encoder_frames;
  p.staged_frames = input.staged_frames;
  return p;
}

std::vector<IterationRecord> Reconstruction::history() const {
  MutexLock lock(impl_->mu);
  return {impl_->history.begin(), impl_->history.end()};
}

std::shared_ptr<const Snapshot> Reconstruction::latest_snapshot() const {
  return impl_->NewestSnapshot();
}

std::shared_ptr<const Snapshot> Reconstruction::snapshot(std::int64_t version) const {
  MutexLock lock(impl_->mu);
  for (const auto& s : impl_->snapshots) {
    if (s->version == version) return s;
  }
  return nullptr;
}

bool Reconstruction::RunTurn() { return impl_->RunTurn(); }

}  // namespace ptychoserve
