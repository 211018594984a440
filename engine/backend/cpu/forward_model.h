#ifndef PTYCHOSERVE_ENGINE_BACKEND_CPU_FORWARD_MODEL_H_
#define PTYCHOSERVE_ENGINE_BACKEND_CPU_FORWARD_MODEL_H_

#include <algorithm>
#include <complex>
#include <cstdint>
#include <vector>

#include "engine/backend/backend.h"
#include "engine/base/array.h"

// The object window of a point, row by row, and its adjoint. With remainder (fy, fx)
//   O_j[y, x] = (1-fy)(1-fx) O[r+y, c+x]   + (1-fy) fx O[r+y, c+x+1]
//             +    fy (1-fx) O[r+y+1, c+x] +     fy fx O[r+y+1, c+x+1].

namespace ptychoserve {

// One row of the window; `upper` and `lower` are the object rows r+y and r+y+1 from column c on,
// cols + 1 pixels each.
template <typename Real>
inline void InterpolateRow(const std::complex<Real>* upper, const std::complex<Real>* lower,
                           const PointWindow& point, int cols, std::complex<Real>* out) {
  const auto fy = static_cast<Real>(point.frac_row);
  const auto fx = static_cast<Real>(point.frac_col);
  const Real w00 = (1 - fy) * (1 - fx), w01 = (1 - fy) * fx, w10 = fy * (1 - fx), w11 = fy * fx;
  // As real numbers: the weights act on both parts alike, and the loop vectorises plainly.
  const Real* a = reinterpret_cast<const Real*>(upper);
  const Real* b = reinterpret_cast<const Real*>(lower);
  Real* o = reinterpret_cast<Real*>(out);
  for (int i = 0; i < 2 * cols; ++i) {
    o[i] = w00 * a[i] + w01 * a[i + 2] + w10 * b[i] + w11 * b[i + 2];
  }
}

// Rows [begin, end) of the object.
struct RowBand {
  int begin = 0;
  int end = 0;
};

// Rows are shared out to threads in bands small enough to share out evenly, large enough to read
// each wave in long runs.
inline constexpr int kRowsPerBand = 16;

inline int BandCount(int rows) { return (rows + kRowsPerBand - 1) / kRowsPerBand; }

// The band `index` of `rows` rows that begin at `first`.
inline RowBand BandOf(std::int64_t index, int first, int rows) {
  const int begin = static_cast<int>(index) * kRowsPerBand;
  return {first + begin, first + std::min(begin + kRowsPerBand, rows)};
}

// Adds the adjoint of the window, applied to an image of the frame's shape, to the rows `band` of
// `sums`. The image has kParts real numbers per pixel and comes row by row: row_of(y, out) writes
// kParts * cols numbers. `sums` points at pixel (0, 0) of an object with `stride` pixels per row,
// on which the window's corner is (row, col).
template <int kParts, typename Real, typename RowOf>
void AddAdjointWindow(const PointWindow& point, Shape frame, int row, int col, RowBand band,
                      RowOf row_of, double* sums, std::int64_t stride) {
  const int begin = std::max(band.begin, row);
  const int end = std::min(band.end, row + frame.rows + 1);
  if (begin >= end) return;
  const auto fy = static_cast<Real>(point.frac_row);
  const auto fx = static_cast<Real>(point.frac_col);
  const int width = kParts * frame.cols;

  std::vector<Real> above(width), here(width);
  // Interpolated between rows, with one pixel of zeros on either side.
  std::vector<Real> padded(width + 2 * kParts);
  Real* const between = padded.data() + kParts;
  if (begin > row) row_of(begin - 1 - row, above.data());
  for (int r = begin; r < end; ++r) {
    if (r < row + frame.rows) {
      row_of(r - row, here.data());
    } else {
      std::fill(here.begin(), here.end(), Real(0));
    }
    for (int i = 0; i < width; ++i) between[i] = (1 - fy) * here[i] + fy * above[i];
    double* const out = sums + kParts * (r * stride + col);
    for (int i = 0; i < width + kParts; ++i) {
      out[i] += double((1 - fx) * between[i] + fx * between[i - kParts]);
    }
    std::swap(above, here);
  }
}

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_BACKEND_CPU_FORWARD_MODEL_H_
