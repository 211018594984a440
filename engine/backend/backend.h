#ifndef PTYCHOSERVE_ENGINE_BACKEND_BACKEND_H_
#define PTYCHOSERVE_ENGINE_BACKEND_BACKEND_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/algorithms/refinement.h"
#include "engine/base/array.h"
#include "engine/config.h"
#include "engine/propagation/free_space.h"
#include "engine/quality/frame_fit.h"

namespace ptychoserve {

// Where one frame looks at the object. `row`, `col` is the corner of the frame's window on the
// absolute object lattice (pixel 0 lies at 0 m); `frac_row`, `frac_col` in [0, 1) is the
// remainder, taken into account by bilinear interpolation of the object.
struct PointWindow {
  std::int32_t slot = 0;
  std::int32_t row = 0;
  std::int32_t col = 0;
  float frac_row = 0;
  float frac_col = 0;
  float intensity = 1;                                    // w of engine/algorithms/refinement.h,
  std::array<float, kMaxProbeComponents> variation = {};  // and its c_k, 0 of components beyond
                                                          // BackendConfig::probe_components.
};

// Whether the point sees another probe than the mean one.
inline bool Varies(const PointWindow& point) {
  return std::ranges::any_of(point.variation, [](float c) { return c != 0; });
}

// A frame on its way into the store: EngineFrameShape pixels of the session's FrameStorage, zero
// frequency at [0, 0] in the far field, pixels that are not to be trusted marked by
// kUnmeasuredU16/F32.
struct FrameToLoad {
  std::int32_t slot = 0;
  const std::byte* pixels = nullptr;
};

// Host memory; the deleter knows its kind.
using StagingMemory = std::unique_ptr<std::byte[], std::function<void(std::byte*)>>;
// Memory from the ordinary heap, aligned to pages. Errors: kResourceExhausted.
absl::StatusOr<StagingMemory> PlainStaging(std::int64_t bytes);

struct BackendConfig {
  Shape frame_shape;
  FrameStorage storage = FrameStorage::kU16;
  int capacity = 0;                      // Slots, 0..capacity-1.
  int probe_modes = 1;                   // Mutually incoherent modes of the probe,
  int object_modes = 1;                  // and of the object, 1..kMaxObjectModes.
  int probe_components = 0;              // Of its variation from point to point; 0: there is none.
  bool keeps_exit_waves = false;         // Some stage projects, as the difference map does.
  std::int64_t max_object_pixels = 0;    // Largest canvas that SetCanvas will be asked for.
  Complex64 initial_object{1.0f, 0.0f};  // Of the first mode; see engine/algorithms/object_start.h.
  // Device memory may hold waves, those between passes and the difference map's exit waves, in half
  // precision, in a unit of each frame's own. Backends, and paths of theirs, that gain nothing by
  // it keep single precision.
  bool half_waves = false;
  // Sums over points are added in one order, always: results repeat bit for bit, more slowly on a
  // GPU. The CPU backend is deterministic as it is.
  bool deterministic = false;
  // What lies between sample and detector. Unset: enough for the far field.
  std::optional<FreeSpace> near_field;

  // Waves of one point: that of object mode l and probe mode m is number l * probe_modes + m.
  int waves_per_point() const { return object_modes * probe_modes; }
};

// What one iteration does besides its algorithm.
struct IterationOptions {
  bool update_object = true;
  bool update_probe = true;
  std::optional<AmplitudeLimits> amplitude_limits;
  std::optional<PhaseLimits> phase_limits;

