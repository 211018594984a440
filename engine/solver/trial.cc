#include "engine/solver/trial.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/backend/window_area.h"
#include "engine/base/status_macros.h"
#include "engine/quality/frame_fit.h"

namespace ptychoserve {
namespace {

constexpr int kProbeStart = 2;  // As of a run: the object first.

}  // namespace

std::vector<PointWindow> CentralPoints(std::span<const PointWindow> points, std::size_t count) {
  double row = 0, col = 0;
  for (const PointWindow& p : points) {
    row += static_cast<double>(p.row) / static_cast<double>(points.size());
    col += static_cast<double>(p.col) / static_cast<double>(points.size());
  }
  const auto from_middle = [&](const PointWindow& p) {
    return std::hypot(p.row - row, p.col - col);
  };
  std::vector<PointWindow> nearest(points.begin(), points.end());
  std::stable_sort(nearest.begin(), nearest.end(),
                   [&](const auto& a, const auto& b) { return from_middle(a) < from_middle(b); });
  nearest.resize(std::min(nearest.size(), count));
  return nearest;
}

absl::StatusOr<double> TrialRFactor(const ComplexStack& probe, std::span<const PointWindow> points,
                                    int iterations, Backend& backend) {
  const Region canvas = AreaOfWindows(points, probe.shape);
  PS_RETURN_IF_ERROR(backend.SetActivePoints({}));
  PS_RETURN_IF_ERROR(backend.SetCanvas(canvas));
  PS_RETURN_IF_ERROR(backend.ClearObject(canvas));
  PS_RETURN_IF_ERROR(backend.SetProbe(probe));
  PS_RETURN_IF_ERROR(backend.SetActivePoints(points));
  for (int i = 0; i < iterations; ++i) {
    const IterationOptions options{.update_probe = i >= kProbeStart};
    PS_ASSIGN_OR_RETURN(const IterationMetrics metrics, backend.Iterate(LsqMlConfig{}, options));
    if (!metrics.finite) return std::numeric_limits<double>::infinity();
  }
  PS_ASSIGN_OR_RETURN(const std::vector<FrameFit> fits, backend.Evaluate(points));
  return FitOf(fits).r_factor;
}

}  // namespace ptychoserve
