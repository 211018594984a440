#ifndef PTYCHOSERVE_CLIENT_CLI_ORIENT_PLAN_H_
#define PTYCHOSERVE_CLIENT_CLI_ORIENT_PLAN_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "engine/config.h"
#include "ptychoserve/v1/config.pb.h"

namespace ptychoserve::cli {

// "ORIENTATION_FLIP_LR"
std::string ApiName(Orientation orientation);
// What is not set is the identity.
Orientation OrientationOf(const v1::SessionConfig& config);

// Gives the frames of `config` another orientation, and the crop its place after it. Errors:
// kInvalidArgument when rows and columns change places and there is an initial probe that is not
// square.
absl::Status SetOrientation(Orientation orientation, v1::SessionConfig& config);

// Numbers of the `count` positions that are nearest to the mean of all, in ascending order.
std::vector<std::int64_t> CentralFrames(std::span<const double> y_m, std::span<const double> x_m,
                                        std::int64_t count);

}  // namespace ptychoserve::cli

#endif  // PTYCHOSERVE_CLIENT_CLI_ORIENT_PLAN_H_
