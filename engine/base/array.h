#ifndef PTYCHOSERVE_ENGINE_BASE_ARRAY_H_
#define PTYCHOSERVE_ENGINE_BASE_ARRAY_H_

#include <complex>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace ptychoserve {

using Complex64 = std::complex<float>;

// Rows and columns of an image, in pixels. Arrays are row-major: rows are y, columns are x.
struct Shape {
  int rows = 0;
  int cols = 0;
  bool operator==(const Shape&) const = default;
  std::int64_t pixels() const { return static_cast<std::int64_t>(rows) * cols; }
};

// The pixel that counts as the middle of `n`.
constexpr int MiddlePixel(int n) { return n / 2; }

// A rectangle of pixels; [row, row + shape.rows) x [col, col + shape.cols).
struct Region {
  int row = 0;
  int col = 0;
  Shape shape;
  bool operator==(const Region&) const = default;
};

// `modes` images of one shape, contiguous, mode slowest. An object has modes == 1.
struct ComplexStack {
  int modes = 0;
  Shape shape;
  std::vector<Complex64> data;  // [modes, rows, cols]
  ComplexStack() = default;
  ComplexStack(int modes_in, Shape shape_in, Complex64 value = {})
      : modes(modes_in),
        shape(shape_in),
        data(static_cast<std::size_t>(modes_in * shape_in.pixels()), value) {}
};

struct FloatImage {
  Shape shape;
  std::vector<float> data;  // [rows, cols]
};

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_BASE_ARRAY_H_
