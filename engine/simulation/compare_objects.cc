#include <algorithm>
#include <array>
#include <cmath>
#include <complex>
#include <cstdint>
#include <limits>
#include <numbers>
#include <vector>

#include "engine/fft/fft.h"
#include "engine/probe/orthogonal_mixture.h"
#include "engine/simulation/simulation.h"

namespace ptychoserve {
namespace {

using Complex = std::complex<double>;

constexpr int kSmallestSide = 32;
constexpr int kRampRefinements = 2;
constexpr int kShiftRefinements = 3;
// Phases beyond this (rad) are wrong in detail, not by a ramp, and do not take part in its fit.
constexpr double kRampOutlier = 1;

struct Image {
  Shape shape;
  std::vector<Complex> data;

  std::size_t Index(int y, int x) const {
    return static_cast<std::size_t>(y) * static_cast<std::size_t>(shape.cols) +
           static_cast<std::size_t>(x);
  }
  const Complex& at(int y, int x) const { return data[Index(y, x)]; }
};

// Solves a x = b, x in the place of b, by Gaussian elimination with row exchange. False when `a` is
// singular.
template <typename Matrix, typename Vector>
bool Solve(Matrix a, Vector& b) {
  for (std::size_t i = 0; i < b.size(); ++i) {
    std::size_t pivot = i;
    for (std::size_t k = i + 1; k < b.size(); ++k) {
      if (std::abs(a[k][i]) > std::abs(a[pivot][i])) pivot = k;
    }
    if (!(std::abs(a[pivot][i]) > 0)) return false;
    std::swap(a[i], a[pivot]);
    std::swap(b[i], b[pivot]);
    for (std::size_t k = i + 1; k < b.size(); ++k) {
      const auto factor = a[k][i] / a[i][i];
      for (std::size_t c = i; c < b.size(); ++c) a[k][c] -= factor * a[i][c];
      b[k] -= factor * b[i];
    }
  }
  for (std::size_t i = b.size(); i-- > 0;) {
    for (std::size_t c = i + 1; c < b.size(); ++c) b[i] -= a[i][c] * b[c];
    b[i] /= a[i][i];
  }
  return true;
}

// Fits a reconstruction to the truth, step by step. The core is what is compared: all but the
// border, which is there for shifts to have something to bring in. Shift and ramp are those of the
// strongest modes, which come first.
class Fit {
 public:
  Fit(std::vector<Image> reconstruction, std::vector<Image> truth, int border)
      : modes_(std::move(reconstruction)), true_modes_(std::move(truth)), border_(border) {}

  ObjectError Run() {
    RemoveRamp();
    RemovePixelShift();
    for (int i = 0; i < kShiftRefinements; ++i) {
      RemoveRamp();
      RemoveSubpixelShift();
    }
    RemoveRamp();
    return Compare();
  }

 private:
  template <typename F>
  void ForCore(const F& f) const {
    for (int y = border_; y < t_.shape.rows - border_; ++y) {
      for (int x = border_; x < t_.shape.cols - border_; ++x) f(y, x);
    }
  }

  const Image& strongest() const { return modes_.front(); }
  Complex Product(int y, int x) const { return strongest().at(y, x) * std::conj(t_.at(y, x)); }

  // Multiplies by exp(-i (p0 + py y + px x)), coordinates from the middle.
  void SubtractPlane(double p0, double py, double px) {
    for (int y = 0; y < t_.shape.rows; ++y) {
      for (int x = 0; x < t_.shape.cols; ++x) {
        const double phase =
            p0 + py * (y - MiddlePixel(t_.shape.rows)) + px * (x - MiddlePixel(t_.shape.cols));
        for (Image& r : modes_) r.data[r.Index(y, x)] *= std::polar(1.0, -phase);
      }
    }
  }

