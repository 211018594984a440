#include <algorithm>
#include <cstring>
#include <limits>

#include "engine/frames/preprocess.h"

namespace ptychoserve {
namespace {

// Adds what a pixel shows of the beam. `largest` and above is overflow, above `hot` is not light.
template <typename T>
void AddFrame(const std::byte* raw, const DetectorConfig& detector, std::vector<double>* sum) {
  // Dead pixels are marked with the largest value of the type.
  constexpr T kMarked = std::numeric_limits<T>::max();
  const double hot = detector.hot_pixel_counts.value_or(std::numeric_limits<double>::infinity());
  const Shape oriented = OrientedShape(detector.frame_shape, detector.orientation);
  const OrientedIndex index = IndexFor(detector.frame_shape, detector.orientation);
  double* out = sum->data();
  for (int row = 0; row < oriented.rows; ++row) {
    std::int64_t source = index.start + row * index.row_step;
    for (int col = 0; col < oriented.cols; ++col, source += index.col_step, ++out) {
      T value;
      std::memcpy(&value, raw + source * static_cast<std::int64_t>(sizeof(T)), sizeof(T));
      // False for NaN.
      const bool is_light = value > T{0} && value < kMarked && static_cast<double>(value) <= hot;
      if (!is_light) continue;
      if (!detector.bad_pixels.empty() &&
          detector.bad_pixels[static_cast<std::size_t>(source)] != 0) {
        continue;
      }
      *out += static_cast<double>(value);
    }
  }
}

// Bounding box of a connected component; rows and columns inclusive.
struct Component {
  std::int64_t pixels = 0;
  int min_row = 0, max_row = 0, min_col = 0, max_col = 0;
};

// The component of `start`, whose pixels are taken out of `above`.
Component TakeComponent(Shape shape, std::int64_t start, std::vector<bool>* above,
                        std::vector<std::int64_t>* stack) {
  Component c;
  c.min_row = c.min_col = std::numeric_limits<int>::max();
  const auto push = [&](std::int64_t pixel) {
    if (!(*above)[static_cast<std::size_t>(pixel)]) return;
    (*above)[static_cast<std::size_t>(pixel)] = false;
    stack->push_back(pixel);
  };
  push(start);
  while (!stack->empty()) {
    const std::int64_t pixel = stack->back();
    stack->pop_back();
    const int row = static_cast<int>(pixel / shape.cols);
    const int col = static_cast<int>(pixel % shape.cols);
    ++c.pixels;
    c.min_row = std::min(c.min_row, row);
    c.max_row = std::max(c.max_row, row);
    c.min_col = std::min(c.min_col, col);
    c.max_col = std::max(c.max_col, col);
    if (row > 0) push(pixel - shape.cols);
    if (row + 1 < shape.rows) push(pixel + shape.cols);
    if (col > 0) push(pixel - 1);
    if (col + 1 < shape.cols) push(pixel + 1);
  }
  return c;
}

}  // namespace

AutoCentre::AutoCentre(const DetectorConfig& detector)
    : detector_(detector), sum_(static_cast<std::size_t>(detector.frame_shape.pixels())) {}

void AutoCentre::Add(std::span<const std::byte> raw) {
  switch (detector_.dtype) {
    case DataType::kU8:
      AddFrame<std::uint8_t>(raw.data(), detector_, &sum_);
      break;
    case DataType::kU16:
      AddFrame<std::uint16_t>(raw.data(), detector_, &sum_);
      break;
    case DataType::kU32:
      AddFrame<std::uint32_t>(raw.data(), detector_, &sum_);
      break;
    case DataType::kF32:
      AddFrame<float>(raw.data(), detector_, &sum_);
      break;
  }
  ++frames_;
}

std::optional<BeamCentre> AutoCentre::Find() const {
  const Shape shape = OrientedShape(detector_.frame_shape, detector_.orientation);
  const double peak = *std::max_element(sum_.begin(), sum_.end());
  if (!(peak > 0)) return std::nullopt;
  // The sum stands for the mean: only ratios matter.
  const double threshold = detector_.auto_centre->threshold * peak;
  std::vector<bool> above(sum_.size());
  for (std::size_t i = 0; i < sum_.size(); ++i) above[i] = sum_[i] > threshold;

  Component beam;
  std::vector<std::int64_t> stack;
  for (std::int64_t pixel = 0; pixel < shape.pixels(); ++pixel) {
    if (!above[static_cast<std::size_t>(pixel)]) continue;
    const Component c = TakeComponent(shape, pixel, &above, &stack);
    if (c.pixels > beam.pixels) beam = c;
  }

  // The middle pixel, by the same rule as the middle of a frame: n / 2 of n.
  const Shape size = detector_.auto_centre->crop_shape;
  const int row = (beam.min_row + beam.max_row + 1) / 2 - MiddlePixel(size.rows);
  const int col = (beam.min_col + beam.max_col + 1) / 2 - MiddlePixel(size.cols);
  BeamCentre found;
  found.crop = {std::clamp(row, 0, shape.rows - size.rows),
                std::clamp(col, 0, shape.cols - size.cols), size};
  found.moved = found.crop.row != row || found.crop.col != col;
  return found;
}

Region AutoCentre::CentralCrop() const {
  const Shape shape = OrientedShape(detector_.frame_shape, detector_.orientation);
  const Shape size = detector_.auto_centre->crop_shape;
  return {MiddlePixel(shape.rows) - MiddlePixel(size.rows),
          MiddlePixel(shape.cols) - MiddlePixel(size.cols), size};
}

}  // namespace ptychoserve
