#include "engine/solver/reconstruction.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/base/status_macros.h"
#include "engine/schedule/schedule.h"
#include "engine/solver/frame_loader.h"
#include "engine/solver/solver.h"

namespace ptychoserve {
namespace {

constexpr std::size_t kHistoryLimit = 100'000;
// The iteration rate is that of the last iterations, at most so many and so long ago.
constexpr std::size_t kRateIterations = 100;
constexpr std::chrono::seconds kRateWindow{3};
// A run whose R has stopped falling this far above the noise is not going to get there.
constexpr Plateau kStalled{.window = 20, .min_relative_change = 0.01};
constexpr double kStalledAboveNoise = 2.5;

double Seconds(std::chrono::nanoseconds d) { return std::chrono::duration<double>(d).count(); }

bool NeedsExitWaves(const ReconstructionConfig& config) {
  return std::any_of(config.schedule.begin(), config.schedule.end(), [](const StageConfig& stage) {
    return std::holds_alternative<DifferenceMapConfig>(stage.algorithm);
  });
}

}  // namespace

class Reconstruction::Impl {
 public:
  Impl(ReconstructionConfig resolved, ReconstructionOptions opts, StagingMemory staging)
      : options(std::move(opts)),
        store(resolved, std::move(staging), options.staging_bytes),
        created(options.clock->Now()),
        config(std::move(resolved)) {
    MutexLock lock(mu);
    EnterLocked(SessionState::kCreated);
  }

  // Copies of the settings that may change while running.
  struct Settings {
    RunConfig run;
    SnapshotConfig snapshots;
    ClearRegionConfig clear_region;
  };

  bool RunTurn();
  void EnterLocked(SessionState state) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  void NoteInput(bool accepted);
  // AddFrames of the store, while the device takes what is staged if it can do so by itself.
  int AddAndLoad(const FrameBatch& batch, int begin);
  absl::Status CheckOpen() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  static absl::Status Ended(SessionState state);

  // ---- Worker thread only -------------------------------------------------------------------
  absl::StatusOr<bool> Advance();
  void RecogniseEndOfData(const FrameStore::Status& input);
  // Compares what FinishScan announced with what came, once nothing more can come.
  void CheckExpectedFrames(std::int64_t accepted);
  absl::Status Complete(Completion completion);
  absl::StatusOr<bool> PollSnapshot(bool wait, bool final);
  absl::Status IterateOnce(const Settings& settings);
  void WarnIfStalled();
  absl::Status MaybeStartSnapshot(const SnapshotConfig& snapshots);
  void SetState(SessionState state);
  void Warn(std::string text);
  void End(SessionState state, Completion completion, std::string failure);
  RunStatus CurrentRunStatus() const;

  const ReconstructionOptions options;
  FrameStore store;
  const Clock::TimePoint created;
  std::unique_ptr<FrameLoader> loader;  // Set once.
  std::unique_ptr<Solver> solver;       // Worker thread only; null once the session is final.
  // Worker thread only, down to `recent`.
  std::size_t store_warnings = 0;  // Passed on so far.
  std::int64_t iteration = 0;
  std::optional<std::int64_t> iteration_at_end;
  int stage = 0;
  std::int64_t stage_iterations = 0;
  std::int64_t clock_iterations = 0;
  std::vector<double> stage_r;
  bool stall_warned = false;
  Clock::TimePoint first_iteration_time{};
  Clock::TimePoint last_snapshot_time{};
  std::optional<IterationRecord> last_record;
  std::int64_t snapshot_iteration = -1;  // That the last begun snapshot shows.
  double last_coverage = 0;
  std::vector<double> last_mode_powers;
  std::deque<Clock::TimePoint> recent;

