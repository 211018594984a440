#ifndef PTYCHOSERVE_ENGINE_IO_CXI_H_
#define PTYCHOSERVE_ENGINE_IO_CXI_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/array.h"
#include "engine/config.h"

namespace ptychoserve {

// What a CXI scan file (CXI version 1.6, entry_1) says besides its frames.
struct CxiScanInfo {
  std::int64_t frames = 0;
  Shape frame_shape;
  DataType dtype = DataType::kU16;  // Integers read as unsigned, of 64 bits as u32: see CxiChanges.
  // Of the optics, 0 stands for what is missing; see CxiOptics.
  double wavelength_m = 0;  // From source_1/wavelength, else the energy (J) of source_1 or beam_1.
  double distance_m = 0;    // From detector_1/distance, else the z of its corner_position.
  double detector_pixel_size_y_m = 0, detector_pixel_size_x_m = 0;
  std::optional<NearFieldConfig> near_field;  // From instrument_1/near_field, our own addition.
  // How frames must be turned, by detector_1/basis_vectors; see OrientationOfBasis.
  Orientation orientation = Orientation::kIdentity;
  // frame_shape, 1 = bad; empty when there is no mask, or one for each frame, which ReadFrames
  // heeds.
  std::vector<std::uint8_t> bad_pixels;
  std::vector<double> x_m, y_m;  // translation[:, 0], translation[:, 1].
  std::string title;
  // Of a simulated scan: /entry_1/ground_truth_1/{object, probe}, and the object's origin: the
  // absolute lattice pixel (row, col) of object[0, 0].
  std::optional<ComplexStack> true_object;
  std::optional<ComplexStack> true_probe;
  int true_object_row = 0, true_object_col = 0;
  // Of a simulated scan, written only: where the frames were taken, their light of the mean's, and
  // [frame_shape] the counts that each has besides. Empty: unknown, or none.
  std::vector<double> true_x_m, true_y_m, true_intensity, true_background;
  std::vector<double> true_variation;  // [frames, 2], how the probe differs; see Simulation.
  // Of a file that was read: sentences about what is unusual in it, and what has been made of it.
  std::vector<std::string> notes;
};

// Whether a scan without wavelength, distance or pixel size is refused. Who has them from elsewhere
// can do without, and finds notes instead.
enum class CxiOptics { kNeeded, kOptional };

// Pixels of the frames read so far whose values were no counts.
struct CxiChanges {
  std::int64_t negative = 0;   // Below 0 in frames of floats, set to 0.
  std::int64_t untrusted = 0;  // NaN, infinite, negative or too large integers: see ReadFrames.
};

// Reads a scan frame by frame; never holds more than it is asked for. Not thread-safe.
class CxiScanReader {
 public:
  // Errors: kNotFound; kInvalidArgument naming the dataset that is missing or wrong.
  static absl::StatusOr<std::unique_ptr<CxiScanReader>> Open(const std::string& path,
                                                             CxiOptics optics = CxiOptics::kNeeded);
  ~CxiScanReader();
  const CxiScanInfo& info() const;
  // Frames [first, first + count) as info().dtype, raw bytes, little-endian. What is no count, and
  // what a mask for each frame says is bad, is the largest value of the type, which is never
  // trusted. Errors: kOutOfRange, kInternal.
  absl::Status ReadFrames(std::int64_t first, int count, std::span<std::byte> out);
  const CxiChanges& changes() const;

 private:
  struct Impl;
  explicit CxiScanReader(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// A complex dataset of any HDF5 file, 2-D or 3-D: CXI compound (r, i), as h5py writes complex.
absl::StatusOr<ComplexStack> ReadHdf5Complex(const std::string& path, const std::string& dataset);

// Writes a scan frame by frame, in the layout that CxiScanReader reads.
class CxiScanWriter {
 public:
  // `info.frames` frames will follow in order.
  static absl::StatusOr<std::unique_ptr<CxiScanWriter>> Create(const std::string& path,
                                                               const CxiScanInfo& info);
  ~CxiScanWriter();
  absl::Status Append(std::span<const std::byte> frames, int count);
  // `initial_probe` is what a reconstruction may start from.
  absl::Status WriteInitialProbe(const ComplexStack& probe);
  absl::Status Close();

 private:
  struct Impl;
  explicit CxiScanWriter(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// A reconstruction, as it is written to a CXI file: object in image_1, its further modes in image_2
// and on, probe, positions, coverage, metrics, the full effective configuration and the software's
// version.
struct CxiResult {
  ComplexStack object;                     // [object modes, rows, cols]
  std::vector<double> object_mode_powers;  // [object modes], parts of the power; empty with one.
  ComplexStack probe;                      // [modes, rows, cols]
  std::vector<double> mode_powers;         // [modes], likewise.
  FloatImage coverage;                     // Object's shape, photons.
  double pixel_size_y_m = 0, pixel_size_x_m = 0;
  double origin_y_m = 0, origin_x_m = 0;  // Sample coordinates of object[0, 0].
  double wavelength_m = 0;
  std::vector<std::int64_t> frame_ids;
  std::vector<double> window_row, window_col;  // Window corners in object pixels.
  // When something has been refined, of each frame: how far the corner lies from where it was
  // measured, object pixels, and the frame's light, of the mean's.
  std::vector<double> shift_row, shift_col, intensity;
  // Of each frame, by itself; NaN when it was not evaluated. Empty when none was.
  std::vector<double> r_factor, poisson_nll;
  FloatImage background;                  // Frame's shape, counts, zero frequency in the middle.
  ComplexStack probe_components;          // [components * modes, rows, cols], of its variation,
  std::vector<double> variation;          // [frames, components]; empty when it has none.
  std::vector<std::string> metric_names;  // Columns of `metrics`.
  std::vector<double> metrics;            // [iterations, metric_names.size()]
  // Of split halves, [rings], and the half period of the half-bit crossing; empty and 0 without.
  std::vector<double> ring_correlation;
  double half_bit_resolution_m = 0;
  std::string config_json;   // Effective configuration, JSON of SessionConfig.
  std::string session_json;  // Final state, JSON of Session.
};
absl::Status WriteCxiResult(const std::string& path, const CxiResult& result);
absl::StatusOr<CxiResult> ReadCxiResult(const std::string& path);

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_IO_CXI_H_
