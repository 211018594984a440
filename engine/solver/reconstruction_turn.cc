// The device worker's part of a session.
#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/algorithms/projections.h"
#include "engine/base/status_macros.h"
#include "engine/solver/reconstruction_impl.h"

namespace ptychoserve {
namespace {

constexpr std::size_t kHistoryLimit = 100'000;
// The iteration rate is that of the last iterations, at most so many and so long ago.
constexpr std::size_t kRateIterations = 100;
constexpr std::chrono::seconds kRateWindow{3};
// When results have to repeat, a run that diverges goes back to one of the snapshots of iteration 1
// and of so many more each: which others there are, the clock decides.
constexpr std::int64_t kFixedSnapshots = 16;
// Times the R that noise would leave.
constexpr double kStalledAboveNoise = 2.5;
// A run that diverges with an eighth of its step is not going to get there.
constexpr int kMostRollbacks = 3;

// A session tests its orientation by itself when that takes no more of the run's time so far than
// this, or no more seconds.
constexpr double kOrientationShare = 0.1;
// Of a whole scan that has no more.
constexpr std::int64_t kFewestOrientationPoints = 16;
constexpr double kOrientationSeconds = 1;
// As long as there is no clear answer, again when there are so many times as many points.
constexpr std::int64_t kOrientationGrowth = 4;

// Snapshots come with an evaluation of all frames as long as these take no more of the run's time
// than this.
constexpr double kEvaluationShare = 0.05;

double Seconds(std::chrono::nanoseconds d) { return std::chrono::duration<double>(d).count(); }

}  // namespace

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
  store->Close();
  loader->Close();
  halves.reset();
  absl::StatusOr<MeasuredFrame> last = ReadFrame(std::nullopt);
  solver.reset();  // Frees the device; results live on in the snapshots.
  watch.Drop();
  {
    MutexLock lock(mu);
    EnterLocked(state);
    if (last.ok()) last_frame = *std::move(last);
    shown.completion = completion;
    shown.failure = std::move(failure);
    shown.iterations_per_second = 0;
    shown.device_bytes = 0;
    shown.partial = shown.active_points + shown.held_out_points < config.scan.expected_points;
  }
  store->Drop();
  options.on_progress();
  GiveCheckpoint(nullptr);
  GiveOrientation(Ended(state));
  for (AskedFrame& asked : TakeAskedFrames()) asked.done(KeptFrame(asked.frame_id));
}

RunStatus Reconstruction::Impl::CurrentRunStatus() const {
  RunStatus status;
  status.iteration = run.iteration;
  // A restored run that waits for the rest of its points does not end before they are back.
  if (all_active) status.iteration_at_end_of_data = run.iteration_at_end;
  status.stage = run.stage;
  status.stage_iterations = run.stage_iterations;
  status.clock_iterations = run.clock_iterations;
  status.stage_r = run.stage_r;
  return status;
}

bool Reconstruction::Impl::RunTurn() {
  if (solver == nullptr) return false;
  if (device_lost) {
    for (AskedFrame& asked : TakeAskedFrames()) {
      asked.done(absl::UnavailableError("the device is lost, and the frames with it"));
    }
    GiveCheckpoint(CheckpointWithoutDevice());
    return false;
  }
  absl::StatusOr<bool> worked = Advance();
  if (worked.ok()) return *worked;
  if (absl::IsDataLoss(worked.status())) {
    options.on_device_lost(worked.status());
    device_lost = options.outlives_device;
    if (device_lost) {
      Warn(absl::StrCat("the device is lost: ", worked.status().message(),
                        "; the session goes on when the server has been started again"));
      return true;
    }
  }
  End(SessionState::kFailed, Completion::kFailed,
      absl::StrCat("the device failed: ", worked.status().message()));
  return true;
}

