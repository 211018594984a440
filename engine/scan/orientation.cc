#include "engine/scan/orientation.h"

#include <cstddef>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace ptychoserve {
namespace {

// An element as: transpose or not, then reverse rows or not, then reverse columns or not.
struct Steps {
  bool transpose = false;
  bool reverse_rows = false;
  bool reverse_cols = false;
  bool operator==(const Steps&) const = default;
};

struct Element {
  Orientation orientation;
  Steps steps;
  absl::string_view name;
};

constexpr std::array<Element, 8> kElements = {{
    {Orientation::kIdentity, {false, false, false}, "identity"},
    {Orientation::kFlipLr, {false, false, true}, "flip_lr"},
    {Orientation::kFlipUd, {false, true, false}, "flip_ud"},
    {Orientation::kRot180, {false, true, true}, "rot180"},
    {Orientation::kTranspose, {true, false, false}, "transpose"},
    {Orientation::kRot90Ccw, {true, true, false}, "rot90_ccw"},
    {Orientation::kRot90Cw, {true, false, true}, "rot90_cw"},
    {Orientation::kAntiTranspose, {true, true, true}, "antitranspose"},
}};

const Element& Find(Orientation o) { return kElements[static_cast<std::size_t>(o)]; }

constexpr bool InEnumOrder() {
  for (std::size_t i = 0; i < kElements.size(); ++i) {
    if (kElements[i].orientation != static_cast<Orientation>(i)) return false;
  }
  return true;
}
static_assert(InEnumOrder(), "kElements is indexed by Orientation");

Orientation FromSteps(const Steps& steps) {
  for (const Element& e : kElements) {
    if (e.steps == steps) return e.orientation;
  }
  return Orientation::kIdentity;  // Not reached: the eight are all combinations.
}

}  // namespace

absl::string_view OrientationName(Orientation o) { return Find(o).name; }

absl::StatusOr<Orientation> OrientationFromName(absl::string_view name) {
  std::string known;
  for (const Element& e : kElements) {
    if (e.name == name) return e.orientation;
    absl::StrAppend(&known, known.empty() ? "" : ", ", e.name);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("unknown orientation '", name, "'; known are ", known));
}

Orientation Compose(Orientation first, Orientation second) {
  const Steps& a = Find(first).steps;
  const Steps& b = Find(second).steps;
  // A reversal that comes before a transposition acts on the other axis after it.
  Steps c;
  c.transpose = a.transpose != b.transpose;
  c.reverse_rows = (b.transpose ? a.reverse_cols : a.reverse_rows) != b.reverse_rows;
  c.reverse_cols = (b.transpose ? a.reverse_rows : a.reverse_cols) != b.reverse_cols;
  return FromSteps(c);
}

Orientation Inverse(Orientation o) {
  Steps s = Find(o).steps;
  if (s.transpose) std::swap(s.reverse_rows, s.reverse_cols);
  return FromSteps(s);
}

bool SwapsAxes(Orientation o) { return Find(o).steps.transpose; }

Shape OrientedShape(Shape shape, Orientation o) {
  return SwapsAxes(o) ? Shape{shape.cols, shape.rows} : shape;
}

std::pair<double, double> OrientedStep(double row, double col, Orientation o) {
  const Steps& s = Find(o).steps;
  if (s.transpose) std::swap(row, col);
  return {s.reverse_rows ? -row : row, s.reverse_cols ? -col : col};
}

OrientedIndex IndexFor(Shape source_shape, Orientation o) {
  const Steps& s = Find(o).steps;
  const Shape oriented = OrientedShape(source_shape, o);
  OrientedIndex index;
  index.row_step = s.transpose ? 1 : source_shape.cols;
  index.col_step = s.transpose ? source_shape.cols : 1;
  if (s.reverse_rows) {
    index.start += (oriented.rows - 1) * index.row_step;
    index.row_step = -index.row_step;
  }
  if (s.reverse_cols) {
    index.start += (oriented.cols - 1) * index.col_step;
    index.col_step = -index.col_step;
  }
  return index;
}

}  // namespace ptychoserve
