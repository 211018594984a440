#include "engine/solver/divergence_watch.h"

#include <algorithm>
#include <cmath>

namespace ptychoserve {
namespace {

constexpr double kExplodedFactor = 3;
constexpr double kExplodedAtLeast = 0.7;
// R may be anything while a stage finds its way, or new points do: where probe and object have
// traded a factor, the object of new points is off by that factor.
constexpr std::int64_t kGraceIterations = 10;
// Up to so many times the smallest R a snapshot is worth going back to; what is above is on its way
// out, or, in a run that wanders, no better than one that is kept already.
constexpr double kGoodFactor = 2;
// ePIE can leave a solution slowly: R then rises for good, by some per mille an iteration, while in
// a run that settles it never does.
constexpr double kDriftedFactor = 1.1;
constexpr double kSettledFactor = 1.02;
// With so many more points R is not what it was.
constexpr double kManyNewPoints = 1.25;

}  // namespace

bool DivergenceWatch::Diverged(const IterationRecord& record, bool may_drift) {
  const double r = record.metrics.r_factor;
  if (!record.metrics.finite || !std::isfinite(r)) return true;
  if (record.stage != stage_ || static_cast<double>(record.active_points) >
                                    kManyNewPoints * static_cast<double>(smallest_r_points_)) {
    smallest_r_points_ = record.active_points;
    smallest_r_ = r;
  }
  if (record.stage != stage_ || record.active_points != points_) {
    iterations_ = 0;
    settled_r_ = r;
  }
  stage_ = record.stage;
  points_ = record.active_points;
  const bool exploded = r > std::max(kExplodedFactor * smallest_r_, kExplodedAtLeast);
  const bool drifted = may_drift && r > kDriftedFactor * settled_r_;
  if (iterations_++ >= kGraceIterations && (exploded || drifted)) return true;
  smallest_r_ = std::min(smallest_r_, r);
  settled_r_ = std::min(settled_r_, r);
  if (r <= (may_drift ? kSettledFactor * settled_r_ : kGoodFactor * smallest_r_)) {
    found_good_ = record.iteration;
    if (candidate_ != nullptr) NoteSnapshot(std::exchange(candidate_, nullptr));
  }
  return false;
}

void DivergenceWatch::NoteSnapshot(std::shared_ptr<const Snapshot> snapshot) {
  if (snapshot->iteration <= worthless_to_) return;
  const bool known_good = found_good_ > snapshot->iteration;
  Keep(known_good ? good_ : candidate_, std::move(snapshot));
}

void DivergenceWatch::NoteRollback(std::int64_t iteration) {
  worthless_to_ = iteration;
  iterations_ = 0;
  settled_r_ = std::numeric_limits<double>::infinity();
  if (good_ == nullptr) good_ = std::exchange(candidate_, nullptr);
  Keep(candidate_, nullptr);
}

void DivergenceWatch::Drop() {
  Keep(good_, nullptr);
  Keep(candidate_, nullptr);
}

void DivergenceWatch::Keep(std::shared_ptr<const Snapshot>& place,
                           std::shared_ptr<const Snapshot> snapshot) {
  if (auto before = std::exchange(place, std::move(snapshot))) retire_(std::move(before));
}

}  // namespace ptychoserve
