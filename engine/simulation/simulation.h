#ifndef PTYCHOSERVE_ENGINE_SIMULATION_SIMULATION_H_
#define PTYCHOSERVE_ENGINE_SIMULATION_SIMULATION_H_

#include <cstdint>
#include <vector>

#include "engine/base/array.h"
#include "engine/scan/optics.h"

namespace ptychoserve {

enum class ScanPattern { kJitteredRaster, kFermatSpiral };

struct SimulationConfig {
  int points = 400;               // Raster: rounded down to a full rectangle rows x cols.
  int frame_side = 128;           // Pixels, even.
  ScanPattern pattern = ScanPattern::kJitteredRaster;
  double overlap = 0.7;           // Linear overlap of neighbouring beams, [0, 0.95].
  double photons = 1e7;           // In the empty beam, per frame; infinity: no noise.
  double dead_pixel_fraction = 0; // Of detector pixels: stuck at 0 or at the largest count.
  double wavelength_m = 0.137146e-9;
  double distance_m = 2.05;
  double detector_pixel_size_m = 75e-6;
  std::uint64_t seed = 1;
};

// A scan of a known object: dead-leaves texture in amplitude [0.6, 1] and phase [-1, 1] rad,
// illuminated by a defocused zone plate (soft annular pupil), beam diameter frame_side / 3.
// Frames follow the forward model in double precision with Fourier-shifted probe:
//   I_j = |fftshift(FFT(P(r - r_j) O))|², counts ~ Poisson(I_j).
// Reproducible: the same config gives the same frames, on any number of threads and in any order.
class Simulation {
 public:
  explicit Simulation(const SimulationConfig& config);

  int points() const { return static_cast<int>(y_m_.size()); }
  const SimulationConfig& config() const { return config_; }
  PixelSize pixel_size() const { return pixel_size_; }
  const std::vector<double>& y_m() const { return y_m_; }  // In order of measurement.
  const std::vector<double>& x_m() const { return x_m_; }
  int fast_axis_points() const { return fast_axis_points_; }
  const ComplexStack& object() const { return object_; }  // [1, rows, cols]
  // Absolute lattice pixel of object[0, 0] (see Window).
  int object_row() const { return object_row_; }
  int object_col() const { return object_col_; }
  const ComplexStack& probe() const { return probe_; }
  // A plausible but wrong start: other defocus, other pupil.
  const ComplexStack& initial_probe() const { return initial_probe_; }
  const std::vector<std::uint8_t>& bad_pixels() const { return bad_pixels_; }  // 1 = bad.

  // Counts of frame `j`, beam at the centre, [frame_side, frame_side]. Thread-safe.
  std::vector<std::uint16_t> Frame(int j) const;

 private:
  SimulationConfig config_;
  PixelSize pixel_size_;
  std::vector<double> y_m_, x_m_;
  int fast_axis_points_ = 0;
  int object_row_ = 0, object_col_ = 0;
  ComplexStack object_, probe_, initial_probe_;
  std::vector<std::uint8_t> bad_pixels_;
};

// Error of a reconstruction against the truth after removing what the data do not determine:
// global complex scale, linear phase ramp, and a common sub-pixel shift.
struct ObjectError {
  double complex_error = 0;  // ‖s R - T‖ / ‖T‖.
  double phase_rms_rad = 0;
};
// `reconstruction` and `truth` are cut to the same area: equal shapes, at least 32 pixels a side.
// `border` pixels at each edge are used for the shift only. Non-finite input gives NaN.
ObjectError CompareObjects(const ComplexStack& reconstruction, const ComplexStack& truth,
                           int border);

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_SIMULATION_SIMULATION_H_
