#ifndef PTYCHOSERVE_ENGINE_SOLVER_RECONSTRUCTION_H_
#define PTYCHOSERVE_ENGINE_SOLVER_RECONSTRUCTION_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/base/clock.h"
#include "engine/base/mutex.h"
#include "engine/config.h"
#include "engine/frames/frame_batch.h"
#include "engine/scan/id_ranges.h"
#include "engine/scan/position_batch.h"
#include "engine/solver/checkpoint.h"
#include "engine/solver/frame_view.h"
#include "engine/solver/progress.h"
#include "engine/solver/snapshot.h"
#include "engine/solver/solver.h"
#include "engine/store/frame_store.h"

namespace ptychoserve {

struct ReconstructionOptions {
  const Clock* clock = &Clock::Steady();
  // Host bytes for frames that have been accepted and wait for the device.
  std::int64_t staging_bytes = 256 << 20;
  // Runs what takes milliseconds and must not hold the turns up, such as copying a snapshot; on any
  // thread, but all of it: the end of a session waits for its snapshot.
  RunBeside run_beside = [](const std::function<void()>& work) { work(); };
  // The same for what takes seconds; nothing but its own session waits for it.
  RunBeside run_at_leisure = [](const std::function<void()>& work) { work(); };
  // Called, on any thread and without locks held, when a turn would find something to do.
  std::function<void()> on_work = [] {};
  // The run goes on from this one, of the same configuration, in place of starting from nothing:
  // with its object, probe and exit waves, from its RunPosition on, with later versions and
  // iteration numbers. Its snapshot is the latest one until the next. Input has to come in anew:
  // see `held`. Null: none.
  std::shared_ptr<const Checkpoint> restored;
  // Exit waves that take more than this are left out of checkpoints.
  std::int64_t most_checkpoint_wave_bytes = std::int64_t{4} << 30;
  // Until Release, input is taken in and gets to the device, so that its staging memory is used
  // again, but nothing starts, iterates or ends by a rule: for input that is replayed.
  bool held = false;
  // Called, on any thread, with an error after which nothing on the device can be read any more.
  std::function<void(const absl::Status&)> on_device_lost = [](const absl::Status&) {};
  // What then becomes of the session: it is held for good, with what the host has, to go on
  // elsewhere; otherwise it fails.
  bool outlives_device = false;
  // Called after each change of state, warning, iteration or snapshot. Must be quick.
  std::function<void()> on_progress = [] {};
};

// What is known of a session that has reached a final state.
struct EndedRun {
  Progress progress;  // Of then, totals of the input included.
  std::vector<StateChange> state_changes;
  std::vector<IterationRecord> history;
  std::shared_ptr<const Snapshot> snapshot;  // The last one; null: there was none.
};

// One session: takes frames and positions in, iterates, hands snapshots out.
//
// Thread-safe, by division: AddFrames, AddPositions, FinishScan, Stop, Release, Update* and readers
// may be called from any thread at any time; RunTurn is called by the one device worker.
class Reconstruction {
 public:
  // `config` must be valid (see Validate); it is resolved here.
  // Errors: kResourceExhausted when the device has no memory, those of Device and of CheckRestored.
  static absl::StatusOr<std::unique_ptr<Reconstruction>> Create(ReconstructionConfig config,
                                                                Device& device,
                                                                ReconstructionOptions options);
  // A session that has ended earlier, in another process: it holds no device memory, and can be
  // read as it could be then. Errors: kInvalidArgument when the state is not final.
  static absl::StatusOr<std::unique_ptr<Reconstruction>> CreateEnded(ReconstructionConfig config,
                                                                     EndedRun ended);
  ~Reconstruction();

  // What the device is asked to hold for `config` (valid and resolved).
  static BackendConfig BackendConfigFor(const ReconstructionConfig& config);

