#include "client/cli/result_files.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <system_error>
#include <unordered_map>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/cli/output.h"
#include "engine/base/array.h"
#include "engine/base/status_macros.h"
#include "engine/io/npy.h"
#include "engine/io/picture.h"
#include "google/protobuf/util/json_util.h"

namespace ptychoserve::cli {
namespace {

constexpr int kMinComparedSide = 32;
constexpr int kComparedBorder = 4;  // Pixels at each edge that are not compared.

ComplexStack ToStack(const client::SnapshotArray<Complex64>& array) {
  ComplexStack stack;
  if (array.shape.size() < 2) return stack;
  const std::size_t n = array.shape.size();
  stack.modes = n == 3 ? static_cast<int>(array.shape[0]) : 1;
  stack.shape = {static_cast<int>(array.shape[n - 2]), static_cast<int>(array.shape[n - 1])};
  stack.data = array.values;
  return stack;
}

// All modes.
ComplexStack ObjectOf(const client::Snapshot& snapshot) {
  return ToStack(snapshot.object_modes.empty() ? snapshot.object : snapshot.object_modes);
}

ComplexStack Cut(const ComplexStack& images, const Region& region) {
  ComplexStack out(images.modes, region.shape);
  auto to = out.data.begin();
  for (int mode = 0; mode < images.modes; ++mode) {
    const auto* row = images.data.data() + mode * images.shape.pixels() +
                      static_cast<std::int64_t>(region.row) * images.shape.cols + region.col;
    for (int y = 0; y < region.shape.rows; ++y, row += images.shape.cols) {
      to = std::copy(row, row + region.shape.cols, to);
    }
  }
  return out;
}

Region Intersect(const Region& a, const Region& b) {
  const int row = std::max(a.row, b.row), col = std::max(a.col, b.col);
  const int row_end = std::min(a.row + a.shape.rows, b.row + b.shape.rows);
  const int col_end = std::min(a.col + a.shape.cols, b.col + b.shape.cols);
  return {row, col, {std::max(0, row_end - row), std::max(0, col_end - col)}};
}

Region Moved(Region region, int rows, int cols) {
  region.row += rows;
  region.col += cols;
  return region;
}

// The part of the object that the probe's centres span; all of it when there are no points.
Region ScannedArea(const client::Snapshot& snapshot, const ComplexStack& object) {
  const Region all{0, 0, object.shape};
  if (snapshot.points.empty() || snapshot.probe.shape.size() != 3) return all;
  const auto half_rows = static_cast<double>(snapshot.probe.shape[1]) / 2;
  const auto half_cols = static_cast<double>(snapshot.probe.shape[2]) / 2;
  const auto [top, bottom] =
      std::minmax_element(snapshot.points.begin(), snapshot.points.end(),
                          [](const auto& a, const auto& b) { return a.row < b.row; });
  const auto [left, right] =
      std::minmax_element(snapshot.points.begin(), snapshot.points.end(),
                          [](const auto& a, const auto& b) { return a.col < b.col; });
  const int row = static_cast<int>(std::lround(top->row + half_rows));
  const int col = static_cast<int>(std::lround(left->col + half_cols));
  const Region scanned{row,
                       col,
                       {static_cast<int>(std::lround(bottom->row + half_rows)) - row + 1,
                        static_cast<int>(std::lround(right->col + half_cols)) - col + 1}};
  return Intersect(scanned, all);
}

// As the detector has it, the far field's zero frequency in the middle; empty when there is none.
FloatImage BackgroundOf(const client::Snapshot& snapshot, const v1::Session& session) {
  FloatImage centred;
  if (snapshot.background.empty()) return centred;
  const auto rows = static_cast<int>(snapshot.background.shape[0]);
  const auto cols = static_cast<int>(snapshot.background.shape[1]);
  centred.shape = {rows, cols};
  centred.data.resize(snapshot.background.values.size());
  const bool near_field = session.config().optics().has_near_field();
  const int down = near_field ? 0 : MiddlePixel(rows), right = near_field ? 0 : MiddlePixel(cols);
  for (int r = 0; r < rows; ++r) {
    for (int c = 0; c < cols; ++c) {
      const int row = (r + down) % rows, col = (c + right) % cols;
      centred.data[static_cast<std::size_t>(row) * cols + col] =
          snapshot.background.values[static_cast<std::size_t>(r) * cols + c];
    }
  }
  return centred;
}

absl::Status WriteCxi(const std::string& path, const client::Snapshot& snapshot,
                      const v1::Session& session) {
  CxiResult result;
  result.object = ObjectOf(snapshot);
  const auto& object_powers = snapshot.header.metrics().object_mode_powers();
  result.object_mode_powers.assign(object_powers.begin(), object_powers.end());
  result.probe = ToStack(snapshot.probe);
  const auto& powers = snapshot.header.metrics().mode_powers();
  result.mode_powers.assign(powers.begin(), powers.end());
  result.coverage.shape = result.object.shape;
  result.coverage.data = snapshot.coverage.values;
  const v1::SnapshotHeader& header = snapshot.header;
  result.pixel_size_y_m = header.pixel_size_y_m();
  result.pixel_size_x_m = header.pixel_size_x_m();
  result.origin_y_m = header.origin_y_m();
  result.origin_x_m = header.origin_x_m();
  result.wavelength_m = session.config().optics().wavelength_m();
  for (const client::SnapshotPoint& point : snapshot.points) {
    result.frame_ids.push_back(point.frame_id);
    result.window_row.push_back(point.row);
    result.window_col.push_back(point.col);
    if (header.metrics().has_evaluation()) {
      result.r_factor.push_back(point.r_factor);
      result.poisson_nll.push_back(point.poisson_nll);
    }
    if (!header.metrics().has_refinement()) continue;
    result.shift_row.push_back(point.shift_row);
    result.shift_col.push_back(point.shift_col);
    result.intensity.push_back(point.intensity);
    result.variation.insert(result.variation.end(), point.variation.begin(), point.variation.end());
  }
  const auto& components = snapshot.probe_components;
  if (!components.empty()) {
    result.probe_components =
        ComplexStack(static_cast<int>(components.shape[0]) * static_cast<int>(components.shape[1]),
                     result.probe.shape);
    result.probe_components.data = components.values;
  }
  result.background = BackgroundOf(snapshot, session);
  result.metric_names.assign(client::kHistoryColumns.begin(), client::kHistoryColumns.end());
  result.metrics = snapshot.history.values;
  const v1::RingCorrelation& rings = session.split_halves().ring_correlation();
  result.ring_correlation.assign(rings.correlation().begin(), rings.correlation().end());
  result.half_bit_resolution_m = rings.half_bit_resolution_m();
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  if (!google::protobuf::util::MessageToJsonString(session.config(), &result.config_json, options)
           .ok()) {
    return absl::InternalError("the session's configuration cannot be written as JSON");
  }
  Json state = ToJson(session);
  state.erase("config");
  result.session_json = state.dump();
  return WriteCxiResult(path, result);
}

absl::Status WriteArrays(const std::string& path, const client::Snapshot& snapshot,
                         const v1::Session& session, const CxiScanInfo* scan) {
  const auto& components = snapshot.probe_components;
  const std::size_t component_count = components.empty() ? 0 : components.shape[0];
  std::vector<double> positions, shifts, scales, variations, r_factors, poisson_nlls;
  for (const client::SnapshotPoint& point : PointsOf(snapshot, session, scan)) {
    positions.insert(positions.end(), {point.row, point.col});
    shifts.insert(shifts.end(), {point.shift_row, point.shift_col});
    scales.push_back(std::sqrt(point.intensity));
    variations.insert(variations.end(), point.variation.begin(), point.variation.end());
    variations.resize(scales.size() * component_count);  // Of frames that took no part: 0.
    r_factors.push_back(point.r_factor);
    poisson_nlls.push_back(point.poisson_nll);
  }
  const auto points = static_cast<std::int64_t>(positions.size() / 2);
  std::vector<std::pair<std::string, NpyArray>> arrays = {
      {"obj", NpyArray::FromComplex(snapshot.object.shape, snapshot.object.values)},
      {"probe", NpyArray::FromComplex(snapshot.probe.shape, snapshot.probe.values)},
      {"pos", NpyArray::FromDouble({points, 2}, positions)}};
  const auto& powers = snapshot.header.metrics().mode_powers();
  if (!powers.empty()) {
    arrays.emplace_back("mode_powers",
                        NpyArray::FromDouble({powers.size()}, {powers.begin(), powers.end()}));
  }
  if (!snapshot.object_modes.empty()) {
    const auto& object_powers = snapshot.header.metrics().object_mode_powers();
    arrays.emplace_back("object_modes", NpyArray::FromComplex(snapshot.object_modes.shape,
                                                              snapshot.object_modes.values));
    arrays.emplace_back(
        "object_mode_powers",
        NpyArray::FromDouble({object_powers.size()}, {object_powers.begin(), object_powers.end()}));
  }
  if (!snapshot.coverage.empty()) {
    arrays.emplace_back("coverage",
                        NpyArray::FromFloat(snapshot.coverage.shape, snapshot.coverage.values));
  }
  if (snapshot.header.metrics().has_evaluation()) {
    arrays.emplace_back("frame_r_factor", NpyArray::FromDouble({points}, r_factors));
    arrays.emplace_back("frame_poisson_nll", NpyArray::FromDouble({points}, poisson_nlls));
  }
  if (snapshot.header.metrics().has_refinement()) {
    arrays.emplace_back("shift", NpyArray::FromDouble({points, 2}, shifts));
    arrays.emplace_back("scale", NpyArray::FromDouble({points}, scales));
  }
  if (component_count > 0) {
    arrays.emplace_back("probe_components",
                        NpyArray::FromComplex(components.shape, components.values));
    arrays.emplace_back(
        "variation",
        NpyArray::FromDouble({points, static_cast<std::int64_t>(component_count)}, variations));
  }
  if (const FloatImage background = BackgroundOf(snapshot, session); !background.data.empty()) {
    arrays.emplace_back(
        "bg", NpyArray::FromFloat({background.shape.rows, background.shape.cols}, background.data));
  }
  return WriteNpz(path, arrays);
}

// Amplitude and phase of the scanned area.
absl::Status WriteObjectPicture(const std::string& path, const client::Snapshot& snapshot) {
  const ComplexStack object = ToStack(snapshot.object);
  const ComplexStack scanned = Cut(object, ScannedArea(snapshot, object));
  if (scanned.data.empty()) return absl::FailedPreconditionError("there is no object to draw");
  return WritePng(path, SideBySide({AmplitudePicture(scanned.data.data(), scanned.shape),
                                    PhasePicture(scanned.data.data(), scanned.shape)}));
}

}  // namespace

v1::SnapshotSelection FullSelection() {
  v1::SnapshotSelection selection;
  for (const v1::ArrayKind kind :
       {v1::ARRAY_KIND_OBJECT, v1::ARRAY_KIND_PROBE, v1::ARRAY_KIND_COVERAGE, v1::ARRAY_KIND_POINTS,
        v1::ARRAY_KIND_HISTORY, v1::ARRAY_KIND_BACKGROUND, v1::ARRAY_KIND_PROBE_COMPONENTS,
        v1::ARRAY_KIND_OBJECT_MODES}) {
    selection.add_arrays(kind);
  }
  selection.set_area(v1::OBJECT_AREA_CANVAS);
  return selection;
}

std::vector<client::SnapshotPoint> PointsOf(const client::Snapshot& snapshot,
                                            const v1::Session& session, const CxiScanInfo* scan) {
  if (scan == nullptr) return snapshot.points;
  std::vector<client::SnapshotPoint> points;
  std::unordered_map<std::int64_t, client::SnapshotPoint> known;
  for (const client::SnapshotPoint& p : snapshot.points) known[p.frame_id] = p;
  // The window is centred on the position: corner = (position - origin) / pixel size - size / 2.
  const v1::SnapshotHeader& header = snapshot.header;
  const v1::Scan& settings = session.config().scan();
  const double y_sign = settings.y_sign() == 0 ? 1 : settings.y_sign();
  const double x_sign = settings.x_sign() == 0 ? 1 : settings.x_sign();
  const auto& probe = snapshot.probe.shape;
  for (std::size_t k = 0; k < scan->x_m.size(); ++k) {
    const auto frame_id = static_cast<std::int64_t>(k);
    const auto found = known.find(frame_id);
    if (found != known.end()) {
      points.push_back(found->second);
      continue;
    }
    const double y = y_sign * (settings.swap_axes() ? scan->x_m[k] : scan->y_m[k]);
    const double x = x_sign * (settings.swap_axes() ? scan->y_m[k] : scan->x_m[k]);
    points.push_back({.frame_id = frame_id,
                      .row = (y - header.origin_y_m()) / header.pixel_size_y_m() -
                             MiddlePixel(static_cast<int>(probe[1])),
                      .col = (x - header.origin_x_m()) / header.pixel_size_x_m() -
                             MiddlePixel(static_cast<int>(probe[2]))});
  }
  return points;
}

absl::Status CheckResultPath(const std::string& path) {
  for (const char* extension : {".cxi", ".h5", ".npz", ".png"}) {
    if (absl::EndsWith(path, extension)) return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("--out ", path, ": the name must end in .cxi, .h5, .npz or .png"));
}

absl::Status CheckDirectory(const std::string& option, const std::string& path) {
  const std::string directory = path.empty() ? "." : path;
  std::error_code error;
  if (!std::filesystem::is_directory(directory, error)) {
    return absl::InvalidArgumentError(absl::StrCat(option, ": there is no directory ", directory));
  }
  if (access(directory.c_str(), W_OK | X_OK) != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(option, ": the directory ", directory, " cannot be written to"));
  }
  return absl::OkStatus();
}

