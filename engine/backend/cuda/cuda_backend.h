#ifndef PTYCHOSERVE_ENGINE_BACKEND_CUDA_CUDA_BACKEND_H_
#define PTYCHOSERVE_ENGINE_BACKEND_CUDA_CUDA_BACKEND_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/algorithms/background.h"
#include "engine/algorithms/projections.h"
#include "engine/backend/backend.h"
#include "engine/backend/cuda/accumulate.h"
#include "engine/backend/cuda/batch_passes.h"
#include "engine/backend/cuda/canvas.h"
#include "engine/backend/cuda/device_buffer.h"
#include "engine/backend/cuda/device_types.h"
#include "engine/backend/cuda/difference_map.h"
#include "engine/backend/cuda/epie.h"
#include "engine/backend/cuda/fft_plan.h"
#include "engine/backend/cuda/fit.h"
#include "engine/backend/cuda/fused/fused_passes.h"
#include "engine/backend/cuda/graph.h"
#include "engine/backend/cuda/lsq_ml.h"
#include "engine/backend/cuda/memory_plan.h"
#include "engine/backend/cuda/stream.h"
#include "engine/backend/cuda/update.h"
#include "engine/backend/point_batches.h"
#include "engine/base/mutex.h"

namespace ptychoserve::cuda {

// Whether a session of `config` runs the fused passes on the current device; see CudaBackend.
absl::StatusOr<bool> UsesFusedPasses(const BackendConfig& config);

// The arithmetic and the state of one session on one GPU. Everything is allocated by Create and
// stays on the device. All work goes to one stream in the order of the calls, except the copies of
// frames to the device and of a snapshot to the host, which run on streams of their own while
// iterations go on, and the fused passes, which fork from that stream and join it. Within an
// iteration the host only enqueues; it waits once, at the end, for the figures.
//
// Two ways lead to the same numbers within rounding, those of the CPU backend:
//   fused    frames of 64, 128, 256 or 512 pixels a side: our own transforms with everything else
//            around them in the same kernels (fused/), an iteration replayed as a graph. Sums are
//            added with atomics, and so differ in their last bits from run to run.
//   ordered  all other frames, the near field, and BackendConfig::deterministic: cuFFT with kernels
//            around it; every sum is added in a fixed order, that of the points.
//
// Where it is: cuda_backend.cc state and its changes; iterate.cc the algorithms, those of batches
// in batches.cc, epie_iteration.cc and lsq_iteration.cc, refine.cc what is refined besides; a
// .h/.cu pair for each group of kernels.
class CudaBackend final : public Backend {
 public:
  // On the device with the number `ordinal`. Errors: kResourceExhausted, and those of CudaStatus.
  static absl::StatusOr<std::unique_ptr<CudaBackend>> Create(const BackendConfig& config,
                                                             int ordinal);
  ~CudaBackend() override;

  absl::Status SetCanvas(const Region& canvas) override;
  absl::Status LoadFrames(std::span<const FrameToLoad> frames) override;
  absl::StatusOr<std::int64_t> FramesBeingCopied(std::int64_t at_most) override;
  bool LoadsBeside() const override { return true; }
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

  // Bytes of device memory held.
  std::int64_t allocated_bytes() const { return plan_.TotalBytes(); }

 private:
  // Frames on their way to the device.
  struct Upload {
    std::int64_t number = 0;  // 1, 2, ..
    std::int64_t frames = 0;
    Event copied;
  };

  CudaBackend(const BackendConfig& config, int ordinal, bool fused);
  absl::Status Allocate();
  absl::Status UploadTransfer();
  // Makes this backend's device the calling thread's.
  absl::Status UseDevice() const;
  // The error of any kernel launched since the last check.
  absl::Status CheckLaunches() const;

  int point_count() const { return static_cast<int>(points_.size()); }
  Canvas canvas_view();
  FrameSlots frame_slots() const;
  ExitWaves exit_waves() { return {exit_waves_.data(), plan_.half, figures_.data()}; }
  // Where sessions with waves in single precision alone come.
  float2* single_exit_waves() { return reinterpret_cast<float2*>(exit_waves_.data()); }
  // The run of `count` active points from number `first`.
  Batch BatchOf(int first, int count) const;
  std::int64_t canvas_pixels() const { return canvas_.shape.pixels(); }
  std::int64_t object_pixels() const { return plan_.modes.object * canvas_pixels(); }
  ObjectStart object_start() const {
    return MakeObjectStart(config_.initial_object, config_.frame_shape);
  }

