#include "engine/backend/cpu/cpu_backend.h"

#include <algorithm>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_format.h"
#include "engine/algorithms/measurement.h"
#include "engine/algorithms/object_start.h"
#include "engine/backend/cpu/forward_model.h"
#include "engine/backend/cpu/lane_sums.h"
#include "engine/backend/input_checks.h"
#include "engine/backend/stored_frame.h"
#include "engine/base/status_macros.h"

namespace ptychoserve {
namespace {

// Waves that are transformed start on the alignment of the FFT, whatever the frame's size.
std::int64_t AlignedPixels(std::int64_t pixels) {
  constexpr std::int64_t kMultiple = 8;
  return (pixels + kMultiple - 1) / kMultiple * kMultiple;
}

// Real images of a worker: counts, intensity and derivatives.
std::int64_t WorkReals(const BackendConfig& config) { return 4 + config.probe_components; }

// Pixels of each buffer that has one element per something.
struct Extents {
  Extents(const BackendConfig& config, int threads, int frames_per_chunk)
      : slots(config.capacity),
        frame(config.frame_shape.pixels()),
        frame_bytes(slots * frame * StorageBytes(config.storage)),
        probe(config.probe_modes * frame),
        exit_waves(config.keeps_exit_waves ? slots * config.waves_per_point() * frame : 0),
        transfer(config.near_field.has_value() ? frame : 0),
        chunk_waves(frames_per_chunk * config.waves_per_point() * AlignedPixels(frame)),
        canvas(config.max_object_pixels),
        object(config.object_modes * canvas),
        components(config.probe_components * probe),
        component_weights(config.probe_components * frame),
        work_waves(2 * threads * config.waves_per_point() * AlignedPixels(frame)),
        work_reals(WorkReals(config) * threads * frame) {}
  std::int64_t slots, frame, frame_bytes, probe, exit_waves, transfer, chunk_waves, canvas, object,
      components, component_weights, work_waves, work_reals;
};

// Cyclic shift: out[(y + rows) mod n, (x + cols) mod n] = in[y, x].
template <typename T>
void Roll(Shape shape, int rows, int cols, const T* in, T* out) {
  const auto modulo = [](int value, int n) { return (value % n + n) % n; };
  const int first_col = modulo(cols, shape.cols);
  for (int y = 0; y < shape.rows; ++y) {
    const T* row = in + std::int64_t{y} * shape.cols;
    T* to = out + std::int64_t{modulo(y + rows, shape.rows)} * shape.cols;
    std::rotate_copy(row, row + (shape.cols - first_col), row + shape.cols, to);
  }
}

// For files and the wire, which have single precision.
template <typename Real>
Complex64 Narrow(const std::complex<Real>& value) {
  return Complex64(value);
}

}  // namespace

template <typename Real>
absl::StatusOr<std::unique_ptr<CpuBackend<Real>>> CpuBackend<Real>::Create(
    const BackendConfig& config, ThreadPool& pool, int frames_per_chunk) {
  PS_RETURN_IF_ERROR(CheckBackendConfig(config));
  std::unique_ptr<CpuBackend> backend(new CpuBackend(config, pool, frames_per_chunk));
  PS_RETURN_IF_ERROR(backend->Allocate());
  return backend;
}

template <typename Real>
CpuBackend<Real>::CpuBackend(const BackendConfig& config, ThreadPool& pool, int frames_per_chunk)
    : config_(config),
      frame_pixels_(config.frame_shape.pixels()),
      probe_pixels_(config.probe_modes * frame_pixels_),
      wave_pixels_(config.waves_per_point() * frame_pixels_),
      frames_per_chunk_(frames_per_chunk),
      pool_(pool),
      fft_(config.frame_shape) {}

template <typename Real>
std::int64_t CpuBackend<Real>::BytesFor(const BackendConfig& config, int threads,
                                        int frames_per_chunk) {
  const Extents n(config, threads, frames_per_chunk);
  constexpr std::int64_t kComplex = sizeof(Complex), kComplex128 = sizeof(Complex128);
  constexpr std::int64_t kReal = sizeof(Real), kDouble = sizeof(double);
  constexpr std::int64_t kPerSlot = sizeof(Slot) + sizeof(FrameErrors);
  return n.slots * kPerSlot + n.frame_bytes +
         (n.exit_waves + n.transfer + n.chunk_waves) * kComplex +
         (n.object + n.probe) * (2 * kComplex + kComplex128) + (n.canvas + n.frame) * kDouble +
         n.components * (kComplex + kComplex128) + n.component_weights * kDouble +
         n.work_waves * kComplex + (n.work_reals + n.frame) * kReal +
         n.frame * static_cast<std::int64_t>(sizeof(BackgroundSums));
}

template <typename Real>
std::int64_t CpuBackend<Real>::allocated_bytes() const {
  return slots_.bytes() + errors_.bytes() + frames_.bytes() + exit_waves_.bytes() +
         transfer_.bytes() + chunk_waves_.bytes() + object_.bytes() + other_object_.bytes() +
         object_num_.bytes() + object_den_.bytes() + probe_.bytes() + other_probe_.bytes() +
         probe_num_.bytes() + probe_den_.bytes() + work_waves_.bytes() + work_reals_.bytes() +
         background_.bytes() + background_sums_.bytes() + components_.bytes() +
         component_sums_.bytes() + component_weights_.bytes();
}

template <typename Real>
absl::Status CpuBackend<Real>::Allocate() {
  const Extents n(config_, pool_.threads(), frames_per_chunk_);
  PS_RETURN_IF_ERROR(slots_.Allocate(n.slots));
  PS_RETURN_IF_ERROR(errors_.Allocate(n.slots));
  PS_RETURN_IF_ERROR(frames_.Allocate(n.frame_bytes));
  PS_RETURN_IF_ERROR(exit_waves_.Allocate(n.exit_waves));
  PS_RETURN_IF_ERROR(transfer_.Allocate(n.transfer));
  PS_RETURN_IF_ERROR(chunk_waves_.Allocate(n.chunk_waves));
  PS_RETURN_IF_ERROR(object_.Allocate(n.object));
  PS_RETURN_IF_ERROR(other_object_.Allocate(n.object));
  PS_RETURN_IF_ERROR(object_num_.Allocate(n.object));
  PS_RETURN_IF_ERROR(object_den_.Allocate(n.canvas));
  PS_RETURN_IF_ERROR(probe_.Allocate(n.probe));
  PS_RETURN_IF_ERROR(other_probe_.Allocate(n.probe));
  PS_RETURN_IF_ERROR(probe_num_.Allocate(n.probe));
  PS_RETURN_IF_ERROR(probe_den_.Allocate(n.frame));
  PS_RETURN_IF_ERROR(work_waves_.Allocate(n.work_waves));
  PS_RETURN_IF_ERROR(work_reals_.Allocate(n.work_reals));
  PS_RETURN_IF_ERROR(background_.Allocate(n.frame));
  PS_RETURN_IF_ERROR(background_sums_.Allocate(n.frame));
  PS_RETURN_IF_ERROR(components_.Allocate(n.components));
  PS_RETURN_IF_ERROR(component_sums_.Allocate(n.components));
  PS_RETURN_IF_ERROR(component_weights_.Allocate(n.component_weights));
  std::fill_n(slots_.data(), n.slots, Slot{});
  std::fill_n(probe_.data(), n.probe, Complex{});
  std::fill_n(background_.data(), n.frame, Real(0));
  std::fill_n(components_.data(), n.components, Complex{});
  if (config_.near_field.has_value()) {
    const std::vector<Complex128> transfer =
        TransferFunction(*config_.near_field, config_.frame_shape);
    std::copy(transfer.begin(), transfer.end(), transfer_.data());
  }
  return absl::OkStatus();
}

template <typename Real>
auto CpuBackend<Real>::workspace(int worker) -> Workspace {
  const std::int64_t stride = AlignedPixels(frame_pixels_);
  Complex* const waves = &work_waves_[2 * worker * wave_count() * stride];
  Real* const reals = &work_reals_[WorkReals(config_) * worker * frame_pixels_];
  return {{waves, stride},
          {waves + wave_count() * stride, stride},
          reals,
          reals + frame_pixels_,
          reals + 2 * frame_pixels_};
}

template <typename Real>
auto CpuBackend<Real>::exit_waves_of(int slot) -> ModeWaves {
  return {&exit_waves_[slot * wave_pixels_], frame_pixels_};
}

template <typename Real>
auto CpuBackend<Real>::chunk_waves_of(int index) -> ModeWaves {
  const std::int64_t stride = AlignedPixels(frame_pixels_);
  return {&chunk_waves_[index * wave_count() * stride], stride};
}

// --- Canvas and object -----------------------------------------------------------------------

template <typename Real>
absl::Status CpuBackend<Real>::SetCanvas(const Region& canvas) {
  if (canvas.shape.rows < 1 || canvas.shape.cols < 1 ||
      canvas.shape.pixels() > config_.max_object_pixels) {
    return absl::InvalidArgumentError(
        absl::StrFormat("a canvas of %d x %d is not within 1 and %d pixels", canvas.shape.rows,
                        canvas.shape.cols, config_.max_object_pixels));
  }
  PS_RETURN_IF_ERROR(CheckInside(points_, config_.frame_shape, canvas));
  MoveObject(canvas_, canvas);
  canvas_ = canvas;
  momentum_iterations_.reset();
  return absl::OkStatus();
}

template <typename Real>
void CpuBackend<Real>::MoveObject(const Region& from, const Region& to) {
  const int row_begin = std::max(from.row, to.row);
  const int row_end = std::min(from.row + from.shape.rows, to.row + to.shape.rows);
  const int col_begin = std::max(from.col, to.col);
  const int col_end = std::min(from.col + from.shape.cols, to.col + to.shape.cols);
  for (int mode = 0; mode < object_modes(); ++mode) {
    const Complex* const source = object_.data() + mode * from.shape.pixels();
    Complex* const target = other_object_.data() + mode * to.shape.pixels();
    for (int y = 0; y < to.shape.rows; ++y) {
      StartRow(mode, to.row + y, to.col, to.shape.cols, target + std::int64_t{y} * to.shape.cols);
    }
    for (int row = row_begin; row < row_end && col_begin < col_end; ++row) {
      std::copy_n(source + std::int64_t{row - from.row} * from.shape.cols + (col_begin - from.col),
                  col_end - col_begin,
                  target + std::int64_t{row - to.row} * to.shape.cols + (col_begin - to.col));
    }
  }
  object_.Swap(other_object_);
}

template <typename Real>
void CpuBackend<Real>::StartRow(int object_mode, int row, int col, int count, Complex* out) const {
  const ObjectStart start = MakeObjectStart(config_.initial_object, config_.frame_shape);
  for (int x = 0; x < count; ++x) {
    const ObjectStart::Value value = start.At(object_mode, row, col + x);
    out[x] = Complex(value.re, value.im);
  }
}

template <typename Real>
absl::Status CpuBackend<Real>::SetObject(const ComplexStack& object) {
  PS_RETURN_IF_ERROR(CheckObjectFits(object, config_, canvas_.shape));
  std::copy(object.data.begin(), object.data.end(), object_.data());
  momentum_iterations_.reset();
  return absl::OkStatus();
}

template <typename Real>
absl::Status CpuBackend<Real>::ClearObject(const Region& region) {
  momentum_iterations_.reset();
  const int row_end = std::min(region.row + region.shape.rows, canvas_.row + canvas_.shape.rows);
  const int col_begin = std::max(region.col, canvas_.col);
  const int col_end = std::min(region.col + region.shape.cols, canvas_.col + canvas_.shape.cols);
  if (col_begin >= col_end) return absl::OkStatus();
  for (int mode = 0; mode < object_modes(); ++mode) {
    Complex* const plane = object_.data() + mode * canvas_.shape.pixels();
    for (int row = std::max(region.row, canvas_.row); row < row_end; ++row) {
      StartRow(
          mode, row, col_begin, col_end - col_begin,
          plane + std::int64_t{row - canvas_.row} * canvas_.shape.cols + col_begin - canvas_.col);
    }
  }
  return absl::OkStatus();
}

template <typename Real>
absl::Status CpuBackend<Real>::Shift(int rows, int cols) {
  momentum_iterations_.reset();
  const Shape frame = config_.frame_shape;
  Region moved = canvas_;
  moved.row += rows;
  moved.col += cols;
  MoveObject(moved, canvas_);
  for (std::int64_t mode = 0; mode < probe_pixels_; mode += frame_pixels_) {
    Roll(frame, rows, cols, &probe_[mode], &other_probe_[mode]);
  }
  probe_.Swap(other_probe_);
  for (int k = 0; k < config_.probe_components; ++k) {
    Complex* const component = &components_[k * probe_pixels_];
    std::copy_n(component, probe_pixels_, other_probe_.data());
    for (std::int64_t mode = 0; mode < probe_pixels_; mode += frame_pixels_) {
      Roll(frame, rows, cols, &other_probe_[mode], component + mode);
    }
  }
  if (!config_.keeps_exit_waves) return absl::OkStatus();
  pool_.ParallelFor(point_count(), [&](std::int64_t i, int worker) {
    const ModeWaves exit_waves = exit_waves_of(points_[i].slot);
    Complex* const copy = workspace(worker).first[0];
    for (int e = 0; e < wave_count(); ++e) {
      std::copy_n(exit_waves[e], frame_pixels_, copy);
      Roll(frame, rows, cols, copy, exit_waves[e]);
    }
  });
  return absl::OkStatus();
}

template <typename Real>
absl::Status CpuBackend<Real>::Rescale(double factor) {
  PS_RETURN_IF_ERROR(CheckFactor(factor));
  SumCoverage();
  const auto scale_probe = [&](Complex* image, std::int64_t pixels) {
    for (std::int64_t i = 0; i < pixels; ++i) image[i] *= static_cast<Real>(factor);
  };
  const auto scale_object = [&](Complex* image) {
    for (int mode = 0; mode < object_modes(); ++mode, image += canvas_.shape.pixels()) {
      for (std::int64_t i = 0; i < canvas_.shape.pixels(); ++i) {
        if (object_den_[i] != 0) image[i] *= static_cast<Real>(1 / factor);
      }
    }
  };
  scale_probe(probe_.data(), probe_pixels_);
  scale_probe(components_.data(), config_.probe_components * probe_pixels_);
  scale_object(object_.data());
  if (momentum_iterations_.has_value()) {
    scale_probe(other_probe_.data(), probe_pixels_);
    scale_object(other_object_.data());
  }
  return absl::OkStatus();
}

// --- Frames and points -----------------------------------------------------------------------

template <typename Real>
absl::Status CpuBackend<Real>::LoadFrames(std::span<const FrameToLoad> frames) {
  for (const FrameToLoad& frame : frames) {
    if (frame.slot < 0 || frame.slot >= config_.capacity) {
      return absl::InvalidArgumentError(
          absl::StrFormat("slot %d is not within 0 and %d", frame.slot, config_.capacity - 1));
    }
  }
  const std::int64_t bytes = frame_pixels_ * StorageBytes(config_.storage);
  pool_.ParallelFor(static_cast<std::int64_t>(frames.size()), [&](std::int64_t i, int worker) {
    const FrameToLoad& frame = frames[i];
    std::memcpy(&frames_[frame.slot * bytes], frame.pixels, bytes);
    MeasureSlot(frame.slot, workspace(worker).counts);
  });
  return absl::OkStatus();
}

template <typename Real>
void CpuBackend<Real>::LoadCounts(int slot, Real* counts) const {
  LoadCounts(slot, 0, frame_pixels_, counts);
}

template <typename Real>
void CpuBackend<Real>::LoadCounts(int slot, std::int64_t begin, std::int64_t end,
                                  Real* counts) const {
  const std::byte* const pixels =
      &frames_[(slot * frame_pixels_ + begin) * StorageBytes(config_.storage)];
  if (config_.storage == FrameStorage::kU16) {
    const auto* const values = reinterpret_cast<const std::uint16_t*>(pixels);
    for (std::int64_t i = 0; i < end - begin; ++i) {
      counts[i] = values[i] == kUnmeasuredU16 ? Real(-1) : static_cast<Real>(values[i]);
    }
  } else {
    const auto* const values = reinterpret_cast<const float*>(pixels);
    for (std::int64_t i = 0; i < end - begin; ++i) counts[i] = static_cast<Real>(values[i]);
  }
}

template <typename Real>
void CpuBackend<Real>::MeasureSlot(int slot, Real* counts) {
  LoadCounts(slot, counts);
  const auto [amplitude, intensity, noise] =
      LaneSums<3, Real>(frame_pixels_, [&](std::int64_t i) -> std::array<Real, 3> {
        const Real trusted = IsTrusted(counts[i]) ? counts[i] : Real(0);
        return {std::sqrt(trusted), trusted, ShotNoisePower(trusted)};
      });
  slots_[slot].sum_amplitude = amplitude;
  slots_[slot].sum_counts = intensity;
  slots_[slot].shot_noise = noise / static_cast<double>(frame_pixels_);
  slots_[slot].loaded = true;
}

template <typename Real>
absl::StatusOr<FloatImage> CpuBackend<Real>::MeanAmplitude(std::span<const std::int32_t> slots) {
  std::vector<double> sums(frame_pixels_);
  const Workspace work = workspace(0);
  for (const std::int32_t slot : slots) {
    PS_RETURN_IF_ERROR(CheckLoaded(slot));
    LoadCounts(slot, work.counts);
    for (std::int64_t i = 0; i < frame_pixels_; ++i) {
      sums[i] += std::sqrt(double(IsTrusted(work.counts[i]) ? work.counts[i] : Real(0)));
    }
  }
  FloatImage mean;
  mean.shape = config_.frame_shape;
  mean.data.resize(frame_pixels_);
  if (slots.empty()) return mean;
  for (std::int64_t i = 0; i < frame_pixels_; ++i) {
    mean.data[i] = static_cast<float>(sums[i] / static_cast<double>(slots.size()));
  }
  return mean;
}

template <typename Real>
absl::StatusOr<FloatImage> CpuBackend<Real>::ReadFrame(std::int32_t slot) {
  PS_RETURN_IF_ERROR(CheckLoaded(slot));
  const std::int64_t bytes = frame_pixels_ * StorageBytes(config_.storage);
  return CountsOfStored({&frames_[slot * bytes], static_cast<std::size_t>(bytes)}, config_.storage,
                        config_.frame_shape);
}

template <typename Real>
absl::Status CpuBackend<Real>::CheckLoaded(std::int32_t slot) const {
  if (slot >= 0 && slot < config_.capacity && slots_[slot].loaded) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrFormat("slot %d of %d holds no frame", slot, config_.capacity));
}

