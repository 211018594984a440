#ifndef PTYCHOSERVE_ENGINE_PROBE_ORTHOGONAL_MIXTURE_H_
#define PTYCHOSERVE_ENGINE_PROBE_ORTHOGONAL_MIXTURE_H_

#include <complex>
#include <span>
#include <vector>

#include "engine/base/array.h"

namespace ptychoserve {

// The unitary mixture of mutually incoherent modes that makes them orthogonal, by falling power:
// the eigenvectors of their mutual intensity, from the Gram matrix of the modes. A mode keeps its
// phase as far as it remains the same.
class OrthogonalMixture {
 public:
  // `weights`, one for each pixel of a mode, are those of the scalar product; empty: all 1. All
  // values are finite.
  explicit OrthogonalMixture(const ComplexStack& modes, std::span<const float> weights = {});

  // Part of the power that each mode has then; 0 where there is no power at all.
  const std::vector<double>& powers() const { return powers_; }
  // Mixes images, [modes, pixels], as the modes are to be mixed.
  void Apply(std::span<Complex64> images) const;

 private:
  std::vector<std::complex<double>> vectors_;  // [modes, modes]; row k makes mode k.
  std::vector<double> powers_;
};

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_PROBE_ORTHOGONAL_MIXTURE_H_