  // What follows on stream_ finds frames in the slots of `elements`. Errors: kFailedPrecondition
  // when one of them has none.
  template <typename Elements, typename SlotOf>
  absl::Status AwaitFrames(const Elements& elements, SlotOf slot_of)
      ABSL_LOCKS_EXCLUDED(uploads_mu_);
  // Into indices_.
  absl::Status UploadIndices(std::span<const std::int32_t> indices);
  // [capacity], 0 of slots that have never been active. Waits for the device.
  absl::StatusOr<std::vector<float>> ReadKeptDeviation();

  // Waits for the snapshot of `canvas` and takes it out of page-locked memory. Any thread.
  absl::StatusOr<Readback> CollectSnapshot(Region canvas);

  // object_weights_ = Σ |P|² of the present probe over the active points.
  absl::Status EnsureCoverage(const Stream& stream);
  // Waits for everything enqueued so far.
  absl::StatusOr<IterationState> ReadState();
  // Enqueues one iteration.
  absl::Status Enqueue(const AlgorithmConfig& algorithm, const IterationOptions& options);
  absl::Status RunProjection(const Projection& projection, const IterationOptions& options);
  absl::Status FusedProjection(const Projection& projection, const IterationOptions& options);
  absl::Status OrderedProjection(const Projection& projection, const IterationOptions& options);
  absl::Status RunMlGradient(const MlGradientConfig& config, const IterationOptions& options);
  absl::Status FusedMlGradient(const MlGradientConfig& config, const IterationOptions& options);
  absl::Status OrderedMlGradient(const MlGradientConfig& config, const IterationOptions& options);
  absl::Status RunEpie(const EpieConfig& config, const IterationOptions& options);
  absl::Status EpieBatch(int b, const EpieConfig& config, const IterationOptions& options);
  absl::Status RunLsqMl(const LsqMlConfig& config, const IterationOptions& options);
  absl::Status LsqBatch(int b, const LsqMlConfig& config, const IterationOptions& options);
  // batches_ and what belongs to them on the device, for the active points as they are now.
  absl::Status SetBatches(const BatchRule& rule);
  struct BatchInWork {
    Batch batch;
    CanvasArea area;  // What its windows touch.
    int first;        // Of its points, among those of all batches.
    int groups;       // Partial sums of the probe.
  };
  BatchInWork BatchNumber(int b) const;
  CanvasArea BatchArea(int b) const;
  // Of what is wanted, `light` and `seen`: Σ_j B_jᵀ|P|² into object_weights_ with its maximum, and
  // the maximum of Σ_j |O_j|² with, if `keeps_seen`, the sum itself in the first of probe_weights_,
  // which are 0 otherwise.
  absl::Status BatchDivisors(const BatchInWork& work, bool light, bool seen, bool keeps_seen,
                             float* largest_seen, const Stream& stream);
  // Launches what work_ needs between the transforms; `first` as that of BatchInWork.
  using MakeWaves = absl::FunctionRef<void(const Batch& chunk, int first)>;
  // The numerators of one batch, in the order of its points; what is null is not wanted.
  absl::Status OrderedBatchSums(const BatchInWork& work, float2* object_sum, float2* probe_sum,
                                MakeWaves make_waves);
  // Limits, changes since previous_object_ and other_probe_, and the coverage of all points.
  absl::Status EndBatches(const IterationOptions& options);
  // Calls step(batch, first) for the active points, as runs of at most plan_.chunk that begin
  // with number `first`.
  template <typename Step>
  absl::Status ForEachChunk(Step step);
  // Takes `images` of `waves` from the sample to the detector, and back by the adjoint. Both
  // want waves that are multiplied by unitary_, for the transforms do not scale.
  absl::Status ToDetector(float2* waves, int images);
  absl::Status ToSample(float2* waves, int images);
  // Ψ_m = F(P_m O_j) of `batch` into work_.
  absl::Status ModelWaves(const Batch& batch);
  FitSums* FitSumsOf(int first) { return fit_sums_.data() + std::int64_t{first} * plan_.pieces; }
  // Totals of fit_sums_, of `pieces` for each point, into the state.
  void ReduceFit(ReducedSums what, int pieces, int stride, double step_scale);
  // The fit of P O_j over the sample into the state.
  absl::Status FitSample(const Stream& stream);
  FusedPasses::State fused_state();
  // Whether background_ is looked at.
  void UseBackground(bool used);
  const float* background() const { return uses_background_ ? background_.data() : nullptr; }
  ProbeVariation variation() const {
    return {components_.data(), coefficients_.data(), config_.probe_components};
  }
  // That of batches: none when all points see the mean probe.
  ProbeVariation batch_variation() const { return varies_ ? variation() : ProbeVariation(); }
  // The sums of `batch`, which begins with point `first`, into refinement_sums_.
  absl::Status SumRefinement(const Batch& batch, int first, const StageRefinement& which);
  absl::Status SumComponents(const Batch& batch);
  absl::Status ClearSums();
  // Adds conj(P) w of `batch`, which begins with point `first`, to object_sum_.
  void SumIntoObject(const Batch& batch, int first, const Waves& waves);
  // Adds |O_j|² of every `stride`-th point to probe_weights_ and, if `with_exit_waves`,
  // conj(O_j) ψ_j to probe_sum_.
  void SumIntoProbe(bool with_exit_waves, int stride, const Stream& stream);
  // Object or probe from its sums, and what has changed; `rule` kKeep only looks.
  void UpdateObject(Rule rule, const Regularisation& regularisation,
                    const IterationOptions& options, bool accelerated = false);
  // The sums of the probe, which lie in groups, into the first of them; with the largest weight.
  void MergeProbeSums(Rule rule);
  void UpdateProbe(Rule rule, const Regularisation& regularisation, bool accelerated = false);
  // Velocities of 0, unless there are some.
  absl::Status EnsureMomentum();
  // μ of an iteration whose sums are complete.
  void BeginMomentum(double momentum, const IterationOptions& options);
  UpdateArgs ObjectArgs();
  UpdateArgs ProbeArgs();