template <typename Real>
absl::Status CpuBackend<Real>::SetActivePoints(std::span<const PointWindow> points) {
  for (const PointWindow& point : points) PS_RETURN_IF_ERROR(CheckLoaded(point.slot));
  PS_RETURN_IF_ERROR(CheckInside(points, config_.frame_shape, canvas_));
  PS_RETURN_IF_ERROR(CheckSlotsDiffer(points));
  PS_RETURN_IF_ERROR(CheckVariation(points, config_));

  if (!std::ranges::equal(points, points_, {}, &PointWindow::slot, &PointWindow::slot)) {
    momentum_iterations_.reset();
  }
  points_.assign(points.begin(), points.end());
  if (config_.keeps_exit_waves) {
    pool_.ParallelFor(point_count(), [&](std::int64_t i, int) {
      const PointWindow& point = points_[i];
      if (slots_[point.slot].active) return;
      ModelWaves(point, exit_waves_of(point.slot));
      slots_[point.slot].kept_deviation = 0;
    });
  }
  for (Slot& slot : std::span(slots_.data(), slots_.size())) slot.active = false;
  for (const PointWindow& point : points_) slots_[point.slot].active = true;
  return absl::OkStatus();
}

template <typename Real>
absl::Status CpuBackend<Real>::SetProbe(const ComplexStack& probe) {
  PS_RETURN_IF_ERROR(CheckProbeFits(probe, config_));
  std::copy(probe.data.begin(), probe.data.end(), probe_.data());
  momentum_iterations_.reset();
  return absl::OkStatus();
}

