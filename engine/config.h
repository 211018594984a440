#ifndef PTYCHOSERVE_ENGINE_CONFIG_H_
#define PTYCHOSERVE_ENGINE_CONFIG_H_

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/array.h"

namespace ptychoserve {

// Everything a reconstruction session needs to know before its first frame. Plain values with
// the product's defaults; `Resolve` checks them as a whole. Units are in the names.

enum class DataType { kU8, kU16, kU32, kF32 };
enum class Encoding {
  kRaw,    // Little-endian pixels, row-major.
  kLz4,    // One raw LZ4 block per frame.
  kBslz4,  // Bitshuffle-LZ4 per frame, with the 12-byte header of HDF5 filter 32008.
};

// The eight symmetries of the square, as acting on an image (rows down, columns right).
enum class Orientation {
  kIdentity,
  kFlipLr,         // Reverse the columns.
  kFlipUd,         // Reverse the rows.
  kRot180,         // Reverse both.
  kTranspose,      // Swap rows and columns.
  kRot90Ccw,       // Transpose, then reverse the rows.
  kRot90Cw,        // Transpose, then reverse the columns.
  kAntiTranspose,  // Transpose, then reverse both.
};

// The detector sees the beam behind the sample out of focus, not its far field.
struct NearFieldConfig {
  // Of the point that the beam seems to come from, > 0: the image is magnified. Unset: a parallel
  // beam.
  std::optional<double> source_to_sample_m;
};

struct OpticsConfig {
  double wavelength_m = 0;                    // > 0.
  double distance_m = 0;                      // Sample to detector, > 0.
  double detector_pixel_size_y_m = 0;         // Row pitch of the frame as it arrives, > 0.
  double detector_pixel_size_x_m = 0;         // Column pitch of the frame as it arrives, > 0.
  std::optional<NearFieldConfig> near_field;  // Unset: far field.
};

// Finds the beam in the first frames and crops around it, once, without losing a frame.
struct AutoCentreConfig {
  Shape crop_shape;         // Size after the crop.
  int frames = 64;          // Frames averaged before the crop is fixed, 1..1024.
  double threshold = 0.02;  // Fraction of the mean frame's peak that counts as beam, (0, 1).
};

struct DetectorConfig {
  Shape frame_shape;  // As sent, before orientation and crop.
  DataType dtype = DataType::kU16;
  Orientation orientation = Orientation::kIdentity;  // Applied to the whole frame first.
  std::optional<Region> crop;                        // In the oriented frame. Unset: all of it.
  std::optional<AutoCentreConfig> auto_centre;       // Excludes `crop`.
  std::vector<std::uint8_t> bad_pixels;  // frame_shape, 1 = not to be trusted; empty: none.
  // Counts >= saturation_counts are not trusted. Unset: the largest value of the dtype.
  std::optional<double> saturation_counts;
  // Counts strictly above hot_pixel_counts are not trusted. Unset: no limit.
  std::optional<double> hot_pixel_counts;
  // True when zero frequency is at [0, 0], else at [n/2, n/2]. False in the near field, where
  // frames are images.
  bool beam_at_corner = false;
};

// Encoder counts to metres; see EncoderAssembler.
struct EncoderConfig {
  int samples_per_frame = 1;       // 1..65536.
  double y_scale_m_per_count = 0;  // != 0.
  double x_scale_m_per_count = 0;  // != 0.
  double y_offset_m = 0;
  double x_offset_m = 0;
  // Tomography angle: the fast axis (x) is scaled by |cos| up to 45 degrees, by |sin| above.
  std::optional<double> rotation_angle_deg;
};

enum class OverCapacity {
  kReject,   // Further frames are refused and counted; the session goes on.
  kEndScan,  // As kReject, and a full store is the end of data.
};
enum class OutOfCanvas {
  kReject,  // The position is refused and counted.
  kClamp,   // The window is moved to the nearest place inside, and counted.
};

struct ScanBounds {
  double y_min_m = 0, y_max_m = 0, x_min_m = 0, x_max_m = 0;
};

struct ScanConfig {
  // 0: unknown; else that many frames, joined or declared lost, are the end of data.
  int expected_points = 0;
  int capacity = 0;  // Frames held. 0: expected_points, or 8192 when that is unknown.
  OverCapacity over_capacity = OverCapacity::kReject;
  std::optional<ScanBounds> bounds;  // Fixes the canvas. Unset: it grows with the positions.
  OutOfCanvas out_of_canvas = OutOfCanvas::kReject;
  int y_sign = 1;  // -1 when the stage coordinate runs against the beam on the sample.
  int x_sign = 1;
  bool swap_axes = false;    // The sent x is the sample's y and the other way round.
  int fast_axis_points = 0;  // Points of one fast line; 0: unknown.
  std::int64_t first_frame_id = 0;
  std::optional<EncoderConfig> encoder;
};

struct AmplitudeLimits {
  double min = 0, max = 0;  // 0 <= min <= max.

