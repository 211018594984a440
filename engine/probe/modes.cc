#include "engine/probe/modes.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstddef>
#include <limits>
#include <span>
#include <utility>

#include "engine/probe/orthogonal_mixture.h"

namespace ptychoserve {
namespace {

using Complex128 = std::complex<double>;
using Wave = std::vector<Complex128>;

// Of a wave's norm: what is left of one that lies within the span of others is rounding.
constexpr double kNegligible = 1e-6;
// Polynomials of at most this degree are tried for new modes; there are 231 of them.
constexpr int kMaxDegree = 20;

Complex128 Inner(const Wave& a, const Wave& b) {
  Complex128 sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += std::conj(a[i]) * b[i];
  return sum;
}

double Power(const Wave& wave) {
  double power = 0;
  for (const Complex128& value : wave) power += std::norm(value);
  return power;
}

// Makes `wave` orthogonal to the orthonormal `others` and normal. False when nothing is left of it.
bool MakeOrthonormal(const std::vector<Wave>& others, Wave& wave) {
  const double before = Power(wave);
  for (int pass = 0; pass < 2; ++pass) {  // Once more for what rounding has left.
    for (const Wave& other : others) {
      const Complex128 part = Inner(other, wave);
      for (std::size_t i = 0; i < wave.size(); ++i) wave[i] -= part * other[i];
    }
  }
  const double power = Power(wave);
  if (!(power > kNegligible * kNegligible * before)) return false;
  for (Complex128& value : wave) value /= std::sqrt(power);
  return true;
}

// Coordinates along one axis about the centre of intensity, in units of the rms width.
// `intensity` is summed over the other axis.
std::vector<double> Coordinates(const std::vector<double>& intensity) {
  double total = 0, moment = 0;
  for (std::size_t i = 0; i < intensity.size(); ++i) {
    total += intensity[i];
    moment += static_cast<double>(i) * intensity[i];
  }
  const double centre = total > 0 ? moment / total : 0;
  std::vector<double> coordinates;
  double variance = 0;
  for (std::size_t i = 0; i < intensity.size(); ++i) {
    coordinates.push_back(static_cast<double>(i) - centre);
    variance += coordinates.back() * coordinates.back() * intensity[i];
  }
  const double width = total > 0 ? std::sqrt(variance / total) : 0;
  for (double& value : coordinates) value = width > 0 ? value / width : 0;
  return coordinates;
}

// `first` times y^y_degree x^x_degree.
class Polynomials {
 public:
  Polynomials(const Wave& first, Shape shape) : first_(first) {
    std::vector<double> rows(static_cast<std::size_t>(shape.rows));
    std::vector<double> cols(static_cast<std::size_t>(shape.cols));
    for (std::size_t i = 0; i < first.size(); ++i) {
      rows[i / cols.size()] += std::norm(first[i]);
      cols[i % cols.size()] += std::norm(first[i]);
    }
    y_ = Coordinates(rows);
    x_ = Coordinates(cols);
  }

  Wave Times(int y_degree, int x_degree) const {
    Wave wave(first_.size());
    for (std::size_t y = 0, i = 0; y < y_.size(); ++y) {
      const double factor = std::pow(y_[y], y_degree);
      for (std::size_t x = 0; x < x_.size(); ++x, ++i) {
        wave[i] = factor * std::pow(x_[x], x_degree) * first_[i];
      }
    }
    return wave;
  }

 private:
  const Wave& first_;
  std::vector<double> y_, x_;
};

std::vector<Wave> ModesOf(const ComplexStack& probe) {
  const auto pixels = static_cast<std::size_t>(probe.shape.pixels());
  std::vector<Wave> modes;
  for (std::size_t begin = 0; begin < probe.data.size(); begin += pixels) {
    modes.emplace_back(probe.data.data() + begin, probe.data.data() + begin + pixels);
  }
  return modes;
}

}  // namespace

ComplexStack WithModes(const ComplexStack& probe, int modes) {
  if (modes <= probe.modes) return probe;
  const std::vector<Wave> given = ModesOf(probe);
  std::vector<Wave> basis;
  double before = 0;
  double faintest = std::numeric_limits<double>::infinity();
  for (Wave mode : given) {
    const double power = Power(mode);
    before += power;
    if (power > 0) faintest = std::min(faintest, power);
    if (MakeOrthonormal(basis, mode)) basis.push_back(std::move(mode));
  }

  ComplexStack result(modes, probe.shape);
  std::copy(probe.data.begin(), probe.data.end(), result.data.begin());
  auto out = result.data.begin() + std::ssize(probe.data);
  int made = 0;
  double power = faintest, after = before;
  const Polynomials polynomials(given[0], probe.shape);
  for (int degree = 1; degree <= kMaxDegree; ++degree) {
    for (int y_degree = 0; y_degree <= degree && probe.modes + made < modes; ++y_degree) {
      Wave mode = polynomials.Times(y_degree, degree - y_degree);
      if (!MakeOrthonormal(basis, mode)) continue;
      power *= kNewModePower;
      after += power;
      out = std::transform(mode.begin(), mode.end(), out,
                           [power](Complex128 z) { return Complex64(std::sqrt(power) * z); });
      basis.push_back(std::move(mode));
      ++made;
    }
  }
  const auto scale = static_cast<float>(std::sqrt(before / after));
  for (Complex64& value : result.data) value *= scale;
  return result;
}

std::vector<double> OrthogonaliseModes(ComplexStack& probe, ComplexStack& components) {
  if (probe.modes == 1) return {1.0};
  const OrthogonalMixture mixture(probe);
  mixture.Apply(probe.data);
  for (std::size_t begin = 0; begin < components.data.size(); begin += probe.data.size()) {
    mixture.Apply(std::span(components.data).subspan(begin, probe.data.size()));
  }
  return mixture.powers();
}

}  // namespace ptychoserve