template <typename Real>
auto CpuBackend<Real>::WindowCorner(const PointWindow& point, int object_mode) const
    -> const Complex* {
  return &object_[object_mode * canvas_.shape.pixels() +
                  std::int64_t{point.row - canvas_.row} * canvas_.shape.cols + point.col -
                  canvas_.col];
}

template <typename Real>
auto CpuBackend<Real>::VariationRow(const PointWindow& point, int mode, int y,
                                    Complex* scratch) const -> const Complex* {
  const int cols = config_.frame_shape.cols;
  std::fill_n(scratch, cols, Complex{});
  for (int k = 0; k < config_.probe_components; ++k) {
    const auto c = static_cast<Real>(point.variation[k]);
    const Complex* const component =
        &components_[k * probe_pixels_ + mode * frame_pixels_ + std::int64_t{y} * cols];
    for (int x = 0; x < cols; ++x) scratch[x] += c * component[x];
  }
  return scratch;
}

template <typename Real>
auto CpuBackend<Real>::ProbeRow(const PointWindow& point, int mode, int y, Complex* scratch) const
    -> const Complex* {
  const int cols = config_.frame_shape.cols;
  const Complex* const mean = &probe_[mode * frame_pixels_ + std::int64_t{y} * cols];
  if (!Varies(point)) return mean;
  VariationRow(point, mode, y, scratch);
  for (int x = 0; x < cols; ++x) scratch[x] += mean[x];
  return scratch;
}

