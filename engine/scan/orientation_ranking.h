#ifndef PTYCHOSERVE_ENGINE_SCAN_ORIENTATION_RANKING_H_
#define PTYCHOSERVE_ENGINE_SCAN_ORIENTATION_RANKING_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/config.h"

namespace ptychoserve {

// How well some neighbouring frames are explained when they lie one way.
struct OrientationTrial {
  Orientation orientation = Orientation::kIdentity;
  // What explains the data as well, with the other sign of all phases. It has a trial of its own
  // where the probe is given, which is that of one of the two. Unset in the near field, where there
  // are no twins.
  std::optional<Orientation> twin;
  std::string instead;  // See OrientationClass.
  double r_factor = 0;  // Infinite: it has none.

  bool operator==(const OrientationTrial&) const = default;
};

// Which way frames and positions belong together.
struct OrientationRanking {
  std::int64_t points = 0;               // That were looked at.
  std::vector<OrientationTrial> trials;  // By rising R-factor, the declared one or its twin among
                                         // them; at least two that are not twins.
  Orientation declared = Orientation::kIdentity;

  const OrientationTrial& best() const { return trials.front(); }
  // That of the declared orientation, or else of its twin.
  const OrientationTrial& own() const;
  // By how much the R-factor of the best that is neither the best of all nor its twin lies above
  // that, as a part of it. 0 when the best has none.
  double margin() const;
  // Whether the declared orientation is the best, or the twin of the best and above it by less than
  // `least_margin`. Where it is above by more, the probe is the other's.
  bool declared_is_best(double least_margin) const;

  bool operator==(const OrientationRanking&) const = default;
};

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_SCAN_ORIENTATION_RANKING_H_
