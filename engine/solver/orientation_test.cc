#include "engine/solver/orientation_test.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/backend/window_area.h"
#include "engine/base/status_macros.h"
#include "engine/scan/orientation.h"
#include "engine/scan/orientation_class.h"
#include "engine/solver/trial.h"

namespace ptychoserve {
namespace {

constexpr int kOrientationTrialIterations = 10;
// Those of wrong orientations differ by 1 or 2 %, and lie 12 % above the right one and more.
constexpr double kClearMargin = 0.05;

// `points` where they would be with frames of another orientation, seen with these frames.
std::vector<PointWindow> TurnedPoints(std::span<const PointWindow> points, Orientation change,
                                      PixelSize pixel_size) {
  const Orientation back = Inverse(change);
  std::vector<PointWindow> turned(points.begin(), points.end());
  for (PointWindow& p : turned) {
    const auto [y_m, x_m] =
        OrientedStep((static_cast<double>(p.row) + p.frac_row) * pixel_size.y_m,
                     (static_cast<double>(p.col) + p.frac_col) * pixel_size.x_m, back);
    const double row = y_m / pixel_size.y_m, col = x_m / pixel_size.x_m;
    p.row = static_cast<std::int32_t>(std::floor(row));
    p.col = static_cast<std::int32_t>(std::floor(col));
    p.frac_row = static_cast<float>(row - p.row);
    p.frac_col = static_cast<float>(col - p.col);
  }
  return turned;
}

}  // namespace

bool IsClear(const OrientationRanking& ranking) { return ranking.margin() >= kClearMargin; }

bool IsConfirmed(const OrientationRanking& ranking) {
  return IsClear(ranking) && ranking.declared_is_best(kClearMargin);
}

std::string OrientationWarning(const OrientationRanking& ranking) {
  const OrientationTrial& best = ranking.best();
  std::string text = absl::StrFormat(
      "%d neighbouring frames are explained better when they lie otherwise than declared: R is "
      "%.3f with detector.orientation %s",
      ranking.points, best.r_factor, OrientationName(best.orientation));
  if (best.twin == ranking.declared) {
    absl::StrAppend(&text, ", or with the other sign of the phases of probe.initial");
  } else if (best.twin) {
    absl::StrAppend(&text, " or its twin, ", OrientationName(*best.twin));
  }
  if (!best.instead.empty()) absl::StrAppend(&text, ", or with ", best.instead);
  absl::StrAppendFormat(&text, "; with %s, as declared, it is %.3f",
                        OrientationName(ranking.declared), ranking.own().r_factor);
  return text;
}

OrientationTest::OrientationTest(Orientation declared, std::span<const PointWindow> points,
                                 Start start)
    : declared_(declared), start_(std::move(start)) {
  const std::vector<PointWindow> central = CentralPoints(points, kOrientationPoints);
  const auto add = [&](Orientation orientation, Orientation twin, absl::string_view instead) {
    const Orientation change = Compose(Inverse(declared_), orientation);
    Candidate& candidate = candidates_.emplace_back();
    candidate.trial.orientation = orientation;
    if (start_.twins) candidate.trial.twin = twin;
    candidate.trial.instead = std::string(instead);
    candidate.points = TurnedPoints(central, change, start_.pixel_size);
  };
  for (const OrientationClass& c : OrientationClasses(declared_)) {
    add(c.orientation, c.twin, c.instead);
    if (start_.each) add(c.twin, c.orientation, c.twin_instead);
  }
}

std::int64_t OrientationTest::canvas_pixels() const {
  std::int64_t most = 0;
  for (const Candidate& c : candidates_) {
    most = std::max(most, AreaOfWindows(c.points, start_.probe.shape).shape.pixels());
  }
  return most;
}

std::int64_t OrientationTest::frame_iterations() const {
  std::int64_t sum = 0;
  for (const Candidate& c : candidates_) {
    const std::int64_t iterations =
        start_.mean_amplitude ? SearchFor(c).iterations() : kOrientationTrialIterations;
    sum += iterations * std::ssize(c.points);
  }
  return sum;
}

DefocusSearch OrientationTest::SearchFor(const Candidate& candidate) const {
  return {*start_.mean_amplitude, start_.probe.modes, candidate.points, start_.wavelength_m,
          start_.pixel_size};
}

absl::Status OrientationTest::Try(Backend& backend) {
  Candidate& candidate = candidates_[next_];
  if (!start_.mean_amplitude) {
    PS_ASSIGN_OR_RETURN(
        candidate.trial.r_factor,
        TrialRFactor(start_.probe, candidate.points, kOrientationTrialIterations, backend));
    ++next_;
    return absl::OkStatus();
  }
  if (!search_) search_.emplace(SearchFor(candidate));
  PS_RETURN_IF_ERROR(search_->Try(backend));
  if (!search_->done()) return absl::OkStatus();
  candidate.trial.r_factor = search_->r_factor();
  search_.reset();
  ++next_;
  return absl::OkStatus();
}

OrientationRanking OrientationTest::ranking() const {
  OrientationRanking ranking;
  ranking.declared = declared_;
  ranking.points = static_cast<std::int64_t>(candidates_[0].points.size());
  for (const Candidate& c : candidates_) ranking.trials.push_back(c.trial);
  std::ranges::stable_sort(ranking.trials, {}, &OrientationTrial::r_factor);
  return ranking;
}

}  // namespace ptychoserve
