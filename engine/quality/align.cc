#include "engine/quality/align.h"

#include <cmath>
#include <cstddef>
#include <numbers>

#include "engine/fft/fft.h"
#include "engine/quality/nelder_mead.h"

namespace ptychoserve {
namespace {

using Complex = std::complex<double>;

// Ramp and shift hardly move any more after so many rounds of both.
constexpr int kRounds = 4;
// The peak of the spectrum that tells the ramp is looked for between its frequencies.
constexpr int kOversampling = 4;
// Of the simplex that the search for the ramp begins with, in steps of the spectrum.
constexpr double kRampStep = 0.1;
constexpr double kShiftStep_px = 0.5;
// Both values searched for are fractions of 1.
constexpr SimplexTolerance kRampTolerance{1e-7, 1e-9};
constexpr SimplexTolerance kShiftTolerance{1e-3, 1e-7};

std::size_t At(const Shape& shape, int row, int col) {
  return static_cast<std::size_t>(row) * static_cast<std::size_t>(shape.cols) +
         static_cast<std::size_t>(col);
}

// exp(2πi k t) for k = -first, .. of `n` values.
std::vector<Complex> Phases(int n, double first, double turns) {
  std::vector<Complex> phases(static_cast<std::size_t>(n));
  for (int k = 0; k < n; ++k) {
    phases[static_cast<std::size_t>(k)] =
        std::polar(1.0, 2 * std::numbers::pi * (k - first) * turns);
  }
  return phases;
}

// The same for the frequencies of a transform, fftfreq(n) = k / n.
std::vector<Complex> FrequencyPhases(int n, double shift_px) {
  std::vector<Complex> phases(static_cast<std::size_t>(n));
  for (int k = 0; k < n; ++k) {
    const int frequency = k < (n + 1) / 2 ? k : k - n;
    phases[static_cast<std::size_t>(k)] =
        std::polar(1.0, -2 * std::numbers::pi * frequency * shift_px / n);
  }
  return phases;
}

void MultiplyBy(const std::vector<Complex>& rows, const std::vector<Complex>& cols,
                WideImage& image) {
  for (int y = 0; y < image.shape.rows; ++y) {
    for (int x = 0; x < image.shape.cols; ++x) {
      image.data[At(image.shape, y, x)] *=
          rows[static_cast<std::size_t>(y)] * cols[static_cast<std::size_t>(x)];
    }
  }
}

// Place of the largest modulus.
std::array<int, 2> Peak(const WideImage& image) {
  std::size_t best = 0;
  double largest = -1;
  for (std::size_t i = 0; i < image.data.size(); ++i) {
    if (const double value = std::norm(image.data[i]); value > largest) {
      largest = value;
      best = i;
    }
  }
  const auto cols = static_cast<std::size_t>(image.shape.cols);
  return {static_cast<int>(best / cols), static_cast<int>(best % cols)};
}

// Index k of n as one of both signs.
int Signed(int k, int n) { return k > n / 2 ? k - n : k; }

class Aligner {
 public:
  explicit Aligner(const WideImage& a)
      : a_(a),
        fft_(a.shape),
        padded_fft_({kOversampling * a.shape.rows, kOversampling * a.shape.cols}),
        window_(HannWindow(a.shape)),
        structure_(Structure(a)) {
    for (const Complex& v : structure_.data) structure_power_ += std::norm(v);
  }

  void RemoveRamp(WideImage& b) const {
    WideImage product = b;
    double weight = 0;
    for (std::size_t i = 0; i < product.data.size(); ++i) {
      product.data[i] = window_[i] * a_.data[i] * std::conj(b.data[i]);
      weight += std::abs(product.data[i]);
    }
    if (weight == 0) return;
    const int rows = b.shape.rows, cols = b.shape.cols;
    const auto [row, col] = PaddedPeak(product);
    const Point2D begin = {
        static_cast<double>(Signed(row, kOversampling * rows)) / (kOversampling * rows),
        static_cast<double>(Signed(col, kOversampling * cols)) / (kOversampling * cols)};
    const auto misfit = [&](const Point2D& turns) {
      const auto y_phases = Phases(rows, rows / 2.0, -turns[0]);
      const auto x_phases = Phases(cols, cols / 2.0, -turns[1]);
      Complex sum = 0;
      for (int y = 0; y < rows; ++y) {
        Complex row_sum = 0;
        for (int x = 0; x < cols; ++x) {
          row_sum += product.data[At(b.shape, y, x)] * x_phases[static_cast<std::size_t>(x)];
        }
        sum += row_sum * y_phases[static_cast<std::size_t>(y)];
      }
      return -std::abs(sum) / weight;
    };
    const Point2D turns = Minimise(misfit,
                                   {begin, Point2D{begin[0] + kRampStep / rows, begin[1]},
                                    Point2D{begin[0], begin[1] + kRampStep / cols}},
                                   kRampTolerance);
    MultiplyBy(Phases(rows, rows / 2.0, turns[0]), Phases(cols, cols / 2.0, turns[1]), b);
  }

