#ifndef PTYCHOSERVE_CLIENT_CLI_STATE_FILE_H_
#define PTYCHOSERVE_CLIENT_CLI_STATE_FILE_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cpp/client.h"
#include "ptychoserve/v1/config.pb.h"
#include "ptychoserve/v1/state.pb.h"

namespace ptychoserve::cli {

// Writes a session's state to `path`, whole or not at all. Returns its bytes.
// Errors: those of ExportState; bad input when the file cannot be written.
absl::StatusOr<std::int64_t> SaveState(client::Client& client, const std::string& session,
                                       const client::ExportOptions& options,
                                       const std::string& path);

// A new session from the file. Errors: those of ImportState; bad input when it cannot be read.
absl::StatusOr<v1::Session> LoadState(client::Client& client, const v1::ImportStart& start,
                                      const std::string& path);

// The configuration in a state file. Errors: bad input.
absl::StatusOr<v1::SessionConfig> ConfigOfState(const std::string& path);

}  // namespace ptychoserve::cli

#endif  // PTYCHOSERVE_CLIENT_CLI_STATE_FILE_H_
