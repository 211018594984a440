#ifndef PTYCHOSERVE_ENGINE_QUALITY_NELDER_MEAD_H_
#define PTYCHOSERVE_ENGINE_QUALITY_NELDER_MEAD_H_

#include <array>
#include <functional>

namespace ptychoserve {

using Point2D = std::array<double, 2>;

// Ends a search when all corners of the simplex are as close to the best one, in each coordinate
// and in the value.
struct SimplexTolerance {
  double coordinate = 0;
  double value = 0;
};

// Where `f` is smallest, searched from `simplex` on with the coefficients 1, 2, 1/2, 1/2 of Nelder
// and Mead, Computer Journal 7, 308 (1965). Calls `f` some hundred times at most.
Point2D Minimise(const std::function<double(const Point2D&)>& f,
                 const std::array<Point2D, 3>& simplex, const SimplexTolerance& tolerance);

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_QUALITY_NELDER_MEAD_H_
