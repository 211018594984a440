#ifndef PTYCHOSERVE_ENGINE_SIMULATION_SIMULATION_H_
#define PTYCHOSERVE_ENGINE_SIMULATION_SIMULATION_H_

#include <complex>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "engine/base/array.h"
#include "engine/config.h"
#include "engine/fft/fft.h"
#include "engine/propagation/free_space.h"
#include "engine/scan/optics.h"

namespace ptychoserve {

enum class ScanPattern { kJitteredRaster, kFermatSpiral };

inline constexpr int kMaxSimulatedPoints = 1'000'000;

struct SimulationConfig {
  int points = 400;      // 1..1e6. Raster: rounded down to a full rectangle rows x cols.
  int frame_side = 128;  // Pixels, even, 16..4096.
  ScanPattern pattern = ScanPattern::kJitteredRaster;
  double overlap = 0.7;       // Linear overlap of neighbouring beams, [0, 0.95].
  bool whole_pixels = false;  // Positions are rounded to whole pixels of the object.
  // In the empty beam, per frame. Infinity: no noise, counts are the intensities of 1e7 photons,
  // rounded.
  double photons = 1e7;
  int modes = 1;  // Mutually incoherent modes of the beam, 1..16.
  // Part of the power in the first of several modes, in (1 / modes, 1); of a single one it is 1.
  double coherence = 0.7;
  // States of the sample: in each frame it is in each of them for the same time. 1..4.
  int object_modes = 1;
  double dead_pixel_fraction = 0;  // Of detector pixels: stuck at 0 or at the largest count.
  // What the stage reports is off by this along each axis, standard deviation, object pixels.
  double position_error_px = 0;  // [0, 16].
  double intensity_rms = 0;      // Of the light of a frame, standard deviation, [0, 0.3].
  double background_counts = 0;  // Mean of all pixels, more in the middle, >= 0.
  // The beam's direction and its focus differ from frame to frame, by exp(i (a u + b v)) with u the
  // coordinate along x and v the squared distance from the axis, both of mean 0 and variance 1 in
  // the beam's intensity: standard deviation of a and of b.
  double probe_variation = 0;  // [0, 0.5].
  double wavelength_m = 0.137146e-9;
  double distance_m = 2.05;
  double detector_pixel_size_m = 75e-6;
  std::optional<NearFieldConfig> near_field;  // Unset: far field.
  std::uint64_t seed = 1;
};

// Errors: kInvalidArgument naming the field, its value and what is allowed.
absl::Status ValidateSimulation(const SimulationConfig& config);

// A scan of a known object: dead-leaves texture in amplitude [0.6, 1] and phase [-1, 1] rad,
// illuminated by a defocused zone plate (soft annular pupil), beam diameter frame_side / 3. Frames
// follow the forward model in double precision with Fourier-shifted probe:
//   I_j = w_j Σ_l Σ_m |fftshift(FFT(P_m(r - r_j) O_l))|² + b, counts ~ Poisson(I_j).
// In the near field the beam is two thirds of the frame wide and comes through a diffuser, which
// alone tells its own features from the object's; free space takes the place of FFT and fftshift.
// Several modes are those of an extended source, see extended_source.h. Several states of the
// sample have a texture each, and the amplitude that their share of the time leaves them.
// Reproducible: the same config gives the same frames, on any number of threads and in any order.
class Simulation {
 public:
  // `config` must be valid.
  explicit Simulation(const SimulationConfig& config);

  int points() const { return static_cast<int>(y_m_.size()); }
  const SimulationConfig& config() const { return config_; }
  OpticsConfig optics() const;
  PixelSize pixel_size() const { return pixel_size_; }
  // In order of measurement: what the stage reports, and where the frames were taken.
  const std::vector<double>& y_m() const { return y_m_; }
  const std::vector<double>& x_m() const { return x_m_; }
  const std::vector<double>& true_y_m() const { return true_y_m_; }
  const std::vector<double>& true_x_m() const { return true_x_m_; }
  // Of each frame's light, 1 in the mean.
  const std::vector<double>& intensities() const { return intensities_; }
  // [frame_side, frame_side], counts, beam at the centre; empty when there is none.
  const std::vector<double>& background() const { return background_; }
  // [points, 2]: a and b of SimulationConfig::probe_variation; empty when it is 0.
  const std::vector<double>& variation() const { return variation_; }
  // Points per line of a raster; 0 for a spiral.
  int fast_axis_points() const { return fast_axis_points_; }
  const ComplexStack& object() const { return object_; }  // [object_modes, rows, cols]
  // Absolute lattice pixel of object[0, 0] (see Window).
  int object_row() const { return object_row_; }
  int object_col() const { return object_col_; }
  const ComplexStack& probe() const { return probe_; }  // [modes, frame_side, frame_side]
  // A plausible but wrong start: other defocus, other pupil, one mode; in the near field, the beam
  // without the diffuser.
  const ComplexStack& initial_probe() const { return initial_probe_; }
  // [frame_side, frame_side], 1 = bad; empty when there are none.
  const std::vector<std::uint8_t>& bad_pixels() const { return bad_pixels_; }

  // Counts of frame `j`, the far field's beam at the centre, [frame_side, frame_side], at most
  // 65535. Thread-safe.
  std::vector<std::uint16_t> Frame(int j) const;

 private:
  // A mode of the probe of frame `j` moved by a fraction of a pixel, [frame_side, frame_side].
  std::vector<std::complex<double>> ShiftedProbe(int j, int mode, double shift_y,
                                                 double shift_x) const;

  SimulationConfig config_;
  PixelSize pixel_size_;
  std::vector<double> y_m_, x_m_, true_y_m_, true_x_m_;
  std::vector<double> intensities_;
  std::vector<double> background_;
  std::vector<double> variation_;
  std::vector<double> direction_, focus_;  // u and v, [frame_side, frame_side].
  int fast_axis_points_ = 0;
  int object_row_ = 0, object_col_ = 0;
  ComplexStack object_, probe_, initial_probe_;
  std::vector<std::uint8_t> bad_pixels_;
  std::vector<std::uint16_t> stuck_at_;  // What bad pixels show; empty when there are none.
  std::shared_ptr<const Fft2D<double>> fft_;
  std::vector<std::complex<double>> probe_spectra_;  // Fourier transforms of probe_.
  std::vector<std::complex<double>> transfer_;       // Of the near field; empty in the far field.
};

// Error of a reconstruction against the truth after removing what the data do not determine:
// global complex scale, linear phase ramp, and a common sub-pixel shift. With several modes, in
// place of the scale, the linear mixture of the reconstructed ones that is nearest to each true
// one.
struct ObjectError {
  double complex_error = 0;  // ‖s R - T‖ / ‖T‖.
  double phase_rms_rad = 0;  // Of the strongest mode.
};
// `reconstruction` and `truth` are cut to the same area: equal shapes, at least 32 pixels a side.
// Either has one mode or more.
// `border` pixels at each edge, less than half a side, are used for the shift only. Input that is
// not finite or not of these sizes gives NaN.
ObjectError CompareObjects(const ComplexStack& reconstruction, const ComplexStack& truth,
                           int border);

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_SIMULATION_SIMULATION_H_
