#include "engine/quality/frame_fit.h"

namespace ptychoserve {
namespace {

double Ratio(double sum, double of) { return of > 0 ? sum / of : 0; }

}  // namespace

FitMetrics FitOf(std::span<const FrameFit> frames) {
  FrameFit total;
  double squared_errors = 0, lit_frames = 0;
  for (const FrameFit& f : frames) {
    total += f;
    // Frames without a count have no relative error.
    if (f.counts <= 0) continue;
    squared_errors += f.squared_deviation / f.counts;
    ++lit_frames;
  }
  return {.r_factor = Ratio(total.abs_deviation, total.amplitude),
          .fourier_error = std::sqrt(Ratio(squared_errors, lit_frames)),
          .gaussian = Ratio(total.squared_deviation, total.trusted),
          .poisson_nll = Ratio(total.excess, 0.5 * total.non_zero)};
}

}  // namespace ptychoserve
