#ifndef PTYCHOSERVE_CLIENT_CLI_RUN_SCAN_H_
#define PTYCHOSERVE_CLIENT_CLI_RUN_SCAN_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "client/cli/command.h"
#include "client/cli/fault_plan.h"
#include "client/cli/feeder.h"
#include "client/cli/session_flags.h"

namespace ptychoserve::cli {

// What `ptychoctl run` was asked for.
struct RunOptions {
  std::string scan_path;
  SessionFlags session;
  FeedOptions feed;
  FaultOptions faults;
  bool declare_dropped = false;  // The frames that are dropped are declared lost.
  int chunks = 1;
  std::int64_t iterations_between = 0;
  std::vector<std::string> outputs;
  std::string pictures;  // Directory.
  bool keep = false;
  bool quiet = false;
  int poll_ms = 0;
};

// Creates a session for a scan file, streams it, waits for the end, writes the results. Sets
// context.exit_code when the session failed or Ctrl-C was pressed.
absl::Status RunScan(const RunOptions& options, Context& context);

}  // namespace ptychoserve::cli

#endif  // PTYCHOSERVE_CLIENT_CLI_RUN_SCAN_H_
