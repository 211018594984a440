#ifndef PTYCHOSERVE_ENGINE_PROPAGATION_FREE_SPACE_H_
#define PTYCHOSERVE_ENGINE_PROPAGATION_FREE_SPACE_H_

#include <complex>
#include <optional>
#include <vector>

#include "engine/base/array.h"
#include "engine/config.h"
#include "engine/scan/optics.h"

namespace ptychoserve {

// Free space between two parallel planes that are sampled alike.
struct FreeSpace {
  double wavelength_m = 0;
  double distance_m = 0;  // Downstream if positive.
  PixelSize pixel_size;
};

// What lies between sample and detector in the near field, as a parallel beam would see it; none in
// the far field. A point source at the distance z1 before the sample magnifies by M = (z1 + z) /
// z1, and the image is that of a parallel beam after z / M, in pixels that are smaller by M
// (Fresnel scaling theorem: Paganin, Coherent X-Ray Optics, appendix B).
std::optional<FreeSpace> SpaceToDetector(const OpticsConfig& optics,
                                         const DetectorConfig& detector);

// The angular spectrum's factors on the spatial frequencies of a wave of `shape`, zero frequency at
// [0, 0]: H(q) = exp(2πi z sqrt(1/λ² - q²)), 0 where the wave is evanescent (Goodman, Introduction
// to Fourier Optics, eq. 3-74). Exact for waves that repeat beyond the edges of the window.
std::vector<std::complex<double>> TransferFunction(const FreeSpace& space, Shape shape);

// How far light of the finest period, two pixels, is carried to the side, λ z / (2 Δ), in windows
// of `pixels` pixels Δ. Beyond one half, it comes in again at the other edge as a neighbour of
// light that went the other way.
double LargestShift(const FreeSpace& space, double pixel_m, int pixels);

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_PROPAGATION_FREE_SPACE_H_
