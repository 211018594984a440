#ifndef PTYCHOSERVE_ENGINE_IO_CXI_PATHS_H_
#define PTYCHOSERVE_ENGINE_IO_CXI_PATHS_H_

// Where things lie in a CXI file (version 1.6; Maia, Nature Methods 9, 854, 2012). Lengths in
// metres, energies in joules. Names under ground_truth_1, image_1/window_corner, image_1/coverage,
// image_1/mode_powers, image_1/object_mode_powers, image_1/refined_*, instrument_1/near_field and
// instrument_1/initial_probe are our own additions.
namespace ptychoserve::cxi {

inline constexpr int kFormatVersion = 160;
inline constexpr char kEntry[] = "/entry_1";
inline constexpr char kNextEntry[] = "/entry_2";
inline constexpr char kVersion[] = "/cxi_version";
inline constexpr char kTitle[] = "/entry_1/title";

inline constexpr char kDataLink[] = "/entry_1/data_1/data";
inline constexpr char kTranslationLink[] = "/entry_1/data_1/translation";
inline constexpr char kFrames[] = "/entry_1/instrument_1/detector_1/data";
inline constexpr char kMask[] = "/entry_1/instrument_1/detector_1/mask";
inline constexpr char kDistance[] = "/entry_1/instrument_1/detector_1/distance";
inline constexpr char kPixelSizeX[] = "/entry_1/instrument_1/detector_1/x_pixel_size";
inline constexpr char kPixelSizeY[] = "/entry_1/instrument_1/detector_1/y_pixel_size";
// (2, 3): the step from a row to the next, then that from a column to the next; or one for each
// frame.
inline constexpr char kBasisVectors[] = "/entry_1/instrument_1/detector_1/basis_vectors";
inline constexpr char kDark[] = "/entry_1/instrument_1/detector_1/data_dark";
inline constexpr char kCorner[] = "/entry_1/instrument_1/detector_1/corner_position";
inline constexpr char kWavelength[] = "/entry_1/instrument_1/source_1/wavelength";
inline constexpr char kEnergy[] = "/entry_1/instrument_1/source_1/energy";
inline constexpr char kBeamEnergy[] = "/entry_1/instrument_1/beam_1/energy";
inline constexpr char kIllumination[] = "/entry_1/instrument_1/source_1/illumination";
// Only where there is a near field; infinite for a parallel beam.
inline constexpr char kSourceToSample[] = "/entry_1/instrument_1/near_field/source_to_sample";
inline constexpr char kInitialProbe[] = "/entry_1/instrument_1/initial_probe";
inline constexpr char kTranslation[] = "/entry_1/sample_1/geometry_1/translation";
inline constexpr char kFrameIds[] = "/entry_1/sample_1/geometry_1/frame_id";

inline constexpr char kTrueObject[] = "/entry_1/ground_truth_1/object";
inline constexpr char kTrueProbe[] = "/entry_1/ground_truth_1/probe";
inline constexpr char kTrueTranslation[] = "/entry_1/ground_truth_1/translation";
inline constexpr char kTrueIntensity[] = "/entry_1/ground_truth_1/intensity";
inline constexpr char kTrueBackground[] = "/entry_1/ground_truth_1/background";
inline constexpr char kTrueVariation[] = "/entry_1/ground_truth_1/variation";
inline constexpr char kTrueOrigin[] = "/entry_1/ground_truth_1/object_origin";  // (row, col).

// Image N, of N = 2 and on, has a further mode of the object on the pixels of the first.
inline constexpr char kImageGroup[] = "/entry_1/image_";
inline constexpr char kImage[] = "/entry_1/image_1/data";
inline constexpr char kImageSpace[] = "/entry_1/image_1/data_space";
inline constexpr char kImagePixelSizeX[] = "/entry_1/image_1/x_pixel_size";
inline constexpr char kImagePixelSizeY[] = "/entry_1/image_1/y_pixel_size";
inline constexpr char kImageOrigin[] = "/entry_1/image_1/origin";  // (x, y) of pixel [0, 0].
inline constexpr char kCoverage[] = "/entry_1/image_1/coverage";
inline constexpr char kObjectModePowers[] = "/entry_1/image_1/object_mode_powers";
inline constexpr char kModePowers[] = "/entry_1/image_1/mode_powers";
inline constexpr char kWindowCorner[] = "/entry_1/image_1/window_corner";  // (row, col).
// Of frames, when something has been refined: (row, col) from the measured corner, pixels; light of
// the mean's. And what each frame has beside it, counts, zero frequency in the middle.
inline constexpr char kShift[] = "/entry_1/image_1/refined_shift";
inline constexpr char kIntensity[] = "/entry_1/image_1/refined_intensity";
// Of each frame by itself.
inline constexpr char kFrameRFactor[] = "/entry_1/image_1/frame_r_factor";
inline constexpr char kFramePoissonNll[] = "/entry_1/image_1/frame_poisson_nll";
inline constexpr char kBackground[] = "/entry_1/image_1/refined_background";
// Coefficients of each frame and components of the probe's variation, those that have been refined.
inline constexpr char kVariation[] = "/entry_1/image_1/refined_variation";
inline constexpr char kProbeComponents[] = "/entry_1/image_1/refined_probe_components";
inline constexpr char kProgram[] = "/entry_1/image_1/process_1/program";
inline constexpr char kProgramVersion[] = "/entry_1/image_1/process_1/version";
inline constexpr char kDate[] = "/entry_1/image_1/process_1/date";
inline constexpr char kConfiguration[] = "/entry_1/image_1/process_1/configuration";
inline constexpr char kSession[] = "/entry_1/image_1/process_1/session";
inline constexpr char kMetrics[] = "/entry_1/image_1/process_1/metrics";  // Attribute: columns.
inline constexpr char kMetricColumns[] = "columns";
// One row a ring; attribute: columns.
inline constexpr char kRingCorrelation[] = "/entry_1/image_1/process_1/ring_correlation";
inline constexpr char kHalfBitResolution[] = "/entry_1/image_1/process_1/half_bit_resolution";

// Photon energy in joules is this over the wavelength in metres (exact in the SI of 2019).
inline constexpr double kElectronvolt = 1.602176634e-19;
inline constexpr double kPlanckTimesLightSpeed = 6.62607015e-34 * 299792458.0;

}  // namespace ptychoserve::cxi

#endif  // PTYCHOSERVE_ENGINE_IO_CXI_PATHS_H_