template <typename Real>
void CpuBackend<Real>::WindowProducts(const PointWindow& point,
                                      absl::FunctionRef<const Complex*(int, int)> image_row,
                                      ModeWaves waves) const {
  const Shape frame = config_.frame_shape;
  const int last = modes() - 1;
  for (int l = 0; l < object_modes(); ++l) {
    const Complex* object = WindowCorner(point, l);
    for (int y = 0; y < frame.rows; ++y, object += canvas_.shape.cols) {
      const std::int64_t first = std::int64_t{y} * frame.cols;
      // The window's row lies where the last mode comes, until all others have been made from it.
      Complex* const window = waves[WaveOf(l, last)] + first;
      InterpolateRow(object, object + canvas_.shape.cols, point, frame.cols, window);
      for (int mode = 0; mode <= last; ++mode) {
        const Complex* const image = image_row(mode, y);
        Complex* const wave = waves[WaveOf(l, mode)] + first;
        for (int x = 0; x < frame.cols; ++x) wave[x] = window[x] * image[x];
      }
    }
  }
}

template <typename Real>
void CpuBackend<Real>::ModelWaves(const PointWindow& point, ModeWaves waves) const {
  std::vector<Complex> scratch(config_.frame_shape.cols);
  WindowProducts(
      point, [&](int mode, int y) { return ProbeRow(point, mode, y, scratch.data()); }, waves);
}

