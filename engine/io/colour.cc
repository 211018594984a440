#include "engine/io/colour.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/base/constants.h"

namespace ptychoserve {
namespace {

// The ellipse of phase colours: one axis along a, the other rising in lightness towards yellow,
// both as long as the displays' range of colours allows.
constexpr double kEllipseLightness = 0.67;
constexpr double kEllipseA = 0.09;
constexpr double kEllipseRise = 0.2;
constexpr double kEllipseB = 0.12;

// The circle of hues of complex numbers.
constexpr double kCircleLightness = 0.75;
constexpr double kCircleChroma = 0.12;

OkLab OnEllipse(double angle) {
  return {kEllipseLightness + kEllipseRise * std::sin(angle), kEllipseA * std::cos(angle),
          kEllipseB * std::sin(angle)};
}

// Angles on the ellipse at equal distances along it, for phases from 0 in equal steps.
constexpr std::size_t kSteps = 1024;
std::array<double, kSteps + 1> EvenAngles() {
  constexpr std::size_t kFine = 4 * kSteps;
  const auto speed = [](double angle) {
    const double s = std::sin(angle), c = std::cos(angle);
    return std::sqrt(kEllipseA * kEllipseA * s * s +
                     (kEllipseRise * kEllipseRise + kEllipseB * kEllipseB) * c * c);
  };
  std::vector<double> travelled = {0};  // Length of the curve up to each fine step.
  for (std::size_t i = 0; i < kFine; ++i) {
    travelled.push_back(travelled.back() + speed(kTwoPi * (static_cast<double>(i) + 0.5) / kFine));
  }
  std::array<double, kSteps + 1> angles{};
  std::size_t fine = 0;
  for (std::size_t i = 1; i < kSteps; ++i) {
    const double target = travelled.back() * static_cast<double>(i) / kSteps;
    while (travelled[fine + 1] < target) ++fine;
    const double rest = (target - travelled[fine]) / (travelled[fine + 1] - travelled[fine]);
    angles[i] = kTwoPi * (static_cast<double>(fine) + rest) / kFine;
  }
  angles[kSteps] = kTwoPi;
  return angles;
}

// The transfer curve of IEC 61966-2-1.
double Encode(double linear) {
  return linear <= 0.0031308 ? 12.92 * linear : 1.055 * std::pow(linear, 1 / 2.4) - 0.055;
}

}  // namespace

std::array<double, 3> ToLinearSrgb(const OkLab& colour) {
  const auto cube = [](double v) { return v * v * v; };
  const auto& [lightness, a, b] = colour;
  const double l = cube(lightness + 0.3963377774 * a + 0.2158037573 * b);
  const double m = cube(lightness - 0.1055613458 * a - 0.0638541728 * b);
  const double s = cube(lightness - 0.0894841775 * a - 1.2914855480 * b);
  return {4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
          -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
          -0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s};
}

Rgb8 ToSrgb8(const OkLab& colour) {
  Rgb8 rgb{};
  const std::array<double, 3> linear = ToLinearSrgb(colour);
  for (std::size_t i = 0; i < rgb.size(); ++i) {
    rgb[i] = static_cast<std::uint8_t>(std::lround(255 * Encode(std::clamp(linear[i], 0.0, 1.0))));
  }
  return rgb;
}

OkLab PhaseColour(double phase) {
  static const std::array<double, kSteps + 1> angles = EvenAngles();
  const double turns = phase / kTwoPi - std::floor(phase / kTwoPi);
  const double position = turns * kSteps;
  const std::size_t i = std::min(static_cast<std::size_t>(position), kSteps - 1);
  const double rest = position - static_cast<double>(i);
  return OnEllipse((1 - rest) * angles[i] + rest * angles[i + 1]);
}

OkLab ComplexColour(double phase, double brightness) {
  return {brightness * kCircleLightness, brightness * kCircleChroma * std::cos(phase),
          brightness * kCircleChroma * std::sin(phase)};
}

}  // namespace ptychoserve
