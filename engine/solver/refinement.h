#ifndef PTYCHOSERVE_ENGINE_SOLVER_REFINEMENT_H_
#define PTYCHOSERVE_ENGINE_SOLVER_REFINEMENT_H_

#include <array>
#include <limits>
#include <span>
#include <vector>

#include "engine/algorithms/refinement.h"
#include "engine/base/array.h"
#include "engine/config.h"
#include "engine/scan/object_grid.h"
#include "engine/solver/progress.h"
#include "engine/store/frame_store.h"

namespace ptychoserve {

// What refinement has found for one point beside object and probe.
struct PointRefinement {
  float shift_row = 0;  // From the measured window, object pixels.
  float shift_col = 0;
  float intensity = 1;  // Of the light that frames get in the mean.
  // Of the components of the probe's variation; see probe_variation.h.
  std::array<float, kMaxProbeComponents> variation = {};

  bool operator==(const PointRefinement&) const = default;
};

// How well object and probe explained the frame of one point when they were evaluated last. NaN
// before, and without trusted counts.
struct PointFit {
  float r_factor = std::numeric_limits<float>::quiet_NaN();
  float poisson_nll = std::numeric_limits<float>::quiet_NaN();
};

// A point of the iterations; its window is where it was measured.
struct ActivePoint : FrameStore::Point {
  PointRefinement refined;
  PointFit fit;
};

// `window`, shifted. Its fractions stay in [0, 1).
Window Shifted(const Window& window, const PointRefinement& refined);

// Cuts shifts that would take a window out of the canvas.
void KeepOnCanvas(const Region& canvas, const Shape& frame, std::span<ActivePoint> points);

// Takes `step` of the full step (see engine/algorithms/refinement.h) for each point, whose sums are
// those of the same place, of what `which` names.
//
// A point that hardly changes its frame is not known better than it was measured: shifts, ln w and
// c_k have a normal prior around 0, of half of their limits. Shifts of more than the limit, and out
// of the canvas, are cut there and counted, as are coefficients of more than the probe's own power.
// The mean shift is taken out, as object and probe would follow it for ever; so are the means of
// ln w and c_k, which the probe takes.
void TakeRefinementSteps(const RefinementConfig& config, const StageRefinement& which, double step,
                         std::span<const RefinementSums> sums, const Region& canvas,
                         const Shape& frame, std::span<ActivePoint> points);

// How the points lie now. `background` may be empty.
RefinementFigures FiguresOf(const RefinementConfig& config, std::span<const ActivePoint> points,
                            const FloatImage& background);

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_SOLVER_REFINEMENT_H_
