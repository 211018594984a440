#include "client/cli/progress_line.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"

namespace ptychoserve::cli {
namespace {

constexpr int kBarWidth = 20;

std::string WithoutPrefix(const std::string& name, const char* prefix) {
  return std::string(absl::StripPrefix(name, prefix));
}

std::string Bar(std::int64_t done, std::int64_t of) {
  const double part = std::clamp(static_cast<double>(done) / static_cast<double>(of), 0.0, 1.0);
  const int full = static_cast<int>(std::floor(part * kBarWidth));
  return absl::StrCat("[", std::string(full, '#'), std::string(kBarWidth - full, '-'), "] ");
}

}  // namespace

std::string StateName(v1::SessionState state) {
  return WithoutPrefix(v1::SessionState_Name(state), "SESSION_STATE_");
}
std::string EndOfDataName(v1::EndOfData end) {
  return WithoutPrefix(v1::EndOfData_Name(end), "END_OF_DATA_");
}
std::string CompletionName(v1::Completion completion) {
  return WithoutPrefix(v1::Completion_Name(completion), "COMPLETION_");
}

bool IsFinal(v1::SessionState state) {
  return state == v1::SESSION_STATE_COMPLETED || state == v1::SESSION_STATE_STOPPED ||
         state == v1::SESSION_STATE_FAILED;
}

std::string ModePowers(const google::protobuf::RepeatedField<double>& powers) {
  return absl::StrJoin(powers, " ", [](std::string* out, double power) {
    absl::StrAppendFormat(out, "%.3f", power);
  });
}

std::string ProgressLine(const v1::Session& session, std::int64_t expected_frames,
                         std::int64_t it_ends_after) {
  std::string line;
  const bool halves = session.has_split_halves() && !IsFinal(session.state());
  const bool refining = session.end_of_data() != v1::END_OF_DATA_UNSPECIFIED;
  if (halves) {
    line = Bar(session.split_halves().iterations(), session.split_halves().iterations_planned());
  } else if (refining && it_ends_after > 0) {
    line = Bar(session.iterations_after_end(), it_ends_after);
  } else if (!refining && expected_frames > 0) {
    line = Bar(session.frames().accepted(), expected_frames);
  }
  absl::StrAppend(&line, "frames ", session.frames().accepted());
  if (expected_frames > 0) absl::StrAppend(&line, "/", expected_frames);
  absl::StrAppend(&line, " | points ", session.active_points());
  absl::StrAppendFormat(&line, " | it %d (%.1f/s)", session.iteration(),
                        session.iterations_per_second());
  if (session.has_metrics()) {
    absl::StrAppendFormat(&line, " | R %.4f", session.metrics().r_factor());
    if (session.metrics().has_evaluation()) {
      absl::StrAppendFormat(&line, " | NLL %.3g",
                            session.metrics().evaluation().fit().poisson_nll());
    }
    if (session.metrics().mode_powers_size() > 0) {
      absl::StrAppend(&line, " | modes ", ModePowers(session.metrics().mode_powers()));
    }
    if (session.metrics().object_mode_powers_size() > 0) {
      absl::StrAppend(&line, " | object modes ",
                      ModePowers(session.metrics().object_mode_powers()));
    }
    if (session.metrics().has_refinement()) {
      absl::StrAppendFormat(&line, " | shifts %.2f px",
                            session.metrics().refinement().shift_rms_px());
    }
  }
  if (halves) {
    absl::StrAppend(&line, " | halves ", session.split_halves().iterations(), "/",
                    session.split_halves().iterations_planned());
  }
  absl::StrAppend(&line, " | ", StateName(session.state()));
  return line;
}

}  // namespace ptychoserve::cli
