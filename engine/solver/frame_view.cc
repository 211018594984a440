#include "engine/solver/frame_view.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstddef>
#include <functional>
#include <span>
#include <vector>

#include "engine/backend/cpu/forward_model.h"
#include "engine/fft/fft.h"

namespace ptychoserve {
namespace {

// P_m of the point, Σ_k c_k V_km added.
std::vector<Complex64> ProbeMode(const Snapshot& snapshot, const SnapshotPoint& point, int mode) {
  const auto pixels = static_cast<std::size_t>(snapshot.probe.shape.pixels());
  const auto mean =
      std::span(snapshot.probe.data).subspan(static_cast<std::size_t>(mode) * pixels, pixels);
  std::vector<Complex64> probe(mean.begin(), mean.end());
  if (snapshot.probe_components == nullptr) return probe;
  const ComplexStack& components = *snapshot.probe_components;
  const int modes = snapshot.probe.modes;
  for (int k = 0; k < components.modes / modes; ++k) {
    const float c = point.refined.variation[static_cast<std::size_t>(k)];
    const auto component =
        std::span(components.data)
            .subspan(static_cast<std::size_t>(k * modes + mode) * pixels, pixels);
    for (std::size_t i = 0; i < pixels; ++i) probe[i] += c * component[i];
  }
  return probe;
}

// O_j of one mode of the object, of the probe's shape.
std::vector<Complex64> ObjectWindow(const Snapshot& snapshot, const SnapshotPoint& point,
                                    int mode) {
  const Shape shape = snapshot.probe.shape;
  const int row = static_cast<int>(std::floor(point.row));
  const int col = static_cast<int>(std::floor(point.col));
  PointWindow window;
  window.frac_row = static_cast<float>(point.row - row);
  window.frac_col = static_cast<float>(point.col - col);
  std::vector<Complex64> out(static_cast<std::size_t>(shape.pixels()));
  const Shape canvas = snapshot.canvas.shape;
  const Complex64* const object = snapshot.object.data.data() + mode * canvas.pixels();
  for (int y = 0; y < shape.rows; ++y) {
    const Complex64* const upper = object + static_cast<std::int64_t>(row + y) * canvas.cols + col;
    InterpolateRow(upper, upper + canvas.cols, window, shape.cols,
                   out.data() + static_cast<std::int64_t>(y) * shape.cols);
  }
  return out;
}

}  // namespace

std::optional<FloatImage> ExpectedCounts(const Snapshot& snapshot, const SnapshotPoint& point,
                                         const std::optional<FreeSpace>& near_field) {
  const Shape shape = snapshot.probe.shape;
  const Shape canvas = snapshot.canvas.shape;
  if (!(point.row >= 0 && point.row < canvas.rows - shape.rows && point.col >= 0 &&
        point.col < canvas.cols - shape.cols)) {
    return std::nullopt;
  }
  const auto pixels = static_cast<std::size_t>(shape.pixels());
  const Fft2D<float> fft(shape);
  std::vector<std::complex<double>> transfer;
  if (near_field) transfer = TransferFunction(*near_field, shape);

  FloatImage counts{shape, std::vector<float>(pixels)};
  for (int m = 0; m < snapshot.probe.modes; ++m) {
    const std::vector<Complex64> probe = ProbeMode(snapshot, point, m);
    for (int l = 0; l < snapshot.object.modes; ++l) {
      std::vector<Complex64> wave = ObjectWindow(snapshot, point, l);
      for (std::size_t i = 0; i < pixels; ++i) wave[i] *= probe[i];
      fft.Forward(wave.data());
      if (near_field) {
        for (std::size_t i = 0; i < pixels; ++i) wave[i] *= Complex64(transfer[i]);
        fft.Inverse(wave.data());
      }
      for (std::size_t i = 0; i < pixels; ++i) counts.data[i] += std::norm(wave[i]);
    }
  }
  for (float& count : counts.data) count *= point.refined.intensity;
  if (snapshot.background != nullptr) {
    std::ranges::transform(counts.data, snapshot.background->data, counts.data.begin(),
                           std::plus());
  }
  return near_field ? counts : ZeroFrequencyCentred(counts);
}

FloatImage ZeroFrequencyCentred(const FloatImage& image) {
  FloatImage out = image;
  const auto cols = static_cast<std::size_t>(image.shape.cols);
  std::vector<float>& pixels = out.data;
  const auto middle_col = static_cast<std::ptrdiff_t>(MiddlePixel(image.shape.cols));
  const auto middle_row = static_cast<std::ptrdiff_t>(MiddlePixel(image.shape.rows) * cols);
  std::rotate(pixels.begin(), pixels.end() - middle_row, pixels.end());
  for (std::size_t begin = 0; begin < pixels.size(); begin += cols) {
    const auto row = pixels.begin() + static_cast<std::ptrdiff_t>(begin);
    const auto end = row + static_cast<std::ptrdiff_t>(cols);
    std::rotate(row, end - middle_col, end);
  }
  return out;
}

}  // namespace ptychoserve
