#include "engine/fft/fft.h"

#include <fftw3.h>

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>

#include "engine/base/mutex.h"

// The only file that knows FFTW. Another library needs the same few calls: plan a shape once, run
// a plan on an array from many threads.

namespace ptychoserve {
namespace {

// FFTW's planner is not re-entrant; executing a plan is.
Mutex& PlannerMutex() {
  static Mutex* const mutex = new Mutex;
  return *mutex;
}

template <typename Real>
struct Fftw;

template <>
struct Fftw<float> {
  using Plan = fftwf_plan;
  static fftwf_complex* Cast(std::complex<float>* p) { return reinterpret_cast<fftwf_complex*>(p); }
  static Plan Make(Shape shape, std::complex<float>* p, int sign) {
    return fftwf_plan_dft_2d(shape.rows, shape.cols, Cast(p), Cast(p), sign, FFTW_ESTIMATE);
  }
  static void Execute(Plan plan, std::complex<float>* p) {
    fftwf_execute_dft(plan, Cast(p), Cast(p));
  }
  static void Destroy(Plan plan) { fftwf_destroy_plan(plan); }
  static int AlignmentOf(std::complex<float>* p) {
    return fftwf_alignment_of(reinterpret_cast<float*>(p));
  }
};

template <>
struct Fftw<double> {
  using Plan = fftw_plan;
  static fftw_complex* Cast(std::complex<double>* p) { return reinterpret_cast<fftw_complex*>(p); }
  static Plan Make(Shape shape, std::complex<double>* p, int sign) {
    return fftw_plan_dft_2d(shape.rows, shape.cols, Cast(p), Cast(p), sign, FFTW_ESTIMATE);
  }
  static void Execute(Plan plan, std::complex<double>* p) {
    fftw_execute_dft(plan, Cast(p), Cast(p));
  }
  static void Destroy(Plan plan) { fftw_destroy_plan(plan); }
  static int AlignmentOf(std::complex<double>* p) {
    return fftw_alignment_of(reinterpret_cast<double*>(p));
  }
};

constexpr std::size_t kVectorAlignment = 64;

template <typename Real>
struct AlignedFree {
  void operator()(std::complex<Real>* p) const { std::free(p); }
};
template <typename Real>
using AlignedArray = std::unique_ptr<std::complex<Real>[], AlignedFree<Real>>;

template <typename Real>
AlignedArray<Real> MakeAlignedArray(std::int64_t size) {
  const std::size_t bytes = static_cast<std::size_t>(size) * sizeof(std::complex<Real>);
  void* p = std::aligned_alloc(
      kVectorAlignment, (bytes + kVectorAlignment - 1) / kVectorAlignment * kVectorAlignment);
  if (p == nullptr) throw std::bad_alloc();
  return AlignedArray<Real>(static_cast<std::complex<Real>*>(p));
}

}  // namespace

// FFTW_ESTIMATE picks the plan from the shape alone, not from a measurement, so that the rounding
// is the same in every process. The plans are made for aligned data; see Run.
template <typename Real>
struct Fft2D<Real>::Impl {
  explicit Impl(Shape shape_in)
      : shape(shape_in), scale(static_cast<Real>(1 / std::sqrt(double(shape.pixels())))) {
    const AlignedArray<Real> sample = MakeAlignedArray<Real>(shape.pixels());
    MutexLock lock(PlannerMutex());
    forward = Fftw<Real>::Make(shape, sample.get(), FFTW_FORWARD);
    inverse = Fftw<Real>::Make(shape, sample.get(), FFTW_BACKWARD);
  }
  ~Impl() {
    MutexLock lock(PlannerMutex());
    Fftw<Real>::Destroy(forward);
    Fftw<Real>::Destroy(inverse);
  }

  // Misaligned data takes a detour: a plan of its own might round differently.
  void Run(typename Fftw<Real>::Plan plan, std::complex<Real>* data) const {
    const std::int64_t pixels = shape.pixels();
    if (Fftw<Real>::AlignmentOf(data) == 0) {
      Fftw<Real>::Execute(plan, data);
      for (std::int64_t i = 0; i < pixels; ++i) data[i] *= scale;
      return;
    }
    const AlignedArray<Real> copy = MakeAlignedArray<Real>(pixels);
    std::copy_n(data, pixels, copy.get());
    Fftw<Real>::Execute(plan, copy.get());
    for (std::int64_t i = 0; i < pixels; ++i) data[i] = copy[i] * scale;
  }

  Shape shape;
  Real scale;
  typename Fftw<Real>::Plan forward;
  typename Fftw<Real>::Plan inverse;
};

template <typename Real>
Fft2D<Real>::Fft2D(Shape shape) : impl_(std::make_unique<Impl>(shape)) {}
template <typename Real>
Fft2D<Real>::~Fft2D() = default;

template <typename Real>
void Fft2D<Real>::Forward(std::complex<Real>* data) const {
  impl_->Run(impl_->forward, data);
}
template <typename Real>
void Fft2D<Real>::Inverse(std::complex<Real>* data) const {
  impl_->Run(impl_->inverse, data);
}
template <typename Real>
Shape Fft2D<Real>::shape() const {
  return impl_->shape;
}

template class Fft2D<float>;
template class Fft2D<double>;

}  // namespace ptychoserve
