#ifndef PTYCHOSERVE_ENGINE_SIMULATION_SAMPLE_H_
#define PTYCHOSERVE_ENGINE_SIMULATION_SAMPLE_H_

#include <cstdint>

#include "engine/base/array.h"

namespace ptychoserve {

// A complex object with detail at all scales, as natural images have: opaque discs and rectangles
// with sizes distributed as r^-3 ("dead leaves"), plus 1/f texture, slightly blurred. Amplitude in
// [0.6, 1], phase in [-1, 1] rad; the two are correlated in part. [1, rows, cols].
ComplexStack MakeObject(Shape shape, std::uint64_t seed);

// The focus of a zone plate with a central stop, seen out of focus.
struct ZonePlate {
  double pupil_radius = 0.16;   // Of the frame's side.
  double stop_fraction = 0.35;  // Radius of the central stop, of the pupil's.
  double edge_width_px = 1.5;   // Softness of the edges.
  double defocus = 1;           // 1: the beam is a third of the frame wide.
};
// The beam at the sample, centred on pixel [side / 2, side / 2]; sum |P|^2 = photons.
// [1, side, side].
ComplexStack MakeProbe(int side, double photons, const ZonePlate& zone_plate);

// A round, flat beam with soft edges, `diameter_px` wide at half its amplitude, likewise centred
// and of the same power. [1, side, side].
ComplexStack MakeFlatBeam(int side, double photons, double diameter_px);
// The same beam behind a diffuser: a random, smooth phase, which a little of free space has turned
// into speckles of some pixels.
ComplexStack MakeDiffusedBeam(int side, double photons, double diameter_px, std::uint64_t seed);

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_SIMULATION_SAMPLE_H_
