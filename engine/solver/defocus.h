#ifndef PTYCHOSERVE_ENGINE_SOLVER_DEFOCUS_H_
#define PTYCHOSERVE_ENGINE_SOLVER_DEFOCUS_H_

#include <cstddef>
#include <limits>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "engine/backend/backend.h"
#include "engine/base/array.h"
#include "engine/scan/optics.h"

namespace ptychoserve {

// How far from its focus a beam meets the sample, when nothing is known of it but the mean of the
// frames. A cold start's probe has their spectrum without its phases: the beam in its focus. Out of
// focus, where lenses are mostly used, the phases are those of free space, which one number fixes.
// So some distances are tried, each with a few iterations of LSQ-ML on a few neighbouring frames,
// and the one that explains these best is it: first in steps that leave the phase at the rim of the
// spectrum within some radians, then by halves of a step around the best. A distance takes the
// place of 0, the focus, only if it explains the frames clearly better.
class DefocusSearch {
 public:
  // `mean_amplitude`, zero frequency at [0, 0], and `points`, at least one, are those of the cold
  // start. Of the `modes` of the backend's probe the first is used.
  DefocusSearch(const FloatImage& mean_amplitude, int modes, std::span<const PointWindow> points,
                double wavelength_m, PixelSize pixel_size);

  bool done() const { return next_ == distances_m_.size(); }
  // Of all trials together, before the first one.
  int iterations() const;
  // One trial. Canvas, probe, object and active points of the backend are its own afterwards. Not
  // done. Errors: those of Backend.
  absl::Status Try(Backend& backend);
  // From the focus to the sample, > 0 downstream, as far as the search has come.
  double distance_m() const { return best_m_; }
  // Of the trial with that distance.
  double r_factor() const { return best_r_; }

 private:
  // The R-factor that a beam propagated by `distance_m` comes to.
  absl::StatusOr<double> RFactorAt(double distance_m, Backend& backend) const;

  const ComplexStack in_focus_;  // One mode.
  const int modes_;
  const double wavelength_m_;
  const PixelSize pixel_size_;
  std::vector<PointWindow> points_;
  std::vector<double> distances_m_;  // To be tried, in this order.
  std::size_t next_ = 0;
  double step_m_ = 0;  // Between the distances tried last; 0: it does not get finer.
  int halvings_ = 0;
  double best_m_ = 0;
  double best_r_ = std::numeric_limits<double>::infinity();
};

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_SOLVER_DEFOCUS_H_
