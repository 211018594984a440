#ifndef PTYCHOSERVE_ENGINE_BASE_CONSTANTS_H_
#define PTYCHOSERVE_ENGINE_BASE_CONSTANTS_H_

#include <numbers>

namespace ptychoserve {

inline constexpr double kTwoPi = 2 * std::numbers::pi;

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_BASE_CONSTANTS_H_
