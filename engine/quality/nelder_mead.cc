#include "engine/quality/nelder_mead.h"

#include <algorithm>
#include <cmath>

namespace ptychoserve {
namespace {

constexpr int kMostSteps = 400;

struct Vertex {
  Point2D at{};
  double value = 0;
};
using Simplex = std::array<Vertex, 3>;

// a + t (b - a)
Point2D Between(const Point2D& a, const Point2D& b, double t) {
  return {a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1])};
}

bool Converged(const Simplex& s, const SimplexTolerance& tolerance) {
  for (std::size_t k = 1; k < s.size(); ++k) {
    if (std::abs(s[k].at[0] - s[0].at[0]) > tolerance.coordinate ||
        std::abs(s[k].at[1] - s[0].at[1]) > tolerance.coordinate ||
        std::abs(s[k].value - s[0].value) > tolerance.value) {
      return false;
    }
  }
  return true;
}

}  // namespace

Point2D Minimise(const std::function<double(const Point2D&)>& f,
                 const std::array<Point2D, 3>& simplex, const SimplexTolerance& tolerance) {
  const auto corner = [&f](const Point2D& at) { return Vertex{at, f(at)}; };
  Simplex s = {corner(simplex[0]), corner(simplex[1]), corner(simplex[2])};
  const auto sort = [&s] {
    std::stable_sort(s.begin(), s.end(),
                     [](const Vertex& a, const Vertex& b) { return a.value < b.value; });
  };
  sort();
  for (int step = 0; step < kMostSteps && !Converged(s, tolerance); ++step) {
    Vertex& worst = s[2];
    const Point2D middle = Between(s[0].at, s[1].at, 0.5);
    const Vertex reflected = corner(Between(worst.at, middle, 2));
    if (reflected.value < s[0].value) {
      const Vertex expanded = corner(Between(worst.at, middle, 3));
      worst = expanded.value < reflected.value ? expanded : reflected;
    } else if (reflected.value < s[1].value) {
      worst = reflected;
    } else {
      const bool outside = reflected.value < worst.value;
      const Vertex contracted = corner(Between(worst.at, middle, outside ? 1.5 : 0.5));
      if (outside ? contracted.value <= reflected.value : contracted.value < worst.value) {
        worst = contracted;
      } else {
        for (std::size_t k = 1; k < s.size(); ++k) s[k] = corner(Between(s[0].at, s[k].at, 0.5));
      }
    }
    sort();
  }
  return s[0].at;
}

}  // namespace ptychoserve
