#ifndef PTYCHOSERVE_ENGINE_ALGORITHMS_BACKGROUND_H_
#define PTYCHOSERVE_ENGINE_ALGORITHMS_BACKGROUND_H_

#include <cmath>

#include "engine/algorithms/measurement.h"
#include "engine/algorithms/refinement.h"
#include "engine/base/host_device.h"

// The background b of refinement.h. Over all frames, each of its pixels has a step of its own,
//
//   Δ = Σ (I - M) / v / Σ 1 / v,  v = M + ε + (flaw M)²,
//
// in which frames count little where they are bright: small flaws of the model are far more than
// the background there, whatever the statistics of many frames say. What scatters beside the sample
// makes no fine pattern, so b becomes, pixel by pixel, the value of a plane through b + step Δ
// around it, with Gauss weights times Σ 1 / v (local linear regression, Cleveland and Devlin, J.
// Am. Stat. Assoc. 83, 596 (1988)): what is known well fills in what is not.

namespace ptychoserve {

inline constexpr double kModelFlaw = 0.3;  // Of M.
// Standard deviation of the weights, pixels, and where they end.
inline constexpr double kBackgroundBlurPx = 3;
inline constexpr int kBackgroundRadiusPx = 9;
// Keeps the slopes of the plane determined, of its weights.
inline constexpr double kSlopeRidge = 1e-3;

// What a pixel of one frame says to it: (I - M) / v and 1 / v, 0 where untrusted.
template <typename Real>
PS_HOST_DEVICE inline RefinementWeights<Real> BackgroundWeights(Real counts, Real expected) {
  if (!IsTrusted(counts)) return {Real(0), Real(0)};
  const Real flaw = Real(kModelFlaw) * expected;
  const Real information = 1 / (expected + Real(kRefinementEpsilon) + flaw * flaw);
  return {(counts - expected) * information, information};
}

// Their sums over the frames.
struct BackgroundSums {
  double gradient = 0;
  double information = 0;
};

// b at (row, col) after `step` times the full one. `old` and `sums` are [rows, cols]; opposite
// edges are neighbours. Never negative; as it is where nothing is known around.
template <typename Real>
PS_HOST_DEVICE inline double RefinedBackground(const Real* old, const BackgroundSums* sums,
                                               int rows, int cols, int row, int col, double step) {
  using std::exp;
  const int most_rows = (rows - 1) / 2, most_cols = (cols - 1) / 2;
  const int down = kBackgroundRadiusPx < most_rows ? kBackgroundRadiusPx : most_rows;
  const int right = kBackgroundRadiusPx < most_cols ? kBackgroundRadiusPx : most_cols;
  double gauss[kBackgroundRadiusPx + 1];
  for (int d = 0; d <= kBackgroundRadiusPx; ++d) {
    gauss[d] = exp(-d * d / (2 * kBackgroundBlurPx * kBackgroundBlurPx));
  }
  // Sums of weights w, w y, w x, w y², w y x, w x² and of w b, w b y, w b x.
  double w = 0, wy = 0, wx = 0, wyy = 0, wyx = 0, wxx = 0, b = 0, by = 0, bx = 0;
  for (int y = -down; y <= down; ++y) {
    const int first = (row + y + rows) % rows * cols;
    for (int x = -right; x <= right; ++x) {
      const int at = first + (col + x + cols) % cols;
      const double window = gauss[y < 0 ? -y : y] * gauss[x < 0 ? -x : x];
      const double weight = window * sums[at].information;
      const double value = weight * old[at] + window * step * sums[at].gradient;
      w += weight;
      wy += weight * y;
      wx += weight * x;
      wyy += weight * y * y;
      wyx += weight * y * x;
      wxx += weight * x * x;
      b += value;
      by += value * y;
      bx += value * x;
    }
  }
  if (!(w > 0)) return old[row * cols + col];
  wyy += kSlopeRidge * w;
  wxx += kSlopeRidge * w;
  // The first of three unknowns, by Cramer's rule.
  const double minor = wyy * wxx - wyx * wyx;
  const double determinant = w * minor - wy * (wy * wxx - wyx * wx) + wx * (wy * wyx - wyy * wx);
  const double plane = b * minor - wy * (by * wxx - wyx * bx) + wx * (by * wyx - wyy * bx);
  return plane > 0 ? plane / determinant : 0.0;
}

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_ALGORITHMS_BACKGROUND_H_
