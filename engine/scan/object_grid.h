#ifndef PTYCHOSERVE_ENGINE_SCAN_OBJECT_GRID_H_
#define PTYCHOSERVE_ENGINE_SCAN_OBJECT_GRID_H_

#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "engine/base/array.h"
#include "engine/config.h"
#include "engine/scan/optics.h"

namespace ptychoserve {

// Window of a frame on the absolute object lattice: pixel (0, 0) is centred at 0 m, +row is +y,
// +col is +x. Integer corner and remainder in [0, 1).
struct Window {
  std::int32_t row = 0;
  std::int32_t col = 0;
  float frac_row = 0;
  float frac_col = 0;
};

// The object canvas: where it lies and what fits on it. With scan bounds it is fixed; without, it
// grows with the windows that Place accepts, up to max_pixels, with room around each for the shifts
// that refinement may find. Positions keep their place on the lattice for ever: growth moves
// nothing. Not thread-safe.
class ObjectGrid {
 public:
  // `config` must be valid and resolved.
  explicit ObjectGrid(const ReconstructionConfig& config);

  struct Placed {
    Window window;
    bool clamped = false;
  };
  // Places a frame whose stage position is (y_m, x_m), applying swap, then signs; the window is
  // centred on it: corner = position / pixel size - N / 2. Returns the reason in words when the
  // window (and one pixel beyond its far edges, for interpolation) does not fit; then nothing
  // changes. Positions must be finite.
  std::variant<Placed, std::string> Place(double y_m, double x_m);

  // The canvas that holds all accepted windows: the announced one, or one that has grown by
  // steps with headroom; room for one window at the origin before the first. Even sides.
  const Region& canvas() const { return canvas_; }
  PixelSize pixel_size() const { return pixel_size_; }
  // Announced: sides N + ceil(range / pixel) + padding, plus one if odd.
  static int AnnouncedSide(int frame_side, double range_m, double pixel_size_m, int padding_px);
  // Area spanned by the probe's centres, relative to the canvas: the announced bounds, else that
  // of the placed windows. At least 1 x 1.
  Region scanned() const;

 private:
  bool Contains(const Window& w) const;
  bool GrowFor(const Window& w);
  void Remember(const Window& w);
  std::string DoesNotFit(double row, double col) const;

  ScanConfig scan_;
  int padding_px_;
  int shift_margin_px_;
  std::int64_t max_pixels_;
  Shape frame_;
  PixelSize pixel_size_;
  Region canvas_;
  bool fixed_ = false;
  bool any_placed_ = false;
  // Bounding box of the corners of placed windows.
  std::int32_t min_row_ = 0, max_row_ = 0, min_col_ = 0, max_col_ = 0;
};

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_SCAN_OBJECT_GRID_H_