  const BackendConfig config_;
  const int ordinal_;
  MemoryPlan plan_;
  float unitary_ = 0;  // 1 / √N
  Region canvas_;
  std::vector<PointWindow> points_;
  std::vector<bool> active_slots_;  // [capacity]
  bool coverage_valid_ = false;
  bool has_momentum_ = false;  // momentum_, and velocities in previous_object_ and other_probe_.
  std::optional<Accelerated> momentum_of_;  // Of the last iteration's algorithm.
  bool uses_background_ = false;
  bool varies_ = false;   // Some point has a probe of its own.
  int sample_count_ = 0;  // Of sample_points_.

  // What a captured iteration depends on besides the contents of device memory.
  struct IterationKey {
    AlgorithmConfig algorithm;
    IterationOptions options;
    std::int64_t epoch = 0;
    bool coverage_valid = false;
    bool operator==(const IterationKey&) const = default;
  };
  std::int64_t epoch_ = 0;  // Changes with the points, the canvas and the place of the arrays.
  std::optional<IterationKey> last_iteration_;
  Graph graph_;  // Of last_iteration_, once that has come twice in a row.
  PointBatches batches_;
  struct BatchesKey {
    std::int64_t epoch = 0;
    BatchRule rule;
    bool operator==(const BatchesKey&) const = default;
  };
  std::optional<BatchesKey> batches_key_;

  Stream stream_;
  Stream copy_stream_;    // Of snapshots.
  Stream upload_stream_;  // Of frames.
  BatchedFft fft_;
  std::optional<FusedPasses> passes_;
  std::optional<BatchPasses> batch_passes_;  // Where passes_ are.

