#include "server/journal/snapshot_records.h"

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

constexpr int kArrays = 3;
// Beyond any detector and canvas; what a file says is not believed further.
constexpr std::int64_t kMaxSide = 1 << 20;
constexpr std::int64_t kMaxModes = 64;

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

template <class T>
absl::Status TakeArray(const Record& record, std::vector<T>* out) {
  const std::span<std::byte> to = std::as_writable_bytes(std::span(*out));
  if (record.payload.size() != to.size()) {
    return absl::DataLossError(absl::StrCat("an array of ", record.payload.size(),
                                            " bytes; its snapshot's shape needs ", to.size()));
  }
  if (!to.empty()) std::memcpy(to.data(), record.payload.data(), to.size());
  return absl::OkStatus();
}

bool IsShape(std::int64_t rows, std::int64_t cols) {
  return rows > 0 && rows <= kMaxSide && cols > 0 && cols <= kMaxSide;
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
    const Region canvas = AreaFromProto(header.canvas());
    const Shape probe{header.probe_rows(), header.probe_cols()};
    if (!IsShape(canvas.shape.rows, canvas.shape.cols) || !IsShape(probe.rows, probe.cols) ||
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
    s.scanned = AreaFromProto(header.scanned());
    s.pixel_size_y_m = header.pixel_size_y_m();
    s.pixel_size_x_m = header.pixel_size_x_m();
    s.object = ComplexStack(1, canvas.shape);
    s.probe = ComplexStack(header.modes(), probe);
    s.coverage.shape = canvas.shape;
    s.coverage.data.resize(static_cast<std::size_t>(canvas.shape.pixels()));
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
  ++arrays_;
  if (kind == StateKind::kObject) return TakeArray(record, &snapshot_->object.data);
  if (kind == StateKind::kProbe) return TakeArray(record, &snapshot_->probe.data);
  return TakeArray(record, &snapshot_->coverage.data);
}

absl::StatusOr<std::shared_ptr<const Snapshot>> SnapshotReader::Finish() {
  if (snapshot_ != nullptr && arrays_ != kArrays) {
    return absl::DataLossError("a snapshot without all of its arrays");
  }
  return std::exchange(snapshot_, nullptr);
}

}  // namespace ptychoserve::server
