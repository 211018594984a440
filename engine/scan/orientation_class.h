#ifndef PTYCHOSERVE_ENGINE_SCAN_ORIENTATION_CLASS_H_
#define PTYCHOSERVE_ENGINE_SCAN_ORIENTATION_CLASS_H_

#include <array>

#include "absl/strings/string_view.h"
#include "engine/config.h"

namespace ptychoserve {

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
  absl::string_view instead;
  // Likewise for the twin. Where the probe is known, or in the near field, twins can be told apart
  // as well.
  absl::string_view twin_instead;
};

// All four, that of `declared` first.
std::array<OrientationClass, 4> OrientationClasses(Orientation declared);

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_SCAN_ORIENTATION_CLASS_H_
