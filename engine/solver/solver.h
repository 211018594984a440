#ifndef PTYCHOSERVE_ENGINE_SOLVER_SOLVER_H_
#define PTYCHOSERVE_ENGINE_SOLVER_SOLVER_H_

#include <cstdint>
#include <functional>
#include <future>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/config.h"
#include "engine/quality/frc.h"
#include "engine/scan/optics.h"
#include "engine/solver/checkpoint.h"
#include "engine/solver/defocus.h"
#include "engine/solver/orientation_test.h"
#include "engine/solver/progress.h"
#include "engine/solver/refinement.h"
#include "engine/solver/run_position.h"
#include "engine/solver/snapshot.h"
#include "engine/store/frame_store.h"

namespace ptychoserve {

// Runs some work, now or later, on this thread or another.
using RunBeside = std::function<void(std::function<void()>)>;

// Whether a run of `config`, resolved, can start from `checkpoint`: its object, probe and exit
// waves are of the right shapes, its canvas is no larger than the session's may get, its stage
// exists. Errors: kInvalidArgument, naming what does not fit.
absl::Status CheckRestored(const Checkpoint& checkpoint, const ReconstructionConfig& config,
                           std::int64_t max_object_pixels);

// The device worker's side of a session: moves points from the store to the backend, iterates,
// and brings snapshots back. Knows nothing of states and rules. Not thread-safe.
// Errors of every method: those of Backend.
class Solver {
 public:
  // `config` is resolved; `store` outlives the solver. Snapshots are collected by `run_beside`:
  // copying some tens of megabytes takes longer than an iteration. With `restored` (see
  // CheckRestored) it starts from that one's object, probe and exit waves.
  Solver(const ReconstructionConfig& config, std::unique_ptr<Backend> backend, FrameStore& store,
         RunBeside run_beside, std::shared_ptr<const Checkpoint> restored = nullptr);
  // Waits for the snapshot under way.
  ~Solver();

  // Notes the points that became ready. False when there are none.
  bool NoteReady();
  // Points that are ready and held out.
  std::int64_t held_out_points() const { return std::ssize(held_out_); }
  // Ready points that are not active yet.
  std::int64_t waiting_points() const { return static_cast<std::int64_t>(waiting_.size()); }
  std::int64_t active_points() const { return static_cast<std::int64_t>(active_->size()); }

  // Sets the initial probe: the restored one; else the given one, or one made from the waiting
  // points' frames, propagated as configured or as a DefocusSearch says. Called until it returns
  // something, before the first activation: a search takes a trial each time.
  // Returns warnings in words: when the given probe does not fit the counts, and StartWarnings.
  absl::StatusOr<std::optional<std::vector<std::string>>> Start();
  // As RunPosition has it.
  const std::optional<double>& probe_defocus_m() const { return probe_defocus_m_; }
  bool started() const { return started_; }
  // R-factor that shot noise alone would leave, estimated from the frames seen at the start.
  double noise_r_factor() const { return noise_r_factor_; }
  // Makes all waiting points active.
  absl::Status ActivateWaiting(const ClearRegionConfig& clear_region);

  // One iteration of `stage`, number `iteration` (0-based), with `step_scale` times its steps;
  // recentring and refinement included.
  //
  // No frame tells c P and O / c apart, and what the algorithms average away makes one of them
  // fade and the other grow, by a factor of two in some hundred iterations. So the power of the
  // probe is kept at that of the initial one. Whenever it
  // is a percent off, both are rescaled. A frozen probe, or limits of the object's amplitude, fix
  // the scale by themselves.
  absl::StatusOr<IterationMetrics> Iterate(const StageConfig& stage, double step_scale,
                                           std::int64_t iteration);
  // As of now; none before the first refinement.
  const std::optional<RefinementFigures>& refinement() const { return refinement_; }
  // Of object and probe as they are after `iteration` iterations. Snapshots from now on have each
  // point's own.
  absl::StatusOr<Evaluation> Evaluate(std::int64_t iteration);

  // A test of the orientation with the active points, at least one, as they were measured. It
  // borrows the backend, and nothing else may use that meanwhile.
  //
  // Whether the present state could be copied and brought back for it.
  bool MayTestOrientation() const;
  // What the test would take, in iterations of one frame. Errors: kFailedPrecondition when there is
  // no room for it.
  absl::StatusOr<std::int64_t> PrepareOrientationTest();
  // `present` is a checkpoint of now. Prepared.
  void BeginOrientationTest(std::shared_ptr<const Checkpoint> present);
  // The checkpoint that a test under way goes back to; null: there is none.
  const std::shared_ptr<const Checkpoint>& before_test() const { return before_test_; }
  // A trial. After the last one the backend is as it was before, and this is what was found.
  absl::StatusOr<std::optional<OrientationRanking>> TryOrientation();
  // Gives a test under way up, if there is one.
  absl::Status EndOrientationTest();

  // Begins from nothing once more, with every other one of the points that were active before the
  // first call, from number `first`, 0 or 1, on. A session that was restored begins as it had in
  // the first place. No snapshot is under way.
  absl::Status StartAnewWithHalf(int first);
  // The object as it is now, the strongest of its modes. Waits for the device.
  absl::StatusOr<PlacedObject> ReadObject();
  // As Backend::ReadFrame.
  absl::StatusOr<FloatImage> ReadFrame(std::int32_t slot) { return backend_->ReadFrame(slot); }

