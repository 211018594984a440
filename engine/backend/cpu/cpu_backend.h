#ifndef PTYCHOSERVE_ENGINE_BACKEND_CPU_CPU_BACKEND_H_
#define PTYCHOSERVE_ENGINE_BACKEND_CPU_CPU_BACKEND_H_

#include <complex>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/algorithms/background.h"
#include "engine/algorithms/lsq_ml.h"
#include "engine/algorithms/projections.h"
#include "engine/algorithms/update.h"
#include "engine/backend/backend.h"
#include "engine/backend/cpu/buffer.h"
#include "engine/base/thread_pool.h"
#include "engine/fft/fft.h"

namespace ptychoserve {

// The arithmetic of one session on the CPU: float for work, double as the reference. Sums over
// points are double in both.
//
// Every sum has one owner that adds in the order of the points, so results are the same bit for
// bit for any number of threads and any chunk size. An iteration consists of passes:
//   1. over points, in parallel: the forward model and the algorithm's change of the exit wave;
//   2. over bands of object rows, in parallel: each adds what all points say about its rows;
//   3. over bands of probe rows, likewise.
// Algorithms that keep no wave per point do so chunk by chunk of points.
//
// cpu_backend.cc has the state and its changes, forward_model.h the windows and their adjoint,
// sums.cc passes 2 and 3, batches.cc what algorithms of batches share, evaluate.cc the figures of
// fit, refine.cc what is refined beside object
// and probe; the algorithms have a file each.
template <typename Real>
class CpuBackend final : public Backend {
 public:
  using Complex = std::complex<Real>;

  // `pool` must outlive the backend. Errors: kResourceExhausted.
  static absl::StatusOr<std::unique_ptr<CpuBackend>> Create(const BackendConfig& config,
                                                            ThreadPool& pool, int frames_per_chunk);
  // Bytes that `Create` allocates.
  static std::int64_t BytesFor(const BackendConfig& config, int threads, int frames_per_chunk);
  // Bytes that this one has allocated.
  std::int64_t allocated_bytes() const;

  absl::Status SetCanvas(const Region& canvas) override;
  absl::Status LoadFrames(std::span<const FrameToLoad> frames) override;
  absl::StatusOr<FloatImage> MeanAmplitude(std::span<const std::int32_t> slots) override;
  absl::StatusOr<FloatImage> ReadFrame(std::int32_t slot) override;
  absl::Status SetProbe(const ComplexStack& probe) override;
  absl::Status SetObject(const ComplexStack& object) override;
  absl::Status SetActivePoints(std::span<const PointWindow> points) override;
  absl::Status ClearObject(const Region& region) override;
  absl::Status Shift(int rows, int cols) override;
  absl::Status Rescale(double factor) override;
  absl::StatusOr<IterationMetrics> Iterate(const AlgorithmConfig& algorithm,
                                           const IterationOptions& options) override;
  absl::StatusOr<std::vector<FrameFit>> Evaluate(std::span<const PointWindow> points) override;
  absl::StatusOr<Refinement> Refine(const StageRefinement& which, double step) override;
  absl::StatusOr<FloatImage> ReadBackground() override;
  absl::Status SetBackground(const FloatImage& background) override;
  absl::StatusOr<ComplexStack> ReadProbeComponents() override;
  absl::Status SetProbeComponents(const ComplexStack& components) override;
  absl::StatusOr<CollectReadback> StartReadback() override;
  absl::StatusOr<ComplexStack> ReadProbe() override;
  absl::StatusOr<ExitWaveState> ReadExitWaves() override;
  absl::Status SetExitWaves(std::span<const ExitWaveToSet> waves) override;
  absl::StatusOr<std::optional<MomentumState>> ReadMomentum() override;
  absl::Status SetMomentum(const MomentumState& momentum) override;

  // State in full precision, for comparison with references.
  std::span<const Complex> object() const;              // [object_modes, canvas.shape]
  std::span<const Complex> probe() const;               // [probe_modes, frame_shape]
  std::span<const Complex> exit_waves(int slot) const;  // [waves, frame_shape]; of an active slot.

 private:
  using Complex128 = std::complex<double>;

