#ifndef PTYCHOSERVE_ENGINE_QUALITY_FRC_H_
#define PTYCHOSERVE_ENGINE_QUALITY_FRC_H_

#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/array.h"
#include "engine/scan/optics.h"

namespace ptychoserve {

// Fourier ring correlation of two images of `side_px` pixels a side. Ring k holds the frequencies
// whose distance from zero rounds to k / side_px per pixel, k = 0 .. side_px / 2 - 1; Nyquist's is
// at side_px / 2.
struct RingCorrelation {
  int side_px = 0;
  std::vector<double> correlation;  // [side_px / 2], 0..1.
  // Where the correlation first falls below the threshold, as a part of Nyquist's frequency; 1
  // where it does not.
  double half_bit_of_nyquist = 0;
  double one_bit_of_nyquist = 0;
  // Half periods of these frequencies; of the longer side of a pixel.
  double half_bit_resolution_m = 0;
  double one_bit_resolution_m = 0;
  double mean_to_half_nyquist = 0;  // Of the rings from 1 on, to half of Nyquist's frequency,
  double mean_to_nyquist = 0;       // and to the last one.
};

// Thresholds of van Heel and Schatz, J. Struct. Biol. 151, 250 (2005): a correlation above them
// stands for half a bit, or a bit, of information in each of a ring's pixels. For the rings of a
// RingCorrelation, [side_px / 2].
struct RingThresholds {
  std::vector<double> half_bit;
  std::vector<double> one_bit;
};
RingThresholds ThresholdsOf(int side_px);

// A reconstruction and where it lies; all regions on the absolute object lattice.
struct PlacedObject {
  Region canvas;
  ComplexStack object;  // [1, canvas.shape]
  FloatImage coverage;  // canvas.shape, photons.
  Region scanned;       // Spanned by the centres of the probe.
};

inline constexpr int kLeastComparedSide_px = 32;
// Aligning takes seconds beyond that.
inline constexpr int kMostComparedSide_px = 512;

// Compares two reconstructions of one sample, after factor, phase ramp and shift have been taken
// out (AlignTo), in von Hann's window. On the largest square in the middle of what both have
// scanned that has light nearly everywhere, and is at most `most_side_px` wide.
// Errors: kFailedPrecondition when that is narrower than kLeastComparedSide_px.
absl::StatusOr<RingCorrelation> Compare(const PlacedObject& a, const PlacedObject& b,
                                        const PixelSize& pixel_size,
                                        int most_side_px = kMostComparedSide_px);

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_QUALITY_FRC_H_
