#include "server/publish/selection.h"

#include <algorithm>
#include <limits>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/service/convert.h"
#include "server/service/errors.h"

namespace ptychoserve::server {
namespace {

constexpr std::int64_t kPointColumns = 9;
constexpr std::int64_t kHistoryColumns = 10;

const Complex64 kComplexNan{std::numeric_limits<float>::quiet_NaN(),
                            std::numeric_limits<float>::quiet_NaN()};

void Describe(v1::SnapshotHeader& header, v1::ArrayKind kind, v1::ArrayInfo::Element element,
              std::initializer_list<std::int64_t> shape, std::size_t bytes) {
  v1::ArrayInfo& info = *header.add_arrays();
  info.set_kind(kind);
  info.set_element(element);
  for (const std::int64_t n : shape) info.add_shape(n);
  info.set_bytes(static_cast<std::int64_t>(bytes));
}

// Of the canvas, in its pixels.
Region AreaOf(const Snapshot& snapshot, const Selection& selection) {
  const Shape canvas = snapshot.canvas.shape;
  if (selection.whole_canvas) return {0, 0, canvas};
  if (!selection.region) return snapshot.scanned;
  Region area = *selection.region;
  area.row = std::min(area.row, canvas.rows);
  area.col = std::min(area.col, canvas.cols);
  area.shape.rows = std::min(area.shape.rows, canvas.rows - area.row);
  area.shape.cols = std::min(area.shape.cols, canvas.cols - area.col);
  return area;
}

// One mode of the object, as it was asked for.
std::vector<Complex64> CutMode(const Snapshot& snapshot, const Selection& selection,
                               const Region& area, std::span<const Complex64> mode) {
  const int stride = snapshot.canvas.shape.cols;
  const std::vector<float>& coverage = snapshot.coverage.data;
  using Sum = std::complex<double>;
  if (selection.uncovered_as_nan) {
    const float peak = coverage.empty() ? 0 : *std::max_element(coverage.begin(), coverage.end());
    const double limit = selection.coverage_threshold * static_cast<double>(peak);
    return BlockMeans<Complex64, Sum>(
        mode, stride, area, selection.downsample, kComplexNan,
        [&](std::size_t i) { return static_cast<double>(coverage[i]) > limit; });
  }
  if (selection.downsample == 1) return CopyArea(mode, stride, area);
  return BlockMeans<Complex64, Sum>(mode, stride, area, selection.downsample, kComplexNan,
                                    [](std::size_t) { return true; });
}

// The first `modes` of the object.
PreparedArray PrepareObject(const Snapshot& snapshot, const Selection& selection,
                            const Region& area, int modes) {
  const auto pixels = static_cast<std::size_t>(snapshot.canvas.shape.pixels());
  const auto object =
      std::span(snapshot.object.data).first(static_cast<std::size_t>(modes) * pixels);
  if (!selection.uncovered_as_nan && selection.downsample == 1 &&
      area.shape == snapshot.canvas.shape) {
    return View(object);
  }
  std::vector<Complex64> all;
  for (std::size_t first = 0; first < object.size(); first += pixels) {
    const std::vector<Complex64> mode =
        CutMode(snapshot, selection, area, object.subspan(first, pixels));
    all.insert(all.end(), mode.begin(), mode.end());
  }
  return Own(all);
}

PreparedArray PrepareCoverage(const Snapshot& snapshot, const Selection& selection,
                              const Region& area) {
  if (selection.downsample == 1 && area.shape == snapshot.canvas.shape) {
    return View(std::span(snapshot.coverage.data));
  }
  if (selection.downsample == 1) {
    return Own(CopyArea(std::span(snapshot.coverage.data), snapshot.canvas.shape.cols, area));
  }
  return Own(BlockMeans<float, double>(snapshot.coverage.data, snapshot.canvas.shape.cols, area,
                                       selection.downsample, 0.0f,
                                       [](std::size_t) { return true; }));
}

// Of the probe's variation.
int ComponentsOf(const Snapshot& snapshot) {
  return snapshot.probe_components != nullptr
             ? snapshot.probe_components->modes / snapshot.probe.modes
             : 0;
}

PreparedArray PreparePoints(const Snapshot& snapshot, const Region& area) {
  std::vector<double> values;
  const int components = ComponentsOf(snapshot);
  values.reserve(snapshot.points.size() * static_cast<std::size_t>(kPointColumns + components));
  for (const SnapshotPoint& point : snapshot.points) {
    values.insert(values.end(),
                  {static_cast<double>(point.frame_id), point.row - area.row, point.col - area.col,
                   point.refined.shift_row, point.refined.shift_col, point.refined.intensity,
                   point.fit.r_factor, point.fit.poisson_nll, static_cast<double>(point.arrival)});
    const auto coefficients = std::span(point.refined.variation).first(components);
    values.insert(values.end(), coefficients.begin(), coefficients.end());
  }
  return Own(values);
}

PreparedArray PrepareHistory(const std::vector<IterationRecord>& history) {
  std::vector<double> values;
  values.reserve(history.size() * kHistoryColumns);
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  for (const IterationRecord& r : history) {
    const bool held_out = r.evaluation && r.evaluation->held_out;
    values.insert(
        values.end(),
        {static_cast<double>(r.iteration), static_cast<double>(r.active_points), r.metrics.r_factor,
         r.metrics.fourier_error, r.metrics.object_change, r.metrics.probe_change, r.metrics.step,
         r.elapsed_s, r.evaluation ? r.evaluation->fit.poisson_nll : kNan,
         held_out ? r.evaluation->held_out->poisson_nll : kNan});
  }
  return Own(values);
}

}  // namespace

bool Selection::wants(v1::ArrayKind kind) const {
  return std::find(arrays.begin(), arrays.end(), kind) != arrays.end();
}

absl::StatusOr<Selection> ParseSelection(const v1::SnapshotSelection& selection) {
  Selection out;
  std::vector<FieldViolation> violations;
  if (selection.arrays_size() > 0) out.arrays.clear();
  for (int i = 0; i < selection.arrays_size(); ++i) {
    const v1::ArrayKind kind = selection.arrays(i);
    const std::string field = absl::StrCat("selection.arrays[", i, "]");
    if (!v1::ArrayKind_IsValid(kind) || kind == v1::ARRAY_KIND_UNSPECIFIED) {
      violations.push_back({field, absl::StrCat(static_cast<int>(kind),
                                                "; allowed: OBJECT, PROBE, COVERAGE, POINTS, "
                                                "HISTORY, BACKGROUND, PROBE_COMPONENTS, "
                                                "OBJECT_MODES")});
    } else if (out.wants(kind)) {
      violations.push_back({field, "named twice; allowed: each array once"});
    } else {
      out.arrays.push_back(kind);
    }
    if (violations.size() > v1::ArrayKind_ARRAYSIZE) break;  // A long list is wrong anyway.
  }
  if (!v1::ObjectArea_IsValid(selection.area())) {
    violations.push_back({"selection.area", absl::StrCat(static_cast<int>(selection.area()),
                                                         "; allowed: SCANNED, CANVAS")});
  }
  out.whole_canvas = selection.area() == v1::OBJECT_AREA_CANVAS;
  if (!v1::Uncovered_IsValid(selection.uncovered())) {
    violations.push_back(
        {"selection.uncovered",
         absl::StrCat(static_cast<int>(selection.uncovered()), "; allowed: KEEP, NAN")});
  }
  if (selection.has_region()) {
    const v1::Region& region = selection.region();
    constexpr std::uint32_t kMost = std::numeric_limits<std::int32_t>::max();
    const auto check = [&](absl::string_view field, std::uint32_t value, std::uint32_t least) {
      if (value >= least && value <= kMost) return;
      violations.push_back({absl::StrCat("selection.region.", field),
                            absl::StrCat(value, "; allowed: ", least, "..", kMost)});
    };
    check("row", region.row(), 0);
    check("col", region.col(), 0);
    check("shape.rows", region.shape().rows(), 1);
    check("shape.cols", region.shape().cols(), 1);
    if (selection.area() != v1::OBJECT_AREA_UNSPECIFIED) {
      violations.push_back({"selection.region",
                            "given beside selection.area; allowed: one of "
                            "them"});
    }
    out.region = {
        static_cast<int>(region.row()),
        static_cast<int>(region.col()),
        {static_cast<int>(region.shape().rows()), static_cast<int>(region.shape().cols())}};
  }
  out.uncovered_as_nan = selection.uncovered() == v1::UNCOVERED_NAN;
  if (selection.has_coverage_threshold()) {
    out.coverage_threshold = selection.coverage_threshold();
    if (!(out.coverage_threshold >= 0 && out.coverage_threshold <= 1)) {
      violations.push_back({"selection.coverage_threshold",
                            absl::StrCat(out.coverage_threshold, "; allowed: 0..1")});
    }
  }
  if (selection.downsample() > kMaxDownsample) {
    violations.push_back({"selection.downsample",
                          absl::StrCat(selection.downsample(), "; allowed: 1..", kMaxDownsample)});
  } else if (selection.downsample() != 0) {
    out.downsample = static_cast<int>(selection.downsample());
  }
  if (!violations.empty()) return InvalidFields(reason::kInvalidRequest, violations);
  return out;
}

PreparedSnapshot Prepare(std::shared_ptr<const Snapshot> snapshot, const Selection& selection,
                         const std::vector<IterationRecord>& history) {
  PreparedSnapshot out;
  out.snapshot = std::move(snapshot);
  const Snapshot& s = *out.snapshot;
  const Region area = AreaOf(s, selection);
  const int n = selection.downsample;

  v1::SnapshotHeader& header = out.header;
  header.set_version(s.version);
  header.set_iteration(s.iteration);
  *header.mutable_time() = TimeToProto(s.time);
  header.set_final(s.final);
  header.set_pixel_size_y_m(s.pixel_size_y_m * n);
  header.set_pixel_size_x_m(s.pixel_size_x_m * n);
  // A pixel's coordinates are those of its centre; that of a block lies between its pixels.
  const double block_centre = 0.5 * (n - 1);
  header.set_origin_y_m((s.canvas.row + area.row + block_centre) * s.pixel_size_y_m);
  header.set_origin_x_m((s.canvas.col + area.col + block_centre) * s.pixel_size_x_m);
  header.mutable_area()->set_row(static_cast<std::uint32_t>(area.row));
  header.mutable_area()->set_col(static_cast<std::uint32_t>(area.col));
  header.mutable_area()->mutable_shape()->set_rows(static_cast<std::uint32_t>(area.shape.rows));
  header.mutable_area()->mutable_shape()->set_cols(static_cast<std::uint32_t>(area.shape.cols));
  header.mutable_canvas()->set_rows(static_cast<std::uint32_t>(s.canvas.shape.rows));
  header.mutable_canvas()->set_cols(static_cast<std::uint32_t>(s.canvas.shape.cols));
  *header.mutable_metrics() = MetricsToProto(s.metrics);

  const std::int64_t rows = CeilDiv(area.shape.rows, n);
  const std::int64_t cols = CeilDiv(area.shape.cols, n);
  for (const v1::ArrayKind kind : selection.arrays) {
    PreparedArray array;
    switch (kind) {
      case v1::ARRAY_KIND_OBJECT:
        array = PrepareObject(s, selection, area, /*modes=*/1);
        Describe(header, kind, v1::ArrayInfo::ELEMENT_COMPLEX64, {rows, cols}, array.bytes.size());
        break;
      case v1::ARRAY_KIND_PROBE:
        array = View(std::span(s.probe.data));
        Describe(header, kind, v1::ArrayInfo::ELEMENT_COMPLEX64,
                 {s.probe.modes, s.probe.shape.rows, s.probe.shape.cols}, array.bytes.size());
        break;
      case v1::ARRAY_KIND_COVERAGE:
        array = PrepareCoverage(s, selection, area);
        Describe(header, kind, v1::ArrayInfo::ELEMENT_FLOAT32, {rows, cols}, array.bytes.size());
        break;
      case v1::ARRAY_KIND_POINTS:
        array = PreparePoints(s, area);
        Describe(header, kind, v1::ArrayInfo::ELEMENT_FLOAT64,
                 {static_cast<std::int64_t>(s.points.size()), kPointColumns + ComponentsOf(s)},
                 array.bytes.size());
        break;
      case v1::ARRAY_KIND_HISTORY:
        array = PrepareHistory(history);
        Describe(header, kind, v1::ArrayInfo::ELEMENT_FLOAT64,
                 {static_cast<std::int64_t>(history.size()), kHistoryColumns}, array.bytes.size());
        break;
      case v1::ARRAY_KIND_BACKGROUND: {
        if (s.background != nullptr) array = View(std::span(s.background->data));
        const Shape shape = s.background != nullptr ? s.background->shape : Shape{0, 0};
        Describe(header, kind, v1::ArrayInfo::ELEMENT_FLOAT32, {shape.rows, shape.cols},
                 array.bytes.size());
        break;
      }
      case v1::ARRAY_KIND_PROBE_COMPONENTS: {
        const int components = ComponentsOf(s);
        if (components > 0) array = View(std::span(s.probe_components->data));
        const Shape shape = components > 0 ? s.probe.shape : Shape{0, 0};
        Describe(header, kind, v1::ArrayInfo::ELEMENT_COMPLEX64,
                 {components, components > 0 ? s.probe.modes : 0, shape.rows, shape.cols},
                 array.bytes.size());
        break;
      }
      case v1::ARRAY_KIND_OBJECT_MODES: {
        const bool several = s.object.modes > 1;
        if (several) array = PrepareObject(s, selection, area, s.object.modes);
        Describe(header, kind, v1::ArrayInfo::ELEMENT_COMPLEX64,
                 {several ? s.object.modes : 0, several ? rows : 0, several ? cols : 0},
                 array.bytes.size());
        break;
      }
      default:
        continue;  // ParseSelection lets nothing else through.
    }
    out.arrays.push_back(std::move(array));
  }
  return out;
}

}  // namespace ptychoserve::server
