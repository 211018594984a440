#ifndef PTYCHOSERVE_ENGINE_ALGORITHMS_RPIE_H_
#define PTYCHOSERVE_ENGINE_ALGORITHMS_RPIE_H_

#include "engine/base/host_device.h"

// rPIE, Maiden, Johnson and Li, Optica 4, 736 (2017): ePIE with a divisor between the light of the
// pixel itself and the largest of all,
//
//   (1 - α) |P|² + α max|P|²
//
// so that pixels of little light take longer steps. A batch has the sums over its points for |P|²
// and, of the probe, for |O_j|²; see epie.h. α = 1 is ePIE.

namespace ptychoserve {

// What the sum over a batch is multiplied by: step / divisor, 0 without light. `largest` is the
// largest divisor that one point alone would have, `weight` the batch's own of this pixel.
template <typename Real>
PS_HOST_DEVICE inline Real BatchStep(Real step, Real largest, Real weight, Real alpha) {
  const Real most = weight > largest ? weight : largest;
  const Real divisor = alpha == 1 ? most : weight + alpha * (most - weight);
  return divisor > 0 ? step / divisor : Real(0);
}

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_ALGORITHMS_RPIE_H_
