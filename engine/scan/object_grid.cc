#include "engine/scan/object_grid.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace ptychoserve {
namespace {

// One pixel beyond the far edge of a window, which bilinear interpolation reads.
constexpr int kInterpolationPixels = 1;
// No corner is further from the origin than this, so that all sums of indices fit in 32 bits.
constexpr double kMaxLatticeIndex = 1 << 29;
// Room that a growing canvas takes beyond a window that did not fit: a fraction of the frame or of
// the present extent, whichever is larger, so that a scan of n lines causes O(log n) growths.
constexpr int kHeadroomDivisor = 4;

int RoundUpToEven(int n) { return n + n % 2; }

// A range of pixels along one axis, [begin, begin + size).
struct Span {
  int begin = 0;
  int size = 0;
  int end() const { return begin + size; }
};

// The smallest even span that contains [begin, end).
Span EvenSpan(int begin, int end) { return {begin, RoundUpToEven(end - begin)}; }

// Range of the sample coordinate, in pixels, of the announced stage range.
struct PixelRange {
  double min = 0;
  double max = 0;
};
PixelRange ToPixels(double min_m, double max_m, int sign, double pixel_m) {
  if (sign < 0) return {-max_m / pixel_m, -min_m / pixel_m};
  return {min_m / pixel_m, max_m / pixel_m};
}

struct ScanRange {
  PixelRange y, x;
  double y_m = 0, x_m = 0;  // Lengths of the ranges.
};
ScanRange AnnouncedRange(const ScanConfig& scan, const PixelSize& pixel) {
  ScanBounds b = *scan.bounds;
  if (scan.swap_axes) {
    std::swap(b.y_min_m, b.x_min_m);
    std::swap(b.y_max_m, b.x_max_m);
  }
  return {ToPixels(b.y_min_m, b.y_max_m, scan.y_sign, pixel.y_m),
          ToPixels(b.x_min_m, b.x_max_m, scan.x_sign, pixel.x_m), b.y_max_m - b.y_min_m,
          b.x_max_m - b.x_min_m};
}

// Integer and fraction in [0, 1) of a corner, in single precision.
struct Corner {
  std::int32_t index = 0;
  float fraction = 0;
};
Corner Split(double corner) {
  const double whole = std::floor(corner);
  Corner c{static_cast<std::int32_t>(whole), static_cast<float>(corner - whole)};
  if (c.fraction >= 1.0f) {  // Rounded up by the conversion.
    ++c.index;
    c.fraction = 0;
  }
  return c;
}

// Moves a corner to the nearest one in [first, last].
Corner Clamp(const Corner& corner, std::int32_t first, std::int32_t last) {
  if (corner.index < first) return {first, 0};
  if (corner.index > last) return {last, 0};
  return corner;
}

// The canvas along one axis for positions in `range`. The window of its lower end has half of the
// padding in front; the rest of the padding, at least the interpolation pixel, follows the window
// of its upper end.
Span AnnouncedSpan(const PixelRange& range, int announced_side, int frame_side, int padding_px) {
  const int begin = Split(range.min - MiddlePixel(frame_side)).index - padding_px / 2;
  const int end =
      Split(range.max - MiddlePixel(frame_side)).index + frame_side + kInterpolationPixels;
  // Only rounding in range / pixel can make the announced side too small for `end`.
  return {begin, std::max(announced_side, RoundUpToEven(end - begin))};
}

}  // namespace

int ObjectGrid::AnnouncedSide(int frame_side, double range_m, double pixel_size_m, int padding_px) {
  const double pixels = std::min(std::ceil(range_m / pixel_size_m), 2 * kMaxLatticeIndex);
  return RoundUpToEven(frame_side + static_cast<int>(pixels) + padding_px);
}

ObjectGrid::ObjectGrid(const ReconstructionConfig& config)
    : scan_(config.scan),
      padding_px_(config.object.padding_px),
      shift_margin_px_(ShiftMarginPx(config)),
      max_pixels_(config.object.max_pixels),
      frame_(EngineFrameShape(config.detector)),
      pixel_size_(ObjectPixelSize(config.optics, config.detector)),
      fixed_(config.scan.bounds.has_value()) {
  // Without bounds, a place for one window at the origin until the first position is known.
  const ScanRange range = fixed_ ? AnnouncedRange(scan_, pixel_size_) : ScanRange{};
  const auto span = [this](const PixelRange& r, double range_m, double pixel_m, int frame_side) {
    return AnnouncedSpan(r, AnnouncedSide(frame_side, range_m, pixel_m, padding_px_), frame_side,
                         padding_px_);
  };
  const Span rows = span(range.y, range.y_m, pixel_size_.y_m, frame_.rows);
  const Span cols = span(range.x, range.x_m, pixel_size_.x_m, frame_.cols);
  canvas_ = {rows.begin, cols.begin, {rows.size, cols.size}};
}