absl::StatusOr<bool> Reconstruction::Impl::Advance() {
  Settings settings;
  bool stop = false, abort = false, wait = false, checkpoint = false;
  {
    MutexLock lock(mu);
    settings = {config.run, config.snapshots, config.clear_region};
    stop = stop_asked;
    abort = abort_asked;
    wait = held && !stop_asked;
    checkpoint = !checkpoint_asked.empty();
  }
  if (stop && abort) {
    End(SessionState::kStopped, Completion::kStopped, "");
    return true;
  }
  if (checkpoint) PS_RETURN_IF_ERROR(AnswerCheckpoint());
  PS_RETURN_IF_ERROR(AnswerFrames());
  if (wait) return loader->Run(/*wait=*/true);
  if (halves != nullptr) return AdvanceSplitHalves(stop);
  // Read before loading: once the store is closed nothing new comes in, so one more load gets
  // everything but the frames still being prepared or copied, and those count as staged.
  const bool closed = store->closed();
  // An iteration runs beside the copies; without one there is nothing else to do.
  PS_ASSIGN_OR_RETURN(bool worked, loader->Run(/*wait=*/!solver->started()));
  PS_ASSIGN_OR_RETURN(const bool arrived, PollSnapshot(/*wait=*/false, /*final=*/false));
  worked |= arrived;
  // Others load frames, too: points that are not noted now belong to frames that were still staged.
  const FrameStore::Status input = store->status();
  worked |= solver->NoteReady();
  // Judged on all points that have just been noted: no iteration lies between the last point and
  // the end of data, or a run that begins with all of its points would not repeat.
  if (RecogniseEndOfData(store->status())) return true;
  if (stop) {
    PS_RETURN_IF_ERROR(solver->EndOrientationTest());
    PS_RETURN_IF_ERROR(Complete(Completion::kStopped));
    return true;
  }
  if (solver->before_test() != nullptr) {
    PS_RETURN_IF_ERROR(AdvanceOrientationTest());
    return true;
  }
  const bool all_loaded = closed && input.staged_frames == 0;
  if (all_loaded) CheckExpectedFrames(input.frames);
  if (!solver->started()) {
    if (solver->waiting_points() >= StartThreshold(settings.run) ||
        (all_loaded && solver->waiting_points() > 0)) {
      PS_ASSIGN_OR_RETURN(const std::optional<std::vector<std::string>> warnings, solver->Start());
      if (!warnings) return true;  // There is more to be done for it.
      for (const std::string& warning : *warnings) Warn(warning);
      run.probe_defocus_m = solver->probe_defocus_m();
      {
        MutexLock lock(mu);
        ShowPositionLocked();
      }
      SetState(SessionState::kReconstructing);
    } else if (all_loaded) {
      End(SessionState::kFailed, Completion::kFailed,
          absl::StrCat("no frame can be used: ", input.frames.accepted, " frames and ",
                       input.positions.accepted, " positions were accepted, ", input.joined_points,
                       " have the same id, ", input.empty_frames, " frames are without a count, ",
                       solver->held_out_points(), " are held out"));
      return true;
    } else {
      return worked;
    }
  }
  PS_RETURN_IF_ERROR(solver->ActivateWaiting(settings.clear_region));
  {
    MutexLock lock(mu);
    if (solver->active_points() > std::max(shown.active_points, restored_points)) {
      grown_in = run.iteration;
    }
    shown.active_points = solver->active_points();
    shown.held_out_points = solver->held_out_points();
  }
  if (all_loaded && !all_active) NoteAllActive();
  PS_RETURN_IF_ERROR(MaybeTestOrientation());
  if (solver->before_test() != nullptr) return true;
  const Completion completion = CheckCompletion(settings.run, CurrentRunStatus());
  if (completion != Completion::kNone) {
    WarnIfCutShort(completion, settings.run);
    PS_RETURN_IF_ERROR(Complete(completion));
    return true;
  }
  PS_RETURN_IF_ERROR(IterateOnce(settings));
  return true;
}

