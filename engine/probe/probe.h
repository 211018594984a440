#ifndef PTYCHOSERVE_ENGINE_PROBE_PROBE_H_
#define PTYCHOSERVE_ENGINE_PROBE_PROBE_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/array.h"
#include "engine/propagation/free_space.h"
#include "engine/scan/optics.h"

namespace ptychoserve {

// Cold start: P = fftshift(ifft2(mean amplitude)) * √N: the centred, zero-phase wave with the
// mean spectrum. `mean_amplitude` [rows, cols] in √counts, zero frequency at [0, 0].
ComplexStack ProbeFromMeanAmplitude(const FloatImage& mean_amplitude);

// Cold start in the near field: the zero-phase wave of the mean amplitude, taken back through
// `space` from the detector to the sample.
ComplexStack ProbeFromNearField(const FloatImage& mean_amplitude, const FreeSpace& space);

// Free-space propagation by `distance_m` with the angular spectrum (Goodman, Introduction to
// Fourier Optics, eq. 3-74), evanescent waves removed. Distance 0 returns the probe unchanged.
ComplexStack PropagateAngularSpectrum(const ComplexStack& probe, double distance_m,
                                      double wavelength_m, PixelSize pixel_size);

// Pixels by which the probe must be moved to bring its centre of intensity, taken on the torus,
// to [rows / 2, cols / 2].
struct CentreOffset {
  int rows = 0;
  int cols = 0;
};
CentreOffset OffsetToCentre(const ComplexStack& probe);

// Errors: kInvalidArgument naming what is wrong (modes, shape, non-finite value, all zero).
absl::Status CheckProbe(const ComplexStack& probe, Shape frame_shape);

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_PROBE_PROBE_H_