  bool operator==(const AmplitudeLimits&) const = default;
};
struct PhaseLimits {
  double min_rad = 0, max_rad = 0;

  bool operator==(const PhaseLimits&) const = default;
};

inline constexpr int kMaxObjectModes = 4;

struct ObjectConfig {
  int modes = 1;  // Mutually incoherent modes of the object, 1..kMaxObjectModes.
  double initial_amplitude = 1.0;
  double initial_phase_rad = 0.0;
  int padding_px = 4;                                // Added to the canvas in each axis, 2..1024.
  std::int64_t max_pixels = std::int64_t{16} << 20;  // Bound of a growing canvas.
  std::optional<AmplitudeLimits> amplitude_limits;
  std::optional<PhaseLimits> phase_limits;
  int start_update = 0;  // First iteration that changes the object.
};

inline constexpr int kMaxProbeModes = 16;

struct ProbeConfig {
  int modes = 1;  // Mutually incoherent modes of the probe, 1..kMaxProbeModes.
  // [1..modes, rows, cols], the first modes; modes == 0: made from the mean of the data.
  ComplexStack initial;
  // Angular-spectrum propagation of the initial probe. Unset: 0 of a given one; a cold start in the
  // far field looks for it, see DefocusSearch.
  std::optional<double> propagation_distance_m;
  int start_update = 2;    // First iteration that changes the probe.
  bool frozen = false;     // Never changed, bit for bit.
  int recentre_every = 0;  // Iterations between recentrings; 0: never, as in the near field.
};

// How Σ P*ψ / Σ |P|² is kept finite where little light has fallen.
struct Regularisation {
  // Relative with inertia: (Σ P*ψ + δ O) / (Σ |P|² + δ), δ = relative * max(Σ |P|²). Default.
  double relative = 0.02;
  // Absolute, as older engines do: Σ P*ψ / (Σ |P|² + absolute). Replaces `relative` when set.
  std::optional<double> absolute;

  bool operator==(const Regularisation&) const = default;
};

// Difference map, Thibault et al., Ultramicroscopy 109, 338 (2009), eqs. 7-9, with the relaxed
// modulus constraint of Giewekemeyer et al., PNAS 107, 529 (2010).
struct DifferenceMapConfig {
  double beta = 0.9;  // (0, 2].
  // Modulus deviation that is tolerated, in units of a frame's expected shot noise.
  double relaxation = 0.8;
  // Absolute tolerated mean squared amplitude deviation; replaces `relaxation` when set.
  std::optional<double> sigma2;
  Regularisation regularisation;

  bool operator==(const DifferenceMapConfig&) const = default;
};

// Relaxed averaged alternating reflections, Luke, Inverse Problems 21, 37 (2005), with the exit
// waves and the modulus constraint of the difference map.
struct RaarConfig {
  double beta = 0.9;  // (0, 1].
  // As the difference map's.
  double relaxation = 0.8;
  std::optional<double> sigma2;
  Regularisation regularisation;

  bool operator==(const RaarConfig&) const = default;
};

// Alternating projections, Fienup, Appl. Opt. 21, 2758 (1982), likewise.
struct AlternatingProjectionsConfig {
  double relaxation = 0.8;
  std::optional<double> sigma2;
  Regularisation regularisation;

