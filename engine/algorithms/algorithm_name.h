#ifndef PTYCHOSERVE_ENGINE_ALGORITHMS_ALGORITHM_NAME_H_
#define PTYCHOSERVE_ENGINE_ALGORITHMS_ALGORITHM_NAME_H_

#include <type_traits>
#include <variant>

#include "engine/config.h"

namespace ptychoserve {

// As the stages of the API are called.
inline const char* AlgorithmName(const AlgorithmConfig& algorithm) {
  return std::visit(
      []<class T>(const T&) {
        if constexpr (std::is_same_v<T, DifferenceMapConfig>) return "difference_map";
        if constexpr (std::is_same_v<T, MlGradientConfig>) return "ml_gradient";
        if constexpr (std::is_same_v<T, EpieConfig>) return "epie";
        if constexpr (std::is_same_v<T, RaarConfig>) return "raar";
        if constexpr (std::is_same_v<T, AlternatingProjectionsConfig>) {
          return "alternating_projections";
        }
        if constexpr (std::is_same_v<T, LsqMlConfig>) return "lsq_ml";
      },
      algorithm);
}

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_ALGORITHMS_ALGORITHM_NAME_H_