  // Takes frames from `batch`, starting with its frame number `begin` (0-based within the
  // batch), until done or until the staging memory is full. Returns the number of the first
  // frame not taken; batch.count() when done. Frames that are refused are counted.
  // Errors: kFailedPrecondition when the session has reached a final state.
  absl::StatusOr<int> AddFrames(const FrameBatch& batch, int begin);
  // Runs `ready` once, when staging memory has become free or the session has ended; at once if
  // that is so now.
  void NotifyWhenSpace(std::function<void()> ready);
  // Errors: as AddFrames.
  absl::Status AddPositions(const PositionBatch& batch);
  absl::Status AddEncoderSamples(const EncoderBatch& batch);
  // Frames that the detector has lost and nobody will send: ids that have no accepted frame are
  // accounted for and count towards scan.expected_points. A frame that comes all the same is taken,
  // and its id is no longer counted as skipped. `count` is 1..FrameStore::kMaxSkippedAtOnce; ids
  // below scan.first_frame_id are refused as kBadId, all as kLate after the end of data.
  // Errors: as AddFrames; kInvalidArgument when `count` is out of range.
  absl::Status SkipFrames(std::int64_t first_frame_id, std::int64_t count);
  // What of the input has not come yet, at most `limit` ranges of ids; see FrameStore. Of a session
  // that had ended when it was made, no more than its watermarks is known.
  MissingIds MissingFrames(std::size_t limit) const;
  MissingIds MissingPositions(std::size_t limit) const;
  // Whether all further input is refused as late.
  bool input_closed() const;
  // Bytes of staging memory that are free now.
  std::int64_t free_staging_bytes() const;

  // End of data; idempotent. `expected_frames`, when given, is compared with what has been accepted
  // or skipped, and a difference is reported as a warning.
  absl::Status FinishScan(std::optional<std::int64_t> expected_frames);
  // Ends the session with its present result. `abort` gives up the iteration under way's
  // snapshot; otherwise a last snapshot is taken. Errors: kFailedPrecondition when final.
  absl::Status Stop(bool abort);
  // As soon as the iteration under way has ended, its snapshot is published and `done` is given the
  // run's checkpoint, once, on any thread. It is null when there is nothing new to go on from: no
  // iteration has been done in this process, or the session has ended.
  void MakeCheckpoint(TakeCheckpoint done);
  // Holds the session for good and makes the checkpoint of then. For going on elsewhere.
  void Suspend(TakeCheckpoint done);
  // Tests the orientation with the points of now, as soon as kOrientationPoints are active, or all
  // there will ever be, and gives `done` what was found, once, on any thread. The run stands still
  // meanwhile and then goes on as if nothing had been. Given to `done`: kFailedPrecondition when
  // the session ends before, or there is no room for it.
  void TestOrientation(TakeOrientation done);
  // Gives `done` the frame of that id, or else the one that has got to the device last, once, on
  // any thread, after the iteration under way. Given to `done`: kNotFound when it is not on the
  // device; kFailedPrecondition when the session has ended, which keeps the last frame alone;
  // kUnavailable when the device is lost.
  void ReadFrame(std::optional<std::int64_t> frame_id, TakeFrame done);
  // What the newest snapshot expects of the frame of that id; none when it does not show it.
  std::optional<ExpectedFrame> FindExpectedFrame(std::int64_t frame_id) const;
  // Lets a held session go on; idempotent. The idle time begins anew.
  void Release();
  // Lets `change` edit a copy of the configuration, under a lock: be quick. What it did to run,
  // snapshots and clear_region is taken over, unless the result is not valid: then nothing
  // changes, and the violations are returned. Errors: kFailedPrecondition when final.
  absl::StatusOr<std::vector<FieldViolation>> UpdateSettings(
      const std::function<void(ReconstructionConfig&)>& change);

  ReconstructionConfig config() const;
  SessionState state() const;  // Cheaper than progress().
  // Changes of state in order, the first one to kCreated, from number `from` on.
  std::vector<StateChange> state_changes(std::size_t from) const;
  Progress progress() const;
  std::vector<IterationRecord> history() const;             // At most the last 100 000 iterations.
  std::shared_ptr<const Snapshot> latest_snapshot() const;  // Null before the first.
  // The newest kept snapshot with that version; null when there is none.
  std::shared_ptr<const Snapshot> snapshot(std::int64_t version) const;

  // Does the next piece of work: load what is staged, activate points, at most one iteration.
  // Returns false when there was nothing to do. Errors of the device end the session (kFailed)
  // and are reported there, not here; see also ReconstructionOptions::outlives_device.
  bool RunTurn();

 private:
  Reconstruction(ReconstructionConfig config, ReconstructionOptions options);
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_SOLVER_RECONSTRUCTION_H_
