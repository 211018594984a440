#include "engine/quality/frc.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <numeric>

#include "absl/strings/str_format.h"
#include "engine/fft/fft.h"
#include "engine/quality/align.h"

namespace ptychoserve {
namespace {

// Part of the largest coverage that a pixel needs to count as lit, and part of the pixels that do.
constexpr float kLit = 0.01f;
constexpr double kMostlyLit = 0.98;
// Below this ring, which holds the shape of the window, no crossing is looked for.
constexpr std::size_t kFirstCrossing = 4;

Region Intersect(const Region& a, const Region& b) {
  const int row = std::max(a.row, b.row), col = std::max(a.col, b.col);
  const int row_end = std::min(a.row + a.shape.rows, b.row + b.shape.rows);
  const int col_end = std::min(a.col + a.shape.cols, b.col + b.shape.cols);
  return {row, col, {std::max(0, row_end - row), std::max(0, col_end - col)}};
}

// The square of `side` pixels in the middle of `box`.
Region CentralSquare(const Region& box, int side) {
  return {
      box.row + (box.shape.rows - side) / 2, box.col + (box.shape.cols - side) / 2, {side, side}};
}

double LitFraction(const PlacedObject& image, const Region& area) {
  const float limit =
      kLit * *std::max_element(image.coverage.data.begin(), image.coverage.data.end());
  std::int64_t lit = 0;
  for (int y = area.row; y < area.row + area.shape.rows; ++y) {
    const float* row = image.coverage.data.data() +
                       static_cast<std::int64_t>(y - image.canvas.row) * image.canvas.shape.cols +
                       (area.col - image.canvas.col);
    lit += std::count_if(row, row + area.shape.cols, [limit](float c) { return c > limit; });
  }
  return static_cast<double>(lit) / static_cast<double>(area.shape.pixels());
}

WideImage Cut(const PlacedObject& image, const Region& area) {
  WideImage out{area.shape, {}};
  for (int y = area.row; y < area.row + area.shape.rows; ++y) {
    const Complex64* row =
        image.object.data.data() +
        static_cast<std::int64_t>(y - image.canvas.row) * image.canvas.shape.cols +
        (area.col - image.canvas.col);
    out.data.insert(out.data.end(), row, row + area.shape.cols);
  }
  return out;
}

// Ring of each pixel of a transform; those beyond Nyquist's frequency have larger numbers.
std::vector<std::size_t> Rings(int side) {
  std::vector<std::size_t> rings;
  const auto frequency = [side](int k) { return k < (side + 1) / 2 ? k : k - side; };
  for (int y = 0; y < side; ++y) {
    for (int x = 0; x < side; ++x) {
      const double radius = std::hypot(frequency(y), frequency(x));
      rings.push_back(static_cast<std::size_t>(std::lrint(radius)));
    }
  }
  return rings;
}

std::vector<std::complex<double>> WindowedSpectrum(WideImage image) {
  const std::complex<double> mean =
      std::accumulate(image.data.begin(), image.data.end(), std::complex<double>()) /
      static_cast<double>(image.data.size());
  const std::vector<double> window = HannWindow(image.shape);
  for (std::size_t i = 0; i < window.size(); ++i) {
    image.data[i] = window[i] * (image.data[i] - mean);
  }
  Fft2D<double>(image.shape).Forward(image.data.data());
  return std::move(image.data);
}

double Mean(const std::vector<double>& values, std::size_t begin, std::size_t end) {
  if (end <= begin) return 0;
  const auto first = values.begin();
  return std::accumulate(first + static_cast<std::ptrdiff_t>(begin),
                         first + static_cast<std::ptrdiff_t>(end), 0.0) /
         static_cast<double>(end - begin);
}

double Crossing(const std::vector<double>& correlation, const std::vector<double>& threshold) {
  for (std::size_t k = kFirstCrossing; k < correlation.size(); ++k) {
    if (correlation[k] < threshold[k]) {
      return static_cast<double>(k) / static_cast<double>(correlation.size());
    }
  }
  return 1;
}

// Of two squares of the same even side.
RingCorrelation Correlate(const WideImage& a, const WideImage& b, const PixelSize& pixel_size) {
  RingCorrelation out;
  out.side_px = a.shape.rows;
  const std::vector<std::complex<double>> fa = WindowedSpectrum(a), fb = WindowedSpectrum(b);
  const std::vector<std::size_t> rings = Rings(out.side_px);
  const auto n = static_cast<std::size_t>(out.side_px / 2);
  std::vector<std::complex<double>> common(n);
  std::vector<double> power_a(n), power_b(n);
  for (std::size_t i = 0; i < rings.size(); ++i) {
    if (rings[i] >= n) continue;
    common[rings[i]] += fa[i] * std::conj(fb[i]);
    power_a[rings[i]] += std::norm(fa[i]);
    power_b[rings[i]] += std::norm(fb[i]);
  }
  for (std::size_t k = 0; k < n; ++k) {
    const double power = std::sqrt(power_a[k] * power_b[k]);
    out.correlation.push_back(power > 0 ? std::abs(common[k]) / power : 0);
  }
  const RingThresholds thresholds = ThresholdsOf(out.side_px);
  const double pixel_m = std::max(pixel_size.y_m, pixel_size.x_m);
  out.half_bit_of_nyquist = Crossing(out.correlation, thresholds.half_bit);
  out.one_bit_of_nyquist = Crossing(out.correlation, thresholds.one_bit);
  out.half_bit_resolution_m = pixel_m / out.half_bit_of_nyquist;
  out.one_bit_resolution_m = pixel_m / out.one_bit_of_nyquist;
  out.mean_to_half_nyquist = Mean(out.correlation, 1, n / 2);
  out.mean_to_nyquist = Mean(out.correlation, 1, n);
  return out;
}

}  // namespace

RingThresholds ThresholdsOf(int side_px) {
  const auto n = static_cast<std::size_t>(side_px / 2);
  std::vector<double> pixels(n);
  for (const std::size_t ring : Rings(side_px)) {
    if (ring < n) ++pixels[ring];
  }
  RingThresholds out;
  for (const double count : pixels) {
    const double root = std::sqrt(count);
    out.half_bit.push_back((0.2071 + 1.9102 / root) / (1.2071 + 0.9102 / root));
    out.one_bit.push_back((0.5 + 2.4142 / root) / (1.5 + 1.4142 / root));
  }
  return out;
}

absl::StatusOr<RingCorrelation> Compare(const PlacedObject& a, const PlacedObject& b,
                                        const PixelSize& pixel_size, int most_side_px) {
  const Region box = Intersect(Intersect(a.scanned, a.canvas), Intersect(b.scanned, b.canvas));
  int side = std::min({box.shape.rows, box.shape.cols, most_side_px}) / 2 * 2;
  const auto mostly_lit = [&](const Region& square) {
    return LitFraction(a, square) >= kMostlyLit && LitFraction(b, square) >= kMostlyLit;
  };
  while (side >= kLeastComparedSide_px && !mostly_lit(CentralSquare(box, side))) side -= 2;
  if (side < kLeastComparedSide_px) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "what both reconstructions have scanned, %d x %d pixels, has no square of %d pixels in its "
        "middle that has light nearly everywhere",
        box.shape.rows, box.shape.cols, kLeastComparedSide_px));
  }
  const Region square = CentralSquare(box, side);
  const WideImage first = Cut(a, square);
  return Correlate(first, AlignTo(first, Cut(b, square)), pixel_size);
}

}  // namespace ptychoserve
