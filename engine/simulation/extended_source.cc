#include "engine/simulation/extended_source.h"

#include <cmath>
#include <complex>
#include <cstddef>
#include <utility>
#include <vector>

#include "engine/base/constants.h"
#include "engine/fft/fft.h"
#include "engine/probe/hermitian_eigen.h"
#include "engine/probe/modes.h"
#include "engine/simulation/scan_pattern.h"

namespace ptychoserve {
namespace {

using Complex128 = std::complex<double>;

constexpr double kFirstSpacing_px = 0.01;
constexpr int kBisections = 40;

// exp(-2πi q shift / n) for the frequencies q of an axis.
std::vector<Complex128> ShiftRamp(int n, double shift) {
  std::vector<Complex128> ramp;
  for (int i = 0; i < n; ++i) {
    ramp.push_back(std::polar(1.0, -kTwoPi * (i < n / 2 ? i : i - n) * shift / n));
  }
  return ramp;
}

class Source {
 public:
  Source(const ComplexStack& beam, int modes)
      : n_(beam.shape.rows),
        spectrum_(beam.data.begin(), beam.data.end()),
        fft_(beam.shape),
        points_(FermatSpiral(modes)) {
    fft_.Forward(spectrum_.data());
  }

  // Part of the power in the brightest mode when the points are `spacing` pixels apart.
  double FirstPower(double spacing) const {
    const std::size_t modes = points_.y.size();
    std::vector<Complex128> gram(modes * modes);
    for (std::size_t a = 0; a < modes; ++a) {
      for (std::size_t b = a; b < modes; ++b) {
        gram[a * modes + b] = Overlap(spacing * (points_.y[b] - points_.y[a]),
                                      spacing * (points_.x[b] - points_.x[a]));
        gram[b * modes + a] = std::conj(gram[a * modes + b]);
      }
    }
    double trace = 0;
    for (std::size_t a = 0; a < modes; ++a) trace += gram[a * modes + a].real();
    return SolveHermitianEigen(static_cast<int>(modes), std::move(gram)).values[0] / trace;
  }

  // The beams of all points, of the power of one.
  ComplexStack Beams(double spacing) const {
    const std::size_t modes = points_.y.size();
    const double scale = 1 / std::sqrt(static_cast<double>(modes));
    ComplexStack beams(static_cast<int>(modes), {n_, n_});
    auto out = beams.data.begin();
    for (std::size_t m = 0; m < modes; ++m) {
      const std::vector<Complex128> y = ShiftRamp(n_, spacing * points_.y[m]);
      const std::vector<Complex128> x = ShiftRamp(n_, spacing * points_.x[m]);
      std::vector<Complex128> wave(spectrum_.size());
      for (std::size_t i = 0; i < wave.size(); ++i) {
        wave[i] = scale * spectrum_[i] * y[i / x.size()] * x[i % x.size()];
      }
      fft_.Inverse(wave.data());
      for (const Complex128& value : wave) *out++ = Complex64(value);
    }
    return beams;
  }

 private:
  // Inner product of two beams, the second off the first.
  Complex128 Overlap(double shift_y, double shift_x) const {
    const std::vector<Complex128> y = ShiftRamp(n_, shift_y), x = ShiftRamp(n_, shift_x);
    Complex128 sum = 0;
    for (std::size_t row = 0, i = 0; row < y.size(); ++row) {
      Complex128 line = 0;
      for (std::size_t col = 0; col < x.size(); ++col, ++i)
        line += std::norm(spectrum_[i]) * x[col];
      sum += y[row] * line;
    }
    return sum;
  }

  const int n_;
  std::vector<Complex128> spectrum_;
  Fft2D<double> fft_;
  ScanPoints points_;  // In units of the spacing.
};

}  // namespace

ComplexStack ExtendedSource(const ComplexStack& beam, int modes, double first_power) {
  if (modes == 1) return beam;
  const Source source(beam, modes);
  double near = 0, far = kFirstSpacing_px;
  while (far < beam.shape.rows && source.FirstPower(far) > first_power) {
    near = far;
    far *= 2;
  }
  for (int i = 0; i < kBisections; ++i) {
    const double middle = (near + far) / 2;
    (source.FirstPower(middle) > first_power ? near : far) = middle;
  }
  ComplexStack probe = source.Beams((near + far) / 2);
  OrthogonaliseModes(probe);
  return probe;
}

}  // namespace ptychoserve