  mutable Mutex mu;
  ReconstructionConfig config ABSL_GUARDED_BY(mu);
  Progress shown ABSL_GUARDED_BY(mu);  // What the worker last said; input totals are added.
  std::vector<StateChange> states ABSL_GUARDED_BY(mu);
  std::deque<IterationRecord> history ABSL_GUARDED_BY(mu);
  std::deque<std::shared_ptr<const Snapshot>> snapshots ABSL_GUARDED_BY(mu);
  std::int64_t versions ABSL_GUARDED_BY(mu) = 0;
  Clock::TimePoint last_input ABSL_GUARDED_BY(mu){};
  bool any_input ABSL_GUARDED_BY(mu) = false;
  bool finish_asked ABSL_GUARDED_BY(mu) = false;
  std::optional<std::int64_t> expected_frames ABSL_GUARDED_BY(mu);
  bool stop_asked ABSL_GUARDED_BY(mu) = false;
  bool abort_asked ABSL_GUARDED_BY(mu) = false;
};

// ---- Shared by all threads ------------------------------------------------------------------

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

int Reconstruction::Impl::AddAndLoad(const FrameBatch& batch, int begin) {
  int end = begin;
  do {
    end = store.AddFrames(batch, end);
    if (!loader->runs_beside()) return end;
    // Errors come back to the worker in its next turn, and end the session there.
    loader->Run(/*wait=*/false).IgnoreError();
  } while (end < batch.count() && loader->MakeSpace().value_or(false));
  return end;
}

// ---- Worker ---------------------------------------------------------------------------------

void Reconstruction::Impl::SetState(SessionState state) {
  {
    MutexLock lock(mu);
    if (shown.state == state) return;
    EnterLocked(state);
  }
  options.on_progress();
}

void Reconstruction::Impl::Warn(std::string text) {
  {
    MutexLock lock(mu);
    shown.warnings.push_back(std::move(text));
  }
  options.on_progress();
}

void Reconstruction::Impl::End(SessionState state, Completion completion, std::string failure) {
  store.Close();
  loader->Close();
  solver.reset();  // Frees the device; results live on in the snapshots.
  {
    MutexLock lock(mu);
    EnterLocked(state);
    shown.completion = completion;
    shown.failure = std::move(failure);
    shown.iterations_per_second = 0;
    shown.device_bytes = 0;
    shown.partial =
        config.scan.expected_points > 0 && shown.active_points < config.scan.expected_points;
  }
  store.Drop();
  options.on_progress();
}

RunStatus Reconstruction::Impl::CurrentRunStatus() const {
  RunStatus status;
  status.iteration = iteration;
  status.iteration_at_end_of_data = iteration_at_end;
  status.stage = stage;
  status.stage_iterations = stage_iterations;
  status.clock_iterations = clock_iterations;
  status.stage_r = stage_r;
  return status;
}

bool Reconstruction::Impl::RunTurn() {
  if (solver == nullptr) return false;
  absl::StatusOr<bool> worked = Advance();
  if (worked.ok()) return *worked;
  End(SessionState::kFailed, Completion::kFailed,
      absl::StrCat("the device failed: ", worked.status().message()));
  return true;
}

absl::StatusOr<bool> Reconstruction::Impl::Advance() {
  Settings settings;
  bool stop = false, abort = false;
  {
    MutexLock lock(mu);
    settings = {config.run, config.snapshots, config.clear_region};
    stop = stop_asked;
    abort = abort_asked;
  }
  if (stop && abort) {
    End(SessionState::kStopped, Completion::kStopped, "");
    return true;
  }
  RecogniseEndOfData(store.status());
  // Read before loading: once the store is closed nothing new comes in, so one more load gets
  // everything but the frames still being prepared or copied, and those count as staged.
  const bool closed = store.closed();
  // An iteration runs beside the copies; without one there is nothing else to do.
  PS_ASSIGN_OR_RETURN(bool worked, loader->Run(/*wait=*/!solver->started()));
  PS_ASSIGN_OR_RETURN(const bool arrived, PollSnapshot(/*wait=*/false, /*final=*/false));
  worked |= arrived;
  if (stop) {
    PS_RETURN_IF_ERROR(Complete(Completion::kStopped));
    return true;
  }
  // Others load frames, too: points that are not noted now belong to frames that were still staged.
  const FrameStore::Status input = store.status();
  worked |= solver->NoteReady();
  const bool all_loaded = closed && input.staged_frames == 0;
  if (all_loaded) CheckExpectedFrames(input.frames.accepted);
  if (!solver->started()) {
    if (solver->waiting_points() >= StartThreshold(settings.run) ||
        (all_loaded && solver->waiting_points() > 0)) {
      PS_ASSIGN_OR_RETURN(std::string warning, solver->Start());
      if (!warning.empty()) Warn(std::move(warning));
      SetState(SessionState::kReconstructing);
    } else if (all_loaded) {
      End(SessionState::kFailed, Completion::kFailed,
          absl::StrCat("no frame can be used: ", input.frames.accepted, " frames and ",
                       input.positions.accepted, " positions were accepted, ", input.joined_points,
                       " have the same id, ", input.empty_frames, " frames are without a count"));
      return true;
    } else {
      return worked;
    }
  }
  PS_ASSIGN_OR_RETURN(const bool activated, solver->ActivateWaiting(settings.clear_region));
  if (activated) {
    MutexLock lock(mu);
    shown.active_points = solver->active_points();
  }
  if (all_loaded && !iteration_at_end) {
    iteration_at_end = iteration;
    SetState(SessionState::kRefining);
  }
  const Completion completion = CheckCompletion(settings.run, CurrentRunStatus());
  if (completion != Completion::kNone) {
    PS_RETURN_IF_ERROR(Complete(completion));
    return true;
  }
  PS_RETURN_IF_ERROR(IterateOnce(settings));
  return true;
}

void Reconstruction::Impl::RecogniseEndOfData(const FrameStore::Status& input) {
  InputStatus status;
  status.joined_points = input.joined_points;
  status.store_full = input.full && input.frames_without_position == 0;
  EndOfData reason = EndOfData::kNone;
  for (; store_warnings < input.warnings.size(); ++store_warnings) {
    Warn(input.warnings[store_warnings]);
  }
  {
    MutexLock lock(mu);
    if (shown.end_of_data != EndOfData::kNone) return;
    status.finish_asked = finish_asked;
    status.any_input = any_input;
    status.idle_s = Seconds(options.clock->Now() - (any_input ? last_input : created));
    reason = CheckEndOfData(config, status);
    if (reason == EndOfData::kNone) return;
    shown.end_of_data = reason;
  }
  store.Close();
  options.on_progress();
}

void Reconstruction::Impl::CheckExpectedFrames(std::int64_t accepted) {
  std::optional<std::int64_t> expected;
  {
    MutexLock lock(mu);
    expected = std::exchange(expected_frames, std::nullopt);
  }
  if (expected && *expected != accepted) {
    Warn(absl::StrCat("FinishScan expected ", *expected, " frames; ", accepted, " were accepted"));
  }
}

absl::Status Reconstruction::Impl::Complete(Completion completion) {
  if (solver->started() && solver->active_points() > 0) {
    PS_ASSIGN_OR_RETURN(const bool ignored, PollSnapshot(/*wait=*/true, /*final=*/false));
    (void)ignored;
    PS_ASSIGN_OR_RETURN(const FitMetrics fit, solver->Evaluate());
    IterationRecord record = last_record.value_or(IterationRecord{});
    record.active_points = solver->active_points();
    PS_RETURN_IF_ERROR(solver->StartSnapshot(record));
    PS_ASSIGN_OR_RETURN(const bool published, PollSnapshot(/*wait=*/true, /*final=*/true));
    (void)published;
    MutexLock lock(mu);
    shown.final_fit = fit;
  }
  End(completion == Completion::kStopped ? SessionState::kStopped : SessionState::kCompleted,
      completion, "");
  return absl::OkStatus();
}

absl::StatusOr<bool> Reconstruction::Impl::PollSnapshot(bool wait, bool final) {
  if (!solver->snapshot_under_way()) return false;
  PS_ASSIGN_OR_RETURN(std::unique_ptr<Snapshot> snapshot, solver->FinishSnapshot(wait));
  if (snapshot == nullptr) return false;
  snapshot->final = final;
  snapshot->time = std::chrono::system_clock::now();
  last_coverage = snapshot->metrics.coverage;
  last_mode_powers = snapshot->metrics.mode_powers;
  std::vector<std::shared_ptr<const Snapshot>> retired;
  {
    MutexLock lock(mu);
    snapshot->version = ++versions;
    shown.snapshot_version = versions;
    if (shown.last) {
      shown.last->coverage = last_coverage;
      shown.last->mode_powers = last_mode_powers;
    }
    snapshots.push_back(std::move(snapshot));
    while (static_cast<int>(snapshots.size()) > config.snapshots.history) {
      retired.push_back(std::move(snapshots.front()));
      snapshots.pop_front();
    }
  }
  // Giving their memory back takes milliseconds, too.
  if (!retired.empty()) {
    options.run_beside([retired = std::move(retired)]() mutable { retired.clear(); });
  }
  options.on_progress();
  return true;
}

absl::Status Reconstruction::Impl::IterateOnce(const Settings& settings) {
  AlgorithmConfig algorithm;
  {
    MutexLock lock(mu);
    const int next = NextStage(config, CurrentRunStatus());
    if (next != stage) {
      stage = next;
      stage_iterations = 0;
      stage_r.clear();
    }
    algorithm = config.schedule[static_cast<std::size_t>(stage)].algorithm;
  }
  const Clock::TimePoint begin = options.clock->Now();
  if (iteration == 0) first_iteration_time = begin;
  PS_ASSIGN_OR_RETURN(const IterationMetrics metrics, solver->Iterate(algorithm, iteration));
  const Clock::TimePoint end = options.clock->Now();
  ++iteration;
  const bool counted =
      settings.run.schedule_clock == ScheduleClock::kFromStart || iteration_at_end.has_value();
  if (counted) {
    ++stage_iterations;
    ++clock_iterations;
    stage_r.push_back(metrics.r_factor);
  }
  IterationRecord record;
  record.iteration = iteration;
  record.stage = stage;
  record.active_points = solver->active_points();
  record.seconds = Seconds(end - begin);
  record.elapsed_s = Seconds(end - first_iteration_time);
  record.coverage = last_coverage;
  record.mode_powers = last_mode_powers;
  record.metrics = metrics;
  last_record = record;
  recent.push_back(end);
  while (recent.size() > kRateIterations ||
         (recent.size() > 2 && end - recent.front() > kRateWindow)) {
    recent.pop_front();
  }
  {
    MutexLock lock(mu);
    shown.iteration = iteration;
    shown.iterations_after_end = iteration_at_end ? iteration - *iteration_at_end : 0;
    shown.stage = stage;
    shown.last = record;
    const double span = Seconds(recent.back() - recent.front());
    shown.iterations_per_second = span > 0 ? static_cast<double>(recent.size() - 1) / span : 0;
    history.push_back(record);
    if (history.size() > kHistoryLimit) history.pop_front();
  }
  if (!metrics.finite || !std::isfinite(metrics.r_factor)) {
    End(SessionState::kFailed, Completion::kFailed,
        absl::StrCat("diverged: object or probe became NaN or infinite in iteration ", iteration,
                     "; the last snapshot is from before"));
    return absl::OkStatus();
  }
  WarnIfStalled();
  PS_RETURN_IF_ERROR(MaybeStartSnapshot(settings.snapshots));
  options.on_progress();
  return absl::OkStatus();
}

void Reconstruction::Impl::WarnIfStalled() {
  const double noise = solver->noise_r_factor();
  {
    MutexLock lock(mu);  // Earlier stages may wander; the next one is still to come.
    if (stage + 1 < static_cast<int>(config.schedule.size())) return;
  }
  if (stall_warned || stage_r.empty() || stage_r.back() < kStalledAboveNoise * noise ||
      !OnPlateau(kStalled, stage_r)) {
    return;
  }
  stall_warned = true;
  Warn(absl::StrFormat(
      "stalled: R has stopped falling at %.3f in iteration %d, where noise alone would leave "
      "about %.3f; check the geometry, or begin the schedule with the difference map",
      stage_r.back(), iteration, noise));
}

absl::Status Reconstruction::Impl::MaybeStartSnapshot(const SnapshotConfig& cadence) {
  if (solver->snapshot_under_way()) return absl::OkStatus();
  const Clock::TimePoint now = options.clock->Now();
  const bool first = snapshot_iteration < 0;
  if (!first) {
    if (iteration - snapshot_iteration < cadence.every_iterations) return absl::OkStatus();
    if (now - last_snapshot_time < std::chrono::milliseconds(cadence.min_interval_ms)) {
      return absl::OkStatus();
    }
  }
  PS_RETURN_IF_ERROR(solver->StartSnapshot(*last_record));
  snapshot_iteration = iteration;
  last_snapshot_time = now;
  return absl::OkStatus();
}

// ---- Public ---------------------------------------------------------------------------------

BackendConfig Reconstruction::BackendConfigFor(const ReconstructionConfig& config) {
  BackendConfig backend;
  backend.frame_shape = EngineFrameShape(config.detector);
  backend.storage = StorageFor(config.detector);
  backend.capacity = config.scan.capacity;
  backend.keeps_exit_waves = NeedsExitWaves(config);
  backend.max_object_pixels =
      config.scan.bounds ? ObjectGrid(config).canvas().shape.pixels() : config.object.max_pixels;
  backend.initial_object = std::polar(static_cast<float>(config.object.initial_amplitude),
                                      static_cast<float>(config.object.initial_phase_rad));
  backend.probe_modes = config.probe.modes;
  backend.deterministic = config.deterministic;
  backend.half_waves = !config.single_precision_waves;
  return backend;
}

absl::StatusOr<std::unique_ptr<Reconstruction>> Reconstruction::Create(
    ReconstructionConfig config, Device& device, ReconstructionOptions options) {
  config = Resolve(std::move(config));
  const BackendConfig backend_config = BackendConfigFor(config);
  PS_ASSIGN_OR_RETURN(std::unique_ptr<Backend> backend, device.CreateBackend(backend_config));
  PS_ASSIGN_OR_RETURN(StagingMemory staging, device.AllocateStaging(FrameStore::StagingBytes(
                                                 config, options.staging_bytes)));
  std::unique_ptr<Reconstruction> reconstruction(
      new Reconstruction(config, std::move(options), std::move(staging)));
  Impl& impl = *reconstruction->impl_;
  impl.loader = std::make_unique<FrameLoader>(*backend, impl.store);
  impl.solver =
      std::make_unique<Solver>(config, std::move(backend), impl.store, impl.options.run_beside);
  MutexLock lock(impl.mu);
  impl.shown.device_bytes = device.EstimateBytes(backend_config);
  return reconstruction;
}

Reconstruction::Reconstruction(ReconstructionConfig config, ReconstructionOptions options,
                               StagingMemory staging)
    : impl_(std::make_unique<Impl>(std::move(config), std::move(options), std::move(staging))) {}

Reconstruction::~Reconstruction() = default;

absl::StatusOr<int> Reconstruction::AddFrames(const FrameBatch& batch, int begin) {
  {
    MutexLock lock(impl_->mu);
    PS_RETURN_IF_ERROR(impl_->CheckOpen());
  }
  const std::int64_t before = impl_->store.inputs_taken();
  const int end = impl_->AddAndLoad(batch, begin);
  impl_->NoteInput(impl_->store.inputs_taken() != before);
  return end;
}

void Reconstruction::NotifyWhenSpace(std::function<void()> ready) {
  impl_->store.NotifyWhenSpace(std::move(ready));
}

absl::Status Reconstruction::AddPositions(const PositionBatch& batch) {
  {
    MutexLock lock(impl_->mu);
    PS_RETURN_IF_ERROR(impl_->CheckOpen());
  }
  const std::int64_t before = impl_->store.inputs_taken();
  impl_->store.AddPositions(batch);
  impl_->NoteInput(impl_->store.inputs_taken() != before);
  return absl::OkStatus();
}

absl::Status Reconstruction::AddEncoderSamples(const EncoderBatch& batch) {
  {
    MutexLock lock(impl_->mu);
    PS_RETURN_IF_ERROR(impl_->CheckOpen());
  }
  const std::int64_t before = impl_->store.inputs_taken();
  PS_RETURN_IF_ERROR(impl_->store.AddEncoderSamples(batch));
  impl_->NoteInput(impl_->store.inputs_taken() != before);
  return absl::OkStatus();
}

std::int64_t Reconstruction::free_staging_bytes() const {
  return impl_->store.free_staging_bytes();
}

absl::Status Reconstruction::FinishScan(std::optional<std::int64_t> expected_frames) {
  {
    MutexLock lock(impl_->mu);
    if (impl_->shown.state == SessionState::kCompleted) return absl::OkStatus();
    PS_RETURN_IF_ERROR(impl_->CheckOpen());
    impl_->finish_asked = true;
    if (expected_frames) impl_->expected_frames = expected_frames;
  }
  impl_->store.Close();
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
  FrameStore::Status input = impl_->store.status();
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
  MutexLock lock(impl_->mu);
  return impl_->snapshots.empty() ? nullptr : impl_->snapshots.back();
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