  bool operator==(const IterationOptions&) const = default;
};

// The fit of an iteration is measured on an even sample of the active points: those at 0, stride,
// 2 stride, .. in their order, at most kFitSamplePoints. The difference map never needs F(P O_j)
// itself, so that asking all points for it would cost a third of its time; an average over a
// hundred frames tells as much.
inline constexpr int kFitSamplePoints = 128;
constexpr int FitSampleStride(int points) {
  return std::max(1, (points + kFitSamplePoints - 1) / kFitSamplePoints);
}

// The difference map updates the probe from an even sample, too: every so many-th active point,
// kProbeSamplePoints or more of them. Each pixel of the probe is lit by every frame, each pixel of
// the object by some tens to hundreds, so that the probe is by far the better known of the two.
inline constexpr int kProbeSamplePoints = 512;
constexpr int ProbeSampleStride(int points) { return std::max(1, points / kProbeSamplePoints); }

// The share of `points` that every stride-th of them makes, (0, 1]. The gradient scales its step on
// the probe by Σ|O_j|² over the sample of the fit, divided by this.
constexpr double SampleShare(int points, int stride) {
  return points > 0 ? static_cast<double>((points + stride - 1) / stride) / points : 1.0;
}

// Figures of one iteration, for P and O as they were at its start unless said otherwise. |Ψ| is the
// root of the intensity, Σ |F(P_m O_lj)|² over the modes of probe and object; F leads from the
// sample to the detector, and is the Fourier transform or, in the near field, propagation by
// near_field.
struct IterationMetrics {
  double r_factor = 0;       // Σ |√I - |Ψ|| / Σ √I over trusted pixels of the sample.
  double fourier_error = 0;  // sqrt(mean over the sample of Σ (|Ψ| - √I)² / Σ I).
  double object_change = 0;  // ‖O_new - O_old‖ / ‖O_new‖ over covered pixels.
  double probe_change = 0;   // ‖P_new - P_old‖ / ‖P_new‖.
  double probe_power = 0;    // Σ |P_new|² over all modes, photons.
  // Newton step of the likelihood gradient; mean over the batches of the object's step in LSQ-ML; 0
  // for other algorithms.
  double step = 0;
  bool finite = true;  // False when object or probe has a NaN or an infinity.
};

// Object, probe and coverage of one and the same iteration.
struct Readback {
  Region canvas;        // On the absolute lattice.
  ComplexStack object;  // [object_modes, canvas.shape]
  ComplexStack probe;   // [probe_modes, frame_shape]
  FloatImage coverage;  // canvas.shape, Σ_j |P(r - r_j)|² over active points and modes, photons.
};

// What the difference map carries from one iteration to the next, for some points in their order.
struct ExitWaveState {
  // [points * waves_per_point(), frame_shape], the waves of a point in a row.
  ComplexStack waves;
  std::vector<double> kept_deviation;  // [points]; see engine/algorithms/difference_map.h.
};

// The algorithms that may have a momentum. None goes on with another's.
enum class Accelerated { kMlGradient, kLsqMl };
// Unset for one without.
std::optional<Accelerated> AcceleratedBy(const AlgorithmConfig& algorithm);

// What such an algorithm carries from one iteration to the next; see engine/algorithms/momentum.h.
struct MomentumState {
  Accelerated of = Accelerated::kMlGradient;
  ComplexStack object_velocity;  // [object_modes, canvas.shape]
  ComplexStack probe_velocity;   // [probe_modes, frame_shape]
  int iterations = 0;            // Since the velocities were 0.
};

// What one pass over the points says about all that is refined beside object and probe.
struct Refinement {
  std::vector<RefinementSums> points;  // In the order of SetActivePoints; empty if not asked for.
  // Of the probe's components, empty if not asked for: Σ_j c_jk Σ_l O_lj* Δ_jlm, where the
  // corrections Δ_jlm = F⁻¹[(√I / √M - 1) Ψ_jlm] are those of ePIE, [components * modes,
  // frame_shape], and Σ_j c_jk² Σ_l |O_lj|², [components, frame_shape].
  ComplexStack component_sums;
  std::vector<float> component_weights;
};

// The exit waves of one active point.
struct ExitWaveToSet {
  std::int32_t slot = 0;
  const Complex64* waves = nullptr;  // [waves_per_point(), frame_shape]
  double kept_deviation = 0;
};

// The arithmetic and the state of one session: frames, exit waves, object, probe.
//
// Points are used in the order of `SetActivePoints`; frames of other slots are never read.
// Not thread-safe: one device worker calls it; see LoadsBeside for what else may be. A call may
// return before the device has finished; results that the host reads are complete when they are
// returned. Errors: kResourceExhausted when the device is out of memory, kInternal and kDataLoss
// for failures of the device.
class Backend {
 public:
  virtual ~Backend() = default;

  // Moves the canvas to `canvas` (pixels <= max_object_pixels). What was inside both the old and
  // the new canvas keeps its value, the rest is as at the start: initial_object and, in the further
  // modes of the object, the pattern of engine/algorithms/object_start.h.
  virtual absl::Status SetCanvas(const Region& canvas) = 0;
  // Begins to copy frames into their slots; all later calls see them there. Frames whose slots and
  // whose memory follow each other are copied as one. Their memory must stay as it is until
  // FramesBeingCopied no longer counts them.
  virtual absl::Status LoadFrames(std::span<const FrameToLoad> frames) = 0;
  // How many of the frames given to LoadFrames, the last ones, are still being copied. Waits until
  // they are at most `at_most`.
  virtual absl::StatusOr<std::int64_t> FramesBeingCopied(std::int64_t /*at_most*/) { return 0; }
  // Whether LoadFrames and FramesBeingCopied may be called, one at a time, while another thread is
  // in any other method.
  virtual bool LoadsBeside() const { return false; }
  // Mean of √counts over the frames of `slots`, as these lie in memory; untrusted pixels count
  // as 0.
  virtual absl::StatusOr<FloatImage> MeanAmplitude(std::span<const std::int32_t> slots) = 0;
  // Counts of the frame in `slot`, frame_shape, as it lies in memory; NaN where a pixel is not to
  // be trusted. Waits for the device. Errors: kFailedPrecondition for a slot without a frame.
  virtual absl::StatusOr<FloatImage> ReadFrame(std::int32_t slot) = 0;
  // [probe_modes, frame_shape]
  virtual absl::Status SetProbe(const ComplexStack& probe) = 0;
  // [object_modes, canvas.shape], with the current canvas.
  virtual absl::Status SetObject(const ComplexStack& object) = 0;
  // The points of all following iterations. Windows, one object pixel beyond their far edges
  // included, lie inside the canvas. Exit waves of slots that were not in the previous set
  // start as P * O, and the first difference map gives them the measured modulus exactly. A
  // momentum stays when the slots are the same in the same order: points that have moved a little
  // go on.
  virtual absl::Status SetActivePoints(std::span<const PointWindow> points) = 0;
  // Sets the object inside `region` back to what it is at the start.
  virtual absl::Status ClearObject(const Region& region) = 0;
  // Moves probe and its components (cyclically), object and exit waves by whole pixels together, so
  // that no intensity predicted in the far field changes where the canvas has room.
  virtual absl::Status Shift(int rows, int cols) = 0;
  // Multiplies the probe and its components by `factor`, above 0, and divides the object by it
  // where it has light, and velocities with them, so that nothing that is expected of any frame
  // changes.
  virtual absl::Status Rescale(double factor) = 0;
  // One pass over all active points.
  virtual absl::StatusOr<IterationMetrics> Iterate(const AlgorithmConfig& algorithm,
                                                   const IterationOptions& options) = 0;
  // How well P and O, as they are now, explain the frames of `points`, in their order. They need
  // not be active, but their slots hold frames, and there are at most as many as the capacity.
  // Changes nothing. Errors: kFailedPrecondition for a slot without a frame, kInvalidArgument for a
  // window that is not inside the canvas.
  virtual absl::StatusOr<std::vector<FrameFit>> Evaluate(std::span<const PointWindow> points) = 0;

