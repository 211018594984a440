#include "server/journal/snapshot_records.h"

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

namespace state = ::ptychoserve::state::v1;

// Beyond any detector and canvas; what a file says is not believed further.
constexpr std::int64_t kMaxSide = 1 << 20;
constexpr std::int64_t kMaxModes = 64;
constexpr int kMaxPlace = 1 << 30;  // On the lattice.

state::Area AreaToProto(const Region& region) {
  state::Area out;
  out.set_row(region.row);
  out.set_col(region.col);
  out.set_rows(region.shape.rows);
  out.set_cols(region.shape.cols);
  return out;
}
Region AreaFromProto(const state::Area& area) {
  return {area.row(), area.col(), {area.rows(), area.cols()}};
}

void RunToProto(const RunPosition& run, state::RunPosition& out) {
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
}
RunPosition RunFromProto(const state::RunPosition& run) {
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
  return out;
}

template <class T>
Record ArrayRecord(StateKind kind, const std::vector<T>& data) {
  return {static_cast<std::uint32_t>(kind), 0, std::as_bytes(std::span(data))};
}

// `values` is what the snapshot's shape announces; memory is taken for what is there.
template <class T>
absl::Status TakeArray(const Record& record, std::int64_t values, std::vector<T>* out) {
  if (!out->empty()) return absl::DataLossError("an array that has come before");
  const std::uint64_t bytes = static_cast<std::uint64_t>(values) * sizeof(T);
  if (record.payload.size() != bytes) {
    return absl::DataLossError(absl::StrCat("an array of ", record.payload.size(),
                                            " bytes; its snapshot's shape needs ", bytes));
  }
  out->resize(static_cast<std::size_t>(values));
  std::memcpy(out->data(), record.payload.data(), bytes);
  return absl::OkStatus();
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

SnapshotRecords::SnapshotRecords(const Snapshot& snapshot) {
  state::Snapshot header;
  header.set_version(snapshot.version);
  header.set_iteration(snapshot.iteration);
  *header.mutable_time() = TimeToProto(snapshot.time);
  header.set_final(snapshot.final);
  *header.mutable_canvas() = AreaToProto(snapshot.canvas);
  *header.mutable_scanned() = AreaToProto(snapshot.scanned);
  header.set_pixel_size_y_m(snapshot.pixel_size_y_m);
  header.set_pixel_size_x_m(snapshot.pixel_size_x_m);
  header.set_modes(snapshot.probe.modes);
  header.set_probe_rows(snapshot.probe.shape.rows);
  header.set_probe_cols(snapshot.probe.shape.cols);
  for (const SnapshotPoint& point : snapshot.points) {
    header.add_point_ids(point.frame_id);
    header.add_point_rows(point.row);
    header.add_point_cols(point.col);
  }
  *header.mutable_metrics() = MetricsToProto(snapshot.metrics);
  RunToProto(snapshot.run, *header.mutable_run());
  header_ = header.SerializeAsString();
  records_ = {
      {static_cast<std::uint32_t>(StateKind::kSnapshot), 0, std::as_bytes(std::span(header_))},
      ArrayRecord(StateKind::kObject, snapshot.object.data),
      ArrayRecord(StateKind::kProbe, snapshot.probe.data),
      ArrayRecord(StateKind::kCoverage, snapshot.coverage.data)};
}

absl::Status SnapshotReader::Take(const Record& record) {
  const auto kind = static_cast<StateKind>(record.kind);
  if (kind == StateKind::kSnapshot) {
    state::Snapshot header;
    if (!header.ParseFromArray(record.payload.data(), static_cast<int>(record.payload.size()))) {
      return absl::DataLossError("a snapshot that cannot be read");
    }
    if (snapshot_ != nullptr) return absl::DataLossError("two snapshots");
    const Region canvas = AreaFromProto(header.canvas());
    const Region scanned = AreaFromProto(header.scanned());
    const Shape probe{header.probe_rows(), header.probe_cols()};
    if (!IsCanvas(canvas) || !LiesWithin(scanned, canvas.shape) || !IsShape(probe) ||
        header.modes() < 1 || header.modes() > kMaxModes ||
        header.point_rows_size() != header.point_ids_size() ||
        header.point_cols_size() != header.point_ids_size()) {
      return absl::DataLossError("a snapshot whose shapes are none");
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
    s.object.modes = 1;
    s.object.shape = canvas.shape;
    s.probe.modes = header.modes();
    s.probe.shape = probe;
    s.coverage.shape = canvas.shape;
    for (int k = 0; k < header.point_ids_size(); ++k) {
      s.points.push_back({header.point_ids(k), header.point_rows(k), header.point_cols(k)});
    }
    s.metrics = MetricsFromProto(header.metrics());
    s.run = RunFromProto(header.run());
    return absl::OkStatus();
  }
  if (kind != StateKind::kObject && kind != StateKind::kProbe && kind != StateKind::kCoverage) {
    return absl::OkStatus();
  }
  if (snapshot_ == nullptr) return absl::DataLossError("an array without its snapshot");
  Snapshot& s = *snapshot_;
  if (kind == StateKind::kObject) {
    return TakeArray(record, s.object.shape.pixels(), &s.object.data);
  }
  if (kind == StateKind::kProbe) {
    return TakeArray(record, s.probe.modes * s.probe.shape.pixels(), &s.probe.data);
  }
  return TakeArray(record, s.coverage.shape.pixels(), &s.coverage.data);
}

absl::StatusOr<std::shared_ptr<const Snapshot>> SnapshotReader::Finish() {
  if (snapshot_ != nullptr && (snapshot_->object.data.empty() || snapshot_->probe.data.empty() ||
                               snapshot_->coverage.data.empty())) {
    return absl::DataLossError("a snapshot without all of its arrays");
  }
  return std::exchange(snapshot_, nullptr);
}

}  // namespace ptychoserve::server
