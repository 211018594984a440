#ifndef PTYCHOSERVE_ENGINE_SOLVER_DIVERGENCE_WATCH_H_
#define PTYCHOSERVE_ENGINE_SOLVER_DIVERGENCE_WATCH_H_

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <utility>

#include "engine/solver/progress.h"
#include "engine/solver/snapshot.h"

namespace ptychoserve {

// Sees when a run gets out of hand, and knows a snapshot from before. Not thread-safe.
//
// Object and probe that are not finite are the late end of it: they may have been worthless for
// hundreds of iterations by then, and every snapshot with them. So R is watched as well. It has
// exploded when it is above three times the smallest of the stage and above 0.7, and neither the
// stage nor the points are new; an object that is zero everywhere has 1. Runs that find their way
// do not come near it, from whatever start: in simulated scans, of 1e4 photons to noiseless ones,
// all at once and line by line, R comes to 1.9 times its smallest at most, the difference map
// without its noise tolerance included. With too large a step it soon passes 1.
class DivergenceWatch {
 public:
  using Retire = std::function<void(std::shared_ptr<const Snapshot>)>;
  // `retire` is given the snapshots that are needed no longer.
  explicit DivergenceWatch(Retire retire) : retire_(std::move(retire)) {}

  // `record` is that of the iteration just done. True when the run has diverged. With `may_drift`,
  // for ePIE, an R a tenth above the smallest with these points, 10 iterations after they or the
  // stage began, is divergence as well, and a snapshot is good up to 2 % above it.
  bool Diverged(const IterationRecord& record, bool may_drift = false);
  // A snapshot has come, maybe some iterations after it was begun.
  void NoteSnapshot(std::shared_ptr<const Snapshot> snapshot);
  // The run starts from `snapshot`.
  void StartFrom(std::shared_ptr<const Snapshot> snapshot) { good_ = std::move(snapshot); }
  // The run has gone back to last_good() in `iteration`: what was begun until then is worthless.
  void NoteRollback(std::int64_t iteration);

  // The run has ended: nothing is gone back to any more.
  void Drop();

  // The newest snapshot whose object and probe a later iteration has found to be good: an
  // iteration's R is that of its start. While there is none, the newest at all; null while there is
  // none of these either.
  const std::shared_ptr<const Snapshot>& last_good() const { return good_ ? good_ : candidate_; }
  // The smallest R since the stage began or the points became a quarter more.
  double smallest_r() const { return smallest_r_; }

 private:
  void Keep(std::shared_ptr<const Snapshot>& place, std::shared_ptr<const Snapshot> snapshot);

  const Retire retire_;
  int stage_ = -1;
  std::int64_t points_ = 0;
  std::int64_t iterations_ = 0;         // In this stage with these points.
  std::int64_t smallest_r_points_ = 0;  // When smallest_r_ was begun.
  double smallest_r_ = std::numeric_limits<double>::infinity();
  // In this stage with these points, since the last rollback.
  double settled_r_ = std::numeric_limits<double>::infinity();
  std::int64_t found_good_ = 0;     // The last iteration that began well.
  std::int64_t worthless_to_ = -1;  // Snapshots of iterations up to this one.
  std::shared_ptr<const Snapshot> good_, candidate_;
};

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_SOLVER_DIVERGENCE_WATCH_H_