  void RemoveShift(WideImage& b) const {
    if (structure_power_ == 0) return;
    const int rows = b.shape.rows, cols = b.shape.cols;
    WideImage correlation = structure_;
    fft_.Forward(correlation.data.data());
    WideImage other = Structure(b);
    fft_.Forward(other.data.data());
    for (std::size_t i = 0; i < other.data.size(); ++i) {
      correlation.data[i] *= std::conj(other.data[i]);
    }
    fft_.Inverse(correlation.data.data());
    const auto [row, col] = Peak(correlation);
    const Point2D begin = {static_cast<double>(Signed(row, rows)),
                           static_cast<double>(Signed(col, cols))};
    WideImage spectrum = b;
    fft_.Forward(spectrum.data.data());
    const auto shifted = [&](const Point2D& shift) {
      WideImage out = spectrum;
      MultiplyBy(FrequencyPhases(rows, shift[0]), FrequencyPhases(cols, shift[1]), out);
      fft_.Inverse(out.data.data());
      return out;
    };
    const auto misfit = [&](const Point2D& shift) {
      const WideImage moved = Structure(shifted(shift));
      Complex sum = 0;
      double power = 0;
      for (std::size_t i = 0; i < moved.data.size(); ++i) {
        sum += std::conj(structure_.data[i]) * moved.data[i];
        power += std::norm(moved.data[i]);
      }
      return power > 0 ? -std::abs(sum) / std::sqrt(power * structure_power_) : 0;
    };
    b = shifted(Minimise(misfit,
                         {begin, Point2D{begin[0] + kShiftStep_px, begin[1]},
                          Point2D{begin[0], begin[1] + kShiftStep_px}},
                         kShiftTolerance));
  }

  void RemoveFactor(WideImage& b) const {
    Complex common = 0;
    double power = 0;
    for (std::size_t i = 0; i < b.data.size(); ++i) {
      common += window_[i] * a_.data[i] * std::conj(b.data[i]);
      power += window_[i] * std::norm(b.data[i]);
    }
    if (power == 0) return;
    for (Complex& v : b.data) v *= common / power;
  }

 private:
  // What differs from the mean, in the window.
  WideImage Structure(const WideImage& image) const {
    Complex mean = 0;
    double weight = 0;
    for (std::size_t i = 0; i < image.data.size(); ++i) {
      mean += window_[i] * image.data[i];
      weight += window_[i];
    }
    mean /= weight;
    WideImage out = image;
    for (std::size_t i = 0; i < out.data.size(); ++i) {
      out.data[i] = window_[i] * (out.data[i] - mean);
    }
    return out;
  }

  std::array<int, 2> PaddedPeak(const WideImage& image) const {
    WideImage padded{padded_fft_.shape(), {}};
    padded.data.resize(static_cast<std::size_t>(padded.shape.pixels()));
    for (int y = 0; y < image.shape.rows; ++y) {
      for (int x = 0; x < image.shape.cols; ++x) {
        padded.data[At(padded.shape, y, x)] = image.data[At(image.shape, y, x)];
      }
    }
    padded_fft_.Forward(padded.data.data());
    return Peak(padded);
  }

  const WideImage& a_;
  const Fft2D<double> fft_;
  const Fft2D<double> padded_fft_;
  const std::vector<double> window_;
  const WideImage structure_;  // Of a.
  double structure_power_ = 0;
};

}  // namespace

std::vector<double> HannWindow(const Shape& shape) {
  const auto side = [](int n) {
    std::vector<double> w(static_cast<std::size_t>(n), 1);
    for (int k = 0; k < n && n > 1; ++k) {
      w[static_cast<std::size_t>(k)] = 0.5 - 0.5 * std::cos(2 * std::numbers::pi * k / (n - 1));
    }
    return w;
  };
  std::vector<double> window;
  const std::vector<double> cols = side(shape.cols);
  for (const double y : side(shape.rows)) {
    for (const double x : cols) window.push_back(y * x);
  }
  return window;
}

WideImage AlignTo(const WideImage& a, WideImage b) {
  const Aligner aligner(a);
  for (int round = 0; round < kRounds; ++round) {
    aligner.RemoveRamp(b);
    aligner.RemoveShift(b);
    aligner.RemoveFactor(b);
  }
  return b;
}

}  // namespace ptychoserve
