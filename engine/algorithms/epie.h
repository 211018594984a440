#ifndef PTYCHOSERVE_ENGINE_ALGORITHMS_EPIE_H_
#define PTYCHOSERVE_ENGINE_ALGORITHMS_EPIE_H_

#include <cmath>

#include "engine/algorithms/measurement.h"
#include "engine/base/host_device.h"

// ePIE: point after point, Ψ = F(P O_j), Δ = F⁻¹(√I Ψ/|Ψ| - Ψ) and
//
//   O_j <- O_j + object_step P* Δ / max|P|²,  P <- P + probe_step O_j* Δ / max|O_j|²
//
// where the probe's step uses O_j as it was. Maiden and Rodenburg, Ultramicroscopy 109, 1256
// (2009), eqs. 6 and 7.

namespace ptychoserve {

// (√I Ψ/|Ψ| - Ψ) / Ψ for a pixel with |Ψ| = amplitude; 0 where untrusted or without a phase.
template <typename Real>
PS_HOST_DEVICE inline Real ModulusCorrectionFactor(Real counts, Real amplitude) {
  using std::sqrt;
  const Real measured = sqrt(IsTrusted(counts) ? counts : Real(0));
  const Real factor = amplitude > 0 ? measured / amplitude - 1 : Real(0);
  return IsTrusted(counts) ? factor : Real(0);
}

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_ALGORITHMS_EPIE_H_