bool Reconstruction::Impl::RecogniseEndOfData(const FrameStore::Status& input) {
  InputStatus status;
  status.joined_points = input.joined_points;
  status.skipped_frames = input.frames.skipped;
  status.store_full = input.full && input.frames_without_position == 0;
  EndOfData reason = EndOfData::kNone;
  for (; store_warnings < input.warnings.size(); ++store_warnings) {
    Warn(input.warnings[store_warnings]);
  }
  {
    MutexLock lock(mu);
    if (shown.end_of_data != EndOfData::kNone) return false;
    status.finish_asked = finish_asked;
    status.any_input = any_input;
    status.idle_s = Seconds(options.clock->Now() - (any_input ? last_input : created));
    reason = CheckEndOfData(config, status);
    // An idle time-out that has come before the restart need not be waited for again.
    if (reason == EndOfData::kNone && run.end_of_data == EndOfData::kIdleTimeout &&
        input.joined_points >= restored_points) {
      reason = EndOfData::kIdleTimeout;
    }
    if (reason == EndOfData::kNone) return false;
    shown.end_of_data = reason;
  }
  store->Close();
  options.on_progress();
  return true;
}

void Reconstruction::Impl::NoteAllActive() {
  all_active = true;
  // The end that a restored run has had stands, unless points have come that it did not have.
  if (!run.iteration_at_end || solver->active_points() > restored_points) {
    run.iteration_at_end = run.iteration;
    MutexLock lock(mu);
    run.end_of_data = shown.end_of_data;
  }
  SetState(SessionState::kRefining);
}

void Reconstruction::Impl::CheckExpectedFrames(const IngestCounters& frames) {
  std::optional<std::int64_t> expected;
  {
    MutexLock lock(mu);
    expected = std::exchange(expected_frames, std::nullopt);
  }
  if (!expected || *expected == frames.accepted + frames.skipped) return;
  std::string text = absl::StrCat("FinishScan expected ", *expected, " frames; ", frames.accepted,
                                  " were accepted");
  if (frames.skipped > 0) absl::StrAppend(&text, " and ", frames.skipped, " skipped");
  Warn(std::move(text));
}

absl::Status Reconstruction::Impl::PublishPresent() {
  PS_RETURN_IF_ERROR(PollSnapshot(/*wait=*/true, /*final=*/false).status());
  if (!last_record || snapshot_iteration == run.iteration) return absl::OkStatus();
  PS_RETURN_IF_ERROR(solver->StartSnapshot(*last_record, run));
  snapshot_iteration = run.iteration;
  return PollSnapshot(/*wait=*/true, /*final=*/false).status();
}

absl::Status Reconstruction::Impl::AnswerCheckpoint() {
  if (recent.empty()) {  // Nothing has been done in this process.
    GiveCheckpoint(nullptr);
    return absl::OkStatus();
  }
  if (solver->before_test() != nullptr) {
    GiveCheckpoint(solver->before_test());
    return absl::OkStatus();
  }
  if (halves != nullptr) {  // The device has one of them; the run ends with its last snapshot.
    GiveCheckpoint(CheckpointOf(NewestSnapshot()));
    return absl::OkStatus();
  }
  PS_RETURN_IF_ERROR(PublishPresent());
  PS_ASSIGN_OR_RETURN(const std::shared_ptr<const Checkpoint> checkpoint,
                      solver->MakeCheckpoint(NewestSnapshot(), options.most_checkpoint_wave_bytes));
  GiveCheckpoint(checkpoint);
  return absl::OkStatus();
}

std::shared_ptr<const Checkpoint> Reconstruction::Impl::CheckpointWithoutDevice() const {
  const std::shared_ptr<const Snapshot> newest = NewestSnapshot();
  if (newest == nullptr || recent.empty()) return nullptr;
  MutexLock lock(mu);
  const StageConfig& stage = config.schedule[static_cast<std::size_t>(newest->run.stage)];
  // Its exit waves are gone.
  if (KeepsExitWaves(stage.algorithm)) return nullptr;
  // So is its momentum, which costs a few iterations and the last bits.
  if (deterministic && AcceleratedBy(stage.algorithm)) return nullptr;
  return CheckpointOf(newest);
}

