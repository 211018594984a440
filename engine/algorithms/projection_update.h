#ifndef PTYCHOSERVE_ENGINE_ALGORITHMS_PROJECTION_UPDATE_H_
#define PTYCHOSERVE_ENGINE_ALGORITHMS_PROJECTION_UPDATE_H_

namespace ptychoserve {

// What one iteration makes of the exit wave ψ of a point. With the model p = P O_j, the trial wave
// t = 2p - ψ (reflects) or t = p, and m of the relaxed modulus constraint on F t:
//
//   ψ <- modulus F⁻¹[m] + trial t + model p
//
// so that ψ itself is needed for t alone.
struct ProjectionUpdate {
  bool reflects = true;
  double modulus = 0;
  double trial = 0;
  double model = 0;
};

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_ALGORITHMS_PROJECTION_UPDATE_H_
