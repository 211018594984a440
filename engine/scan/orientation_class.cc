#include "engine/scan/orientation_class.h"

#include "engine/scan/orientation.h"

namespace ptychoserve {

std::array<OrientationClass, 4> OrientationClasses(Orientation declared) {
  const auto after = [declared](Orientation change, absl::string_view instead,
                                absl::string_view twin_instead) {
    const Orientation orientation = Compose(declared, change);
    return OrientationClass{orientation, Compose(orientation, Orientation::kRot180), instead,
                            twin_instead};
  };
  return {after(Orientation::kIdentity, "", "scan.y_sign and scan.x_sign reversed"),
          after(Orientation::kFlipLr, "scan.x_sign reversed", "scan.y_sign reversed"),
          after(Orientation::kTranspose, "scan.swap_axes changed",
                "scan.swap_axes changed and both signs reversed"),
          after(Orientation::kRot90Ccw, "scan.swap_axes changed and scan.x_sign reversed",
                "scan.swap_axes changed and scan.y_sign reversed")};
}

}  // namespace ptychoserve
