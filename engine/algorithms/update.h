#ifndef PTYCHOSERVE_ENGINE_ALGORITHMS_UPDATE_H_
#define PTYCHOSERVE_ENGINE_ALGORITHMS_UPDATE_H_

#include <cmath>
#include <optional>

#include "engine/base/host_device.h"
#include "engine/config.h"

// How object and probe follow from the sums over all points, num = Σ P* ψ and den = Σ |P|² (the
// object; for the probe with O_j in place of P). All rules act on real and imaginary part alike.

namespace ptychoserve {

// What is added to numerator (times the old value) and denominator.
struct Regulariser {
  double delta = 0;
  double inertia = 0;
};

inline Regulariser MakeRegulariser(const Regularisation& config, double max_denominator) {
  if (config.absolute.has_value()) return {*config.absolute, 0};
  const double delta = config.relative * max_denominator;
  return {delta, delta};
}

// (num + inertia old) / (den + delta). Where nothing has fallen the old value stays, exactly.
template <typename Real>
PS_HOST_DEVICE inline Real ReplacedValue(Real old, Real numerator, Real denominator, Real delta,
                                         Real inertia) {
  return denominator == 0 ? old : (numerator + inertia * old) / (denominator + delta);
}

// old + step num / (den + delta).
template <typename Real>
PS_HOST_DEVICE inline Real SteppedValue(Real old, Real numerator, Real denominator, Real delta,
                                        Real step) {
  return denominator == 0 ? old : old + step * numerator / (denominator + delta);
}

// One of the two rules with its constants.
struct UpdateRule {
  Regulariser regulariser;
  std::optional<double> step;  // Set: old + step num / .., else num / ...
  double momentum_factor = 0;  // With velocities; see momentum.h.

  double Apply(double old, double numerator, double denominator) const {
    return step.has_value()
               ? SteppedValue(old, numerator, denominator, regulariser.delta, *step)
               : ReplacedValue(old, numerator, denominator, regulariser.delta, regulariser.inertia);
  }
};

// Limits on |O| and arg O, in the form that kernels take.
template <typename Real>
struct ObjectLimits {
  bool limits_amplitude = false;
  bool limits_phase = false;
  Real amplitude_min = 0, amplitude_max = 0;
  Real phase_min = 0, phase_max = 0;
};

template <typename Real>
ObjectLimits<Real> MakeObjectLimits(const std::optional<AmplitudeLimits>& amplitude,
                                    const std::optional<PhaseLimits>& phase) {
  ObjectLimits<Real> limits;
  if (amplitude.has_value()) {
    limits.limits_amplitude = true;
    limits.amplitude_min = static_cast<Real>(amplitude->min);
    limits.amplitude_max = static_cast<Real>(amplitude->max);
  }
  if (phase.has_value()) {
    limits.limits_phase = true;
    limits.phase_min = static_cast<Real>(phase->min_rad);
    limits.phase_max = static_cast<Real>(phase->max_rad);
  }
  return limits;
}

// Brings one object pixel within the limits: first the amplitude, keeping the phase (0 where
// there is none), then the phase, keeping the amplitude.
template <typename Real>
PS_HOST_DEVICE inline void ApplyLimits(const ObjectLimits<Real>& limits, Real& re, Real& im) {
  using std::atan2;
  using std::cos;
  using std::hypot;
  using std::sin;
  if (limits.limits_amplitude) {
    const Real amplitude = hypot(re, im);
    const Real limited =
        amplitude > limits.amplitude_max
            ? limits.amplitude_max
            : (amplitude < limits.amplitude_min ? limits.amplitude_min : amplitude);
    if (limited != amplitude) {
      // The quotient first: it cannot overflow, however small the amplitude.
      re = amplitude > 0 ? re / amplitude * limited : limited;
      im = amplitude > 0 ? im / amplitude * limited : Real(0);
    }
  }
  if (limits.limits_phase) {
    const Real phase = atan2(im, re);
    const Real limited = phase > limits.phase_max
                             ? limits.phase_max
                             : (phase < limits.phase_min ? limits.phase_min : phase);
    if (limited != phase) {
      const Real amplitude = hypot(re, im);
      re = amplitude * cos(limited);
      im = amplitude * sin(limited);
    }
  }
}

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_ALGORITHMS_UPDATE_H_
