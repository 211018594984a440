#include "engine/object/modes.h"

#include <cmath>
#include <complex>
#include <cstddef>
#include <cstdint>

#include "engine/algorithms/object_start.h"
#include "engine/probe/orthogonal_mixture.h"

namespace ptychoserve {

ComplexStack WithObjectModes(const ComplexStack& object, const Region& canvas, Complex64 initial,
                             int modes) {
  ComplexStack result = object;
  result.modes = modes;
  result.data.reserve(static_cast<std::size_t>(modes * canvas.shape.pixels()));
  const float weak = WeakObjectStart(std::abs(initial));
  for (int mode = object.modes; mode < modes; ++mode) {
    for (std::int64_t i = 0; i < canvas.shape.pixels(); ++i) {
      const ObjectStart start = ObjectStartAt(initial.real(), initial.imag(), weak, mode,
                                              canvas.row + static_cast<int>(i / canvas.shape.cols),
                                              canvas.col + static_cast<int>(i % canvas.shape.cols));
      result.data.emplace_back(start.re, start.im);
    }
  }
  return result;
}

std::vector<double> OrthogonaliseObject(ComplexStack& object, const FloatImage& coverage) {
  if (object.modes == 1) return {1.0};
  const OrthogonalMixture mixture(object, coverage.data);
  mixture.Apply(object.data);
  return mixture.powers();
}

ComplexStack StrongestMode(ComplexStack object, const FloatImage& coverage) {
  OrthogonaliseObject(object, coverage);
  object.modes = 1;
  object.data.resize(static_cast<std::size_t>(object.shape.pixels()));
  return object;
}

}  // namespace ptychoserve
