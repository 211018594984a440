#ifndef PTYCHOSERVE_ENGINE_QUALITY_ALIGN_H_
#define PTYCHOSERVE_ENGINE_QUALITY_ALIGN_H_

#include <complex>
#include <vector>

#include "engine/base/array.h"

namespace ptychoserve {

// An image in double precision, row-major, for comparisons.
struct WideImage {
  Shape shape;
  std::vector<std::complex<double>> data;  // [rows, cols]
};

// von Hann's window, [rows, cols]: 0 at the edges, as numpy.hanning has it.
std::vector<double> HannWindow(const Shape& shape);

// `b` brought as close to `a`, of the same shape, as what no measurement of intensities fixes
// allows: one complex factor, a linear phase ramp, and a shift by parts of a pixel (cyclic, in
// Fourier space). Judged in von Hann's window.
WideImage AlignTo(const WideImage& a, WideImage b);

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_QUALITY_ALIGN_H_
