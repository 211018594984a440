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

// Size of an object pixel, λ z / (N p), per axis, for frames as the engine holds them: N and p
// are those of the oriented, cropped frame.
PixelSize ObjectPixelSize(const OpticsConfig& optics, const DetectorConfig& detector);

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_SCAN_OPTICS_H_
