#include "engine/scan/orientation_ranking.h"

#include <algorithm>
#include <cmath>

namespace ptychoserve {

const OrientationTrial& OrientationRanking::own() const {
  const auto own = std::ranges::find(trials, declared, &OrientationTrial::orientation);
  return own != trials.end() ? *own : *std::ranges::find(trials, declared, &OrientationTrial::twin);
}

double OrientationRanking::margin() const {
  const auto other = std::ranges::find_if(trials, [this](const OrientationTrial& t) {
    return t.orientation != best().orientation && t.orientation != best().twin;
  });
  const double r = best().r_factor;
  return r > 0 && std::isfinite(r) ? other->r_factor / r - 1 : 0;
}

bool OrientationRanking::declared_is_best(double least_margin) const {
  return (best().orientation == declared || best().twin == declared) &&
         own().r_factor <= (1 + least_margin) * best().r_factor;
}

}  // namespace ptychoserve