void Reconstruction::Impl::GiveCheckpoint(const std::shared_ptr<const Checkpoint>& checkpoint) {
  std::vector<TakeCheckpoint> asked;
  {
    MutexLock lock(mu);
    asked.swap(checkpoint_asked);
  }
  for (const TakeCheckpoint& take : asked) take(checkpoint);
}

absl::Status Reconstruction::Impl::MaybeTestOrientation() {
  const std::int64_t points = solver->active_points();
  // What is on the device has to come back after the test, for which there must be something.
  if (!last_record || !solver->MayTestOrientation()) return absl::OkStatus();
  bool asked = false;
  {
    MutexLock lock(mu);
    asked = !orientation_asked.empty();
  }
  asked &= all_active || points >= static_cast<std::int64_t>(kOrientationPoints);
  const bool due = orientation_due && (points >= *orientation_due ||
                                       (all_active && points >= kFewestOrientationPoints));
  if (!asked && !due) return absl::OkStatus();
  if (asked || orientation_cost == 0) {
    const absl::StatusOr<std::int64_t> cost = solver->PrepareOrientationTest();
    if (absl::IsFailedPrecondition(cost.status())) {
      orientation_due.reset();
      GiveOrientation(cost.status());
      return absl::OkStatus();
    }
    PS_ASSIGN_OR_RETURN(orientation_cost, cost);
  }
  const double cost_s = static_cast<double>(orientation_cost) * last_record->seconds /
                        static_cast<double>(last_record->active_points);
  if (!asked && cost_s > std::max(kOrientationSeconds, kOrientationShare * run.elapsed_s)) {
    return absl::OkStatus();
  }
  PS_RETURN_IF_ERROR(PublishPresent());
  PS_ASSIGN_OR_RETURN(std::shared_ptr<const Checkpoint> present,
                      solver->MakeCheckpoint(NewestSnapshot(), options.most_checkpoint_wave_bytes));
  solver->BeginOrientationTest(std::move(present));
  return absl::OkStatus();
}

absl::Status Reconstruction::Impl::AdvanceOrientationTest() {
  PS_ASSIGN_OR_RETURN(std::optional<OrientationRanking> found, solver->TryOrientation());
  if (!found) return absl::OkStatus();
  orientation_cost = 0;
  if (IsClear(*found) || all_active) {
    orientation_due.reset();
  } else if (orientation_due) {
    orientation_due = kOrientationGrowth * solver->active_points();
  }
  {
    MutexLock lock(mu);
    shown.orientation = *found;
  }
  if (IsClear(*found) && !IsConfirmed(*found)) Warn(OrientationWarning(*found));
  options.on_progress();
  GiveOrientation(*std::move(found));
  return absl::OkStatus();
}

void Reconstruction::Impl::GiveOrientation(const absl::StatusOr<OrientationRanking>& found) {
  std::vector<TakeOrientation> asked;
  {
    MutexLock lock(mu);
    asked.swap(orientation_asked);
  }
  for (const TakeOrientation& take : asked) take(found);
}

absl::StatusOr<MeasuredFrame> Reconstruction::Impl::ReadFrame(
    std::optional<std::int64_t> frame_id) {
  const std::optional<FrameStore::LoadedFrame> loaded = store->Loaded(frame_id);
  if (!loaded) {
    return absl::NotFoundError(frame_id ? absl::StrCat("frame ", *frame_id, " is not on the device")
                                        : "no frame has got to the device yet");
  }
  PS_ASSIGN_OR_RETURN(FloatImage counts, solver->ReadFrame(loaded->slot));
  return MeasuredFrame{loaded->frame_id,
                       near_field ? std::move(counts) : ZeroFrequencyCentred(counts)};
}

