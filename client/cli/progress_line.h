#ifndef PTYCHOSERVE_CLIENT_CLI_PROGRESS_LINE_H_
#define PTYCHOSERVE_CLIENT_CLI_PROGRESS_LINE_H_

#include <string>

#include "ptychoserve/v1/session.pb.h"

namespace ptychoserve::cli {

// "REFINING" of SESSION_STATE_REFINING; likewise for the other enumerations of a session.
std::string StateName(v1::SessionState state);
std::string EndOfDataName(v1::EndOfData end);
std::string CompletionName(v1::Completion completion);
bool IsFinal(v1::SessionState state);

// "0.712 0.288": the parts of the power in the modes of the probe; empty with one mode.
std::string ModePowers(const google::protobuf::RepeatedField<double>& powers);

// How far a session is: frames, active points, iteration, rate, R-factor, mode powers when there
// are several modes, state, e.g.
//   [########--------] frames 258/516 | points 240 | it 12 (8.3/s) | R 0.184 | RECONSTRUCTING
// The bar shows the frames while they arrive, then the iterations after the end of data.
// `expected_frames` and `it_ends_after` 0: not known, no bar.
std::string ProgressLine(const v1::Session& session, std::int64_t expected_frames,
                         std::int64_t it_ends_after);

}  // namespace ptychoserve::cli

#endif  // PTYCHOSERVE_CLIENT_CLI_PROGRESS_LINE_H_
