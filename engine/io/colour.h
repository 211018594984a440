#ifndef PTYCHOSERVE_ENGINE_IO_COLOUR_H_
#define PTYCHOSERVE_ENGINE_IO_COLOUR_H_

#include <array>
#include <cstdint>

namespace ptychoserve {

using Rgb8 = std::array<std::uint8_t, 3>;

// A colour by how it is seen: lightness 0..1, a to the red (+) or green (-), b to the yellow (+)
// or blue (-). Equal distances look equally large. B. Ottosson, "A perceptual color space for
// image processing", 2020.
struct OkLab {
  double lightness = 0;
  double a = 0;
  double b = 0;
};

// Linear sRGB, each in [0, 1] for colours that a display can show.
std::array<double, 3> ToLinearSrgb(const OkLab& colour);
// sRGB as pictures store it; clipped to what can be shown.
Rgb8 ToSrgb8(const OkLab& colour);

// The colour of a phase (rad): a closed curve through OKLab at constant speed. Lightness rises
// from -pi/2 (indigo) through 0 (pink) to +pi/2 (yellow) and falls again through green, so that
// weak phase contrast shows also in the lightness.
OkLab PhaseColour(double phase);

// The colour of a complex number: hue by phase at even lightness, all of it scaled by the
// brightness in [0, 1].
OkLab ComplexColour(double phase, double brightness);

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_IO_COLOUR_H_