absl::Status Reconstruction::Impl::AnswerFrames() {
  absl::Status failed;
  for (AskedFrame& asked : TakeAskedFrames()) {
    absl::StatusOr<MeasuredFrame> frame = ReadFrame(asked.frame_id);
    if (!frame.ok() && !absl::IsNotFound(frame.status())) failed = frame.status();
    asked.done(std::move(frame));
  }
  return failed;
}

absl::Status Reconstruction::Impl::Complete(Completion completion) {
  if (solver->started() && solver->active_points() > 0) {
    PS_ASSIGN_OR_RETURN(const bool ignored, PollSnapshot(/*wait=*/true, /*final=*/false));
    (void)ignored;
    if (!last_record) last_record.emplace();
    last_record->active_points = solver->active_points();
    PS_RETURN_IF_ERROR(Evaluate());
    PS_RETURN_IF_ERROR(solver->StartSnapshot(*last_record, run));
    PS_ASSIGN_OR_RETURN(const bool published, PollSnapshot(/*wait=*/true, /*final=*/true));
    (void)published;
    bool split_halves = false;
    {
      MutexLock lock(mu);
      shown.final_fit = last_record->evaluation->fit;
      split_halves = config.quality.split_halves && completion != Completion::kStopped;
    }
    if (split_halves) {
      BeginSplitHalves(completion);
      return absl::OkStatus();
    }
  } else if (const auto restored = NewestSnapshot()) {  // Stopped before it went on.
    Publish(std::make_unique<Snapshot>(*restored), /*final=*/true);
  }
  End(completion == Completion::kStopped ? SessionState::kStopped : SessionState::kCompleted,
      completion, "");
  return absl::OkStatus();
}

void Reconstruction::Impl::BeginSplitHalves(Completion completion) {
  store->Close();
  completion_before_halves = completion;
  {
    MutexLock lock(mu);
    halves =
        std::make_unique<SplitHalves>(config, *solver, options.run_at_leisure, options.on_work);
    shown.split_halves = halves->status();
  }
  options.on_progress();
}

absl::StatusOr<bool> Reconstruction::Impl::AdvanceSplitHalves(bool stop) {
  if (stop) {
    Warn(
        "stopped before the split halves could be compared; object and probe are those of the "
        "finished run");
    End(SessionState::kStopped, Completion::kStopped, "");
    return true;
  }
  PS_ASSIGN_OR_RETURN(const bool worked, halves->Advance());
  {
    MutexLock lock(mu);
    shown.split_halves = halves->status();
  }
  if (halves->done()) {
    if (!halves->failure().empty()) {
      Warn(absl::StrCat("the split halves could not be compared: ", halves->failure()));
    }
    End(SessionState::kCompleted, completion_before_halves, "");
    return true;
  }
  if (worked) options.on_progress();
  return worked;
}

absl::StatusOr<bool> Reconstruction::Impl::PollSnapshot(bool wait, bool final) {
  if (!solver->snapshot_under_way()) return false;
  PS_ASSIGN_OR_RETURN(std::unique_ptr<Snapshot> snapshot, solver->FinishSnapshot(wait));
  if (snapshot == nullptr) return false;
  Publish(std::move(snapshot), final);
  return true;
}

std::shared_ptr<const Snapshot> Reconstruction::Impl::NewestSnapshot() const {
  MutexLock lock(mu);
  return snapshots.empty() ? nullptr : snapshots.back();
}

void Reconstruction::Impl::Publish(std::unique_ptr<Snapshot> snapshot, bool final) {
  snapshot->final = final;
  snapshot->time = std::chrono::system_clock::now();
  last_coverage = snapshot->metrics.coverage;
  last_mode_powers = snapshot->metrics.mode_powers;
  last_object_mode_powers = snapshot->metrics.object_mode_powers;
  std::shared_ptr<const Snapshot> published;
  std::vector<std::shared_ptr<const Snapshot>> retired;
  {
    MutexLock lock(mu);
    snapshot->version = ++versions;
    published = std::move(snapshot);
    shown.snapshot_version = versions;
    if (shown.last) {
      shown.last->coverage = last_coverage;
      shown.last->mode_powers = last_mode_powers;
      shown.last->object_mode_powers = last_object_mode_powers;
    }
    snapshots.push_back(published);
    while (static_cast<int>(snapshots.size()) > config.snapshots.history) {
      retired.push_back(std::move(snapshots.front()));
      snapshots.pop_front();
    }
  }
  for (auto& old : retired) Retire(std::move(old));
  if (MayGoBackTo(published->iteration)) watch.NoteSnapshot(std::move(published));
  options.on_progress();
}

