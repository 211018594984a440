#include "engine/object/modes.h"

#include <cstddef>

#include "engine/probe/orthogonal_mixture.h"

namespace ptychoserve {

ComplexStack WithObjectModes(const ComplexStack& object, const Region& canvas,
                             const ObjectStart& start, int modes) {
  ComplexStack result = object;
  result.modes = modes;
  result.data.reserve(static_cast<std::size_t>(modes * canvas.shape.pixels()));
  for (int mode = object.modes; mode < modes; ++mode) {
    for (int y = 0; y < canvas.shape.rows; ++y) {
      for (int x = 0; x < canvas.shape.cols; ++x) {
        const ObjectStart::Value value = start.At(mode, canvas.row + y, canvas.col + x);
        result.data.emplace_back(value.re, value.im);
      }
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