  // What a slot holds; memory behind an empty slot is never read.
  struct Slot {
    bool loaded = false;
    bool active = false;
    double sum_amplitude = 0;   // Σ √I over trusted pixels.
    double sum_counts = 0;      // Σ I over trusted pixels.
    double shot_noise = 0;      // Expected mean squared amplitude error, per pixel of the frame.
    double kept_deviation = 0;  // Of the next difference map; 0 when a point becomes active.
  };
  // Sums over the trusted pixels of one frame.
  struct FrameErrors {
    double absolute = 0;        // Σ | |Ψ| - √I |
    double squared = 0;         // Σ (|Ψ| - √I)²
    double step_numerator = 0;  // Of ML_grad's Newton step.
    double step_denominator = 0;
  };
  // The waves of one point, one for each mode of the probe and each of the object: wave e begins at
  // data + e * stride.
  template <typename T>
  struct ModeWavesOf {
    T* data;
    std::int64_t stride;
    T* operator[](int wave) const { return data + wave * stride; }
  };
  using ModeWaves = ModeWavesOf<Complex>;
  using ConstModeWaves = ModeWavesOf<const Complex>;
  // Scratch memory of one worker, each image of the frame's size.
  struct Workspace {
    ModeWaves first;
    ModeWaves second;
    Real* counts;
    Real* intensity;
    Real* derivatives;  // [2 + probe_components]: ∂M by row, by column, by c_1, c_2, ..
  };
  // ‖new - old‖² and ‖new‖² of an update.
  struct Change {
    double difference = 0;
    double norm = 0;
    double Relative() const;
  };

  CpuBackend(const BackendConfig& config, ThreadPool& pool, int frames_per_chunk);
  absl::Status Allocate();

  Workspace workspace(int worker);
  int point_count() const { return static_cast<int>(points_.size()); }
  int modes() const { return config_.probe_modes; }
  int object_modes() const { return config_.object_modes; }
  // Of a point; that of object mode l and probe mode m is number WaveOf(l, m).
  int wave_count() const { return config_.waves_per_point(); }
  int WaveOf(int object_mode, int mode) const { return object_mode * modes() + mode; }
  // Of all modes.
  std::int64_t object_pixels() const { return object_modes() * canvas_.shape.pixels(); }
  ModeWaves exit_waves_of(int slot);
  ModeWaves chunk_waves_of(int index);
  absl::Status CheckLoaded(std::int32_t slot) const;
  // Copies what canvases `from` and `to` share; the rest of `to` becomes what it is at the start.
  void MoveObject(const Region& from, const Region& to);
  // The start of an object mode in a run of pixels of one row of the lattice.
  void StartRow(int object_mode, int row, int col, int count, Complex* out) const;
  // A mode's pixel at a window's corner.
  const Complex* WindowCorner(const PointWindow& point, int object_mode) const;
  void LoadCounts(int slot, Real* counts) const;
  // Of pixels [begin, end).
  void LoadCounts(int slot, std::int64_t begin, std::int64_t end, Real* counts) const;
  void MeasureSlot(int slot, Real* counts);
  // Row y of Σ_k c_k V_km, and of P_jm, the probe as the point sees it. What is returned may be
  // `scratch`, a row.
  const Complex* VariationRow(const PointWindow& point, int mode, int y, Complex* scratch) const;
  const Complex* ProbeRow(const PointWindow& point, int mode, int y, Complex* scratch) const;
  // Image_m O_lj, of images whose row y is image_row(m, y).
  void WindowProducts(const PointWindow& point,
                      absl::FunctionRef<const Complex*(int, int)> image_row, ModeWaves waves) const;
  // P_jm O_lj.
  void ModelWaves(const PointWindow& point, ModeWaves waves) const;
  // Of one mode, in place: from the sample to the detector, and back by the adjoint.
  void ToDetector(Complex* wave) const;
  void ToSample(Complex* wave) const;
  // Of all waves: to the detector, and what it is expected to see of those of `point` into
  // `intensity`: w Σ |Ψ_lm|² + b.
  void Transform(const PointWindow& point, ModeWaves waves, Real* intensity) const;
  // That of pixels [begin, end), from the waves at the detector.
  void ExpectedCounts(const PointWindow& point, ConstModeWaves waves, std::int64_t begin,
                      std::int64_t end, Real* intensity) const;
  // Multiplies all waves by a factor for each pixel, and transforms them back.
  void ScaleAndTransformBack(const Real* factors, ModeWaves waves) const;

