#include "engine/solver/probe_variation.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "engine/probe/hermitian_eigen.h"

namespace ptychoserve {
namespace {

using Complex128 = std::complex<double>;
using Wave = std::vector<Complex128>;  // Of all modes.

constexpr float kSeed = 0.5f;
// Of the largest weight: where hardly any light has passed, a component moves little.
constexpr double kRegularisation = 0.02;
// Of a wave's power: what is left of one within the span of others is rounding.
constexpr double kNegligiblePower = 1e-10;

double RealInner(const Wave& a, const Wave& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    sum += a[i].real() * b[i].real() + a[i].imag() * b[i].imag();
  }
  return sum;
}

void TakeOut(const std::vector<Wave>& basis, Wave& wave) {
  for (int pass = 0; pass < 2; ++pass) {  // Once more for what rounding has left.
    for (const Wave& other : basis) {
      const double part = RealInner(other, wave);
      for (std::size_t i = 0; i < wave.size(); ++i) wave[i] -= part * other[i];
    }
  }
}

// An orthonormal basis of what `waves` span.
std::vector<Wave> BasisOf(std::vector<Wave> waves) {
  std::vector<Wave> basis;
  for (Wave& wave : waves) {
    const double before = RealInner(wave, wave);
    TakeOut(basis, wave);
    const double power = RealInner(wave, wave);
    if (!(power > kNegligiblePower * before)) continue;
    for (Complex128& value : wave) value /= std::sqrt(power);
    basis.push_back(std::move(wave));
  }
  return basis;
}

std::vector<Wave> ComponentsOf(const ComplexStack& components, std::size_t size) {
  std::vector<Wave> waves;
  for (std::size_t begin = 0; begin < components.data.size(); begin += size) {
    waves.emplace_back(components.data.data() + begin, components.data.data() + begin + size);
  }
  return waves;
}

// The probe's central differences by row or column, cyclically.
Wave DerivativeOf(const ComplexStack& probe, int by_rows, int by_cols) {
  const auto [rows, cols] = probe.shape;
  Wave derivative;
  derivative.reserve(probe.data.size());
  for (int mode = 0; mode < probe.modes; ++mode) {
    const auto at = [&, mode](int y, int x) {
      const std::int64_t row = std::int64_t{mode} * rows + (y + rows) % rows;
      return Complex128(probe.data[static_cast<std::size_t>(row * cols + (x + cols) % cols)]);
    };
    for (int y = 0; y < rows; ++y) {
      for (int x = 0; x < cols; ++x) {
        derivative.push_back(0.5 * (at(y + by_rows, x + by_cols) - at(y - by_rows, x - by_cols)));
      }
    }
  }
  return derivative;
}

// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
std::uint64_t Hash(std::uint64_t value) {
  value += 0x9e3779b97f4a7c15u;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
  return value ^ (value >> 31);
}

// A real matrix of few rows.
struct SmallMatrix {
  explicit SmallMatrix(std::size_t size) : n(size), values(size * size) {}
  double& operator()(std::size_t i, std::size_t j) { return values[i * n + j]; }
  double operator()(std::size_t i, std::size_t j) const { return values[i * n + j]; }

  std::size_t n;
  std::vector<double> values;
};

SmallMatrix Product(const SmallMatrix& a, const SmallMatrix& b) {
  SmallMatrix product(a.n);
  for (std::size_t i = 0; i < a.n; ++i) {
    for (std::size_t j = 0; j < a.n; ++j) {
      for (std::size_t k = 0; k < a.n; ++k) product(i, j) += a(i, k) * b(k, j);
    }
  }
  return product;
}

// Eigenvectors of a symmetric matrix as rows, by falling eigenvalues.
std::pair<std::vector<double>, SmallMatrix> EigenOf(const SmallMatrix& symmetric) {
  const HermitianEigen eigen = SolveHermitianEigen(
      static_cast<int>(symmetric.n), {symmetric.values.begin(), symmetric.values.end()});
  SmallMatrix rows(symmetric.n);
  std::ranges::transform(eigen.vectors, rows.values.begin(),
                         [](const Complex128& value) { return value.real(); });
  return {eigen.values, rows};
}

}  // namespace

bool SeedVariation(const ComplexStack& components, int modes, std::span<ActivePoint> points) {
  const auto size = static_cast<std::size_t>(modes * components.shape.pixels());
  bool seeded = false;
  for (std::size_t k = 0; k * size < components.data.size(); ++k) {
    const auto component = std::span(components.data).subspan(k * size, size);
    if (std::ranges::any_of(component, [](Complex64 v) { return v != Complex64(); })) continue;
    seeded = true;
    for (ActivePoint& p : points) {
      const std::uint64_t bits = Hash(static_cast<std::uint64_t>(p.frame_id));
      p.refined.variation[k] = (bits >> k) % 2 == 0 ? kSeed : -kSeed;
    }
  }
  return seeded;
}

