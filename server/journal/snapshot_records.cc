#include "server/journal/snapshot_records.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "ptychoserve/state/v1/state.pb.h"
#include "server/service/convert.h"
#include "server/service/enums.h"

namespace ptychoserve::server {
namespace {

// Beyond any detector and canvas; what a file says is not believed further.
constexpr std::int64_t kMaxSide = 1 << 20;
constexpr std::int64_t kMaxModes = 64;
constexpr int kMaxPlace = 1 << 30;  // On the lattice.

state::v1::Area AreaToProto(const Region& region) {
  state::v1::Area out;
  out.set_row(region.row);
  out.set_col(region.col);
  out.set_rows(region.shape.rows);
  out.set_cols(region.shape.cols);
  return out;
}
Region AreaFromProto(const state::v1::Area& area) {
  return {area.row(), area.col(), {area.rows(), area.cols()}};
}

void RunToProto(const RunPosition& run, state::v1::RunPosition& out) {
  out.set_iteration(run.iteration);
  out.set_stage(run.stage);
  out.set_stage_iterations(run.stage_iterations);
  out.set_clock_iterations(run.clock_iterations);
  if (run.iteration_at_end) out.set_iteration_at_end(*run.iteration_at_end);
  out.set_end_of_data(ToProto(run.end_of_data));
  out.mutable_stage_r()->Assign(run.stage_r.begin(), run.stage_r.end());
  out.set_rollbacks(run.rollbacks);
  out.set_step_scale(run.step_scale);
  out.set_elapsed_s(run.elapsed_s);
  if (run.probe_defocus_m) out.set_probe_defocus_m(*run.probe_defocus_m);
}
RunPosition RunFromProto(const state::v1::RunPosition& run) {
  RunPosition out;
  out.iteration = run.iteration();
  out.stage = run.stage();
  out.stage_iterations = run.stage_iterations();
  out.clock_iterations = run.clock_iterations();
  if (run.has_iteration_at_end()) out.iteration_at_end = run.iteration_at_end();
  out.end_of_data = EndOfDataFromProto(run.end_of_data());
  out.stage_r.assign(run.stage_r().begin(), run.stage_r().end());
  out.rollbacks = run.rollbacks();
  out.step_scale = run.step_scale();
  out.elapsed_s = run.elapsed_s();
  if (run.has_probe_defocus_m()) out.probe_defocus_m = run.probe_defocus_m();
  return out;
}

template <class T>
Record ArrayRecord(StateKind kind, const std::vector<T>& data) {
  return {static_cast<std::uint32_t>(kind), 0, std::as_bytes(std::span(data))};
}

// `values` is what the snapshot's shape announces; memory is taken for what is there.
template <class T>
absl::Status AppendArray(const Record& record, std::int64_t values, std::vector<T>* out) {
  const std::uint64_t bytes = static_cast<std::uint64_t>(values) * sizeof(T);
  if (record.payload.size() != bytes) {
    return absl::DataLossError(absl::StrCat("an array of ", record.payload.size(),
                                            " bytes; its snapshot's shape needs ", bytes));
  }
  const std::size_t before = out->size();
  out->resize(before + static_cast<std::size_t>(values));
  std::memcpy(out->data() + before, record.payload.data(), bytes);
  return absl::OkStatus();
}
template <class T>
absl::Status TakeArray(const Record& record, std::int64_t values, std::vector<T>* out) {
  if (!out->empty()) return absl::DataLossError("an array that has come before");
  return AppendArray(record, values, out);
}

bool IsShape(const Shape& shape) {
  return shape.rows > 0 && shape.rows <= kMaxSide && shape.cols > 0 && shape.cols <= kMaxSide;
}
bool IsCanvas(const Region& canvas) {
  return IsShape(canvas.shape) && std::abs(std::int64_t{canvas.row}) <= kMaxPlace &&
         std::abs(std::int64_t{canvas.col}) <= kMaxPlace;
}
bool LiesWithin(const Region& area, const Shape& shape) {
  const auto within = [](std::int64_t first, std::int64_t count, std::int64_t side) {
    return first >= 0 && count >= 0 && first + count <= side;
  };
  return within(area.row, area.shape.rows, shape.rows) &&
         within(area.col, area.shape.cols, shape.cols);
}

}  // namespace

Record MessageRecord(StateKind kind, const std::string& bytes) {
  return {static_cast<std::uint32_t>(kind), 0, std::as_bytes(std::span(bytes))};
}

SnapshotRecords::SnapshotRecords(const Snapshot& snapshot) : SnapshotRecords(snapshot, nullptr) {}

SnapshotRecords::SnapshotRecords(const Checkpoint& checkpoint)
    : SnapshotRecords(*checkpoint.snapshot, &checkpoint) {}

SnapshotRecords::SnapshotRecords(const Snapshot& snapshot, const Checkpoint* checkpoint) {
  const ExitWaveState* const waves =
      checkpoint != nullptr && checkpoint->exit_waves ? &*checkpoint->exit_waves : nullptr;
  state::v1::Snapshot header;
  header.set_version(snapshot.version);
  header.set_iteration(snapshot.iteration);
  *header.mutable_time() = TimeToProto(snapshot.time);
  header.set_final(snapshot.final);
  *header.mutable_canvas() = AreaToProto(snapshot.canvas);
  *header.mutable_scanned() = AreaToProto(snapshot.scanned);
  header.set_pixel_size_y_m(snapshot.pixel_size_y_m);
  header.set_pixel_size_x_m(snapshot.pixel_size_x_m);
  header.set_probe_power(snapshot.probe_power);
  header.set_modes(snapshot.probe.modes);
  header.set_object_modes(snapshot.object.modes);
  header.set_probe_rows(snapshot.probe.shape.rows);
  header.set_probe_cols(snapshot.probe.shape.cols);
  for (const SnapshotPoint& point : snapshot.points) {
    header.add_point_ids(point.frame_id);
    header.add_point_rows(point.row);
    header.add_point_cols(point.col);
    header.add_point_arrivals(point.arrival);
  }
  if (snapshot.metrics.refinement) {
    for (const SnapshotPoint& point : snapshot.points) {
      header.add_point_shift_rows(point.refined.shift_row);
      header.add_point_shift_cols(point.refined.shift_col);
      header.add_point_intensities(point.refined.intensity);
    }
  }
  if (snapshot.metrics.evaluation) {
    for (const SnapshotPoint& point : snapshot.points) {
      header.add_point_r_factors(point.fit.r_factor);
      header.add_point_poisson_nlls(point.fit.poisson_nll);
    }
  }
  if (snapshot.probe_components != nullptr) {
    const int components = snapshot.probe_components->modes / snapshot.probe.modes;
    header.set_probe_components(components);
    for (const SnapshotPoint& point : snapshot.points) {
      for (const float c : std::span(point.refined.variation).first(components)) {
        header.add_point_variations(c);
      }
    }
  }
  *header.mutable_metrics() = MetricsToProto(snapshot.metrics);
  RunToProto(snapshot.run, *header.mutable_run());
  if (waves != nullptr) {
    header.mutable_kept_deviation()->Assign(waves->kept_deviation.begin(),
                                            waves->kept_deviation.end());
  }
  const MomentumState* const momentum =
      checkpoint != nullptr && checkpoint->momentum ? &*checkpoint->momentum : nullptr;
  if (momentum != nullptr) {
    header.set_momentum_iterations(momentum->iterations);
    header.set_momentum_of_lsq_ml(momentum->of == Accelerated::kLsqMl);
  }
  header_ = header.SerializeAsString();
  records_ = {MessageRecord(StateKind::kSnapshot, header_),
              ArrayRecord(StateKind::kObject, snapshot.object.data),
              ArrayRecord(StateKind::kProbe, snapshot.probe.data),
              ArrayRecord(StateKind::kCoverage, snapshot.coverage.data)};
  if (snapshot.background != nullptr) {
    records_.push_back(ArrayRecord(StateKind::kBackground, snapshot.background->data));
  }
  if (snapshot.probe_components != nullptr) {
    records_.push_back(ArrayRecord(StateKind::kProbeComponents, snapshot.probe_components->data));
  }
  if (checkpoint == nullptr) return;
  records_.push_back(ArrayRecord(StateKind::kExactProbe, checkpoint->probe.data));
  if (checkpoint->object.modes > 0) {
    records_.push_back(ArrayRecord(StateKind::kExactObject, checkpoint->object.data));
  }
  if (checkpoint->probe_components != nullptr) {
    records_.push_back(
        ArrayRecord(StateKind::kExactProbeComponents, checkpoint->probe_components->data));
  }
  if (momentum != nullptr) {
    records_.push_back(ArrayRecord(StateKind::kObjectVelocity, momentum->object_velocity.data));
    records_.push_back(ArrayRecord(StateKind::kProbeVelocity, momentum->probe_velocity.data));
  }
  if (waves == nullptr) return;
  const std::span all(waves->waves.data);
  const std::size_t size =
      static_cast<std::size_t>(snapshot.object.modes) * checkpoint->probe.data.size();
  for (std::uint64_t place = 0; place < waves->kept_deviation.size(); ++place) {
    records_.push_back({static_cast<std::uint32_t>(StateKind::kExitWave), place,
                        std::as_bytes(all.subspan(place * size, size))});
  }
}

absl::Status SnapshotReader::TakeHeader(const Record& record) {
  state::v1::Snapshot header;
  if (!header.ParseFromArray(record.payload.data(), static_cast<int>(record.payload.size()))) {
    return absl::DataLossError("a snapshot that cannot be read");
  }
  if (snapshot_ != nullptr) return absl::DataLossError("two snapshots");
  const Region canvas = AreaFromProto(header.canvas());
  const Region scanned = AreaFromProto(header.scanned());
  const Shape probe{header.probe_rows(), header.probe_cols()};
  if (!IsCanvas(canvas) || !LiesWithin(scanned, canvas.shape) || !IsShape(probe) ||
      header.modes() < 1 || header.modes() > kMaxModes || header.object_modes() < 0 ||
      header.object_modes() > kMaxObjectModes ||
      header.point_rows_size() != header.point_ids_size() ||
      header.point_cols_size() != header.point_ids_size() ||
      (header.point_arrivals_size() != 0 &&
       header.point_arrivals_size() != header.point_ids_size()) ||
      (header.point_shift_rows_size() != 0 &&
       header.point_shift_rows_size() != header.point_ids_size()) ||
      header.point_shift_cols_size() != header.point_shift_rows_size() ||
      header.point_intensities_size() != header.point_shift_rows_size() ||
      (header.point_r_factors_size() != 0 &&
       header.point_r_factors_size() != header.point_ids_size()) ||
      header.point_poisson_nlls_size() != header.point_r_factors_size() ||
      header.probe_components() < 0 || header.probe_components() > kMaxProbeComponents ||
      header.point_variations_size() != header.probe_components() * header.point_ids_size() ||
      (header.kept_deviation_size() != 0 &&
       header.kept_deviation_size() != header.point_ids_size())) {
    return absl::DataLossError("a snapshot whose shapes are none");
  }
  if (header.has_momentum_iterations() && header.momentum_iterations() < 0) {
    return absl::DataLossError("a momentum of less than no iterations");
  }
  snapshot_ = std::make_shared<Snapshot>();
  Snapshot& s = *snapshot_;
  s.version = header.version();
  s.iteration = header.iteration();
  s.time = TimeFromProto(header.time());
  s.final = header.final();
  s.canvas = canvas;
  s.scanned = scanned;
  s.pixel_size_y_m = header.pixel_size_y_m();
  s.pixel_size_x_m = header.pixel_size_x_m();
  s.probe_power = header.probe_power();
  s.object.modes = std::max(header.object_modes(), 1);
  s.object.shape = s.coverage.shape = canvas.shape;
  s.probe.modes = exact_probe_.modes = header.modes();
  s.probe.shape = exact_probe_.shape = probe;
  for (int k = 0; k < header.point_ids_size(); ++k) {
    s.points.push_back({header.point_ids(k), header.point_rows(k), header.point_cols(k), {}, {}});
    if (header.point_arrivals_size() > 0) s.points.back().arrival = header.point_arrivals(k);
    if (header.point_shift_rows_size() > 0) {
      s.points.back().refined = {header.point_shift_rows(k), header.point_shift_cols(k),
                                 header.point_intensities(k)};
    }
    if (header.point_r_factors_size() > 0) {
      s.points.back().fit = {header.point_r_factors(k), header.point_poisson_nlls(k)};
    }
    for (int c = 0; c < header.probe_components(); ++c) {
      s.points.back().refined.variation[static_cast<std::size_t>(c)] =
          header.point_variations(k * header.probe_components() + c);
    }
  }
  component_count_ = header.probe_components();
  s.metrics = MetricsFromProto(header.metrics());
  s.run = RunFromProto(header.run());
  if (header.kept_deviation_size() > 0) {
    exit_waves_.emplace();
    exit_waves_->waves.shape = probe;
    exit_waves_->kept_deviation.assign(header.kept_deviation().begin(),
                                       header.kept_deviation().end());
  }
  if (header.has_momentum_iterations()) {
    momentum_.emplace();
    momentum_->iterations = header.momentum_iterations();
    momentum_->of = header.momentum_of_lsq_ml() ? Accelerated::kLsqMl : Accelerated::kMlGradient;
    momentum_->object_velocity.modes = s.object.modes;
    momentum_->object_velocity.shape = canvas.shape;
    momentum_->probe_velocity.modes = header.modes();
    momentum_->probe_velocity.shape = probe;
  }
  return absl::OkStatus();
}

absl::Status SnapshotReader::TakeExitWave(const Record& record) {
  const int each = WavesPerPoint();
  if (!exit_waves_ ||
      record.sequence != static_cast<std::uint64_t>(exit_waves_->waves.modes / each)) {
    return absl::DataLossError("exit waves that are not in the order of their points");
  }
  exit_waves_->waves.modes += each;
  return AppendArray(record, each * exact_probe_.shape.pixels(), &exit_waves_->waves.data);
}

absl::Status SnapshotReader::TakeVelocity(const Record& record, StateKind kind) {
  if (!momentum_) return absl::DataLossError("a velocity without a momentum");
  ComplexStack& velocity =
      kind == StateKind::kObjectVelocity ? momentum_->object_velocity : momentum_->probe_velocity;
  return TakeArray(record, velocity.modes * velocity.shape.pixels(), &velocity.data);
}

absl::Status SnapshotReader::TakeComponents(const Record& record, ComplexStack* components) const {
  components->modes = component_count_ * snapshot_->probe.modes;
  components->shape = snapshot_->probe.shape;
  return TakeArray(record, components->modes * components->shape.pixels(), &components->data);
}

absl::Status SnapshotReader::Take(const Record& record) {
  const auto kind = static_cast<StateKind>(record.kind);
  const bool is_velocity = kind == StateKind::kObjectVelocity || kind == StateKind::kProbeVelocity;
  if ((kind < StateKind::kSnapshot || kind > StateKind::kExitWave) && !is_velocity &&
      kind != StateKind::kBackground && kind != StateKind::kProbeComponents &&
      kind != StateKind::kExactProbeComponents && kind != StateKind::kExactObject) {
    return absl::OkStatus();
  }
  if (kind == StateKind::kSnapshot) return TakeHeader(record);
  if (snapshot_ == nullptr) return absl::DataLossError("an array without its snapshot");
  Snapshot& s = *snapshot_;
  const std::int64_t canvas = s.canvas.shape.pixels(), object = s.object.modes * canvas;
  const std::int64_t probe = s.probe.modes * s.probe.shape.pixels();
  if (kind == StateKind::kExitWave) return TakeExitWave(record);
  if (is_velocity) return TakeVelocity(record, kind);
  if (kind == StateKind::kBackground) {
    background_.shape = s.probe.shape;
    return TakeArray(record, s.probe.shape.pixels(), &background_.data);
  }
  if (kind == StateKind::kProbeComponents) return TakeComponents(record, &components_);
  if (kind == StateKind::kExactProbeComponents) return TakeComponents(record, &exact_components_);
  if (kind == StateKind::kExactProbe) return TakeArray(record, probe, &exact_probe_.data);
  if (kind == StateKind::kExactObject) {
    exact_object_.modes = s.object.modes;
    exact_object_.shape = s.object.shape;
    return TakeArray(record, object, &exact_object_.data);
  }
  if (kind == StateKind::kObject) return TakeArray(record, object, &s.object.data);
  if (kind == StateKind::kProbe) return TakeArray(record, probe, &s.probe.data);
  return TakeArray(record, canvas, &s.coverage.data);
}

absl::StatusOr<std::shared_ptr<const Checkpoint>> SnapshotReader::Finish() {
  if (snapshot_ == nullptr) return nullptr;
  if (snapshot_->object.data.empty() || snapshot_->probe.data.empty() ||
      (component_count_ > 0 &&
       (components_.data.empty() || exact_components_.data.empty() != exact_probe_.data.empty())) ||
      snapshot_->coverage.data.empty() || (exit_waves_ && exact_probe_.data.empty()) ||
      (exit_waves_ &&
       exit_waves_->waves.modes != std::ssize(exit_waves_->kept_deviation) * WavesPerPoint()) ||
      (momentum_ && (exact_probe_.data.empty() || momentum_->object_velocity.data.empty() ||
                     momentum_->probe_velocity.data.empty()))) {
    return absl::DataLossError("a snapshot without all of its arrays");
  }
  if (!background_.data.empty()) {
    snapshot_->background = std::make_shared<const FloatImage>(std::exchange(background_, {}));
  }
  if (component_count_ > 0) {
    snapshot_->probe_components =
        std::make_shared<const ComplexStack>(std::exchange(components_, {}));
  }
  if (exact_probe_.data.empty()) return CheckpointOf(std::move(snapshot_));
  auto checkpoint = std::make_shared<Checkpoint>();
  checkpoint->snapshot = std::move(snapshot_);
  checkpoint->probe = std::move(exact_probe_);
  checkpoint->object = std::move(exact_object_);
  if (component_count_ > 0) {
    checkpoint->probe_components =
        std::make_shared<const ComplexStack>(std::exchange(exact_components_, {}));
  }
  checkpoint->exit_waves = std::move(exit_waves_);
  checkpoint->momentum = std::move(momentum_);
  return checkpoint;
}

}  // namespace ptychoserve::server
