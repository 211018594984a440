#ifndef PTYCHOSERVE_ENGINE_SCAN_OPTICS_H_
#define PTYCHOSERVE_ENGINE_SCAN_OPTICS_H_

#include "engine/config.h"

namespace ptychoserve {

// λ = h c / E, from the SI values of h, c and e (12398.4198 eV Å).
double WavelengthFromPhotonEnergy(double energy_ev);
// Relativistic de Broglie wavelength λ = h c / sqrt(E² + 2 E m c²).
double WavelengthFromElectronEnergy(double kinetic_energy_ev);

struct PixelSize {
  double y_m = 0;
  double x_m = 0;
};

// (z1 + z) / z1 in the near field of a source at the distance z1 before the sample; 1 otherwise.
double Magnification(const OpticsConfig& optics);

// Size of an object pixel, per axis, for frames as the engine holds them: λ z / (N p) in the far
// field, N and p being those of the oriented, cropped frame; p / M in the near field.
PixelSize ObjectPixelSize(const OpticsConfig& optics, const DetectorConfig& detector);

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_SCAN_OPTICS_H_
