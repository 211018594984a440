#ifndef PTYCHOSERVE_CLIENT_CLI_SCHEDULE_FLAG_H_
#define PTYCHOSERVE_CLIENT_CLI_SCHEDULE_FLAG_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ptychoserve/v1/config.pb.h"

namespace ptychoserve::cli {

// A schedule in short, as given to --schedule.
struct ScheduleFlag {
  std::vector<v1::Stage> stages;
  // Sum of the stages' iterations when all of them count iterations.
  std::optional<std::uint32_t> total_iterations;
};

// Stages separated by commas, each NAME, NAME+REFINED or either with :UNTIL. NAME is dm, raar, ap
// (alternating projections), ml_grad, ml_gauss, epie, epie_seq (ePIE frame after frame), rpie or
// lsqml. REFINED is pos, int, bg, var, or several with a + between. UNTIL is a number of iterations
// ("40"), a part of the run ("66%"), or "plateau"; all but the last stage need one. Errors:
// kInvalidArgument quoting the stage and saying what is allowed.
absl::StatusOr<ScheduleFlag> ParseSchedule(const std::string& text);

// What is refined, as given to --refine: pos, int, bg, var, separated by commas. Errors:
// kInvalidArgument quoting the name and saying what is allowed.
absl::StatusOr<v1::StageRefinement> ParseRefine(const std::string& text);

}  // namespace ptychoserve::cli

#endif  // PTYCHOSERVE_CLIENT_CLI_SCHEDULE_FLAG_H_
