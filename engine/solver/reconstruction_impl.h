#ifndef PTYCHOSERVE_ENGINE_SOLVER_RECONSTRUCTION_IMPL_H_
#define PTYCHOSERVE_ENGINE_SOLVER_RECONSTRUCTION_IMPL_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/clock.h"
#include "engine/base/mutex.h"
#include "engine/schedule/schedule.h"
#include "engine/solver/divergence_watch.h"
#include "engine/solver/frame_loader.h"
#include "engine/solver/reconstruction.h"
#include "engine/solver/run_position.h"
#include "engine/solver/solver.h"
#include "engine/solver/split_halves.h"
#include "engine/store/frame_store.h"

namespace ptychoserve {

// What a session consists of. What any thread may do is in reconstruction.cc, the device worker's
// part in reconstruction_turn.cc.
class Reconstruction::Impl {
 public:
  Impl(ReconstructionConfig resolved, ReconstructionOptions opts)
      : options(std::move(opts)),
        created(options.clock->Now()),
        most_stage_r(RFactorsNeeded(resolved)),
        deterministic(resolved.deterministic),
        near_field(SpaceToDetector(resolved.optics, resolved.detector)),
        orientation_due(resolved.quality.test_orientation
                            ? std::optional<std::int64_t>(kOrientationPoints)
                            : std::nullopt),
        config(std::move(resolved)),
        held(options.held) {}

  // Copies of the settings that may change while running.
  struct Settings {
    RunConfig run;
    SnapshotConfig snapshots;
    ClearRegionConfig clear_region;
  };

  // Goes on from `snapshot`; before the first turn.
  void Restore(std::shared_ptr<const Snapshot> snapshot);
  bool RunTurn();
  void EnterLocked(SessionState state) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  void ShowPositionLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  void NoteInput(bool accepted);
  // AddFrames of the store, while the device takes what is staged if it can do so by itself.
  int AddAndLoad(const FrameBatch& batch, int begin);
  std::shared_ptr<const Snapshot> NewestSnapshot() const;  // Null before the first.
  absl::Status CheckOpen() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  static absl::Status Ended(SessionState state);
  // A frame of a session that has ended.
  absl::StatusOr<MeasuredFrame> KeptFrame(std::optional<std::int64_t> frame_id) const;
  void AskForCheckpoint(bool hold, TakeCheckpoint done);

  struct AskedFrame {
    std::optional<std::int64_t> frame_id;
    TakeFrame done;
  };
  std::vector<AskedFrame> TakeAskedFrames();

  // ---- Worker thread only -------------------------------------------------------------------
  absl::StatusOr<bool> Advance();
  // True when the end of data has been recognised now.
  bool RecogniseEndOfData(const FrameStore::Status& input);
  // Everything has come that ever will, and is active.
  void NoteAllActive();
  // Compares what FinishScan announced with what came, once nothing more can come.
  void CheckExpectedFrames(const IngestCounters& frames);
  // Publishes what the last iteration has left.
  absl::Status PublishPresent();
  // Gives those who have asked for a checkpoint the present one.
  absl::Status AnswerCheckpoint();
  // Of what the host has; null when the last one that was made is the better one to go on from.
  std::shared_ptr<const Checkpoint> CheckpointWithoutDevice() const;
  void GiveCheckpoint(const std::shared_ptr<const Checkpoint>& checkpoint);
  // Begins a test of the orientation if it is due: somebody has asked for one, or it is the
  // session's own and takes little time.
  absl::Status MaybeTestOrientation();
  absl::Status AdvanceOrientationTest();
  void GiveOrientation(const absl::StatusOr<OrientationRanking>& found);
  // Gives each frame that somebody has asked for. Errors: those of the device.
  absl::Status AnswerFrames();
  absl::StatusOr<MeasuredFrame> ReadFrame(std::optional<std::int64_t> frame_id);
  // Takes the last snapshot and figures. The session ends then, or after its split halves.
  absl::Status Complete(Completion completion);
  void BeginSplitHalves(Completion completion);
  absl::StatusOr<bool> AdvanceSplitHalves(bool stop);
  absl::StatusOr<bool> PollSnapshot(bool wait, bool final);
  // Gives `snapshot` the next version and makes it the newest.
  void Publish(std::unique_ptr<Snapshot> snapshot, bool final);
  absl::Status IterateOnce(const Settings& settings);
  // Measures how well the present object and probe explain the frames.
  absl::Status Evaluate();
  // The iteration of `record` has diverged: goes on from the last good snapshot with a smaller
  // step, or ends the session.
  absl::Status RollBack(const IterationRecord& record);
  // Whether the snapshot of an iteration is one that a run which diverges can go back to.
  bool MayGoBackTo(std::int64_t iteration) const;
  // Gives the memory of a snapshot back, unless somebody else has it, too.
  void Retire(std::shared_ptr<const Snapshot> snapshot);
  void WarnIfStalled();
  // Says that late points had fewer iterations than others, if they had.
  void WarnIfCutShort(Completion completion, const RunConfig& rules);
  absl::Status MaybeStartSnapshot(const SnapshotConfig& snapshots);
  void SetState(SessionState state);
  void Warn(std::string text);
  void End(SessionState state, Completion completion, std::string failure);
  RunStatus CurrentRunStatus() const;

