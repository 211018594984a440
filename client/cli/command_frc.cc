#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/command.h"
#include "client/cli/output.h"
#include "client/cli/session_view.h"
#include "engine/base/status_macros.h"
#include "engine/io/cxi.h"
#include "engine/quality/frc.h"

namespace ptychoserve::cli {
namespace {

constexpr char kFrcFooter[] = R"(
Both files are results of 'ptychoctl run --out NAME.cxi', of the same sample: of halves of a scan, of
two scans, or of two ways to reconstruct one. A global factor, a phase ramp and a shift between them
are taken out; then what correlates at a frequency is what both have seen there. Results of the same
frames share their noise, too, so that they correlate more than they should.
Examples:
  ptychoctl frc even.cxi odd.cxi
  ptychoctl frc even.cxi odd.cxi --side 256 --curve)";

// Sides of the pixels of both files have to be the same to so much.
constexpr double kSamePixel = 1e-3;

struct FrcOptions {
  std::string a, b;
  int side_px = kMostComparedSide_px;
  bool curve = false;
};

PlacedObject Placed(CxiResult result) {
  PlacedObject out;
  out.canvas = {static_cast<int>(std::lround(result.origin_y_m / result.pixel_size_y_m)),
                static_cast<int>(std::lround(result.origin_x_m / result.pixel_size_x_m)),
                result.object.shape};
  out.coverage = std::move(result.coverage);
  if (out.coverage.data.empty()) {
    out.coverage = {result.object.shape,
                    std::vector<float>(static_cast<std::size_t>(result.object.shape.pixels()), 1)};
  }
  out.object = std::move(result.object);
  out.scanned = out.canvas;
  if (result.window_row.empty()) return out;
  const auto [top, bottom] =
      std::minmax_element(result.window_row.begin(), result.window_row.end());
  const auto [left, right] =
      std::minmax_element(result.window_col.begin(), result.window_col.end());
  out.scanned.row += static_cast<int>(std::lround(*top)) + MiddlePixel(result.probe.shape.rows);
  out.scanned.col += static_cast<int>(std::lround(*left)) + MiddlePixel(result.probe.shape.cols);
  out.scanned.shape = {static_cast<int>(std::lround(*bottom - *top)) + 1,
                       static_cast<int>(std::lround(*right - *left)) + 1};
  return out;
}

Json CurveJson(const RingCorrelation& rings) {
  const RingThresholds thresholds = ThresholdsOf(rings.side_px);
  return {{"side_px", rings.side_px},
          {"half_bit_of_nyquist", rings.half_bit_of_nyquist},
          {"one_bit_of_nyquist", rings.one_bit_of_nyquist},
          {"half_bit_resolution_m", rings.half_bit_resolution_m},
          {"one_bit_resolution_m", rings.one_bit_resolution_m},
          {"mean_to_half_nyquist", rings.mean_to_half_nyquist},
          {"mean_to_nyquist", rings.mean_to_nyquist},
          {"correlation", rings.correlation},
          {"half_bit_threshold", thresholds.half_bit},
          {"one_bit_threshold", thresholds.one_bit}};
}

void PrintCurve(const RingCorrelation& rings) {
  const RingThresholds thresholds = ThresholdsOf(rings.side_px);
  PrintLine("frequency/Nyquist  correlation  half-bit  1-bit");
  for (std::size_t k = 0; k < rings.correlation.size(); ++k) {
    PrintLine(
        absl::StrFormat("%17.4f  %11.4f  %8.4f  %5.3f",
                        static_cast<double>(k) / static_cast<double>(rings.correlation.size()),
                        rings.correlation[k], thresholds.half_bit[k], thresholds.one_bit[k]));
  }
}

absl::Status Frc(const FrcOptions& options, const Context& context) {
  auto a = ReadCxiResult(options.a);
  if (!a.ok()) return BadInput(a.status());
  auto b = ReadCxiResult(options.b);
  if (!b.ok()) return BadInput(b.status());
  const PixelSize pixel_size{a->pixel_size_y_m, a->pixel_size_x_m};
  const auto same = [](double x, double y) { return std::abs(x - y) <= kSamePixel * x; };
  if (!same(pixel_size.y_m, b->pixel_size_y_m) || !same(pixel_size.x_m, b->pixel_size_x_m)) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s has pixels of %.6g x %.6g m and %s of %.6g x %.6g m; they have to be the same",
        options.a, pixel_size.y_m, pixel_size.x_m, options.b, b->pixel_size_y_m,
        b->pixel_size_x_m));
  }
  const auto rings =
      Compare(Placed(*std::move(a)), Placed(*std::move(b)), pixel_size, options.side_px);
  if (!rings.ok()) return BadInput(rings.status());
  if (context.json) {
    PrintLine(CurveJson(*rings).dump());
    return absl::OkStatus();
  }
  if (options.curve) PrintCurve(*rings);
  PrintLine(DescribeRings(*rings));
  return absl::OkStatus();
}

}  // namespace

void AddFrc(CLI::App& app, Context& context) {
  auto options = std::make_shared<FrcOptions>();
  CLI::App* command =
      AddCommand(app, context, "frc", "Fourier ring correlation of two results", kFrcFooter,
                 [options, &context] { return Frc(*options, context); });
  command->add_option("a", options->a, "Result, CXI")->required();
  command->add_option("b", options->b, "Result to compare it with, CXI")->required();
  command
      ->add_option("--side", options->side_px,
                   "Compare at most so many pixels a side, in the middle of the scanned area")
      ->capture_default_str()
      ->check(CLI::Range(kLeastComparedSide_px, kMostComparedSide_px));
  command->add_flag("--curve", options->curve, "Print the correlation and its thresholds, too");
}

}  // namespace ptychoserve::cli