absl::Status WriteResult(const std::string& path, const client::Snapshot& snapshot,
                         const v1::Session& session, const CxiScanInfo* scan) {
  PS_RETURN_IF_ERROR(CheckResultPath(path));
  if (absl::EndsWith(path, ".npz")) return WriteArrays(path, snapshot, session, scan);
  if (absl::EndsWith(path, ".png")) return WriteObjectPicture(path, snapshot);
  return WriteCxi(path, snapshot, session);
}

absl::StatusOr<std::vector<std::string>> WritePictures(const std::string& stem,
                                                       const client::Snapshot& snapshot) {
  const std::string object_path = absl::StrCat(stem, "_object.png");
  const std::string probe_path = absl::StrCat(stem, "_probe.png");
  PS_RETURN_IF_ERROR(WriteObjectPicture(object_path, snapshot));
  const ComplexStack probe = ToStack(snapshot.probe);
  std::vector<Picture> modes;
  modes.reserve(static_cast<std::size_t>(probe.modes));
  for (int m = 0; m < probe.modes; ++m) {
    modes.push_back(ComplexPicture(probe.data.data() + m * probe.shape.pixels(), probe.shape));
  }
  if (modes.empty()) return absl::FailedPreconditionError("there is no probe to draw");
  PS_RETURN_IF_ERROR(WritePng(probe_path, SideBySide(modes)));
  return std::vector<std::string>{object_path, probe_path};
}

std::optional<ObjectError> ErrorAgainstTruth(const client::Snapshot& snapshot,
                                             const CxiScanInfo& scan) {
  if (!scan.true_object.has_value() || snapshot.points.empty()) return std::nullopt;
  const ComplexStack object = ObjectOf(snapshot);
  const v1::SnapshotHeader& header = snapshot.header;
  // The object array's place on the lattice on which the truth is given, too.
  const int row = static_cast<int>(std::lround(header.origin_y_m() / header.pixel_size_y_m()));
  const int col = static_cast<int>(std::lround(header.origin_x_m() / header.pixel_size_x_m()));
  const Region truth{scan.true_object_row, scan.true_object_col, scan.true_object->shape};
  const Region common = Intersect(Moved(ScannedArea(snapshot, object), row, col), truth);
  if (std::min(common.shape.rows, common.shape.cols) < kMinComparedSide) return std::nullopt;
  return CompareObjects(Cut(object, Moved(common, -row, -col)),
                        Cut(*scan.true_object, Moved(common, -truth.row, -truth.col)),
                        kComparedBorder);
}

}  // namespace ptychoserve::cli