  void RemoveRamp() {
    // The mean phase step from pixel to pixel, which cannot wrap, first; then a plane through
    // what is left.
    Complex down = 0, right = 0;
    ForCore([&](int y, int x) {
      const Complex q = std::conj(Product(y, x));
      if (y + 1 < t_.shape.rows - border_) down += Product(y + 1, x) * q;
      if (x + 1 < t_.shape.cols - border_) right += Product(y, x + 1) * q;
    });
    SubtractPlane(0, std::arg(down), std::arg(right));
    for (int i = 0; i < kRampRefinements; ++i) RemovePhasePlane();
  }

  void RemovePhasePlane() {
    Complex sum = 0;
    ForCore([&](int y, int x) { sum += Product(y, x); });
    std::array<std::array<double, 3>, 3> normal{};
    std::array<double, 3> plane{};
    ForCore([&](int y, int x) {
      const Complex q = Product(y, x);
      const double phase = std::arg(q * std::conj(sum));
      if (std::abs(phase) >= kRampOutlier) return;
      const double weight = std::abs(q);
      const std::array<double, 3> basis = {1, static_cast<double>(y - MiddlePixel(t_.shape.rows)),
                                           static_cast<double>(x - MiddlePixel(t_.shape.cols))};
      for (std::size_t a = 0; a < 3; ++a) {
        plane[a] += weight * basis[a] * phase;
        for (std::size_t b = 0; b < 3; ++b) normal[a][b] += weight * basis[a] * basis[b];
      }
    });
    if (Solve(normal, plane)) SubtractPlane(plane[0], plane[1], plane[2]);
  }

  // By whole pixels, from the peak of the cross-correlation; larger ones than half the border are
  // not believed.
  void RemovePixelShift() {
    const Fft2D<double> fft(t_.shape);
    std::vector<Complex> correlation = strongest().data, truth = t_.data;
    fft.Forward(correlation.data());
    fft.Forward(truth.data());
    for (std::size_t i = 0; i < truth.size(); ++i) correlation[i] *= std::conj(truth[i]);
    fft.Inverse(correlation.data());
    const auto peak = std::max_element(
        correlation.begin(), correlation.end(),
        [](const Complex& a, const Complex& b) { return std::norm(a) < std::norm(b); });
    const int index = static_cast<int>(peak - correlation.begin());
    const int rows = t_.shape.rows, cols = t_.shape.cols;
    int dy = index / cols, dx = index % cols;
    if (dy > rows / 2) dy -= rows;
    if (dx > cols / 2) dx -= cols;
    if (std::max(std::abs(dy), std::abs(dx)) > border_ / 2) return;
    for (Image& r : modes_) {
      Image moved = r;
      for (int y = 0; y < rows; ++y) {
        for (int x = 0; x < cols; ++x) {
          moved.data[moved.Index(y, x)] = r.at((y + dy + rows) % rows, (x + dx + cols) % cols);
        }
      }
      r = std::move(moved);
    }
  }

  // Least-squares fit r = c0 t + cy dt/dy + cx dt/dx; then r is t moved by -c / c0.
  void RemoveSubpixelShift() {
    std::array<std::array<Complex, 3>, 3> normal{};
    std::array<Complex, 3> c{};
    const auto inside = [](int i, int n) { return i > 0 && i + 1 < n; };
    ForCore([&](int y, int x) {
      const Complex gy =
          inside(y, t_.shape.rows) ? (t_.at(y + 1, x) - t_.at(y - 1, x)) / 2.0 : Complex();
      const Complex gx =
          inside(x, t_.shape.cols) ? (t_.at(y, x + 1) - t_.at(y, x - 1)) / 2.0 : Complex();
      const std::array<Complex, 3> basis = {t_.at(y, x), gy, gx};
      for (std::size_t a = 0; a < 3; ++a) {
        c[a] += std::conj(basis[a]) * strongest().at(y, x);
        for (std::size_t b = 0; b < 3; ++b) normal[a][b] += std::conj(basis[a]) * basis[b];
      }
    });
    if (!Solve(normal, c) || c[0] == 0.0) return;
    const double dy = std::clamp((-c[1] / c[0]).real(), -1.0, 1.0);
    const double dx = std::clamp((-c[2] / c[0]).real(), -1.0, 1.0);
    Move(-dy, -dx);
  }

