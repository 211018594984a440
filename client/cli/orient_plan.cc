#include "client/cli/orient_plan.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "engine/scan/orientation.h"

namespace ptychoserve::cli {
namespace {

std::string ShapeText(const v1::Shape& shape) {
  return absl::StrCat(shape.rows(), " x ", shape.cols());
}

void SwapSides(v1::Shape& shape) {
  const std::uint32_t rows = shape.rows();
  shape.set_rows(shape.cols());
  shape.set_cols(rows);
}

// Where a region of an image of `shape` lies after `change`.
void Move(Orientation change, const Shape& shape, v1::Region& region) {
  const Shape after = OrientedShape(shape, change);
  // Undoing the change reads each pixel from where it has gone to.
  const OrientedIndex index = IndexFor(after, Inverse(change));
  const auto place = [&](std::int64_t row, std::int64_t col) {
    const std::int64_t at = index.start + row * index.row_step + col * index.col_step;
    return std::pair(at / after.cols, at % after.cols);
  };
  const auto a = place(region.row(), region.col());
  const auto b = place(std::int64_t{region.row()} + region.shape().rows() - 1,
                       std::int64_t{region.col()} + region.shape().cols() - 1);
  region.set_row(static_cast<std::uint32_t>(std::min(a.first, b.first)));
  region.set_col(static_cast<std::uint32_t>(std::min(a.second, b.second)));
  if (SwapsAxes(change)) SwapSides(*region.mutable_shape());
}

}  // namespace

std::string ApiName(Orientation orientation) {
  return absl::StrCat("ORIENTATION_", absl::AsciiStrToUpper(OrientationName(orientation)));
}

Orientation OrientationOf(const v1::SessionConfig& config) {
  for (const Orientation o : kAllOrientations) {
    if (v1::Orientation_Name(config.detector().orientation()) == ApiName(o)) return o;
  }
  return Orientation::kIdentity;
}

absl::Status SetOrientation(Orientation orientation, v1::SessionConfig& config) {
  v1::Detector& detector = *config.mutable_detector();
  const Orientation declared = OrientationOf(config);
  const Orientation change = Compose(Inverse(declared), orientation);
  const Shape sent{static_cast<int>(detector.frame_shape().rows()),
                   static_cast<int>(detector.frame_shape().cols())};
  if (detector.has_crop()) Move(change, OrientedShape(sent, declared), *detector.mutable_crop());
  if (SwapsAxes(change)) {
    if (detector.has_auto_centre())
      SwapSides(*detector.mutable_auto_centre()->mutable_crop_shape());
    const v1::Shape& probe = config.probe().initial().shape();
    if (probe.rows() != probe.cols()) {
      return absl::InvalidArgumentError(
          absl::StrCat("the initial probe has ", ShapeText(probe),
                       " pixels and does not fit frames whose rows and columns change places; "
                       "leave it out"));
    }
  }
  v1::Orientation value = v1::ORIENTATION_IDENTITY;
  v1::Orientation_Parse(ApiName(orientation), &value);
  detector.set_orientation(value);
  return absl::OkStatus();
}

std::vector<std::int64_t> CentralFrames(std::span<const double> y_m, std::span<const double> x_m,
                                        std::int64_t count) {
  const auto mean = [](std::span<const double> values) {
    return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  };
  const double y = mean(y_m), x = mean(x_m);
  std::vector<std::pair<double, std::int64_t>> by_distance;
  for (std::size_t k = 0; k < x_m.size(); ++k) {
    by_distance.emplace_back(std::hypot(y_m[k] - y, x_m[k] - x), static_cast<std::int64_t>(k));
  }
  std::sort(by_distance.begin(), by_distance.end());
  std::vector<std::int64_t> frames;
  for (const auto& [distance, k] : by_distance) {
    if (std::ssize(frames) == count) break;
    frames.push_back(k);
  }
  std::sort(frames.begin(), frames.end());
  return frames;
}

}  // namespace ptychoserve::cli
