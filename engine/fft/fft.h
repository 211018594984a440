#ifndef PTYCHOSERVE_ENGINE_FFT_FFT_H_
#define PTYCHOSERVE_ENGINE_FFT_FFT_H_

#include <complex>
#include <memory>

#include "engine/base/array.h"

namespace ptychoserve {

// Unitary two-dimensional Fourier transform of one image on the CPU, zero frequency at [0, 0]:
//   forward  F(q) = 1/√N Σ_r f(r) exp(-2πi q·r)
//   inverse  f(r) = 1/√N Σ_q F(q) exp(+2πi q·r)
// The only place that knows which library does it. Thread-safe: one object may be used by many
// threads at once. Results depend on nothing but the input.
template <typename Real>
class Fft2D {
 public:
  explicit Fft2D(Shape shape);
  ~Fft2D();
  Fft2D(const Fft2D&) = delete;
  Fft2D& operator=(const Fft2D&) = delete;

  // In place, on shape.pixels() elements.
  void Forward(std::complex<Real>* data) const;
  void Inverse(std::complex<Real>* data) const;
  Shape shape() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

extern template class Fft2D<float>;
extern template class Fft2D<double>;

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_FFT_FFT_H_
