#ifndef PTYCHOSERVE_CLIENT_CLI_OUTPUT_H_
#define PTYCHOSERVE_CLIENT_CLI_OUTPUT_H_

#include <string>

#include "absl/status/status.h"
#include "google/protobuf/message.h"
#include "nlohmann/json.hpp"

namespace ptychoserve::cli {

// Keys in the order in which they are written.
using Json = nlohmann::ordered_json;

// A message with its proto field names: 64-bit integers as numbers, enumerations by name, times in
// RFC 3339, bytes as their count. Unset sub-messages and optional fields are left out.
Json ToJson(const google::protobuf::Message& message);

// Marks an error as one of the input on this side: a file, a flag. OK stays OK.
absl::Status BadInput(const absl::Status& status);
// Adds to an error that the session of this name has been left on the server. OK stays OK.
absl::Status KeptSession(const absl::Status& status, const std::string& name);
// The exit code for an error: kExitBadInput for what BadInput has marked and for
// kInvalidArgument, kExitInterrupted for kCancelled, else kExitServerError.
int ExitCodeFor(const absl::Status& status);

// One line: code, message, each field that was wrong, what ran out, the hint, the session that was
// kept.
std::string ErrorLine(const absl::Status& status);
// {"error": {"code", "reason", "message", "fields", "hint", ...}}.
Json ErrorJson(const absl::Status& status);
// Writes the error where it belongs, ErrorLine to stderr and with `json` ErrorJson to stdout, and
// returns the exit code.
int ReportError(const absl::Status& status, bool json);

// One line on stdout, flushed.
void PrintLine(const std::string& line);

}  // namespace ptychoserve::cli

#endif  // PTYCHOSERVE_CLIENT_CLI_OUTPUT_H_
