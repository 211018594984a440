#include "engine/backend/cuda/cuda_backend.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <complex>
#include <cstring>
#include <iterator>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/backend/cuda/coverage.h"
#include "engine/backend/cuda/cuda_status.h"
#include "engine/backend/cuda/device_points.h"
#include "engine/backend/cuda/exit_waves.h"
#include "engine/backend/cuda/frame_figures.h"
#include "engine/backend/cuda/momentum.h"
#include "engine/backend/cuda/trace_range.h"
#include "engine/backend/input_checks.h"
#include "engine/backend/stored_frame.h"
#include "engine/base/status_macros.h"

namespace ptychoserve::cuda {
namespace {

static_assert(sizeof(float2) == sizeof(Complex64));

float2 ToFloat2(Complex64 value) { return {value.real(), value.imag()}; }

int Modulo(int value, int n) { return (value % n + n) % n; }

// Page-locked memory for at least `count` elements; what was there is lost when it grows.
template <typename T>
absl::Status Reserve(PinnedBuffer<T>& buffer, std::int64_t count) {
  if (buffer.size() >= count) return absl::OkStatus();
  PS_ASSIGN_OR_RETURN(buffer, PinnedBuffer<T>::Create(count));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<bool> UsesFusedPasses(const BackendConfig& config) {
  if (config.deterministic || config.near_field.has_value()) return false;
  return CanRunFused(config.frame_shape);
}

absl::StatusOr<std::unique_ptr<CudaBackend>> CudaBackend::Create(const BackendConfig& config,
                                                                 int ordinal) {
  PS_RETURN_IF_ERROR(CheckBackendConfig(config));
  PS_RETURN_IF_ERROR(CudaStatus(cudaSetDevice(ordinal), "cudaSetDevice"));
  PS_ASSIGN_OR_RETURN(const bool fused, UsesFusedPasses(config));
  std::unique_ptr<CudaBackend> backend(new CudaBackend(config, ordinal, fused));
  PS_RETURN_IF_ERROR(backend->Allocate());
  return backend;
}

CudaBackend::CudaBackend(const BackendConfig& config, int ordinal, bool fused)
    : config_(config), ordinal_(ordinal), plan_(PlanMemory(config, fused)) {
  unitary_ = static_cast<float>(1.0 / std::sqrt(static_cast<double>(plan_.frame_pixels)));
}

CudaBackend::~CudaBackend() {
  // Memory goes only once nothing uses it. Errors cannot be reported any more.
  UseDevice().IgnoreError();
  if (stream_.get() != nullptr) stream_.Synchronise().IgnoreError();
  if (copy_stream_.get() != nullptr) copy_stream_.Synchronise().IgnoreError();
  if (upload_stream_.get() != nullptr) upload_stream_.Synchronise().IgnoreError();
}

absl::Status CudaBackend::Allocate() {
  PS_ASSIGN_OR_RETURN(stream_, Stream::Create());
  PS_ASSIGN_OR_RETURN(copy_stream_, Stream::Create());
  PS_ASSIGN_OR_RETURN(upload_stream_, Stream::Create());
  PS_ASSIGN_OR_RETURN(fft_, BatchedFft::Create(config_.frame_shape, plan_.transforms()));
  if (plan_.fused) {
    PS_ASSIGN_OR_RETURN(passes_, FusedPasses::Create(config_.frame_shape, plan_.modes,
                                                     config_.capacity, plan_.half));
    PS_ASSIGN_OR_RETURN(batch_passes_, BatchPasses::Create(config_.frame_shape, plan_.modes,
                                                           config_.capacity, plan_.half));
  }
  plan_.fft_work = static_cast<std::int64_t>(fft_.work_bytes());

  PS_ASSIGN_OR_RETURN(frames_, DeviceBuffer<std::byte>::Create(plan_.frames));
  PS_ASSIGN_OR_RETURN(exit_waves_, DeviceBuffer<std::byte>::Create(plan_.exit_waves));
  PS_ASSIGN_OR_RETURN(work_, DeviceBuffer<float2>::Create(plan_.work));
  PS_ASSIGN_OR_RETURN(fft_work_, DeviceBuffer<std::byte>::Create(plan_.fft_work));
  PS_ASSIGN_OR_RETURN(transfer_, DeviceBuffer<float2>::Create(plan_.transfer));
  PS_ASSIGN_OR_RETURN(probe_, DeviceBuffer<float2>::Create(plan_.probe));
  PS_ASSIGN_OR_RETURN(other_probe_, DeviceBuffer<float2>::Create(plan_.probe));
  PS_ASSIGN_OR_RETURN(probe_sum_, DeviceBuffer<float2>::Create(plan_.probe_sums));
  PS_ASSIGN_OR_RETURN(probe_weights_, DeviceBuffer<float>::Create(plan_.probe_weights));
  PS_ASSIGN_OR_RETURN(object_, DeviceBuffer<float2>::Create(plan_.object));
  PS_ASSIGN_OR_RETURN(object_sum_, DeviceBuffer<float2>::Create(plan_.object));
  PS_ASSIGN_OR_RETURN(object_weights_, DeviceBuffer<float>::Create(plan_.canvas));
  PS_ASSIGN_OR_RETURN(max_object_weight_, DeviceBuffer<float>::Create(1));
  PS_ASSIGN_OR_RETURN(snapshot_object_, DeviceBuffer<float2>::Create(plan_.object));
  PS_ASSIGN_OR_RETURN(snapshot_coverage_, DeviceBuffer<float>::Create(plan_.canvas));
  PS_ASSIGN_OR_RETURN(snapshot_probe_, DeviceBuffer<float2>::Create(plan_.probe));
  PS_ASSIGN_OR_RETURN(device_points_, DeviceBuffer<DevicePoint>::Create(plan_.points));
  PS_ASSIGN_OR_RETURN(indices_, DeviceBuffer<std::int32_t>::Create(plan_.points));
  PS_ASSIGN_OR_RETURN(previous_object_, DeviceBuffer<float2>::Create(plan_.object));
  PS_ASSIGN_OR_RETURN(batch_points_, DeviceBuffer<DevicePoint>::Create(plan_.points));
  PS_ASSIGN_OR_RETURN(epie_maxima_, DeviceBuffer<EpieMaxima>::Create(plan_.points + 1));
  PS_ASSIGN_OR_RETURN(probe_products_, DeviceBuffer<ProbeProducts>::Create(plan_.frame_pixels));
  PS_ASSIGN_OR_RETURN(object_partials_, DeviceBuffer<StepPartial>::Create(kDirectionBlocks));
  PS_ASSIGN_OR_RETURN(probe_partials_,
                      DeviceBuffer<StepPartial>::Create(ProbeDirectionBlocks(plan_.frame_pixels)));
  PS_ASSIGN_OR_RETURN(pair_partials_, DeviceBuffer<PairPartial>::Create(plan_.fit_sums));
  PS_ASSIGN_OR_RETURN(lsq_steps_, DeviceBuffer<LsqSteps>::Create(1));
  PS_ASSIGN_OR_RETURN(fit_sums_, DeviceBuffer<FitSums>::Create(plan_.fit_sums));
  PS_ASSIGN_OR_RETURN(evaluated_points_, DeviceBuffer<DevicePoint>::Create(plan_.points));
  PS_ASSIGN_OR_RETURN(frame_fits_, DeviceBuffer<FrameFit>::Create(plan_.points));
  PS_ASSIGN_OR_RETURN(frame_fit_partials_, DeviceBuffer<FrameFit>::Create(plan_.chunk_pieces));
  PS_ASSIGN_OR_RETURN(deviations_, DeviceBuffer<double>::Create(plan_.chunk_pieces));
  PS_ASSIGN_OR_RETURN(figures_, DeviceBuffer<FrameFigures>::Create(plan_.points));
  PS_ASSIGN_OR_RETURN(kept_deviation_, DeviceBuffer<float>::Create(plan_.points));
  PS_ASSIGN_OR_RETURN(probe_power_, DeviceBuffer<float>::Create(plan_.probe_power));
  PS_ASSIGN_OR_RETURN(sample_points_, DeviceBuffer<DevicePoint>::Create(kFitSamplePoints));
  PS_ASSIGN_OR_RETURN(sample_sums_, DeviceBuffer<FitSums>::Create(plan_.sample_sums));
  PS_ASSIGN_OR_RETURN(fit_partials_, DeviceBuffer<FitPartial>::Create(kFitBlocks));
  PS_ASSIGN_OR_RETURN(sample_partials_, DeviceBuffer<FitPartial>::Create(kFitBlocks));
  PS_ASSIGN_OR_RETURN(change_partials_, DeviceBuffer<ChangeSums>::Create(kUpdateBlocks));
  PS_ASSIGN_OR_RETURN(momentum_partials_, DeviceBuffer<double>::Create(kMomentumBlocks));
  PS_ASSIGN_OR_RETURN(momentum_, DeviceBuffer<MomentumProgress>::Create(1));
  PS_ASSIGN_OR_RETURN(state_, DeviceBuffer<IterationState>::Create(1));
  PS_ASSIGN_OR_RETURN(background_, DeviceBuffer<float>::Create(plan_.frame_pixels));
  PS_ASSIGN_OR_RETURN(background_sums_, DeviceBuffer<BackgroundSums>::Create(plan_.frame_pixels));
  PS_ASSIGN_OR_RETURN(moved_background_, DeviceBuffer<float>::Create(plan_.frame_pixels));
  PS_ASSIGN_OR_RETURN(refinement_sums_, DeviceBuffer<double>::Create(plan_.refinement_sums));
  PS_ASSIGN_OR_RETURN(refinement_partials_,
                      DeviceBuffer<double>::Create(plan_.refinement_partials));
  PS_ASSIGN_OR_RETURN(components_, DeviceBuffer<float2>::Create(plan_.components));
  PS_ASSIGN_OR_RETURN(component_sums_, DeviceBuffer<float2>::Create(plan_.components));
  PS_ASSIGN_OR_RETURN(component_weights_, DeviceBuffer<float>::Create(plan_.component_weights));
  PS_ASSIGN_OR_RETURN(coefficients_, DeviceBuffer<float>::Create(plan_.coefficients));

  PS_ASSIGN_OR_RETURN(points_upload_, PinnedBuffer<DevicePoint>::Create(plan_.points));
  PS_ASSIGN_OR_RETURN(batch_points_upload_, PinnedBuffer<DevicePoint>::Create(plan_.points));
  PS_ASSIGN_OR_RETURN(batches_uploaded_, Event::Create());
  PS_ASSIGN_OR_RETURN(sample_upload_, PinnedBuffer<DevicePoint>::Create(kFitSamplePoints));
  PS_ASSIGN_OR_RETURN(indices_upload_, PinnedBuffer<std::int32_t>::Create(plan_.points));
  PS_ASSIGN_OR_RETURN(coefficients_upload_, PinnedBuffer<float>::Create(plan_.coefficients));
  std::fill_n(coefficients_upload_.data(), plan_.coefficients, 0.0f);
  PS_ASSIGN_OR_RETURN(state_download_, PinnedBuffer<IterationState>::Create(1));
  PS_ASSIGN_OR_RETURN(uploaded_, Event::Create());
  PS_ASSIGN_OR_RETURN(snapshot_taken_, Event::Create());
  PS_ASSIGN_OR_RETURN(snapshot_arrived_, Event::Create());
  active_slots_.resize(static_cast<std::size_t>(config_.capacity));
  {
    MutexLock lock(uploads_mu_);
    upload_of_slot_.resize(static_cast<std::size_t>(config_.capacity));
  }
  PS_RETURN_IF_ERROR(fft_.Bind(stream_.get(), fft_work_.data()));
  PS_RETURN_IF_ERROR(stream_.Clear(kept_deviation_, kept_deviation_.size()));
  PS_RETURN_IF_ERROR(stream_.Clear(background_, background_.size()));
  PS_RETURN_IF_ERROR(stream_.Clear(probe_, probe_.size()));
  PS_RETURN_IF_ERROR(stream_.Clear(components_, components_.size()));
  PS_RETURN_IF_ERROR(stream_.Clear(coefficients_, coefficients_.size()));
  return config_.near_field.has_value() ? UploadTransfer() : absl::OkStatus();
}

absl::Status CudaBackend::UploadTransfer() {
  std::vector<float2> transfer;
  for (const std::complex<double>& h : TransferFunction(*config_.near_field, config_.frame_shape)) {
    transfer.push_back(ToFloat2(Complex64(h) * unitary_));
  }
  PS_RETURN_IF_ERROR(
      stream_.Copy(transfer_.data(), transfer.data(), plan_.transfer, cudaMemcpyHostToDevice));
  return stream_.Synchronise();
}

absl::Status CudaBackend::UseDevice() const {
  return CudaStatus(cudaSetDevice(ordinal_), "cudaSetDevice");
}

absl::Status CudaBackend::CheckLaunches() const {
  return CudaStatus(cudaGetLastError(), "kernel launch");
}

Canvas CudaBackend::canvas_view() {
  return {object_.data(), canvas_.row, canvas_.col, canvas_.shape.rows, canvas_.shape.cols};
}

FrameSlots CudaBackend::frame_slots() const {
  return {frames_.data(), config_.storage == FrameStorage::kF32};
}

Batch CudaBackend::BatchOf(int first, int count) const {
  return {device_points_.data() + first,
          count,
          config_.frame_shape.rows,
          config_.frame_shape.cols,
          plan_.modes.probe,
          background(),
          batch_variation(),
          plan_.modes.object};
}

// --- Canvas and object -----------------------------------------------------------------------

absl::Status CudaBackend::SetCanvas(const Region& canvas) {
  if (canvas.shape.rows < 1 || canvas.shape.cols < 1 ||
      canvas.shape.pixels() > config_.max_object_pixels) {
    return absl::InvalidArgumentError(
        absl::StrFormat("a canvas of %d x %d is not within 1 and %d pixels", canvas.shape.rows,
                        canvas.shape.cols, config_.max_object_pixels));
  }
  PS_RETURN_IF_ERROR(CheckInside(points_, config_.frame_shape, canvas));
  PS_RETURN_IF_ERROR(UseDevice());
  const Canvas from = canvas_view();
  const Canvas to = {object_sum_.data(), canvas.row, canvas.col, canvas.shape.rows,
                     canvas.shape.cols};
  LaunchMoveObject({from, to, 0, 0, plan_.modes.object, object_start()}, stream_.get());
  std::swap(object_, object_sum_);
  canvas_ = canvas;
  coverage_valid_ = false;
  has_momentum_ = false;
  ++epoch_;
  return CheckLaunches();
}

absl::Status CudaBackend::SetObject(const ComplexStack& object) {
  PS_RETURN_IF_ERROR(CheckObjectFits(object, config_, canvas_.shape));
  PS_RETURN_IF_ERROR(UseDevice());
  has_momentum_ = false;
  PS_RETURN_IF_ERROR(stream_.Copy(object_.data(),
                                  reinterpret_cast<const float2*>(object.data.data()),
                                  object_pixels(), cudaMemcpyHostToDevice));
  return stream_.Synchronise();
}

absl::Status CudaBackend::ClearObject(const Region& region) {
  has_momentum_ = false;
  const int row = std::max(region.row, canvas_.row);
  const int col = std::max(region.col, canvas_.col);
  const int rows = std::min(region.row + region.shape.rows, canvas_.row + canvas_.shape.rows) - row;
  const int cols = std::min(region.col + region.shape.cols, canvas_.col + canvas_.shape.cols) - col;
  if (rows <= 0 || cols <= 0) return absl::OkStatus();
  PS_RETURN_IF_ERROR(UseDevice());
  LaunchFillObject({canvas_view(), row, col, rows, cols, plan_.modes.object, object_start()},
                   stream_.get());
  return CheckLaunches();
}

absl::Status CudaBackend::Shift(int rows, int cols) {
  PS_RETURN_IF_ERROR(UseDevice());
  has_momentum_ = false;
  const Shape frame = config_.frame_shape;
  if (canvas_pixels() > 0) {
    Canvas to = canvas_view();
    to.object = object_sum_.data();
    LaunchMoveObject({canvas_view(), to, rows, cols, plan_.modes.object, object_start()},
                     stream_.get());
    std::swap(object_, object_sum_);
  }
  RollArgs roll{.in = probe_.data(),
                .out = other_probe_.data(),
                .half = false,
                .points = nullptr,
                .in_by_slot = false,
                .out_by_slot = false,
                .count = 1,
                .modes = plan_.modes.probe,
                .rows = frame.rows,
                .cols = frame.cols,
                .shift_rows = Modulo(rows, frame.rows),
                .shift_cols = Modulo(cols, frame.cols)};
  LaunchRoll(roll, stream_.get());
  std::swap(probe_, other_probe_);
  if (config_.probe_components > 0) {
    RollArgs components = roll;
    components.in = components_.data();
    components.out = component_sums_.data();
    components.modes = config_.probe_components * plan_.modes.probe;
    LaunchRoll(components, stream_.get());
    std::swap(components_, component_sums_);
  }
  coverage_valid_ = false;
  ++epoch_;
  if (!config_.keeps_exit_waves) return CheckLaunches();

  for (int first = 0; first < point_count(); first += plan_.chunk) {
    const Batch batch = BatchOf(first, std::min(plan_.chunk, point_count() - first));
    RollArgs out = roll;
    out.in = exit_waves_.data();
    out.out = work_.data();
    out.half = plan_.half;
    out.modes = plan_.modes.waves();
    out.points = batch.points;
    out.in_by_slot = true;
    out.count = batch.count;
    LaunchRoll(out, stream_.get());
    RollArgs back = out;
    std::swap(back.in_by_slot, back.out_by_slot);
    back.in = work_.data();
    back.out = exit_waves_.data();
    back.shift_rows = back.shift_cols = 0;
    LaunchRoll(back, stream_.get());
  }
  return CheckLaunches();
}

absl::Status CudaBackend::Rescale(double factor) {
  PS_RETURN_IF_ERROR(CheckFactor(factor));
  PS_RETURN_IF_ERROR(UseDevice());
  PS_RETURN_IF_ERROR(EnsureCoverage(stream_));
  const auto scale_probe = [&](DeviceBuffer<float2>& image, std::int64_t pixels) {
    if (pixels == 0) return;
    LaunchScale({image.data(), 1, pixels, static_cast<float>(factor), nullptr}, stream_.get());
  };
  const auto scale_object = [&](DeviceBuffer<float2>& image) {
    if (canvas_pixels() == 0) return;
    LaunchScale({image.data(), plan_.modes.object, canvas_pixels(), static_cast<float>(1 / factor),
                 object_weights_.data()},
                stream_.get());
  };
  scale_probe(probe_, plan_.probe);
  scale_probe(components_, config_.probe_components * plan_.probe);
  scale_object(object_);
  if (has_momentum_) {
    scale_probe(other_probe_, plan_.probe);
    scale_object(previous_object_);
  }
  coverage_valid_ = false;
  return CheckLaunches();
}

absl::Status CudaBackend::SetProbe(const ComplexStack& probe) {
  PS_RETURN_IF_ERROR(CheckProbeFits(probe, config_));
  PS_RETURN_IF_ERROR(UseDevice());
  coverage_valid_ = false;
  has_momentum_ = false;
  PS_RETURN_IF_ERROR(stream_.Copy(probe_.data(), reinterpret_cast<const float2*>(probe.data.data()),
                                  plan_.probe, cudaMemcpyHostToDevice));
  return stream_.Synchronise();
}

// --- Frames and points -----------------------------------------------------------------------

absl::Status CudaBackend::LoadFrames(std::span<const FrameToLoad> frames) {
  const TraceRange range("load frames");
  for (const FrameToLoad& frame : frames) {
    if (frame.slot < 0 || frame.slot >= config_.capacity) {
      return absl::InvalidArgumentError(
          absl::StrFormat("slot %d is not within 0 and %d", frame.slot, config_.capacity - 1));
    }
  }
  PS_RETURN_IF_ERROR(UseDevice());
  const std::int64_t bytes = plan_.frame_bytes;
  for (std::size_t begin = 0, end; begin < frames.size(); begin = end) {
    end = begin + 1;
    while (end < frames.size() && frames[end].slot == frames[end - 1].slot + 1 &&
           frames[end].pixels == frames[end - 1].pixels + bytes) {
      ++end;
    }
    PS_RETURN_IF_ERROR(upload_stream_.Copy(
        frames_.data() + frames[begin].slot * bytes, frames[begin].pixels,
        static_cast<std::int64_t>(end - begin) * bytes, cudaMemcpyHostToDevice));
  }
  Upload upload{.number = 0, .frames = static_cast<std::int64_t>(frames.size()), .copied = {}};
  PS_ASSIGN_OR_RETURN(upload.copied, Event::Create());
  PS_RETURN_IF_ERROR(upload_stream_.Record(upload.copied));
  MutexLock lock(uploads_mu_);
  upload.number = ++uploads_begun_;
  for (const FrameToLoad& frame : frames) {
    upload_of_slot_[static_cast<std::size_t>(frame.slot)] = upload.number;
  }
  uploads_.push_back(std::move(upload));
  return absl::OkStatus();
}

absl::StatusOr<std::int64_t> CudaBackend::FramesBeingCopied(std::int64_t at_most) {
  PS_RETURN_IF_ERROR(UseDevice());
  while (true) {
    const Event* oldest = nullptr;
    std::int64_t frames = 0;
    {
      MutexLock lock(uploads_mu_);
      for (const Upload& upload : uploads_) frames += upload.frames;
      if (uploads_.empty()) return frames;
      oldest = &uploads_.front().copied;  // Only this method takes uploads away.
    }
    if (frames > at_most) PS_RETURN_IF_ERROR(oldest->Wait());
    PS_ASSIGN_OR_RETURN(const bool done, oldest->Done());
    if (!done) return frames;
    MutexLock lock(uploads_mu_);
    uploads_.pop_front();
  }
}

template <typename Elements, typename SlotOf>
absl::Status CudaBackend::AwaitFrames(const Elements& elements, SlotOf slot_of) {
  MutexLock lock(uploads_mu_);
  std::int64_t last = 0;
  for (const auto& element : elements) {
    const std::int32_t slot = slot_of(element);
    if (slot < 0 || slot >= config_.capacity ||
        upload_of_slot_[static_cast<std::size_t>(slot)] == 0) {
      return absl::FailedPreconditionError(
          absl::StrFormat("slot %d of %d holds no frame", slot, config_.capacity));
    }
    last = std::max(last, upload_of_slot_[static_cast<std::size_t>(slot)]);
  }
  if (uploads_.empty() || last < uploads_.front().number) return absl::OkStatus();
  const auto place = static_cast<std::size_t>(last - uploads_.front().number);
  return stream_.WaitFor(uploads_[place].copied);
}

absl::StatusOr<FloatImage> CudaBackend::MeanAmplitude(std::span<const std::int32_t> slots) {
  PS_RETURN_IF_ERROR(UseDevice());
  PS_RETURN_IF_ERROR(AwaitFrames(slots, [](std::int32_t slot) { return slot; }));
  FloatImage mean;
  mean.shape = config_.frame_shape;
  mean.data.resize(static_cast<std::size_t>(plan_.frame_pixels));
  if (slots.empty()) return mean;
  if (static_cast<std::int64_t>(slots.size()) > plan_.points) {
    return absl::InvalidArgumentError(
        absl::StrFormat("the mean of %d frames was asked for, but there are %d slots", slots.size(),
                        config_.capacity));
  }
  PS_RETURN_IF_ERROR(UploadIndices(slots));
  float* const result = reinterpret_cast<float*>(work_.data());
  LaunchMeanAmplitude({frame_slots(), indices_.data(), static_cast<int>(slots.size()),
                       static_cast<int>(plan_.frame_pixels), result},
                      stream_.get());
  PS_RETURN_IF_ERROR(CheckLaunches());
  PS_RETURN_IF_ERROR(
      stream_.Copy(mean.data.data(), result, plan_.frame_pixels, cudaMemcpyDeviceToHost));
  PS_RETURN_IF_ERROR(stream_.Synchronise());
  return mean;
}

absl::StatusOr<FloatImage> CudaBackend::ReadFrame(std::int32_t slot) {
  PS_RETURN_IF_ERROR(UseDevice());
  PS_RETURN_IF_ERROR(AwaitFrames(std::array{slot}, [](std::int32_t s) { return s; }));
  std::vector<std::byte> stored(static_cast<std::size_t>(plan_.frame_bytes));
  PS_RETURN_IF_ERROR(stream_.Copy(stored.data(), frames_.data() + slot * plan_.frame_bytes,
                                  plan_.frame_bytes, cudaMemcpyDeviceToHost));
  PS_RETURN_IF_ERROR(stream_.Synchronise());
  return CountsOfStored(stored, config_.storage, config_.frame_shape);
}

absl::Status CudaBackend::SetActivePoints(std::span<const PointWindow> points) {
  const TraceRange range("set active points");
  PS_RETURN_IF_ERROR(UseDevice());
  PS_RETURN_IF_ERROR(AwaitFrames(points, [](const PointWindow& point) { return point.slot; }));
  PS_RETURN_IF_ERROR(CheckInside(points, config_.frame_shape, canvas_));
  PS_RETURN_IF_ERROR(CheckSlotsDiffer(points));
  PS_RETURN_IF_ERROR(CheckVariation(points, config_));

  if (!std::ranges::equal(points, points_, {}, &PointWindow::slot, &PointWindow::slot)) {
    has_momentum_ = false;
  }
  points_.assign(points.begin(), points.end());
  varies_ = std::ranges::any_of(points_, Varies);
  coverage_valid_ = false;
  ++epoch_;
  std::vector<std::int32_t> added;  // Places in points_ of slots that were not active.
  for (std::size_t i = 0; i < points_.size(); ++i) {
    if (!active_slots_[static_cast<std::size_t>(points_[i].slot)]) {
      added.push_back(static_cast<std::int32_t>(i));
    }
  }
  active_slots_.assign(active_slots_.size(), false);
  for (const PointWindow& point : points_) {
    active_slots_[static_cast<std::size_t>(point.slot)] = true;
  }
  sample_count_ = 0;
  if (passes_.has_value()) PS_RETURN_IF_ERROR(passes_->SetPoints(points_, stream_));
  if (points_.empty()) return absl::OkStatus();

  PS_RETURN_IF_ERROR(uploaded_.Wait());
  std::fill_n(coefficients_upload_.data(), plan_.coefficients, 0.0f);
  const int stride = FitSampleStride(point_count());
  for (int i = 0; i < point_count(); ++i) {
    points_upload_.data()[i] = DevicePointOf(points_[static_cast<std::size_t>(i)]);
    if (i % stride == 0) sample_upload_.data()[sample_count_++] = points_upload_.data()[i];
    const PointWindow& point = points_[static_cast<std::size_t>(i)];
    std::copy_n(point.variation.begin(), config_.probe_components,
                coefficients_upload_.data() + std::int64_t{point.slot} * config_.probe_components);
  }
  PS_RETURN_IF_ERROR(stream_.Copy(coefficients_, coefficients_upload_, plan_.coefficients));
  PS_RETURN_IF_ERROR(stream_.Copy(device_points_, points_upload_, point_count()));
  PS_RETURN_IF_ERROR(stream_.Copy(sample_points_, sample_upload_, sample_count_));
  PS_RETURN_IF_ERROR(stream_.Record(uploaded_));
  if (added.empty()) return absl::OkStatus();
  PS_RETURN_IF_ERROR(UploadIndices(added));
  const Batch batch = BatchOf(0, point_count());
  const int added_count = static_cast<int>(added.size());
  LaunchFrameFigures(
      {batch, indices_.data(), added_count, frame_slots(), figures_.data(), kept_deviation_.data()},
      stream_.get());
  if (config_.keeps_exit_waves) {
    LaunchInitExitWaves(
        {batch, indices_.data(), added_count, canvas_view(), probe_.data(), exit_waves()},
        stream_.get());
  }
  return CheckLaunches();
}

absl::Status CudaBackend::UploadIndices(std::span<const std::int32_t> indices) {
  PS_RETURN_IF_ERROR(uploaded_.Wait());
  std::copy(indices.begin(), indices.end(), indices_upload_.data());
  PS_RETURN_IF_ERROR(stream_.Copy(indices_, indices_upload_, std::ssize(indices)));
  return stream_.Record(uploaded_);
}

// --- Results ---------------------------------------------------------------------------------

absl::StatusOr<Backend::CollectReadback> CudaBackend::StartReadback() {
  const TraceRange range("snapshot");
  if (snapshot_under_way_) {
    return absl::FailedPreconditionError("a readback is under way; collect it first");
  }
  PS_RETURN_IF_ERROR(UseDevice());
  PS_RETURN_IF_ERROR(Reserve(snapshot_object_download_, object_pixels()));
  PS_RETURN_IF_ERROR(Reserve(snapshot_coverage_download_, canvas_pixels()));
  PS_RETURN_IF_ERROR(Reserve(snapshot_probe_download_, plan_.probe));
  // The next iteration makes the coverage once more, so that it stays the one that was captured.
  const bool iterations_have_coverage = coverage_valid_;
  PS_RETURN_IF_ERROR(EnsureCoverage(stream_));
  coverage_valid_ = iterations_have_coverage;

  const std::int64_t pixels = canvas_pixels(), probe = plan_.probe;
  PS_RETURN_IF_ERROR(stream_.Copy(snapshot_object_, object_, object_pixels()));
  PS_RETURN_IF_ERROR(stream_.Copy(snapshot_coverage_, object_weights_, pixels));
  PS_RETURN_IF_ERROR(stream_.Copy(snapshot_probe_, probe_, probe));
  PS_RETURN_IF_ERROR(stream_.Record(snapshot_taken_));
  PS_RETURN_IF_ERROR(copy_stream_.WaitFor(snapshot_taken_));
  PS_RETURN_IF_ERROR(
      copy_stream_.Copy(snapshot_object_download_, snapshot_object_, object_pixels()));
  PS_RETURN_IF_ERROR(copy_stream_.Copy(snapshot_coverage_download_, snapshot_coverage_, pixels));
  PS_RETURN_IF_ERROR(copy_stream_.Copy(snapshot_probe_download_, snapshot_probe_, probe));
  PS_RETURN_IF_ERROR(copy_stream_.Record(snapshot_arrived_));
  snapshot_under_way_ = true;
  return CollectReadback([this, canvas = canvas_] { return CollectSnapshot(canvas); });
}

absl::StatusOr<Readback> CudaBackend::CollectSnapshot(Region canvas) {
  const TraceRange range("collect snapshot");
  PS_RETURN_IF_ERROR(UseDevice());
  PS_RETURN_IF_ERROR(snapshot_arrived_.Wait());
  const auto* object = reinterpret_cast<const Complex64*>(snapshot_object_download_.data());
  const auto* probe = reinterpret_cast<const Complex64*>(snapshot_probe_download_.data());
  const float* coverage = snapshot_coverage_download_.data();
  Readback result;
  result.canvas = canvas;
  result.object.modes = plan_.modes.object;
  result.object.shape = canvas.shape;
  result.object.data.assign(object, object + plan_.modes.object * canvas.shape.pixels());
  result.probe.modes = plan_.modes.probe;
  result.probe.shape = config_.frame_shape;
  result.probe.data.assign(probe, probe + plan_.probe);
  result.coverage.shape = canvas.shape;
  result.coverage.data.assign(coverage, coverage + canvas.shape.pixels());
  snapshot_under_way_ = false;
  return result;
}

absl::StatusOr<std::vector<FrameFit>> CudaBackend::Evaluate(std::span<const PointWindow> points) {
  const TraceRange range("evaluate");
  PS_RETURN_IF_ERROR(CheckToEvaluate(points, config_, canvas_));
  PS_RETURN_IF_ERROR(UseDevice());
  PS_RETURN_IF_ERROR(AwaitFrames(points, [](const PointWindow& point) { return point.slot; }));
  std::vector<FrameFit> fits(points.size());
  if (points.empty()) return fits;
  std::vector<DevicePoint> uploaded;
  std::ranges::transform(points, std::back_inserter(uploaded), DevicePointOf);
  const int count = static_cast<int>(points.size());
  PS_RETURN_IF_ERROR(
      stream_.Copy(evaluated_points_.data(), uploaded.data(), count, cudaMemcpyHostToDevice));
  for (int first = 0; first < count; first += plan_.chunk) {
    Batch batch = BatchOf(0, std::min(plan_.chunk, count - first));
    batch.points = evaluated_points_.data() + first;
    PS_RETURN_IF_ERROR(ModelWaves(batch));
    LaunchFrameFit({batch, frame_slots(), work_.data(), frame_fit_partials_.data(),
                    frame_fits_.data() + first},
                   stream_.get());
  }
  PS_RETURN_IF_ERROR(CheckLaunches());
  PS_RETURN_IF_ERROR(stream_.Copy(fits.data(), frame_fits_.data(), count, cudaMemcpyDeviceToHost));
  PS_RETURN_IF_ERROR(stream_.Synchronise());
  return fits;
}

absl::StatusOr<ComplexStack> CudaBackend::ReadProbe() {
  PS_RETURN_IF_ERROR(UseDevice());
  ComplexStack probe(plan_.modes.probe, config_.frame_shape);
  PS_RETURN_IF_ERROR(stream_.Copy(reinterpret_cast<float2*>(probe.data.data()), probe_.data(),
                                  plan_.probe, cudaMemcpyDeviceToHost));
  PS_RETURN_IF_ERROR(stream_.Synchronise());
  return probe;
}

absl::StatusOr<std::optional<MomentumState>> CudaBackend::ReadMomentum() {
  if (!has_momentum_) return std::nullopt;
  PS_RETURN_IF_ERROR(UseDevice());
  MomentumState state;
  state.of = *momentum_of_;
  state.object_velocity = ComplexStack(plan_.modes.object, canvas_.shape);
  state.probe_velocity = ComplexStack(plan_.modes.probe, config_.frame_shape);
  MomentumProgress progress{};
  PS_RETURN_IF_ERROR(stream_.Copy(reinterpret_cast<float2*>(state.object_velocity.data.data()),
                                  previous_object_.data(), object_pixels(),
                                  cudaMemcpyDeviceToHost));
  PS_RETURN_IF_ERROR(stream_.Copy(reinterpret_cast<float2*>(state.probe_velocity.data.data()),
                                  other_probe_.data(), plan_.probe, cudaMemcpyDeviceToHost));
  PS_RETURN_IF_ERROR(stream_.Copy(&progress, momentum_.data(), 1, cudaMemcpyDeviceToHost));
  PS_RETURN_IF_ERROR(stream_.Synchronise());
  state.iterations = progress.iterations;
  return state;
}

absl::Status CudaBackend::SetMomentum(const MomentumState& momentum) {
  PS_RETURN_IF_ERROR(CheckMomentumFits(momentum, config_, canvas_.shape));
  PS_RETURN_IF_ERROR(UseDevice());
  const ComplexStack& object = momentum.object_velocity;
  const ComplexStack& probe = momentum.probe_velocity;
  const MomentumProgress progress{.iterations = momentum.iterations, .factor = 0};
  PS_RETURN_IF_ERROR(stream_.Copy(previous_object_.data(),
                                  reinterpret_cast<const float2*>(object.data.data()),
                                  object_pixels(), cudaMemcpyHostToDevice));
  PS_RETURN_IF_ERROR(stream_.Copy(other_probe_.data(),
                                  reinterpret_cast<const float2*>(probe.data.data()), plan_.probe,
                                  cudaMemcpyHostToDevice));
  PS_RETURN_IF_ERROR(stream_.Copy(momentum_.data(), &progress, 1, cudaMemcpyHostToDevice));
  PS_RETURN_IF_ERROR(stream_.Synchronise());
  has_momentum_ = true;
  momentum_of_ = momentum.of;
  return absl::OkStatus();
}

absl::StatusOr<ExitWaveState> CudaBackend::ReadExitWaves() {
  PS_RETURN_IF_ERROR(CheckKeepsExitWaves(config_));
  PS_RETURN_IF_ERROR(UseDevice());
  ExitWaveState state;
  state.waves = ComplexStack(point_count() * plan_.modes.waves(), config_.frame_shape);
  for (int first = 0; first < point_count(); first += plan_.chunk) {
    const Batch batch = BatchOf(first, std::min(plan_.chunk, point_count() - first));
    LaunchCopyExitWaves({batch, exit_waves(), work_.data()}, stream_.get());
    PS_RETURN_IF_ERROR(CheckLaunches());
    PS_RETURN_IF_ERROR(
        stream_.Copy(reinterpret_cast<float2*>(state.waves.data.data()) + first * plan_.point_waves,
                     work_.data(), batch.count * plan_.point_waves, cudaMemcpyDeviceToHost));
  }
  PS_ASSIGN_OR_RETURN(const std::vector<float> kept, ReadKeptDeviation());
  for (const PointWindow& point : points_) {
    state.kept_deviation.push_back(kept[static_cast<std::size_t>(point.slot)]);
  }
  return state;
}

absl::Status CudaBackend::SetExitWaves(std::span<const ExitWaveToSet> waves) {
  PS_RETURN_IF_ERROR(UseDevice());
  PS_RETURN_IF_ERROR(CheckExitWavesToSet(waves, config_, [this](std::int32_t slot) {
    return active_slots_[static_cast<std::size_t>(slot)];
  }));
  PS_ASSIGN_OR_RETURN(std::vector<float> kept, ReadKeptDeviation());
  const auto chunk = static_cast<std::size_t>(plan_.chunk);
  std::vector<std::int32_t> slots;
  for (std::size_t first = 0; first < waves.size(); first += chunk) {
    slots.clear();
    for (const ExitWaveToSet& wave : waves.subspan(first, std::min(chunk, waves.size() - first))) {
      PS_RETURN_IF_ERROR(stream_.Copy(work_.data() + std::ssize(slots) * plan_.point_waves,
                                      reinterpret_cast<const float2*>(wave.waves),
                                      plan_.point_waves, cudaMemcpyHostToDevice));
      slots.push_back(wave.slot);
      kept[static_cast<std::size_t>(wave.slot)] = static_cast<float>(wave.kept_deviation);
    }
    const int count = static_cast<int>(slots.size());
    PS_RETURN_IF_ERROR(UploadIndices(slots));
    LaunchStoreExitWaves({BatchOf(0, count), indices_.data(), work_.data(), exit_waves()},
                         stream_.get());
    PS_RETURN_IF_ERROR(CheckLaunches());
  }
  PS_RETURN_IF_ERROR(
      stream_.Copy(kept_deviation_.data(), kept.data(), std::ssize(kept), cudaMemcpyHostToDevice));
  return stream_.Synchronise();  // The memory of `waves` is the caller's.
}

absl::StatusOr<std::vector<float>> CudaBackend::ReadKeptDeviation() {
  std::vector<float> kept(static_cast<std::size_t>(config_.capacity));
  PS_RETURN_IF_ERROR(
      stream_.Copy(kept.data(), kept_deviation_.data(), std::ssize(kept), cudaMemcpyDeviceToHost));
  PS_RETURN_IF_ERROR(stream_.Synchronise());
  return kept;
}

}  // namespace ptychoserve::cuda