template <typename Real>
void CpuBackend<Real>::ToDetector(Complex* wave) const {
  fft_.Forward(wave);
  if (!config_.near_field.has_value()) return;
  for (std::int64_t i = 0; i < frame_pixels_; ++i) wave[i] *= transfer_[i];
  fft_.Inverse(wave);
}

template <typename Real>
void CpuBackend<Real>::ToSample(Complex* wave) const {
  if (config_.near_field.has_value()) {
    fft_.Forward(wave);
    for (std::int64_t i = 0; i < frame_pixels_; ++i) wave[i] *= std::conj(transfer_[i]);
  }
  fft_.Inverse(wave);
}

template <typename Real>
void CpuBackend<Real>::Transform(const PointWindow& point, ModeWaves waves, Real* intensity) const {
  for (int e = 0; e < wave_count(); ++e) ToDetector(waves[e]);
  ExpectedCounts(point, {waves.data, waves.stride}, 0, frame_pixels_, intensity);
}

template <typename Real>
void CpuBackend<Real>::ExpectedCounts(const PointWindow& point, ConstModeWaves waves,
                                      std::int64_t begin, std::int64_t end, Real* intensity) const {
  const std::int64_t count = end - begin;
  for (int e = 0; e < wave_count(); ++e) {
    const Complex* const wave = waves[e] + begin;
    if (e == 0) {
      for (std::int64_t i = 0; i < count; ++i) intensity[i] = std::norm(wave[i]);
    } else {
      for (std::int64_t i = 0; i < count; ++i) intensity[i] += std::norm(wave[i]);
    }
  }
  const auto light = static_cast<Real>(point.intensity);
  const Real* const background = &background_[begin];
  for (std::int64_t i = 0; i < count; ++i) intensity[i] = light * intensity[i] + background[i];
}