  bool operator==(const AlternatingProjectionsConfig&) const = default;
};

enum class Likelihood { kPoisson, kGaussian };

// Gradient of the likelihood with a Newton step over all active points, after Thibault and
// Guizar-Sicairos, New J. Phys. 14, 063004 (2012), eqs. 4-10, with the momentum of Nesterov, Soviet
// Math. Dokl. 27, 372 (1983).
struct MlGradientConfig {
  Likelihood likelihood = Likelihood::kPoisson;
  double epsilon = 0.05;      // Counts (Poisson) or sqrt(counts) (Gaussian) added below.
  double max_gradient = 5.0;  // Cap on the relative gradient g.
  double step = 1.0;          // Multiplies the Newton step, (0, 2].
  double momentum = 0.9;      // Part of a move that the next one repeats, [0, 1); 0: none.
  Regularisation regularisation;

  bool operator==(const MlGradientConfig&) const = default;
};

// ePIE, Maiden and Rodenburg, Ultramicroscopy 109, 1256 (2009), eqs. 6-7; batch after batch of
// points that lie apart, as engine/backend/pie_batches.h deals them.
struct EpieConfig {
  double object_step = 0.8;  // (0, 2].
  double probe_step = 0.8;   // (0, 2].
  int max_batch = 0;         // Points of a batch at most. 0: no limit; 1: one by one, in id order.
  // rPIE, Maiden, Johnson and Li, Optica 4, 736 (2017): parts of the divisor that are the same for
  // all pixels, (0, 1]; 1: ePIE.
  double object_alpha = 1;
  double probe_alpha = 1;

  bool operator==(const EpieConfig&) const = default;
};

// Which points share a batch.
enum class BatchKind {
  kSparse,   // Points spread evenly over the scan.
  kCompact,  // Neighbours.
};

// LSQ-ML, Odstrcil, Menzel and Guizar-Sicairos, Opt. Express 26, 3108 (2018); see
// engine/algorithms/lsq_ml.h.
struct LsqMlConfig {
  Likelihood likelihood = Likelihood::kGaussian;
  // Multiplies the least-squares step, (0, 2]. Unset: kCautiousStep, or 1 in small scans; see
  // engine/algorithms/lsq_ml.h.
  std::optional<double> object_step;
  std::optional<double> probe_step;  // Likewise.
  BatchKind batch_kind = BatchKind::kSparse;
  int batch_size = 0;     // Points of a batch, the last of which may have fewer. 0: automatic.
  double momentum = 0.9;  // Part of an iteration's move that the next one repeats, [0, 1); 0: none.
  Regularisation regularisation{.relative = 0.3, .absolute = std::nullopt};

  bool operator==(const LsqMlConfig&) const = default;
};

using AlgorithmConfig = std::variant<DifferenceMapConfig, MlGradientConfig, EpieConfig, RaarConfig,
                                     AlternatingProjectionsConfig, LsqMlConfig>;

// Ends a stage when the R-factor has improved by less than min_relative_change over `window`.
struct Plateau {
  int window = 10;
  double min_relative_change = 0.01;
};

// What a stage refines beside object and probe; see engine/algorithms/refinement.h.
struct StageRefinement {
  bool positions = false;    // Where each frame was taken.
  bool intensities = false;  // How much light each frame got.
  bool background = false;   // Counts of the detector that no frame's sample scattered.
  bool variation = false;    // How the probe differs from frame to frame.