ComplexStack SteppedComponents(const ComplexStack& components, int modes,
                               const Refinement& refinement, double step) {
  const auto pixels = static_cast<std::size_t>(components.shape.pixels());
  const std::size_t size = static_cast<std::size_t>(modes) * pixels;
  const std::vector<Wave> basis = BasisOf(ComponentsOf(components, size));
  ComplexStack stepped = components;
  for (std::size_t k = 0; k * size < components.data.size(); ++k) {
    const auto weights = std::span(refinement.component_weights).subspan(k * pixels, pixels);
    const double least = kRegularisation * static_cast<double>(*std::ranges::max_element(weights));
    if (!(least > 0)) continue;
    Wave change(size);
    for (std::size_t i = 0; i < size; ++i) {
      change[i] = step * Complex128(refinement.component_sums.data[k * size + i]) /
                  (static_cast<double>(weights[i % pixels]) + least);
    }
    TakeOut(basis, change);
    for (std::size_t i = 0; i < size; ++i) stepped.data[k * size + i] += Complex64(change[i]);
  }
  return stepped;
}

void MakePrincipal(const ComplexStack& probe, const StageRefinement& which,
                   ComplexStack& components, std::span<ActivePoint> points) {
  std::vector<Wave> explained;
  const Wave mean(probe.data.begin(), probe.data.end());
  if (which.intensities) explained.push_back(mean);
  if (which.positions) {
    explained.push_back(DerivativeOf(probe, 1, 0));
    explained.push_back(DerivativeOf(probe, 0, 1));
  }
  explained = BasisOf(std::move(explained));
  std::vector<Wave> waves = ComponentsOf(components, probe.data.size());
  double largest = 0;
  for (Wave& wave : waves) {
    largest = std::max(largest, RealInner(wave, wave));
    TakeOut(explained, wave);
  }

  const std::size_t n = waves.size();
  SmallMatrix gram(n), covariance(n);
  for (std::size_t a = 0; a < n; ++a) {
    for (std::size_t b = a; b < n; ++b) {
      gram(a, b) = gram(b, a) = RealInner(waves[a], waves[b]);
      for (const ActivePoint& p : points) {
        covariance(a, b) += double{p.refined.variation[a]} * double{p.refined.variation[b]};
      }
      covariance(b, a) = covariance(a, b);
    }
  }
  // V = T V and c = S c with Tᵀ S = 1: first to an orthonormal basis, then to the axes of the
  // coefficients in it.
  const auto [powers, axes] = EigenOf(gram);
  const double scale = std::sqrt(RealInner(mean, mean));
  SmallMatrix to_waves(n), to_coefficients(n);
  for (std::size_t a = 0; a < n; ++a) {
    if (!(powers[a] > kNegligiblePower * largest) || !(scale > 0)) continue;
    for (std::size_t k = 0; k < n; ++k) {
      to_waves(a, k) = axes(a, k) * scale / std::sqrt(powers[a]);
      to_coefficients(a, k) = axes(a, k) * std::sqrt(powers[a]) / scale;
    }
  }
  SmallMatrix transposed(n);
  for (std::size_t a = 0; a < n; ++a) {
    for (std::size_t k = 0; k < n; ++k) transposed(k, a) = to_coefficients(a, k);
  }
  const SmallMatrix rotation =
      EigenOf(Product(to_coefficients, Product(covariance, transposed))).second;
  to_waves = Product(rotation, to_waves);
  to_coefficients = Product(rotation, to_coefficients);
  for (std::size_t a = 0; a < n; ++a) {
    // An axis keeps its sense as far as it remains the same.
    double along = 0;
    for (std::size_t k = 0; k < n; ++k) along += to_waves(a, k) * gram(k, a);
    if (along >= 0) continue;
    for (std::size_t k = 0; k < n; ++k) {
      to_waves(a, k) = -to_waves(a, k);
      to_coefficients(a, k) = -to_coefficients(a, k);
    }
  }

  for (std::size_t a = 0; a < n; ++a) {
    for (std::size_t i = 0; i < mean.size(); ++i) {
      Complex128 sum = 0;
      for (std::size_t k = 0; k < n; ++k) sum += to_waves(a, k) * waves[k][i];
      components.data[a * mean.size() + i] = Complex64(sum);
    }
  }
  for (ActivePoint& p : points) {
    const auto before = p.refined.variation;
    for (std::size_t a = 0; a < n; ++a) {
      double sum = 0;
      for (std::size_t k = 0; k < n; ++k) sum += to_coefficients(a, k) * double{before[k]};
      p.refined.variation[a] = static_cast<float>(sum);
    }
  }
}

}  // namespace ptychoserve