  // Object, probe and what has been refined become those of `snapshot`, one of this session; exit
  // waves start anew.
  absl::Status GoBackTo(const Snapshot& snapshot);

  // Begins to copy the present state; `record` is that of the last iteration, `run` where the run
  // is now.
  absl::Status StartSnapshot(const IterationRecord& record, const RunPosition& run);
  bool snapshot_under_way() const { return snapshot_.valid(); }
  // The snapshot begun last, once it has arrived; null while it has not, unless `wait`. Version
  // and time are left to the caller.
  absl::StatusOr<std::unique_ptr<Snapshot>> FinishSnapshot(bool wait);

  // A checkpoint of now, whose snapshot `snapshot` is; there has been an iteration. Exit waves that
  // take more than `most_wave_bytes` are left out. Waits for the device.
  absl::StatusOr<std::shared_ptr<const Checkpoint>> MakeCheckpoint(
      std::shared_ptr<const Snapshot> snapshot, std::int64_t most_wave_bytes);

 private:
  // Whether the scale of object and probe is free: neither is a frozen probe's, nor one that limits
  // of the object's amplitude go by.
  bool MayScaleProbe() const;
  // The configured probe, or one made from `mean`, propagated. The difference map finds the scale
  // by itself, the other algorithms hardly, so that one that no frame may have is made theirs.
  ComplexStack InitialProbe(const FloatImage& mean) const;
  // Whether nothing is known of the beam, so that how far it is out of focus has to be found out,
  bool FindsDefocus() const;
  // and whether the start has to do it now.
  bool LacksDefocus() const;
  // A trial of the search, which begins or ends with it.
  absl::Status SearchDefocus();
  absl::StatusOr<FloatImage> MeanAmplitudeOf(const std::vector<FrameStore::Point>& points);
  absl::Status Recentre();
  // From the backend, which has moved or rescaled them.
  absl::Status TakeProbeComponents();
  absl::Status KeepScale(double probe_power);
  absl::Status Refine(const StageRefinement& which, double step_scale);
  // Those that `points` tell of.
  static void TakeRefined(std::span<const std::int64_t> ids,
                          std::span<const PointRefinement> refined,
                          std::vector<ActivePoint>& points);
  absl::Status SetBackground(std::shared_ptr<const FloatImage> background);
  absl::Status SetProbeComponents(std::shared_ptr<const ComplexStack> components);
  // Those of a probe that does not vary.
  ComplexStack NoProbeComponents() const;
  std::vector<PointWindow> ActiveWindows() const;
  std::int64_t ExitWaveBytes() const;  // On the host.
  absl::Status RestartExitWaves();
  // Sets the first modes of the object, and the canvas; the other modes begin anew. No point is
  // active.
  absl::Status SetObject(const ComplexStack& object, const Region& canvas);
  absl::Status MoveCanvas(const Region& canvas);
  // Sets canvas, the exact object, background and the probe's components of `restored`; no point is
  // active.
  absl::Status SetStateOf(const Checkpoint& restored);
  // Gives the active points that `restored` shows their exit waves.
  absl::Status SetExitWavesOf(const Checkpoint& restored);
  // Gives the backend its momentum, if points and canvas are those of the checkpoint.
  absl::Status SetMomentumOf(const Checkpoint& restored);
  bool IsHeldOut(const FrameStore::Point& point) const;
  // Those of the waiting points that the restored snapshot does not show.
  std::vector<FrameStore::Point> UnknownPoints() const;

  const ReconstructionConfig config_;
  const PixelSize pixel_size_;
  const Shape frame_shape_;
  std::unique_ptr<Backend> backend_;
  FrameStore& store_;
  const RunBeside run_beside_;
  std::shared_ptr<const Checkpoint> restored_;     // Null after its object has been set.
  std::vector<std::int64_t> restored_ids_;         // Frames that it shows, sorted,
  std::vector<PointRefinement> restored_refined_;  // and what was known of each.
  bool started_ = false;
  std::optional<DefocusSearch> defocus_search_;  // Under way.
  std::optional<double> probe_defocus_m_;
  std::optional<OrientationTest> orientation_test_;  // Prepared or under way.
  std::shared_ptr<const Checkpoint> before_test_;    // Null while none is under way.
  double probe_power_ = 0;                           // To be kept.
  double noise_r_factor_ = 0;
  bool waves_are_stale_ = false;  // After any iteration but the difference map's, or none are kept.
  Region canvas_;
  std::vector<FrameStore::Point> waiting_;
  std::vector<FrameStore::Point> held_out_;
  // In frame-id order. Shared with the snapshot under way, so replaced rather than changed.
  std::shared_ptr<const std::vector<ActivePoint>> active_;
  // Null until they have been refined.
  std::shared_ptr<const FloatImage> background_;
  std::shared_ptr<const ComplexStack> probe_components_;
  std::optional<RefinementFigures> refinement_;
  std::future<absl::StatusOr<std::unique_ptr<Snapshot>>> snapshot_;  // Under way when valid.
  std::shared_ptr<const std::vector<ActivePoint>> all_;              // Of which halves are taken.
};

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_SOLVER_SOLVER_H_
