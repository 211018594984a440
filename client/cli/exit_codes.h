#ifndef PTYCHOSERVE_CLIENT_CLI_EXIT_CODES_H_
#define PTYCHOSERVE_CLIENT_CLI_EXIT_CODES_H_

namespace ptychoserve::cli {

// What ptychoctl returns; part of its interface.
enum ExitCode : int {
  kExitOk = 0,
  kExitServerError = 1,    // The server refused or failed, or the network did.
  kExitBadInput = 2,       // Usage, files, or a setting that is not allowed.
  kExitSessionFailed = 3,  // The session ended as FAILED.
  kExitNotConfirmed = 4,   // What was to be confirmed was not: `ptychoctl orient`.
  kExitInterrupted = 130,  // Ctrl-C.
};

}  // namespace ptychoserve::cli

#endif  // PTYCHOSERVE_CLIENT_CLI_EXIT_CODES_H_
