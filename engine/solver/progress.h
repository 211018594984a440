#ifndef PTYCHOSERVE_ENGINE_SOLVER_PROGRESS_H_
#define PTYCHOSERVE_ENGINE_SOLVER_PROGRESS_H_

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/backend/backend.h"
#include "engine/quality/frc.h"
#include "engine/solver/orientation_test.h"
#include "engine/store/ingest_report.h"

namespace ptychoserve {

// Life of a session. Legal transitions:
//   kCreated -> kReceiving             first frame or position
//   kReceiving -> kReconstructing      enough points to start
//   kReceiving, kReconstructing -> kRefining   end of data (and at least one point)
//   kReconstructing, kRefining -> kCompleted   a run rule fired
//   any but the last three -> kStopped         asked to
//   any but the last three -> kFailed          see Progress::failure
// kCompleted, kStopped and kFailed are final.
enum class SessionState {
  kCreated,
  kReceiving,
  kReconstructing,
  kRefining,
  kCompleted,
  kStopped,
  kFailed,
};
constexpr bool IsFinal(SessionState s) { return s >= SessionState::kCompleted; }

struct StateChange {
  SessionState state = SessionState::kCreated;
  std::chrono::system_clock::time_point time;
};

enum class EndOfData { kNone, kFinishScan, kExpectedPoints, kIdleTimeout, kCapacity };

enum class Completion { kNone, kItEndsAfter, kMaxIterations, kStopped, kFailed };

// What refinement has found beside object and probe; see engine/solver/refinement.h. Shifts are
// those from the measured positions, in object pixels.
struct RefinementFigures {
  double shift_rms_px = 0;
  std::int64_t positions_at_limit = 0;  // Shifted by refinement.max_shift_px.
  // The linear part of the shifts, s = A r: the refined scan is longer than the measured one by
  // these parts along rows and columns, turned from +row towards +col, and sheared.
  double scale_row = 0;
  double scale_col = 0;
  double rotation_rad = 0;
  double shear_rad = 0;
  double intensity_rms = 0;      // Standard deviation of the frames' light, of its mean.
  double background_counts = 0;  // Σ b, of one frame.
  // Power of each component of the probe's variation, of that of the probe, in the mean of the
  // frames; falling. Frames whose variation has been cut at the power of the probe.
  std::vector<double> variation_powers;
  std::int64_t variations_at_limit = 0;

  bool operator==(const RefinementFigures&) const = default;
};

// How well object and probe explained the frames.
struct Evaluation {
  std::int64_t iteration = 0;          // Iterations done by then.
  FitMetrics fit;                      // Of all points that were active.
  std::optional<FitMetrics> held_out;  // Of those that are held out, once there are some.
};

// One iteration in the history.
struct IterationRecord {
  std::int64_t iteration = 0;  // 1 for the first.
  int stage = 0;               // Index into the schedule.
  std::int64_t active_points = 0;
  double seconds = 0;    // Duration of the iteration.
  double elapsed_s = 0;  // Since the first iteration began.
  double coverage = 0;   // Fraction of the scanned area with coverage above 1 % of its maximum; of
                         // the last snapshot.
  // Part of the probe's power in each of its orthogonal modes, falling; as of the last snapshot.
  // Empty with one mode.
  std::vector<double> mode_powers;
  // Likewise of the light that each orthogonal mode of the object scatters.
  std::vector<double> object_mode_powers;
  std::optional<RefinementFigures> refinement;  // When something has been refined.
  std::optional<Evaluation> evaluation;         // The last one.
  IterationMetrics metrics;
};

// Two reconstructions from half of the points each, and how far they agree; see SplitHalves.
struct SplitHalvesStatus {
  std::int64_t iterations = 0;                      // Done,
  std::int64_t iterations_planned = 0;              // and to be done, of both halves together.
  std::optional<RingCorrelation> ring_correlation;  // Once both are done.
};

// Everything that is known about a session's progress. A consistent copy.
struct Progress {
  SessionState state = SessionState::kCreated;
  EndOfData end_of_data = EndOfData::kNone;
  Completion completion = Completion::kNone;
  bool partial = false;  // Ended with fewer points than expected.
  std::string failure;   // In words, for kFailed.
  IngestCounters frames;
  IngestCounters positions;
  std::int64_t joined_points = 0;    // Have frame and position.
  std::int64_t active_points = 0;    // Used by the iterations.
  std::int64_t held_out_points = 0;  // See QualityConfig::held_out_every.
  std::int64_t empty_frames = 0;     // Joined, but without a single count: not used.
  std::int64_t frames_without_position = 0;
  std::int64_t positions_without_frame = 0;
  std::int64_t incomplete_encoder_frames = 0;  // Some encoder samples have arrived, not all.
  std::int64_t staged_frames = 0;              // Accepted, not yet on the device.
  std::int64_t iteration = 0;                  // Iterations done.
  std::int64_t iterations_after_end = 0;
  int stage = 0;
  int rollbacks = 0;                 // Times that the run has diverged and gone back to a snapshot.
  double iterations_per_second = 0;  // Over the last seconds.
  std::int64_t snapshot_version = 0;
  std::optional<double> probe_defocus_m;  // See RunPosition.
  std::optional<IterationRecord> last;
  std::optional<FitMetrics> final_fit;            // Of the finished result.
  std::optional<SplitHalvesStatus> split_halves;  // When they have begun.
  std::optional<OrientationRanking> orientation;  // Of the last test.
  std::int64_t device_bytes = 0;
  std::vector<std::string> warnings;  // In order of appearance.
};

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_SOLVER_PROGRESS_H_
