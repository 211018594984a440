#ifndef PTYCHOSERVE_ENGINE_ALGORITHMS_PROJECTIONS_H_
#define PTYCHOSERVE_ENGINE_ALGORITHMS_PROJECTIONS_H_

#include <optional>
#include <variant>

#include "engine/algorithms/alternating_projections.h"
#include "engine/algorithms/difference_map.h"
#include "engine/algorithms/projection_update.h"
#include "engine/algorithms/raar.h"
#include "engine/config.h"

// The algorithms that keep an exit wave for each point differ in a few numbers only.

namespace ptychoserve {

struct Projection {
  ProjectionUpdate update;
  double relaxation = 0;         // Of the modulus constraint; see difference_map.h.
  std::optional<double> sigma2;  // Replaces it when set.
  Regularisation regularisation;
};

// Unset for an algorithm that keeps no exit waves.
inline std::optional<Projection> ProjectionOf(const AlgorithmConfig& algorithm) {
  const auto with = [](const ProjectionUpdate& update, const auto& config) {
    return Projection{update, config.relaxation, config.sigma2, config.regularisation};
  };
  if (const auto* dm = std::get_if<DifferenceMapConfig>(&algorithm)) {
    return with(DifferenceMapUpdate(dm->beta), *dm);
  }
  if (const auto* raar = std::get_if<RaarConfig>(&algorithm)) {
    return with(RaarUpdate(raar->beta), *raar);
  }
  if (const auto* ap = std::get_if<AlternatingProjectionsConfig>(&algorithm)) {
    return with(AlternatingProjectionsUpdate(), *ap);
  }
  return std::nullopt;
}

inline bool KeepsExitWaves(const AlgorithmConfig& algorithm) {
  return ProjectionOf(algorithm).has_value();
}

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_ALGORITHMS_PROJECTIONS_H_