bool Reconstruction::Impl::MayGoBackTo(std::int64_t iteration) const {
  return !deterministic || iteration % kFixedSnapshots == 1;
}

void Reconstruction::Impl::Retire(std::shared_ptr<const Snapshot> snapshot) {
  if (snapshot.use_count() > 1) return;
  // It takes milliseconds.
  options.run_beside([snapshot = std::move(snapshot)]() mutable { snapshot.reset(); });
}

absl::Status Reconstruction::Impl::IterateOnce(const Settings& settings) {
  StageConfig stage;
  {
    MutexLock lock(mu);
    const int next = NextStage(config, CurrentRunStatus());
    if (next != run.stage) EnterStage(next, run);
    stage = config.schedule[static_cast<std::size_t>(run.stage)];
  }
  const Clock::TimePoint begin = options.clock->Now();
  if (!first_iteration_time) {
    first_iteration_time = begin - std::chrono::duration_cast<Clock::TimePoint::duration>(
                                       std::chrono::duration<double>(run.elapsed_s));
  }
  PS_ASSIGN_OR_RETURN(const IterationMetrics metrics,
                      solver->Iterate(stage, run.step_scale, run.iteration));
  const Clock::TimePoint end = options.clock->Now();
  ++run.iteration;
  run.elapsed_s = Seconds(end - *first_iteration_time);
  if (settings.run.schedule_clock == ScheduleClock::kFromStart || run.iteration_at_end) {
    CountStageIteration(metrics.r_factor, most_stage_r, run);
  }
  IterationRecord record;
  record.iteration = run.iteration;
  record.stage = run.stage;
  record.active_points = solver->active_points();
  record.seconds = Seconds(end - begin);
  record.elapsed_s = run.elapsed_s;
  record.coverage = last_coverage;
  record.mode_powers = last_mode_powers;
  record.object_mode_powers = last_object_mode_powers;
  record.refinement = solver->refinement();
  if (last_record) record.evaluation = last_record->evaluation;
  record.metrics = metrics;
  last_record = record;
  recent.push_back(end);
  while (recent.size() > kRateIterations ||
         (recent.size() > 2 && end - recent.front() > kRateWindow)) {
    recent.pop_front();
  }
  {
    MutexLock lock(mu);
    ShowPositionLocked();
    shown.last = record;
    const double span = Seconds(recent.back() - recent.front());
    shown.iterations_per_second = span > 0 ? static_cast<double>(recent.size() - 1) / span : 0;
    history.push_back(record);
    if (history.size() > kHistoryLimit) history.pop_front();
  }
  const bool may_drift = std::holds_alternative<EpieConfig>(stage.algorithm);
  if (watch.Diverged(record, may_drift)) return RollBack(record);
  WarnIfStalled();
  PS_RETURN_IF_ERROR(MaybeStartSnapshot(settings.snapshots));
  options.on_progress();
  return absl::OkStatus();
}

absl::Status Reconstruction::Impl::Evaluate() {
  const Clock::TimePoint begin = options.clock->Now();
  PS_ASSIGN_OR_RETURN(last_record->evaluation, solver->Evaluate(run.iteration));
  evaluation_s += Seconds(options.clock->Now() - begin);
  MutexLock lock(mu);
  if (shown.last) shown.last->evaluation = last_record->evaluation;
  if (!history.empty()) history.back().evaluation = last_record->evaluation;
  return absl::OkStatus();
}

