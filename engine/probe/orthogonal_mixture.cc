#include "engine/probe/orthogonal_mixture.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "engine/probe/hermitian_eigen.h"

namespace ptychoserve {
namespace {

using Complex128 = std::complex<double>;

}  // namespace

OrthogonalMixture::OrthogonalMixture(const ComplexStack& modes, std::span<const float> weights) {
  const auto n = static_cast<std::size_t>(modes.modes);
  const auto pixels = static_cast<std::size_t>(modes.shape.pixels());
  const auto inner = [&](const Complex64* a, const Complex64* b) {
    Complex128 sum = 0;
    for (std::size_t i = 0; i < pixels; ++i) {
      const Complex128 product = std::conj(Complex128(a[i])) * Complex128(b[i]);
      sum += weights.empty() ? product : static_cast<double>(weights[i]) * product;
    }
    return sum;
  };
  std::vector<Complex128> gram(n * n);
  for (std::size_t a = 0; a < n; ++a) {
    for (std::size_t b = a; b < n; ++b) {
      gram[a * n + b] = inner(modes.data.data() + a * pixels, modes.data.data() + b * pixels);
      gram[b * n + a] = std::conj(gram[a * n + b]);
    }
  }
  HermitianEigen eigen = SolveHermitianEigen(modes.modes, std::move(gram));
  vectors_ = std::move(eigen.vectors);
  double total = 0;
  for (const double value : eigen.values) total += std::max(0.0, value);
  for (const double value : eigen.values) {
    powers_.push_back(total > 0 ? std::max(0.0, value) / total : 0);
  }
}

void OrthogonalMixture::Apply(std::span<Complex64> images) const {
  const std::size_t n = powers_.size(), pixels = images.size() / n;
  std::vector<Complex128> before(n);
  for (std::size_t i = 0; i < pixels; ++i) {
    for (std::size_t a = 0; a < n; ++a) before[a] = Complex128(images[a * pixels + i]);
    for (std::size_t k = 0; k < n; ++k) {
      Complex128 sum = 0;
      for (std::size_t a = 0; a < n; ++a) sum += vectors_[k * n + a] * before[a];
      images[k * pixels + i] = Complex64(sum);
    }
  }
}

}  // namespace ptychoserve