  // One pass over all active points about what `which` names, to be called if that is anything:
  // how the fit of each point depends on its place, its light and its c_k, and what the components
  // are to become. The background takes `step`, in (0, 1], of its full step by itself.
  virtual absl::StatusOr<Refinement> Refine(const StageRefinement& which, double step) = 0;
  // frame_shape, zero frequency at [0, 0], counts, the same for all frames; 0 at first. Waits for
  // the device.
  virtual absl::StatusOr<FloatImage> ReadBackground() = 0;
  // Errors: kInvalidArgument when the shape is not the frame's.
  virtual absl::Status SetBackground(const FloatImage& background) = 0;

  // The components V_k of the probe's variation, [probe_components * modes, frame_shape], the modes
  // of a component in a row; 0 at first. Waits for the device.
  virtual absl::StatusOr<ComplexStack> ReadProbeComponents() = 0;
  // Leaves exit waves and momentum as they are. Errors: kInvalidArgument when they do not fit.
  virtual absl::Status SetProbeComponents(const ComplexStack& components) = 0;

  // Begins a copy of object, probe and coverage as they are now. What is returned waits for it and
  // hands it out: to be called once, before the next start, on any thread, while iterations go on.
  // The backend outlives that call.
  using CollectReadback = absl::AnyInvocable<absl::StatusOr<Readback>() &&>;
  virtual absl::StatusOr<CollectReadback> StartReadback() = 0;
  // [modes, frame_shape]. Waits for the device.
  virtual absl::StatusOr<ComplexStack> ReadProbe() = 0;

  // Of the active points, in the order of SetActivePoints. Waits for the device. With SetProbe,
  // SetObject and SetExitWaves another backend goes on from there as this one would.
  // Errors of both: kFailedPrecondition when the backend keeps no exit waves.
  virtual absl::StatusOr<ExitWaveState> ReadExitWaves() = 0;
  // Replaces those of some active points; kInvalidArgument for a slot that is not active.
  virtual absl::Status SetExitWaves(std::span<const ExitWaveToSet> waves) = 0;

  // None when the next iteration would begin without momentum, whatever it is. Waits for the
  // device.
  virtual absl::StatusOr<std::optional<MomentumState>> ReadMomentum() = 0;
  // After SetProbe, SetObject and SetActivePoints, another backend goes on with it as this one
  // would. Errors: kInvalidArgument when it does not fit canvas and probe.
  virtual absl::Status SetMomentum(const MomentumState& momentum) = 0;
};

// A place where sessions can run: the CPU, or one GPU.
class Device {
 public:
  virtual ~Device() = default;
  virtual std::string name() const = 0;  // "cpu" or "cuda:0".
  virtual std::string description() const = 0;
  // Exact bytes of device memory that a session of `config` holds.
  virtual std::int64_t EstimateBytes(const BackendConfig& config) const = 0;
  virtual std::int64_t total_bytes() const = 0;
  // Bytes that sessions may reserve in all.
  virtual std::int64_t usable_bytes() const = 0;
  virtual absl::StatusOr<std::unique_ptr<Backend>> CreateBackend(const BackendConfig& config) = 0;
  // Host memory that frames wait in for LoadFrames, of the kind from which they get to the device
  // fastest; uninitialised. May outlive the device. Errors: kResourceExhausted.
  virtual absl::StatusOr<StagingMemory> AllocateStaging(std::int64_t bytes) {
    return PlainStaging(bytes);
  }
};

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_BACKEND_BACKEND_H_
