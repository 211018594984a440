#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "client/cli/command.h"
#include "client/cli/output.h"
#include "client/cli/state_file.h"
#include "engine/base/status_macros.h"

namespace ptychoserve::cli {
namespace {

constexpr char kExportFooter[] = R"(
The file holds the configuration, all frames and positions as they were sent, and where the run is:
object, probe, exit waves, iteration. 'ptychoctl import' goes on from it, on any server;
'ptychoctl rerun' runs it once more from the start. The session goes on meanwhile.
A server without --state-dir keeps no input (use --no-input), and after the end of a session only
that of sessions with keep_input is there ('ptychoctl run --keep-input').
Examples:
  ptychoctl export s1 s1.state
  ptychoctl export s1 result.state --no-input)";

struct ExportOptions {
  std::string session;
  std::string path;
  bool no_input = false;
  bool no_run = false;
};

absl::Status Export(const ExportOptions& options, const Context& context) {
  PS_ASSIGN_OR_RETURN(const std::unique_ptr<client::Client> client, context.Connect());
  PS_ASSIGN_OR_RETURN(
      const std::int64_t bytes,
      SaveState(*client, options.session, {.input = !options.no_input, .run = !options.no_run},
                options.path));
  if (context.json) {
    PrintLine(Json{{"written", options.path}, {"bytes", bytes}}.dump());
  } else {
    PrintLine(absl::StrCat("wrote ", options.path, ", ", bytes, " bytes"));
  }
  return absl::OkStatus();
}

}  // namespace

void AddExport(CLI::App& app, Context& context) {
  auto options = std::make_shared<ExportOptions>();
  CLI::App* command = AddCommand(app, context, "export", "Save a session as a file", kExportFooter,
                                 [options, &context] { return Export(*options, context); });
  AddServerOption(command, context);
  command->add_option("session", options->session, "Id of the session")->required();
  command->add_option("file", options->path, "File to write")->required();
  command->add_flag("--no-input", options->no_input, "Without frames and positions");
  command->add_flag("--no-run", options->no_run, "Without object, probe and exit waves");
}

}  // namespace ptychoserve::cli