absl::Status Reconstruction::Impl::RollBack(const IterationRecord& record) {
  const double r = record.metrics.r_factor;
  const std::string what =
      record.metrics.finite && std::isfinite(r)
          ? absl::StrFormat("R rose to %.3g in iteration %d, from %.3g", r, run.iteration,
                            watch.smallest_r())
          : absl::StrCat("object or probe became NaN or infinite in iteration ", run.iteration);
  const std::shared_ptr<const Snapshot> good = watch.last_good();
  if (good == nullptr) {
    End(SessionState::kFailed, Completion::kFailed,
        absl::StrCat("diverged: ", what, ", before there was a snapshot to go back to"));
    return absl::OkStatus();
  }
  if (run.rollbacks == kMostRollbacks) {
    End(SessionState::kFailed, Completion::kFailed,
        absl::StrCat("diverged: ", what, ", after going back to a snapshot ", kMostRollbacks,
                     " times; the last snapshot is from before"));
    return absl::OkStatus();
  }
  PS_RETURN_IF_ERROR(solver->GoBackTo(*good));
  watch.NoteRollback(run.iteration);
  ++run.rollbacks;
  run.step_scale /= 2;
  run.stage_r.clear();  // What comes now does not go on from there.
  // Object and probe are those of then, should the run end here.
  last_record = good->metrics;
  last_record->iteration = run.iteration;
  {
    MutexLock lock(mu);
    ShowPositionLocked();
  }
  Warn(absl::StrFormat(
      "diverged: %s; went back to snapshot %d, of iteration %d, and goes on with %g times the "
      "configured step in this stage",
      what, good->version, good->iteration, run.step_scale));
  return absl::OkStatus();
}

void Reconstruction::Impl::WarnIfStalled() {
  const double noise = solver->noise_r_factor();
  {
    MutexLock lock(mu);  // Earlier stages may wander; the next one is still to come.
    if (run.stage + 1 < static_cast<int>(config.schedule.size())) return;
  }
  if (stall_warned || run.stage_r.empty() || run.stage_r.back() < kStalledAboveNoise * noise ||
      !OnPlateau(kStalled, run.stage_r)) {
    return;
  }
  stall_warned = true;
  Warn(absl::StrFormat(
      "stalled: R has stopped falling at %.3f in iteration %d, where noise alone would leave "
      "about %.3f; check the geometry, or begin the schedule with the difference map",
      run.stage_r.back(), run.iteration, noise));
}

void Reconstruction::Impl::WarnIfCutShort(Completion completion, const RunConfig& rules) {
  const std::int64_t had = run.iteration - grown_in;
  if (completion != Completion::kMaxIterations || had >= rules.it_ends_after) return;
  Warn(absl::StrFormat(
      "run.max_iterations ended the run: the points that came last took part in %d iterations, "
      "where run.it_ends_after would have given them %d; expect more noise and fringes there",
      had, rules.it_ends_after));
}

absl::Status Reconstruction::Impl::MaybeStartSnapshot(const SnapshotConfig& cadence) {
  // Waits for it, so that it is known in the same iterations each time.
  if (deterministic && MayGoBackTo(run.iteration)) return PublishPresent();
  if (solver->snapshot_under_way()) return absl::OkStatus();
  const Clock::TimePoint now = options.clock->Now();
  const bool first = snapshot_iteration < 0;
  if (!first) {
    if (run.iteration - snapshot_iteration < cadence.every_iterations) return absl::OkStatus();
    if (now - last_snapshot_time < std::chrono::milliseconds(cadence.min_interval_ms)) {
      return absl::OkStatus();
    }
  }
  if (evaluation_s <= kEvaluationShare * run.elapsed_s) PS_RETURN_IF_ERROR(Evaluate());
  PS_RETURN_IF_ERROR(solver->StartSnapshot(*last_record, run));
  snapshot_iteration = run.iteration;
  last_snapshot_time = now;
  return absl::OkStatus();
}

}  // namespace ptychoserve
