#ifndef PTYCHOSERVE_CLIENT_CLI_ORIENT_PLAN_H_
#define PTYCHOSERVE_CLIENT_CLI_ORIENT_PLAN_H_

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "engine/config.h"
#include "ptychoserve/v1/config.pb.h"

namespace ptychoserve::cli {

// Orientations of the frames that explain measured intensities equally well, for given positions.
// Turning frames and positions together turns the object and changes nothing else; reversing the
// positions alone gives the object's twin. So frames turned by 180 degrees give the same object
// with the sign of its phase reversed, and of the 64 combinations of frames and positions four can
// be told apart.
struct OrientationClass {
  Orientation orientation = Orientation::kIdentity;
  Orientation twin = Orientation::kRot180;  // The same, then turned by 180 degrees.
  // What to change in the declared positions instead, with the declared orientation; the object
  // comes out mirrored or turned. Empty: nothing.
  std::string instead;
  // Likewise for the twin, in the near field: there the twin explains nothing, and all eight
  // orientations can be told apart.
  std::string twin_instead;
};

// All four, that of `declared` first.
std::array<OrientationClass, 4> OrientationClasses(Orientation declared);

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