template <typename Real>
void CpuBackend<Real>::ScaleAndTransformBack(const Real* factors, ModeWaves waves) const {
  for (int e = 0; e < wave_count(); ++e) {
    Complex* const wave = waves[e];
    for (std::int64_t i = 0; i < frame_pixels_; ++i) wave[i] *= factors[i];
    ToSample(wave);
  }
}

// --- Iterations ------------------------------------------------------------------------------

template <typename Real>
absl::StatusOr<IterationMetrics> CpuBackend<Real>::Iterate(const AlgorithmConfig& algorithm,
                                                           const IterationOptions& options) {
  const std::optional<Accelerated> accelerated = AcceleratedBy(algorithm);
  if (accelerated != momentum_of_) momentum_iterations_.reset();
  momentum_of_ = accelerated;
  IterationMetrics metrics;
  if (const std::optional<Projection> projection = ProjectionOf(algorithm)) {
    PS_RETURN_IF_ERROR(CheckKeepsExitWaves(config_));
    metrics = Project(*projection, options);
  } else if (const auto* gradient = std::get_if<MlGradientConfig>(&algorithm)) {
    metrics = MlGradient(*gradient, options);
  } else if (const auto* lsq = std::get_if<LsqMlConfig>(&algorithm)) {
    metrics = LsqMl(*lsq, options);
  } else {
    metrics = Epie(std::get<EpieConfig>(algorithm), options);
  }
  metrics.finite = StateIsFinite();
  for (const Complex& p : probe()) metrics.probe_power += std::norm(Complex128(p));
  return metrics;
}

