#include "tests/bench/bench_scan.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/probe/modes.h"
#include "engine/simulation/scan_pattern.h"

namespace ptychoserve {
namespace {

constexpr double kPhotonsAt256 = 1e7;
constexpr double kOverlap = 0.7;         // Of beams a third of the frame wide:
constexpr double kStepOfFrame = 0.1;     // the step in frames.
constexpr int kPaddingPx = 4;            // As the server's default, ObjectConfig::padding_px.
constexpr int kInterpolationPixels = 1;  // Beyond the far edges of a window.

// Corner and remainder of the window around a point, both along one axis.
struct Corner {
  std::int32_t index = 0;
  float fraction = 0;
};
Corner CornerOf(double centre_px, int side, bool integer) {
  const double corner = centre_px - side / 2;
  if (integer) return {static_cast<std::int32_t>(std::lround(corner)), 0};
  const double whole = std::floor(corner);
  const Corner c{static_cast<std::int32_t>(whole), static_cast<float>(corner - whole)};
  return c.fraction < 1 ? c : Corner{c.index + 1, 0};  // Rounded up by the conversion.
}

PointWindow WindowOf(int slot, double y_px, double x_px, int side, bool integer) {
  const Corner row = CornerOf(y_px, side, integer), col = CornerOf(x_px, side, integer);
  return {slot, row.index, col.index, row.fraction, col.fraction};
}

struct Span {
  int begin = 0;
  int size = 0;
};
// Holds windows with corners in [first, last]; even, and of at least `min_side` pixels.
Span CanvasSpan(int first, int last, int side, int min_side) {
  const int needed = last - first + side + kInterpolationPixels + kPaddingPx;
  const int size = std::max(needed + needed % 2, min_side);
  return {first - kPaddingPx / 2 - (size - needed) / 2, size};
}

// Point j of the tiles is at pixel j modulo `tile` on even tiles, mirrored on odd ones, so that
// there are no edges between them.
std::size_t MirroredIndex(int i, int tile) {
  const int at = i % (2 * tile);
  return static_cast<std::size_t>(at < tile ? at : 2 * tile - 1 - at);
}

ComplexStack Tiled(const ComplexStack& tile, Shape shape) {
  ComplexStack tiled(tile.modes, shape);
  auto out = tiled.data.begin();
  const auto cols = static_cast<std::size_t>(tile.shape.cols);
  for (std::size_t mode = 0; mode < tile.data.size(); mode += cols * tile.shape.rows) {
    for (int y = 0; y < shape.rows; ++y) {
      const std::size_t row = mode + MirroredIndex(y, tile.shape.rows) * cols;
      for (int x = 0; x < shape.cols; ++x) {
        *out++ = tile.data[row + MirroredIndex(x, tile.shape.cols)];
      }
    }
  }
  return tiled;
}

// From zero frequency in the middle to zero frequency at [0, 0].
std::vector<std::uint16_t> BeamToCorner(const std::vector<std::uint16_t>& frame, int side) {
  const std::size_t n = static_cast<std::size_t>(side), half = n / 2;
  std::vector<std::uint16_t> out(frame.size());
  for (std::size_t y = 0; y < n; ++y) {
    const std::uint16_t* row = frame.data() + (y + half) % n * n;
    std::rotate_copy(row, row + half, row + n, out.data() + y * n);
  }
  return out;
}

}  // namespace

SimulationConfig BenchSimulation(int points, int side, int modes, bool integer_positions) {
  SimulationConfig config;
  config.points = points;
  config.frame_side = side;
  config.modes = modes;
  config.overlap = kOverlap;
  config.whole_pixels = integer_positions;
  config.photons = kPhotonsAt256 * (side / 256.0) * (side / 256.0);
  return config;
}

BackendConfig BenchScan::ConfigFor(bool keeps_exit_waves) const {
  BackendConfig config;
  config.frame_shape = {side, side};
  config.capacity = points();
  config.probe_modes = probe.modes;
  config.object_modes = object_modes;
  config.keeps_exit_waves = keeps_exit_waves;
  config.max_object_pixels = canvas.shape.pixels();
  config.deterministic = deterministic;
  config.half_waves = half_waves;
  return config;
}

std::vector<std::vector<std::uint16_t>> SimulateFrames(const Simulation& simulation,
                                                       ThreadPool& pool) {
  std::vector<std::vector<std::uint16_t>> frames(static_cast<std::size_t>(simulation.points()));
  pool.ParallelFor(simulation.points(), [&](std::int64_t j, int) {
    frames[static_cast<std::size_t>(j)] =
        BeamToCorner(simulation.Frame(static_cast<int>(j)), simulation.config().frame_side);
  });
  return frames;
}

BenchScan FullScan(const Simulation& simulation, ThreadPool& pool) {
  BenchScan scan;
  scan.side = simulation.config().frame_side;
  for (int j = 0; j < simulation.points(); ++j) {
    const std::size_t k = static_cast<std::size_t>(j);
    scan.windows.push_back(WindowOf(j, simulation.y_m()[k] / simulation.pixel_size().y_m,
                                    simulation.x_m()[k] / simulation.pixel_size().x_m, scan.side,
                                    simulation.config().whole_pixels));
  }
  scan.frames = SimulateFrames(simulation, pool);
  scan.canvas = {simulation.object_row(), simulation.object_col(), simulation.object().shape};
  scan.probe = WithModes(simulation.initial_probe(), simulation.config().modes);
  scan.object_modes = simulation.config().object_modes;
  return scan;
}

BenchScan TimingScan(const Simulation& few, std::vector<std::vector<std::uint16_t>> frames,
                     int points, bool integer_positions, int min_side) {
  BenchScan scan;
  scan.side = few.config().frame_side;
  const double step_px = kStepOfFrame * scan.side;
  const ScanPoints raster = JitteredRaster(points, few.config().seed);
  for (std::size_t j = 0; j < raster.y.size(); ++j) {
    scan.windows.push_back(WindowOf(static_cast<int>(j), raster.y[j] * step_px,
                                    raster.x[j] * step_px, scan.side, integer_positions));
  }
  const auto [top, bottom] = std::ranges::minmax(scan.windows, {}, &PointWindow::row);
  const auto [left, right] = std::ranges::minmax(scan.windows, {}, &PointWindow::col);
  const Span rows = CanvasSpan(top.row, bottom.row, scan.side, min_side);
  const Span cols = CanvasSpan(left.col, right.col, scan.side, min_side);
  scan.canvas = {rows.begin, cols.begin, {rows.size, cols.size}};
  scan.frames = std::move(frames);
  scan.object = Tiled(few.object(), scan.canvas.shape);
  scan.probe = WithModes(few.initial_probe(), few.config().modes);
  scan.object_modes = few.config().object_modes;
  return scan;
}

absl::Status Load(const BenchScan& scan, Backend& backend) {
  PS_RETURN_IF_ERROR(backend.SetCanvas(scan.canvas));
  if (scan.object.modes > 0) PS_RETURN_IF_ERROR(backend.SetObject(scan.object));
  PS_RETURN_IF_ERROR(backend.SetProbe(scan.probe));
  std::vector<FrameToLoad> loads;
  for (const PointWindow& window : scan.windows) {
    const auto& frame = scan.frames[static_cast<std::size_t>(window.slot) % scan.frames.size()];
    loads.push_back({window.slot, reinterpret_cast<const std::byte*>(frame.data())});
  }
  PS_RETURN_IF_ERROR(backend.LoadFrames(loads));
  return backend.SetActivePoints(scan.windows);
}

absl::Status Restart(const BenchScan& scan, Backend& backend) {
  PS_RETURN_IF_ERROR(backend.ClearObject(scan.canvas));
  if (scan.object.modes > 0) PS_RETURN_IF_ERROR(backend.SetObject(scan.object));
  PS_RETURN_IF_ERROR(backend.SetProbe(scan.probe));
  // Exit waves start anew with points that were not active before.
  PS_RETURN_IF_ERROR(backend.SetActivePoints({}));
  return backend.SetActivePoints(scan.windows);
}

}  // namespace ptychoserve