  IterationMetrics Project(const Projection& projection, const IterationOptions& options);
  IterationMetrics MlGradient(const MlGradientConfig& config, const IterationOptions& options);
  IterationMetrics Epie(const EpieConfig& config, const IterationOptions& options);
  IterationMetrics LsqMl(const LsqMlConfig& config, const IterationOptions& options);
  // Whether the velocities point against the gradient, whose sums are those of the present
  // iteration.
  bool VelocitiesPointUphill(const IterationOptions& options) const;
  // Velocities of 0, unless there are some.
  void EnsureVelocities();
  // μ of this iteration, which counts; the velocities are there afterwards.
  double BeginMomentum(double momentum, const IterationOptions& options);
  void UpdateExitWave(const PointWindow& point, const Projection& projection, Workspace work);
  FrameErrors LikelihoodGradient(const PointWindow& point, const MlGradientConfig& config,
                                 Workspace work, ModeWaves gradients);
  // Of algorithms that take batch after batch; see batches.cc. The fit of the sample:
  IterationMetrics MeasureSample();
  // The part of the canvas that the windows of the batch touch, relative to the canvas.
  Region BatchArea(std::span<const int> batch) const;
  // Calls fn(i) for each pixel i of a plane of object_ in `area`, in parallel.
  void ForEachPixelIn(const Region& area, absl::FunctionRef<void(std::int64_t)> fn);
  // Writes the waves of the i-th active point.
  using BatchWaves = absl::FunctionRef<void(int i, Workspace work, ModeWaves waves)>;
  // The sums of what is updated over the waves of a batch whose area is given, in place of those
  // over all points.
  void SumBatch(std::span<const int> batch, const Region& area, const IterationOptions& options,
                BatchWaves make_waves);
  void AddChunkToObjectSums(std::span<const int> chunk, const Region& area);
  void AddChunkToProbeSums(std::span<const int> chunk);
  // Applies the limits, and notes what has changed since other_object_ and other_probe_.
  void EndBatches(const IterationOptions& options, IterationMetrics& metrics);
  // The steps of Epie and of LsqMl: see epie.cc, lsq_ml.cc.
  void EpieBatch(std::span<const int> batch, const EpieConfig& config,
                 const IterationOptions& options);
  void EpieCorrection(const PointWindow& point, Workspace work, ModeWaves corrections) const;
  void MoveEpieObject(const EpieConfig& config, const Region& area);
  // Takes `values` to where the iteration starts from, and leaves what they were in `velocities`.
  static void BeginMove(Real factor, bool moves, std::int64_t count, Complex* values,
                        Complex* velocities);
  // Makes velocities of the values before.
  static void EndMove(std::int64_t count, const Complex* values, Complex* starts);
  // The object's step.
  double LsqBatch(std::span<const int> batch, const LsqMlConfig& config,
                  const IterationOptions& options);
  // Turn the sums of a batch into directions.
  void MakeObjectDirection(const Regularisation& regularisation, const Region& area,
                           StepSums& sums);
  void MakeProbeDirection(const Regularisation& regularisation, StepSums& sums);
  // The same for one pixel; returns its part of the gain.
  static double ToDirection(Complex128& sum, double weight, double delta);
  void AddDirectionProducts(std::span<const int> batch, bool with_probe, StepSums& sums);
  // P_jm ∂O_lj by row and by column; the window shifted by a whole pixel adds as much.
  void DerivativeWaves(const PointWindow& point, ModeWaves by_row, ModeWaves by_col) const;
  // ∂M along transformed waves, into `derivatives`.
  void DerivativeAlong(const PointWindow& point, ConstModeWaves waves, ModeWaves along,
                       Real* derivatives) const;
  // The sums of one point, whose counts, transformed waves and their intensity are given. With
  // kComponents of the probe's variation.
  template <int kComponents>
  RefinementSums RefinementOf(const PointWindow& point, const StageRefinement& which,
                              Workspace work, ConstModeWaves waves) const;
  // Adds points [begin, end), whose transformed waves are the chunk's, to the components' sums.
  void AddToComponentSums(int begin, int end);
  // Adds points [begin, end), whose transformed waves are the chunk's, to the background's sums.
  void AddToBackgroundSums(int begin, int end);
  void MoveBackground(double step);
  // Σ | |Ψ| - √I | and its square over the trusted pixels; `intensity` is that of the model.
  FrameErrors AmplitudeErrors(const Real* intensity, const Real* counts) const;
  FrameFit FitOfFrame(const Real* intensity, const Real* counts) const;
  // Fills in the fit of every `stride`-th active point, in `errors_`.
  void MeasureFit(int stride);
  int fit_stride() const { return FitSampleStride(point_count()); }
  // R-factor and Fourier error from the `errors_` of every `stride`-th active point.
  double RFactor(int stride) const;
  double FourierError(int stride) const;