  // Whether there is something to be found for each frame.
  bool points() const { return positions || intensities || variation; }
  bool any() const { return points() || background; }
  void Add(const StageRefinement& other) {
    positions = positions || other.positions;
    intensities = intensities || other.intensities;
    background = background || other.background;
    variation = variation || other.variation;
  }
  bool operator==(const StageRefinement&) const = default;
};

// One algorithm and when the next one takes over; at most one of the three, the last has none.
struct StageConfig {
  AlgorithmConfig algorithm;
  StageRefinement refine;
  std::optional<int> iterations;
  std::optional<double> fraction;  // Of the iterations counted by the schedule's clock, (0, 1).
  std::optional<Plateau> plateau;
};

enum class ScheduleClock {
  kAfterEndOfData,  // The first stage runs while data arrive; stages are counted after.
  kFromStart,
};

struct RunConfig {
  int min_points_to_start = 0;  // 0: max(2 * fast_axis_points, 16).
  ScheduleClock schedule_clock = ScheduleClock::kAfterEndOfData;
  int it_ends_after = 60;       // Iterations after the end of data, >= 0.
  int max_iterations = 0;       // Cap on all iterations; 0: none.
  double idle_timeout_s = 300;  // No input for so long is the end of data; 0: never.
};

struct ClearRegionConfig {
  bool enabled = false;
  double min_pixels_per_point = 16;  // Only when the scan is sparser than this.
};

struct SnapshotConfig {
  int every_iterations = 5;   // >= 1.
  int min_interval_ms = 200;  // >= 0.
  int history = 1;            // Snapshots kept, 1..64.
};

// How the stages refine that do.
struct RefinementConfig {
  // Refined by all stages but the first, or by the only one, besides what they name themselves.
  StageRefinement later_stages;
  int every = 2;             // Iterations between two refinements, 1..1000.
  double step = 0.5;         // Part of the full step that is taken, (0, 1].
  double max_shift_px = 4;   // Furthest from the measured position, object pixels, (0, 64].
  double max_intensity = 2;  // Largest light of a frame over the mean, and of the mean over it,
                             // (1, 100].
  int probe_components = 2;  // Of the probe's variation, 1..4.
};

struct QualityConfig {
  // Of each so many frames the last one is held out: not reconstructed from, but compared with what
  // object and probe predict for it. 0: none.
  int held_out_every = 0;
  bool split_halves = false;  // Measures at the end how well the result repeats; see SplitHalves.
  // Finds out in the first iterations whether the frames lie as declared; see OrientationTest.
  bool test_orientation = true;
};

struct ReconstructionConfig {
  OpticsConfig optics;
  DetectorConfig detector;
  ScanConfig scan;
  ObjectConfig object;
  ProbeConfig probe;
  std::vector<StageConfig> schedule;  // Empty: see Resolve.
  RefinementConfig refinement;
  RunConfig run;
  ClearRegionConfig clear_region;
  SnapshotConfig snapshots;
  // The same points in the same iterations give the same bits on a GPU, too, at about three times
  // the time of an iteration. CPU results repeat without it.
  bool deterministic = false;
  // GPUs keep waves in half precision, which takes less time and memory and changes no result by
  // as much as its noise; this keeps them in single precision. See BackendConfig::half_waves.
  bool single_precision_waves = false;
  QualityConfig quality;
};

struct FieldViolation {
  std::string field;        // Path in SessionConfig, such as "scan.capacity".
  std::string description;  // The value, what is allowed, what to do.
};

// Checks the whole of `config` and returns every violation, in field order. Empty when valid.
std::vector<FieldViolation> Validate(const ReconstructionConfig& config);

// Replaces every default that depends on other fields (capacity, saturation, schedule, ...) by
// its value (the schedule: LSQ-ML for 60 %, Gaussian gradient until 98 %, then Poisson; the
// padding: room for refined positions), so that the result says what will happen. `config` must
// be valid. Idempotent.
ReconstructionConfig Resolve(ReconstructionConfig config);

// How a frame is held by the engine: 16-bit unless the counts need more.
enum class FrameStorage { kU16, kF32 };
inline constexpr std::uint16_t kUnmeasuredU16 = 65535;
inline constexpr float kUnmeasuredF32 = -1.0f;

// Largest trusted count of an integer dtype: below saturation, at most the hot-pixel threshold.
std::uint32_t LargestTrustedCount(const DetectorConfig& detector);
// kU16 when no trusted count of `detector` exceeds 65534.
FrameStorage StorageFor(const DetectorConfig& detector);
// Bytes of one pixel: 2 or 4.
int StorageBytes(FrameStorage storage);
// Bytes of one pixel as sent.
int DataTypeBytes(DataType dtype);
// Object pixels that a window may come to lie beyond where it was measured; 0 when no stage refines
// positions.
int ShiftMarginPx(const ReconstructionConfig& config);
// Components of the probe's variation; 0 when no stage refines it.
int ProbeComponents(const ReconstructionConfig& config);
// What the first mode of the object is before light has fallen on it.
Complex64 InitialObject(const ObjectConfig& object);
// Waves of one point, one for each mode of the probe and each of the object.
int WavesPerPoint(const ReconstructionConfig& config);
// Shape of the frames in the engine, after orientation and crop.
Shape EngineFrameShape(const DetectorConfig& detector);

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_CONFIG_H_