std::variant<ObjectGrid::Placed, std::string> ObjectGrid::Place(double y_m, double x_m) {
  if (scan_.swap_axes) std::swap(y_m, x_m);
  const double row = scan_.y_sign * y_m / pixel_size_.y_m - MiddlePixel(frame_.rows);
  const double col = scan_.x_sign * x_m / pixel_size_.x_m - MiddlePixel(frame_.cols);
  if (std::isnan(row) || std::isnan(col)) return "the position is not a number";

  const auto window_at = [](const Corner& r, const Corner& c) {
    return Window{r.index, c.index, r.fraction, c.fraction};
  };
  const bool on_lattice = std::abs(row) <= kMaxLatticeIndex && std::abs(col) <= kMaxLatticeIndex;
  const Corner r = Split(std::clamp(row, -kMaxLatticeIndex, kMaxLatticeIndex));
  const Corner c = Split(std::clamp(col, -kMaxLatticeIndex, kMaxLatticeIndex));
  Placed placed{window_at(r, c), false};
  if (!on_lattice || !(Contains(placed.window) || (!fixed_ && GrowFor(placed.window)))) {
    if (!fixed_ || scan_.out_of_canvas != OutOfCanvas::kClamp) return DoesNotFit(row, col);
    const std::int32_t last_row = canvas_.row + canvas_.shape.rows - frame_.rows;
    const std::int32_t last_col = canvas_.col + canvas_.shape.cols - frame_.cols;
    placed.window = window_at(Clamp(r, canvas_.row, last_row - kInterpolationPixels),
                              Clamp(c, canvas_.col, last_col - kInterpolationPixels));
    placed.clamped = true;
  }
  Remember(placed.window);
  return placed;
}

std::string ObjectGrid::DoesNotFit(double row, double col) const {
  return absl::StrFormat(
      "the window of %d x %d pixels at row %.1f, column %.1f does not fit on the canvas, rows "
      "[%d, %d), columns [%d, %d)%s",
      frame_.rows, frame_.cols, row, col, canvas_.row, canvas_.row + canvas_.shape.rows,
      canvas_.col, canvas_.col + canvas_.shape.cols,
      fixed_ ? std::string("; widen scan.bounds")
             : absl::StrCat(", nor on any of object.max_pixels = ", max_pixels_, " pixels"));
}

bool ObjectGrid::Contains(const Window& w) const {
  if (!fixed_ && !any_placed_) return false;
  const int margin = fixed_ ? 0 : shift_margin_px_;  // The padding is the margin there.
  const int beyond = margin + kInterpolationPixels;
  return w.row - margin >= canvas_.row && w.col - margin >= canvas_.col &&
         w.row + frame_.rows + beyond <= canvas_.row + canvas_.shape.rows &&
         w.col + frame_.cols + beyond <= canvas_.col + canvas_.shape.cols;
}

bool ObjectGrid::GrowFor(const Window& w) {
  const int min_row = any_placed_ ? std::min(min_row_, w.row) : w.row;
  const int max_row = any_placed_ ? std::max(max_row_, w.row) : w.row;
  const int min_col = any_placed_ ? std::min(min_col_, w.col) : w.col;
  const int max_col = any_placed_ ? std::max(max_col_, w.col) : w.col;

  // Headroom goes to the sides that had no room; the others keep what they have. When that is too
  // much, all of it is given up by halves: whether a position is refused depends on the positions
  // alone, not on how the canvas has grown before.
  const auto needed = [margin = shift_margin_px_](int lo, int hi, int frame_side) {
    return Span{lo - margin, hi - lo + 2 * margin + frame_side + kInterpolationPixels};
  };
  const Span rows = needed(min_row, max_row, frame_.rows);
  const Span cols = needed(min_col, max_col, frame_.cols);
  const Span old_rows = any_placed_ ? Span{canvas_.row, canvas_.shape.rows} : rows;
  const Span old_cols = any_placed_ ? Span{canvas_.col, canvas_.shape.cols} : cols;
  const auto headroom = [this](const Span& span, int frame_side) {
    return std::max({padding_px_, frame_side / kHeadroomDivisor, span.size / kHeadroomDivisor});
  };
  const auto grown = [](const Span& need, const Span& old, int room) {
    return EvenSpan(need.begin < old.begin ? need.begin - room : old.begin,
                    need.end() > old.end() ? need.end() + room : old.end());
  };
  const auto accept = [this](const Span& r, const Span& c) {
    if (static_cast<std::int64_t>(r.size) * c.size > max_pixels_) return false;
    canvas_ = {r.begin, c.begin, {r.size, c.size}};
    return true;
  };

  int room_y = headroom(rows, frame_.rows);
  int room_x = headroom(cols, frame_.cols);
  if (any_placed_ && accept(grown(rows, old_rows, room_y), grown(cols, old_cols, room_x))) {
    return true;
  }
  while (true) {
    if (accept(EvenSpan(rows.begin - room_y, rows.end() + room_y),
               EvenSpan(cols.begin - room_x, cols.end() + room_x))) {
      return true;
    }
    if (room_y == 0 && room_x == 0) return false;
    room_y /= 2;
    room_x /= 2;
  }
}

void ObjectGrid::Remember(const Window& w) {
  min_row_ = any_placed_ ? std::min(min_row_, w.row) : w.row;
  max_row_ = any_placed_ ? std::max(max_row_, w.row) : w.row;
  min_col_ = any_placed_ ? std::min(min_col_, w.col) : w.col;
  max_col_ = any_placed_ ? std::max(max_col_, w.col) : w.col;
  any_placed_ = true;
}

Region ObjectGrid::scanned() const {
  if (fixed_ || !any_placed_) {
    return {MiddlePixel(frame_.rows) + padding_px_ / 2,
            MiddlePixel(frame_.cols) + padding_px_ / 2,
            {std::max(1, canvas_.shape.rows - frame_.rows - padding_px_),
             std::max(1, canvas_.shape.cols - frame_.cols - padding_px_)}};
  }
  return {min_row_ + MiddlePixel(frame_.rows) - canvas_.row,
          min_col_ + MiddlePixel(frame_.cols) - canvas_.col,
          {max_row_ - min_row_ + 1, max_col_ - min_col_ + 1}};
}

}  // namespace ptychoserve
