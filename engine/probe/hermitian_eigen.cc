#include "engine/probe/hermitian_eigen.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>
#include <utility>

namespace ptychoserve {
namespace {

using Complex128 = std::complex<double>;

// The quadratic convergence needs less than ten sweeps for any matrix of our sizes.
constexpr int kMaxSweeps = 50;

class Jacobi {
 public:
  Jacobi(int n, std::vector<Complex128> matrix)
      : n_(static_cast<std::size_t>(n)), a_(std::move(matrix)), v_(n_ * n_) {
    for (std::size_t k = 0; k < n_; ++k) v_[k * n_ + k] = 1;
  }

  void Run() {
    for (int sweep = 0; sweep < kMaxSweeps; ++sweep) {
      bool rotated = false;
      for (std::size_t p = 0; p < n_; ++p) {
        for (std::size_t q = p + 1; q < n_; ++q) rotated = Rotate(p, q) || rotated;
      }
      if (!rotated) return;
    }
  }

  double value(std::size_t k) const { return a_[k * n_ + k].real(); }

  // Component `i` of the eigenvector of value(k).
  Complex128 component(std::size_t k, std::size_t i) const { return v_[i * n_ + k]; }

 private:
  // Makes the elements (p, q) and (q, p) zero. False when they are that already, to rounding.
  bool Rotate(std::size_t p, std::size_t q) {
    const Complex128 off = a_[p * n_ + q];
    const double size = std::abs(off);
    const double diagonal = std::sqrt(std::abs(value(p)) * std::abs(value(q)));
    if (size <= std::numeric_limits<double>::min() ||
        size <= std::numeric_limits<double>::epsilon() * diagonal) {
      return false;
    }
    const double tau = (value(q) - value(p)) / (2 * size);
    const double t = (tau >= 0 ? 1 : -1) / (std::abs(tau) + std::hypot(1.0, tau));
    const double c = 1 / std::hypot(1.0, t);
    const Complex128 s = t * c * off / size;  // Takes the phase of the element along.
    for (std::size_t i = 0; i < n_; ++i) RotateColumns(a_, i, p, q, c, s);
    for (std::size_t i = 0; i < n_; ++i) {
      const Complex128 ap = a_[p * n_ + i], aq = a_[q * n_ + i];
      a_[p * n_ + i] = c * ap - s * aq;
      a_[q * n_ + i] = std::conj(s) * ap + c * aq;
    }
    a_[p * n_ + q] = a_[q * n_ + p] = 0;
    for (std::size_t i = 0; i < n_; ++i) RotateColumns(v_, i, p, q, c, s);
    return true;
  }

  void RotateColumns(std::vector<Complex128>& m, std::size_t row, std::size_t p, std::size_t q,
                     double c, Complex128 s) const {
    const Complex128 mp = m[row * n_ + p], mq = m[row * n_ + q];
    m[row * n_ + p] = c * mp - std::conj(s) * mq;
    m[row * n_ + q] = s * mp + c * mq;
  }

  const std::size_t n_;
  std::vector<Complex128> a_;  // Becomes diagonal.
  std::vector<Complex128> v_;  // Eigenvectors in columns.
};

}  // namespace

HermitianEigen SolveHermitianEigen(int n, std::vector<Complex128> matrix) {
  Jacobi jacobi(n, std::move(matrix));
  jacobi.Run();
  std::vector<std::size_t> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return jacobi.value(a) > jacobi.value(b); });
  HermitianEigen result;
  for (const std::size_t k : order) {
    result.values.push_back(jacobi.value(k));
    Complex128 largest = 0;
    for (std::size_t i = 0; i < order.size(); ++i) {
      if (std::norm(jacobi.component(k, i)) > std::norm(largest)) largest = jacobi.component(k, i);
    }
    const Complex128 turn = std::conj(largest) / std::abs(largest);
    for (std::size_t i = 0; i < order.size(); ++i) {
      result.vectors.push_back(turn * jacobi.component(k, i));
    }
  }
  return result;
}

}  // namespace ptychoserve