// --- Results ---------------------------------------------------------------------------------

template <typename Real>
auto CpuBackend<Real>::StartReadback() -> absl::StatusOr<CollectReadback> {
  Readback result;
  result.canvas = canvas_;
  result.object = ComplexStack(object_modes(), canvas_.shape);
  result.coverage.shape = canvas_.shape;
  SumCoverage();
  std::transform(object().begin(), object().end(), result.object.data.begin(), Narrow<Real>);
  PS_ASSIGN_OR_RETURN(result.probe, ReadProbe());
  result.coverage.data.assign(object_den_.data(), object_den_.data() + canvas_.shape.pixels());
  return CollectReadback([result = std::move(result)]() mutable { return std::move(result); });
}

template <typename Real>
absl::StatusOr<ComplexStack> CpuBackend<Real>::ReadProbe() {
  ComplexStack result(modes(), config_.frame_shape);
  std::transform(probe().begin(), probe().end(), result.data.begin(), Narrow<Real>);
  return result;
}

template <typename Real>
absl::StatusOr<ComplexStack> CpuBackend<Real>::ReadProbeComponents() {
  ComplexStack result(config_.probe_components * modes(), config_.frame_shape);
  std::transform(components_.data(), components_.data() + components_.size(), result.data.begin(),
                 Narrow<Real>);
  return result;
}

