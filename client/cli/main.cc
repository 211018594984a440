#include <grpc/support/log.h>

#include <cstdlib>
#include <exception>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "client/cli/command.h"
#include "client/cli/exit_codes.h"
#include "client/cli/output.h"
#include "engine/base/version.h"

namespace {

constexpr char kDescription[] =
    "ptychoctl: drives ptychoserved, the service that reconstructs ptychography scans while they "
    "are measured.";

constexpr char kFooter[] = R"(
Examples:
  ptychoctl simulate scan.cxi                    make a scan of a known object
  ptychoctl run scan.cxi --out result.cxi        stream it, watch it, fetch the result
  ptychoctl list                                 sessions on the server
  ptychoctl COMMAND --help                       everything about a command

Exit codes:
  0    done
  1    the server refused or failed, or the network did
  2    wrong usage, a bad file, or a setting that is not allowed
  3    the session has failed
  4    the orientation was not confirmed (orient)
  130  interrupted by Ctrl-C

Environment:
  PTYCHOSERVE_SERVER           HOST:PORT of the server, instead of --server
  PTYCHOSERVE_TOKEN_FILE       instead of --token-file; PTYCHOSERVE_TOKEN has the token itself
  PTYCHOSERVE_TLS=1            instead of --tls
  PTYCHOSERVE_TLS_CA, PTYCHOSERVE_TLS_CERT, PTYCHOSERVE_TLS_KEY, PTYCHOSERVE_TLS_SERVER_NAME
                               instead of --tls-ca, --tls-cert, --tls-key, --tls-server-name
  PTYCHOSERVE_TENANT           instead of --tenant)";

// CLI11 writes its own help and errors; with --json on the command line, errors are JSON, too.
int ReportParseError(const CLI::App& app, const CLI::ParseError& error, bool json) {
  if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) return app.exit(error);
  const absl::Status status =
      absl::InvalidArgumentError(absl::StrCat(error.what(), "; see ptychoctl --help"));
  return ptychoserve::cli::ReportError(status, json);
}

}  // namespace

int main(int argc, char** argv) {
  namespace cli = ptychoserve::cli;
  // The errors have its reasons; with the variable, its own lines are there as well.
  if (std::getenv("GRPC_VERBOSITY") == nullptr) gpr_set_log_function([](gpr_log_func_args*) {});
  cli::Context context;
  try {
    CLI::App app(kDescription, "ptychoctl");
    app.footer(kFooter);
    app.set_version_flag("--version", std::string(ptychoserve::kVersion));
    app.require_subcommand(1);
    cli::AddSimulate(app, context);
    cli::AddRun(app, context);
    cli::AddCreate(app, context);
    cli::AddStream(app, context);
    cli::AddWatch(app, context);
    cli::AddSnapshot(app, context);
    cli::AddFrame(app, context);
    cli::AddList(app, context);
    cli::AddGet(app, context);
    cli::AddFinish(app, context);
    cli::AddStop(app, context);
    cli::AddDelete(app, context);
    cli::AddUpdate(app, context);
    cli::AddExport(app, context);
    cli::AddImport(app, context);
    cli::AddRerun(app, context);
    cli::AddOrient(app, context);
    cli::AddFrc(app, context);
    cli::AddInfo(app, context);
    cli::AddToken(app, context);
    cli::AddExternals(app, context);
    try {
      app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
      bool json = false;
      for (int k = 1; k < argc; ++k) json = json || std::string(argv[k]) == "--json";
      return ReportParseError(app, error, json);
    }
  } catch (const std::exception& error) {
    return cli::ReportError(absl::InternalError(error.what()), context.json);
  }
  return context.exit_code;
}