  // By any distance, through the Fourier transform.
  void Move(double dy, double dx) {
    const Fft2D<double> fft(t_.shape);
    const auto frequency = [](int i, int n) {
      return static_cast<double>(i < (n + 1) / 2 ? i : i - n) / n;
    };
    for (Image& r : modes_) {
      fft.Forward(r.data.data());
      for (int y = 0; y < r.shape.rows; ++y) {
        for (int x = 0; x < r.shape.cols; ++x) {
          const double turns = frequency(y, r.shape.rows) * dy + frequency(x, r.shape.cols) * dx;
          r.data[r.Index(y, x)] *= std::polar(1.0, -2 * std::numbers::pi * turns);
        }
      }
      fft.Inverse(r.data.data());
    }
  }

  // The mixture of the reconstructed modes that is nearest to `truth`; none when these are not
  // independent of each other.
  std::vector<Complex> NearestMixture(const Image& truth) const {
    const std::size_t n = modes_.size();
    std::vector<std::vector<Complex>> normal(n, std::vector<Complex>(n));
    std::vector<Complex> mixture(n);
    ForCore([&](int y, int x) {
      for (std::size_t a = 0; a < n; ++a) {
        const Complex value = std::conj(modes_[a].at(y, x));
        mixture[a] += value * truth.at(y, x);
        for (std::size_t b = 0; b < n; ++b) normal[a][b] += value * modes_[b].at(y, x);
      }
    });
    if (!Solve(std::move(normal), mixture)) mixture.assign(n, std::nan(""));
    return mixture;
  }

  ObjectError Compare() const {
    double error = 0, truth_power = 0, phase = 0;
    std::int64_t pixels = 0;
    for (const Image& truth : true_modes_) {
      const std::vector<Complex> mixture = NearestMixture(truth);
      ForCore([&](int y, int x) {
        Complex mixed = 0;
        for (std::size_t a = 0; a < modes_.size(); ++a) mixed += mixture[a] * modes_[a].at(y, x);
        error += std::norm(mixed - truth.at(y, x));
        truth_power += std::norm(truth.at(y, x));
        if (&truth != &t_) return;
        const double difference = std::arg(mixed * std::conj(truth.at(y, x)));
        phase += difference * difference;
        ++pixels;
      });
    }
    return {std::sqrt(error / truth_power), std::sqrt(phase / static_cast<double>(pixels))};
  }

  std::vector<Image> modes_, true_modes_;
  const Image& t_ = true_modes_.front();
  int border_;
};

// The modes, orthogonal, by falling power.
std::vector<Image> ImagesOf(ComplexStack object) {
  if (object.modes > 1) OrthogonalMixture(object).Apply(object.data);
  std::vector<Image> modes;
  for (auto begin = object.data.begin(); begin != object.data.end();
       begin += object.shape.pixels()) {
    modes.push_back({object.shape, {begin, begin + object.shape.pixels()}});
  }
  return modes;
}

bool Finite(const ComplexStack& stack) {
  return std::all_of(stack.data.begin(), stack.data.end(), [](const Complex64& v) {
    return std::isfinite(v.real()) && std::isfinite(v.imag());
  });
}

}  // namespace

ObjectError CompareObjects(const ComplexStack& reconstruction, const ComplexStack& truth,
                           int border) {
  const int side = std::min(truth.shape.rows, truth.shape.cols);
  if (reconstruction.shape != truth.shape || reconstruction.modes < 1 || truth.modes < 1 ||
      side < kSmallestSide || border < 0 || 2 * border >= side || !Finite(reconstruction) ||
      !Finite(truth)) {
    constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
    return {kNaN, kNaN};
  }
  return Fit(ImagesOf(reconstruction), ImagesOf(truth), border).Run();
}

}  // namespace ptychoserve
