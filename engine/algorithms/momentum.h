#ifndef PTYCHOSERVE_ENGINE_ALGORITHMS_MOMENTUM_H_
#define PTYCHOSERVE_ENGINE_ALGORITHMS_MOMENTUM_H_

#include "engine/base/host_device.h"

// Momentum of the likelihood gradient and of LSQ-ML. Each pixel x of object and probe has a
// velocity v beside the step m that the gradient calls for:
//
//   v <- μ v + m,  x <- x + m + μ v,  μ = min(momentum, k / (k + 2))
//
// with k the iterations since v was last 0. Nesterov, Soviet Math. Dokl. 27, 372 (1983), in the
// form that keeps the point at which the gradient is taken.
//
// Velocities begin anew, as 0, in the iteration that finds the gradient against them, Σ Re(num* v)
// below 0 over object and probe with num the sums over all points of ml_gradient.h: O'Donoghue and
// Candès, Found. Comput. Math. 15, 715 (2015). They do so as well when points, canvas, object or
// probe are set, and after an iteration of another algorithm.
//
// An iteration of LSQ-ML is a sequence of steps with a gradient of its own each. It begins by
// moving x by μ v, and v becomes what the whole of it has changed: the same method, with the place
// where the gradient is taken left to the next iteration. Nothing else begins its velocities anew
// than what is set and other algorithms: its steps adapt to where the momentum has led.

namespace ptychoserve {

// μ of an iteration that `iterations` others have come before since the velocities were 0.
PS_HOST_DEVICE inline double MomentumFactor(double momentum, int iterations) {
  constexpr double kRamp = 2;
  const double growing = iterations / (iterations + kRamp);
  return growing < momentum ? growing : momentum;
}

// x + m + μ v with the new v.
template <typename Real>
PS_HOST_DEVICE inline Real AcceleratedValue(Real old, Real move, Real factor, Real& velocity) {
  velocity = factor * velocity + move;
  return old + (move + factor * velocity);
}

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_ALGORITHMS_MOMENTUM_H_