  const ReconstructionOptions options;
  const Clock::TimePoint created;
  const std::size_t most_stage_r;
  const bool deterministic;
  const std::optional<FreeSpace> near_field;
  // Set once; null in a session that had ended when it was made.
  std::unique_ptr<FrameStore> store;
  std::unique_ptr<FrameLoader> loader;
  std::unique_ptr<Solver> solver;       // Worker thread only; null once the session is final.
  std::unique_ptr<SplitHalves> halves;  // Likewise; set when the result is there.
  Completion completion_before_halves = Completion::kNone;
  // Worker thread only, down to `recent`.
  std::size_t store_warnings = 0;  // Passed on so far.
  RunPosition run;
  std::int64_t restored_points = 0;  // Of the snapshot that the run goes on from.
  bool all_active = false;           // See NoteAllActive.
  std::int64_t grown_in = 0;         // Iterations done when the last points became active.
  bool device_lost = false;          // And the session is held for good.
  std::optional<Clock::TimePoint> first_iteration_time;  // Of this process.
  // Active points at which the session tests its orientation next; none: it has its answer.
  std::optional<std::int64_t> orientation_due;
  std::int64_t orientation_cost = 0;  // Of the test that is prepared, in iterations of one frame.
  DivergenceWatch watch{
      [this](std::shared_ptr<const Snapshot> snapshot) { Retire(std::move(snapshot)); }};
  bool stall_warned = false;
  Clock::TimePoint last_snapshot_time{};
  std::optional<IterationRecord> last_record;
  double evaluation_s = 0;               // Spent on evaluations, in this process.
  std::int64_t snapshot_iteration = -1;  // That the last begun snapshot shows.
  double last_coverage = 0;
  std::vector<double> last_mode_powers;
  std::vector<double> last_object_mode_powers;
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
  bool held ABSL_GUARDED_BY(mu);
  std::vector<TakeCheckpoint> checkpoint_asked ABSL_GUARDED_BY(mu);
  std::vector<TakeOrientation> orientation_asked ABSL_GUARDED_BY(mu);
  std::vector<AskedFrame> frames_asked ABSL_GUARDED_BY(mu);
  std::optional<MeasuredFrame> last_frame ABSL_GUARDED_BY(mu);  // Of a session that has ended.
  bool finish_asked ABSL_GUARDED_BY(mu) = false;
  std::optional<std::int64_t> expected_frames ABSL_GUARDED_BY(mu);
  bool stop_asked ABSL_GUARDED_BY(mu) = false;
  bool abort_asked ABSL_GUARDED_BY(mu) = false;
};

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_SOLVER_RECONSTRUCTION_IMPL_H_
