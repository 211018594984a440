#include "client/cli/schedule_flag.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "engine/base/status_macros.h"

namespace ptychoserve::cli {
namespace {

constexpr char kNames[] = "dm, raar, ap, ml_grad, ml_gauss, epie, epie_seq, rpie or lsqml";
constexpr char kRefined[] =
    "pos (positions), int (intensities), bg (background) or var (the probe's variation)";
// Of the object; the probe, which every frame lights, takes the steps of ePIE.
constexpr double kRpieAlpha = 0.3;
constexpr double kPercent = 100.0;

absl::Status Error(absl::string_view stage, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("--schedule: stage \"", stage, "\": ", what));
}

bool SetAlgorithm(absl::string_view name, v1::Stage& stage) {
  if (name == "dm") {
    stage.mutable_difference_map();
  } else if (name == "raar") {
    stage.mutable_raar();
  } else if (name == "ap") {
    stage.mutable_alternating_projections();
  } else if (name == "ml_grad") {
    stage.mutable_ml_gradient()->set_likelihood(v1::LIKELIHOOD_POISSON);
  } else if (name == "ml_gauss") {
    stage.mutable_ml_gradient()->set_likelihood(v1::LIKELIHOOD_GAUSSIAN);
  } else if (name == "epie") {
    stage.mutable_epie();
  } else if (name == "epie_seq") {
    stage.mutable_epie()->set_max_batch(1);
  } else if (name == "rpie") {
    stage.mutable_epie()->set_object_alpha(kRpieAlpha);
  } else if (name == "lsqml") {
    stage.mutable_lsq_ml();
  } else {
    return false;
  }
  return true;
}

bool SetEnd(absl::string_view until, v1::Stage& stage) {
  if (until == "plateau") {
    stage.mutable_plateau();
    return true;
  }
  if (absl::ConsumeSuffix(&until, "%")) {
    double percent = 0;
    if (!absl::SimpleAtod(until, &percent) || !(percent > 0) || !(percent < kPercent)) return false;
    stage.set_fraction(percent / kPercent);
    return true;
  }
  std::uint32_t iterations = 0;
  if (!absl::SimpleAtoi(until, &iterations) || iterations == 0) return false;
  stage.set_iterations(iterations);
  return true;
}

bool SetRefined(absl::string_view name, v1::StageRefinement& refine) {
  if (name == "pos") {
    refine.set_positions(true);
  } else if (name == "int") {
    refine.set_intensities(true);
  } else if (name == "bg") {
    refine.set_background(true);
  } else if (name == "var") {
    refine.set_variation(true);
  } else {
    return false;
  }
  return true;
}

absl::StatusOr<v1::Stage> ParseStage(absl::string_view text) {
  v1::Stage stage;
  const std::vector<absl::string_view> parts = absl::StrSplit(text, absl::MaxSplits(':', 1));
  const std::vector<absl::string_view> names = absl::StrSplit(parts[0], '+');
  if (!SetAlgorithm(names[0], stage)) {
    return Error(text, absl::StrCat("the algorithm is ", kNames));
  }
  for (std::size_t k = 1; k < names.size(); ++k) {
    if (SetRefined(names[k], *stage.mutable_refine())) continue;
    return Error(text, absl::StrCat("what is refined is ", kRefined));
  }
  if (parts.size() > 1 && !SetEnd(parts[1], stage)) {
    return Error(text,
                 "after the colon comes a number of iterations >= 1, a part of the run like "
                 "66%, or plateau");
  }
  return stage;
}

}  // namespace

absl::StatusOr<v1::StageRefinement> ParseRefine(const std::string& text) {
  v1::StageRefinement refine;
  for (const absl::string_view name : absl::StrSplit(text, ',')) {
    if (SetRefined(name, refine)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("--refine: \"", name, "\"; allowed, separated by commas: ", kRefined));
  }
  return refine;
}

absl::StatusOr<ScheduleFlag> ParseSchedule(const std::string& text) {
  ScheduleFlag out;
  std::uint32_t total = 0;
  bool all_count = true;
  const std::vector<absl::string_view> parts = absl::StrSplit(text, ',');
  for (std::size_t k = 0; k < parts.size(); ++k) {
    PS_ASSIGN_OR_RETURN(v1::Stage stage, ParseStage(parts[k]));
    if (stage.until_case() == v1::Stage::UNTIL_NOT_SET && k + 1 < parts.size()) {
      return Error(parts[k], "only the last stage may be without an end, e.g. dm:40,ml_grad");
    }
    all_count = all_count && stage.until_case() == v1::Stage::kIterations;
    total += stage.iterations();
    out.stages.push_back(std::move(stage));
  }
  if (all_count) out.total_iterations = total;
  return out;
}

}  // namespace ptychoserve::cli
