#include "client/cli/session_view.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "client/cli/output.h"
#include "client/cli/progress_line.h"

namespace ptychoserve::cli {
namespace {

constexpr char kRowFormat[] = "%-24s %-15s %8s %8s %8s %8s  %s";

std::string CountersLine(const char* what, const v1::IngestCounters& counters) {
  std::string line = absl::StrFormat("  %-10s %d received, %d accepted", what, counters.received(),
                                     counters.accepted());
  for (const v1::Rejection& r : counters.rejections()) {
    absl::StrAppend(&line, ", ", DescribeRejection(r));
  }
  return line + "\n";
}

}  // namespace

std::string DescribeLoss(const v1::Session& session) {
  if (session.durability() != v1::DURABILITY_LOST) return "";
  return absl::StrCat("not all of it is on the server's disk, as a restart would show: ",
                      session.durability_failure());
}

std::string DescribeDefocus(double probe_defocus_m) {
  if (probe_defocus_m == 0) return "made from the data, in focus on the sample";
  return absl::StrFormat("made from the data, %.3g m %s of its focus", std::abs(probe_defocus_m),
                         probe_defocus_m > 0 ? "downstream" : "upstream");
}

std::string DescribeFit(const v1::FitMetrics& fit) {
  return absl::StrFormat("R %.4f, Gaussian %.4f, Poisson NLL %.4f", fit.r_factor(), fit.gaussian(),
                         fit.poisson_nll());
}

std::string DescribeRejection(const v1::Rejection& rejection) {
  const std::string reason(
      absl::StripPrefix(v1::RejectReason_Name(rejection.reason()), "REJECT_REASON_"));
  return absl::StrCat(rejection.count(), " ", reason, " (first: frame ", rejection.first_frame_id(),
                      rejection.detail().empty() ? "" : ", ", rejection.detail(), ")");
}

std::string DescribeRings(const RingCorrelation& rings) {
  return absl::StrFormat(
      "half-bit %.3f of Nyquist (%.3g m), 1-bit %.3f (%.3g m), mean %.3f to half of Nyquist, %.3f "
      "to "
      "all of it, on %d x %d pixels",
      rings.half_bit_of_nyquist, rings.half_bit_resolution_m, rings.one_bit_of_nyquist,
      rings.one_bit_resolution_m, rings.mean_to_half_nyquist, rings.mean_to_nyquist, rings.side_px,
      rings.side_px);
}

std::string DescribeRings(const v1::RingCorrelation& rings) {
  return DescribeRings({.side_px = static_cast<int>(rings.side_px()),
                        .correlation = {},
                        .half_bit_of_nyquist = rings.half_bit_of_nyquist(),
                        .one_bit_of_nyquist = rings.one_bit_of_nyquist(),
                        .half_bit_resolution_m = rings.half_bit_resolution_m(),
                        .one_bit_resolution_m = rings.one_bit_resolution_m(),
                        .mean_to_half_nyquist = rings.mean_to_half_nyquist(),
                        .mean_to_nyquist = rings.mean_to_nyquist()});
}

std::string DescribeRefinement(const v1::RefinementMetrics& refined) {
  constexpr double kPercent = 100, kMilli = 1e3;
  std::string text = absl::StrFormat(
      "shifts %.3f px rms, %d at the limit; scale y %+.2f %%, x %+.2f %%, rotation %+.2f mrad, "
      "shear %+.2f mrad; intensities %.2f %% rms; background %.4g counts a frame",
      refined.shift_rms_px(), refined.positions_at_limit(), kPercent * refined.scale_y(),
      kPercent * refined.scale_x(), kMilli * refined.rotation_rad(), kMilli * refined.shear_rad(),
      kPercent * refined.intensity_rms(), refined.background_counts());
  for (int k = 0; k < refined.variation_powers_size(); ++k) {
    absl::StrAppendFormat(&text, "%s%.3g %%", k == 0 ? "; variation of the probe " : " + ",
                          kPercent * refined.variation_powers(k));
  }
  if (refined.variation_powers_size() > 0) {
    absl::StrAppendFormat(&text, " of its power, %d at the limit", refined.variations_at_limit());
  }
  return text;
}

std::string DescribeSession(const v1::Session& session) {
  std::string out = absl::StrCat(session.name(), "  ", StateName(session.state()));
  if (session.completion() != v1::COMPLETION_UNSPECIFIED) {
    absl::StrAppend(&out, " by ", CompletionName(session.completion()));
  }
  if (session.end_of_data() != v1::END_OF_DATA_UNSPECIFIED) {
    absl::StrAppend(&out, ", data ended by ", EndOfDataName(session.end_of_data()));
  }
  absl::StrAppend(&out, session.partial() ? ", partial\n" : "\n");
  if (!session.failure().empty()) absl::StrAppend(&out, "  failure    ", session.failure(), "\n");
  if (const std::string lost = DescribeLoss(session); !lost.empty()) {
    absl::StrAppend(&out, "  NOT SAFE   ", lost, "\n");
  }
  absl::StrAppend(&out, CountersLine("frames", session.frames()));
  absl::StrAppend(&out, CountersLine("positions", session.positions()));
  absl::StrAppendFormat(&out, "  points     %d joined, %d active", session.joined_points(),
                        session.active_points());
  if (session.held_out_points() > 0) {
    absl::StrAppendFormat(&out, ", %d held out", session.held_out_points());
  }
  absl::StrAppend(&out, "\n");
  absl::StrAppendFormat(&out, "  iterations %d, %d after the end of data, %.1f/s\n",
                        session.iteration(), session.iterations_after_end(),
                        session.iterations_per_second());
  if (session.has_probe_defocus_m()) {
    absl::StrAppend(&out, "  probe      ", DescribeDefocus(session.probe_defocus_m()), "\n");
  }
  if (session.has_metrics()) {
    const v1::IterationMetrics& m = session.metrics();
    absl::StrAppendFormat(&out, "  metrics    R %.4f, Fourier error %.4f, object change %.2e\n",
                          m.r_factor(), m.fourier_error(), m.object_change());
    if (m.mode_powers_size() > 0) {
      absl::StrAppend(&out, "  modes      ", ModePowers(m.mode_powers()), " of the power\n");
    }
    if (m.object_mode_powers_size() > 0) {
      absl::StrAppend(&out, "  of object  ", ModePowers(m.object_mode_powers()), " of the power\n");
    }
    if (m.has_refinement()) {
      absl::StrAppend(&out, "  refined    ", DescribeRefinement(m.refinement()), "\n");
    }
  }
  if (session.has_final_fit()) {
    absl::StrAppend(&out, "  final fit  ", DescribeFit(session.final_fit()), "\n");
  } else if (session.metrics().has_evaluation()) {
    absl::StrAppend(&out, "  fit        ", DescribeFit(session.metrics().evaluation().fit()),
                    ", after iteration ", session.metrics().evaluation().iteration(), "\n");
  }
  if (session.metrics().evaluation().has_held_out()) {
    absl::StrAppend(&out, "  held out   ", DescribeFit(session.metrics().evaluation().held_out()),
                    "\n");
  }
  if (session.has_split_halves()) {
    const v1::SplitHalves& halves = session.split_halves();
    absl::StrAppend(
        &out, "  halves     ",
        halves.has_ring_correlation()
            ? DescribeRings(halves.ring_correlation())
            : absl::StrCat(halves.iterations(), " of ", halves.iterations_planned(), " iterations"),
        "\n");
  }
  if (session.has_orientation_test()) {
    absl::StrAppend(&out, "  lies as    ", OrientationVerdict(session.orientation_test()), "\n");
  }
  absl::StrAppendFormat(&out, "  snapshot   version %d, pixel %.3g x %.3g m\n",
                        session.snapshot_version(), session.pixel_size_y_m(),
                        session.pixel_size_x_m());
  absl::StrAppendFormat(&out, "  device     %s, %.1f MiB", session.device(),
                        static_cast<double>(session.device_bytes()) / (1 << 20));
  for (const std::string& warning : session.warnings()) {
    absl::StrAppend(&out, "\n  warning    ", warning);
  }
  return out;
}

std::string OrientationVerdict(const v1::OrientationTest& test) {
  if (test.trials().empty()) return "";
  const v1::OrientationTrial& best = test.trials(0);
  const std::string declared = v1::Orientation_Name(test.declared());
  if (!test.clear()) {
    return absl::StrFormat("no clear answer from %d frames: the second R is %.1f %% above the best",
                           test.points(), 100 * test.margin());
  }
  if (test.confirmed()) {
    return absl::StrFormat("%s confirmed by %d frames: the next R is %.1f %% above", declared,
                           test.points(), 100 * test.margin());
  }
  return absl::StrFormat("%d frames are better explained with %s%s than with %s, as declared",
                         test.points(), v1::Orientation_Name(best.orientation()),
                         best.instead().empty() ? "" : absl::StrCat(", or ", best.instead()),
                         declared);
}

std::string DescribeOrientationTest(const v1::OrientationTest& test) {
  constexpr char kRow[] = "%-26s %-26s %8s  %s\n";
  std::string out =
      absl::StrFormat(kRow, "ORIENTATION", "ITS TWIN", "R", "OR, WITH THE DECLARED ONE");
  for (const v1::OrientationTrial& trial : test.trials()) {
    absl::StrAppendFormat(&out, kRow, v1::Orientation_Name(trial.orientation()),
                          trial.has_twin() ? v1::Orientation_Name(trial.twin()) : "none",
                          absl::StrFormat("%.4f", trial.r_factor()),
                          trial.orientation() == test.declared() ? "(declared)" : trial.instead());
  }
  return out + OrientationVerdict(test);
}

std::string SessionRow(const v1::Session& session) {
  return absl::StrFormat(
      kRowFormat, std::string(absl::StripPrefix(session.name(), "sessions/")),
      StateName(session.state()), absl::StrCat(session.frames().accepted()),
      absl::StrCat(session.active_points()), absl::StrCat(session.iteration()),
      session.has_metrics() ? absl::StrFormat("%.4f", session.metrics().r_factor()) : "-",
      session.device());
}

std::string SessionRowHeader() {
  return absl::StrFormat(kRowFormat, "SESSION", "STATE", "FRAMES", "POINTS", "ITER", "R", "DEVICE");
}

void PrintSession(const v1::Session& session, const Context& context) {
  PrintLine(context.json ? ToJson(session).dump() : DescribeSession(session));
}

}  // namespace ptychoserve::cli
