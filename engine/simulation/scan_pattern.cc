#include "engine/simulation/scan_pattern.h"

#include <cmath>
#include <numbers>

#include "engine/simulation/random.h"

namespace ptychoserve {
namespace {

constexpr double kJitter = 0.1;                     // Of a step.
constexpr double kGoldenAngle = 2.399963229728653;  // rad, pi (3 - sqrt(5)).
constexpr std::uint64_t kJitterStream = 0x200;

}  // namespace

ScanPoints JitteredRaster(int points, std::uint64_t seed) {
  const int cols = static_cast<int>(std::lround(std::sqrt(points)));
  const int rows = points / cols;
  Random random(seed, kJitterStream);
  ScanPoints scan;
  scan.fast_axis_points = cols;
  for (int row = 0; row < rows; ++row) {
    for (int col = 0; col < cols; ++col) {
      scan.y.push_back(row - (rows - 1) / 2.0 + random.Uniform(-kJitter, kJitter));
      scan.x.push_back(col - (cols - 1) / 2.0 + random.Uniform(-kJitter, kJitter));
    }
  }
  return scan;
}

ScanPoints FermatSpiral(int points) {
  // n points lie within a circle of area pi c^2 n.
  const double c = 1 / std::sqrt(std::numbers::pi);
  ScanPoints scan;
  for (int n = 0; n < points; ++n) {
    const double radius = c * std::sqrt(n + 0.5);
    scan.y.push_back(radius * std::sin(n * kGoldenAngle));
    scan.x.push_back(radius * std::cos(n * kGoldenAngle));
  }
  return scan;
}

}  // namespace ptychoserve
