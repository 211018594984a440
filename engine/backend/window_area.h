#ifndef PTYCHOSERVE_ENGINE_BACKEND_WINDOW_AREA_H_
#define PTYCHOSERVE_ENGINE_BACKEND_WINDOW_AREA_H_

#include <algorithm>
#include <functional>

#include "engine/base/array.h"

namespace ptychoserve {

// The part of the object that windows of the frame's shape lie in, with the pixel beyond their far
// edges that interpolation reads. `window_of` gives the window of a point, with its row and col; at
// least one point.
template <typename Points, typename WindowOf = std::identity>
Region AreaOfWindows(const Points& points, Shape frame, WindowOf window_of = {}) {
  const auto row_of = [&](const auto& p) { return std::invoke(window_of, p).row; };
  const auto col_of = [&](const auto& p) { return std::invoke(window_of, p).col; };
  const auto rows = std::ranges::minmax_element(points, {}, row_of);
  const auto cols = std::ranges::minmax_element(points, {}, col_of);
  const int top = row_of(*rows.min), left = col_of(*cols.min);
  return {top,
          left,
          {row_of(*rows.max) - top + frame.rows + 1, col_of(*cols.max) - left + frame.cols + 1}};
}

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_BACKEND_WINDOW_AREA_H_