  DeviceBuffer<std::byte> frames_;      // [capacity, frame]
  DeviceBuffer<std::byte> exit_waves_;  // [capacity, waves, frame], complex, see plan_.half.
  DeviceBuffer<float2> work_;           // [chunk, waves, frame], or what the fused passes need.
  DeviceBuffer<std::byte> fft_work_;
  DeviceBuffer<float2> transfer_;     // [frame] in the near field: unitary_ times free space.
  DeviceBuffer<float2> probe_;        // [modes, frame]
  DeviceBuffer<float2> other_probe_;  // [modes, frame]; while it moves, before ePIE, or velocities.
  DeviceBuffer<float2> probe_sum_;    // [groups, modes, frame]; Σ conj(O_lj) ψ_lm
  DeviceBuffer<float> probe_weights_;     // [groups, frame]; Σ |O_lj|²
  DeviceBuffer<float2> object_;           // [object modes, canvas]
  DeviceBuffer<float2> previous_object_;  // As object_; before an iteration of ePIE, or velocities.
  DeviceBuffer<float2> object_sum_;  // As object_; Σ conj(P_m) ψ_lm, the object while it moves.
  DeviceBuffer<float> object_weights_;          // [canvas]; Σ |P_m|²
  DeviceBuffer<float> max_object_weight_;       // [1]
  DeviceBuffer<DevicePoint> device_points_;     // [capacity], of which the active ones are set.
  DeviceBuffer<std::int32_t> indices_;          // [capacity]
  DeviceBuffer<DevicePoint> batch_points_;      // [capacity], batch after batch.
  DeviceBuffer<EpieMaxima> epie_maxima_;        // [capacity + 1], by batch.
  DeviceBuffer<ProbeProducts> probe_products_;  // [frame]
  DeviceBuffer<StepPartial> object_partials_;   // [kDirectionBlocks]
  DeviceBuffer<StepPartial> probe_partials_;    // [ProbeDirectionBlocks]
  DeviceBuffer<PairPartial> pair_partials_;     // [capacity, pieces]
  DeviceBuffer<LsqSteps> lsq_steps_;            // [1], of the present batch.
  DeviceBuffer<FitSums> fit_sums_;              // [capacity, pieces]
  DeviceBuffer<DevicePoint> evaluated_points_;  // [capacity]
  DeviceBuffer<FrameFit> frame_fits_;           // [capacity]
  DeviceBuffer<FrameFit> frame_fit_partials_;   // [chunk, pieces]
  DeviceBuffer<double> deviations_;             // [chunk, pieces]
  DeviceBuffer<FrameFigures> figures_;          // [capacity]
  DeviceBuffer<float> kept_deviation_;          // [capacity], of the difference map.
  DeviceBuffer<float> probe_power_;             // See coverage.h.
  DeviceBuffer<DevicePoint> sample_points_;     // [kFitSamplePoints]
  DeviceBuffer<FitSums> sample_sums_;           // [kFitSamplePoints, pieces]
  DeviceBuffer<FitPartial> fit_partials_;
  DeviceBuffer<FitPartial> sample_partials_;
  DeviceBuffer<ChangeSums> change_partials_;
  DeviceBuffer<double> momentum_partials_;   // [kMomentumBlocks]
  DeviceBuffer<MomentumProgress> momentum_;  // [1]
  DeviceBuffer<IterationState> state_;
  DeviceBuffer<float> background_;                // [frame]
  DeviceBuffer<float> moved_background_;          // [frame], while it takes a step.
  DeviceBuffer<BackgroundSums> background_sums_;  // [frame]
  DeviceBuffer<double> refinement_sums_;          // [capacity, terms]
  DeviceBuffer<double> refinement_partials_;      // [refine_chunk, pieces, terms]
  DeviceBuffer<float2> components_;               // [components, modes, frame]
  DeviceBuffer<float2> component_sums_;           // Likewise; the components while they move.
  DeviceBuffer<float> component_weights_;         // [components, frame]
  DeviceBuffer<float> coefficients_;              // [capacity, components]

  PinnedBuffer<DevicePoint> points_upload_;
  PinnedBuffer<DevicePoint> sample_upload_;
  PinnedBuffer<std::int32_t> indices_upload_;
  PinnedBuffer<float> coefficients_upload_;
  Event uploaded_;  // What they hold is on the device.
  PinnedBuffer<DevicePoint> batch_points_upload_;
  Event batches_uploaded_;  // What it holds is on the device.
  PinnedBuffer<IterationState> state_download_;
  // Shared with the thread that loads frames.
  Mutex uploads_mu_;
  std::deque<Upload> uploads_
      ABSL_GUARDED_BY(uploads_mu_);  // Consecutive; not known to have ended.
  std::int64_t uploads_begun_ ABSL_GUARDED_BY(uploads_mu_) = 0;
  std::vector<std::int64_t> upload_of_slot_ ABSL_GUARDED_BY(uploads_mu_);  // [capacity]; 0: none.

  // The snapshot under way.
  DeviceBuffer<float2> snapshot_object_;
  DeviceBuffer<float2> snapshot_probe_;
  DeviceBuffer<float> snapshot_coverage_;
  PinnedBuffer<float2> snapshot_object_download_;
  PinnedBuffer<float2> snapshot_probe_download_;
  PinnedBuffer<float> snapshot_coverage_download_;
  Event snapshot_taken_;
  Event snapshot_arrived_;
  std::atomic<bool> snapshot_under_way_ = false;
};

}  // namespace ptychoserve::cuda

#endif  // PTYCHOSERVE_ENGINE_BACKEND_CUDA_CUDA_BACKEND_H_