  // Which points the sums of the probe are taken over.
  struct ProbeStrides {
    int numerator;
    int denominator;
  };
  // The waves of the i-th active point.
  using WavesOf = absl::FunctionRef<ConstModeWaves(int)>;
  void ClearSums(bool object, bool probe);
  // Σ |P_jm|² over the windows of all points, into object_den_.
  void SumCoverage();
  // Row y of Σ_m P_jm* wave_lm, and of Σ |P_jm|²; `scratch` as for ProbeRow.
  void ProductRow(const PointWindow& point, int object_mode, int y, ConstModeWaves waves,
                  Complex* scratch, Complex* out) const;
  void IntensityRow(const PointWindow& point, int y, Complex* scratch, Real* out) const;
  // Adds Σ P_jm* wave_lm over points [begin, end) to object_num_.
  void AddToObjectSums(int begin, int end, WavesOf waves_of);
  // Adds Σ O_lj* wave_lm to probe_num_ and Σ |O_lj|² to probe_den_, each over every so many-th
  // active point, as far as it lies in [begin, end). Exit waves are those of the mean probe then:
  // less Σ_k c_k V_km O_lj.
  void AddToProbeSums(int begin, int end, const ProbeStrides& strides, bool exit_waves,
                      WavesOf waves_of);
  double MaxObjectDenominator() const;
  double MaxProbeDenominator() const;

  // Where the sums' denominator is not 0; the limits of `options` apply there as well. Velocities
  // of the same size move along, null: there are none.
  Change UpdateObject(const UpdateRule& rule, const IterationOptions& options, Complex* velocities);
  Change UpdateProbe(const UpdateRule& rule, Complex* velocities);
  bool StateIsFinite() const;

  const BackendConfig config_;
  const std::int64_t frame_pixels_;
  const std::int64_t probe_pixels_;  // Of all modes.
  const std::int64_t wave_pixels_;   // Of all waves of a point.
  const int frames_per_chunk_;
  ThreadPool& pool_;
  const Fft2D<Real> fft_;

  Region canvas_;
  std::vector<PointWindow> points_;
  // Iterations since the velocities in other_object_ and other_probe_ were 0; unset: there are
  // none.
  std::optional<int> momentum_iterations_;
  std::optional<Accelerated> momentum_of_;  // Of the last iteration's algorithm.

  Buffer<Slot> slots_;             // [capacity]
  Buffer<FrameErrors> errors_;     // [capacity], by place in points_.
  Buffer<std::byte> frames_;       // [capacity, frame] of the storage type.
  Buffer<Complex> exit_waves_;     // [capacity, waves, frame], or none.
  Buffer<Complex> transfer_;       // [frame] in the near field, see TransferFunction; or none.
  Buffer<Complex> chunk_waves_;    // [frames_per_chunk, waves, frame]
  Buffer<Complex> object_;         // [object modes, canvas], of max_object_pixels at most.
  Buffer<Complex> other_object_;   // As object_: the canvas while it changes, the object before
                                   // an iteration of batches, velocities between iterations.
  Buffer<Complex128> object_num_;  // As object_: Σ P_jm* ψ_lm.
  Buffer<double> object_den_;      // [canvas], of max_object_pixels at most: Σ |P_jm|².
  Buffer<Complex> probe_;          // [modes, frame]
  Buffer<Complex> other_probe_;    // [modes, frame], likewise.
  Buffer<Complex128> probe_num_;   // [modes, frame]: Σ O_lj* ψ_lm.
  Buffer<double> probe_den_;       // [frame]: Σ |O_lj|².
  Buffer<Real> background_;        // [frame]
  Buffer<BackgroundSums> background_sums_;  // [frame]
  Buffer<Complex> components_;              // [components, modes, frame]
  Buffer<Complex128> component_sums_;       // [components, modes, frame]; see Refinement.
  Buffer<double> component_weights_;        // [components, frame]
  Buffer<Complex> work_waves_;              // [threads, 2, waves, frame]
  Buffer<Real> work_reals_;                 // [threads, 4 + components, frame]
};

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_BACKEND_CPU_CPU_BACKEND_H_