template <typename Real>
absl::Status CpuBackend<Real>::SetProbeComponents(const ComplexStack& components) {
  PS_RETURN_IF_ERROR(CheckComponentsFit(components, config_));
  std::copy(components.data.begin(), components.data.end(), components_.data());
  return absl::OkStatus();
}

template <typename Real>
absl::StatusOr<ExitWaveState> CpuBackend<Real>::ReadExitWaves() {
  PS_RETURN_IF_ERROR(CheckKeepsExitWaves(config_));
  ExitWaveState state;
  state.waves = ComplexStack(point_count() * wave_count(), config_.frame_shape);
  for (int i = 0; i < point_count(); ++i) {
    const std::span<const Complex> wave = exit_waves(points_[i].slot);
    std::transform(wave.begin(), wave.end(), state.waves.data.begin() + i * wave_pixels_,
                   Narrow<Real>);
    state.kept_deviation.push_back(slots_[points_[i].slot].kept_deviation);
  }
  return state;
}

template <typename Real>
absl::Status CpuBackend<Real>::SetExitWaves(std::span<const ExitWaveToSet> waves) {
  PS_RETURN_IF_ERROR(CheckExitWavesToSet(
      waves, config_, [this](std::int32_t slot) { return slots_[slot].active; }));
  for (const ExitWaveToSet& wave : waves) {
    std::copy_n(wave.waves, wave_pixels_, exit_waves_of(wave.slot)[0]);
    slots_[wave.slot].kept_deviation = wave.kept_deviation;
  }
  return absl::OkStatus();
}

template <typename Real>
absl::StatusOr<std::optional<MomentumState>> CpuBackend<Real>::ReadMomentum() {
  if (!momentum_iterations_.has_value()) return std::nullopt;
  MomentumState state;
  state.of = *momentum_of_;
  state.iterations = *momentum_iterations_;
  state.object_velocity = ComplexStack(object_modes(), canvas_.shape);
  state.probe_velocity = ComplexStack(modes(), config_.frame_shape);
  std::transform(other_object_.data(), other_object_.data() + object_pixels(),
                 state.object_velocity.data.begin(), Narrow<Real>);
  std::transform(other_probe_.data(), other_probe_.data() + probe_pixels_,
                 state.probe_velocity.data.begin(), Narrow<Real>);
  return state;
}

template <typename Real>
absl::Status CpuBackend<Real>::SetMomentum(const MomentumState& momentum) {
  PS_RETURN_IF_ERROR(CheckMomentumFits(momentum, config_, canvas_.shape));
  const ComplexStack& object = momentum.object_velocity;
  const ComplexStack& probe = momentum.probe_velocity;
  std::copy(object.data.begin(), object.data.end(), other_object_.data());
  std::copy(probe.data.begin(), probe.data.end(), other_probe_.data());
  momentum_iterations_ = momentum.iterations;
  momentum_of_ = momentum.of;
  return absl::OkStatus();
}

template <typename Real>
auto CpuBackend<Real>::object() const -> std::span<const Complex> {
  return {object_.data(), static_cast<std::size_t>(object_pixels())};
}
template <typename Real>
auto CpuBackend<Real>::probe() const -> std::span<const Complex> {
  return {probe_.data(), static_cast<std::size_t>(probe_pixels_)};
}
template <typename Real>
auto CpuBackend<Real>::exit_waves(int slot) const -> std::span<const Complex> {
  return {&exit_waves_[slot * wave_pixels_], static_cast<std::size_t>(wave_pixels_)};
}

template class CpuBackend<float>;
template class CpuBackend<double>;

}  // namespace ptychoserve
