#include <memory>
#include <string>

#include "client/cli/command.h"
#include "client/cli/session_view.h"
#include "client/cli/state_file.h"
#include "engine/base/status_macros.h"

namespace ptychoserve::cli {
namespace {

constexpr char kImportFooter[] = R"(
The session goes on from where it was when it was exported; it takes further input like any other.
With --warm-start it begins anew with the object and the probe of the file.
Examples:
  ptychoctl import s1.state --session s1 --server 127.0.0.1:50052
  ptychoctl import yesterday.state --session today --warm-start)";

struct ImportOptions {
  std::string path;
  std::string session;
  bool warm_start = false;
};

absl::Status Import(const ImportOptions& options, const Context& context) {
  PS_ASSIGN_OR_RETURN(const std::unique_ptr<client::Client> client, context.Connect());
  v1::ImportStart start;
  start.set_session_id(options.session);
  start.set_mode(options.warm_start ? v1::ImportStart::MODE_WARM_START
                                    : v1::ImportStart::MODE_CONTINUE);
  PS_ASSIGN_OR_RETURN(const v1::Session session, LoadState(*client, start, options.path));
  PrintSession(session, context);
  return absl::OkStatus();
}

}  // namespace

void AddImport(CLI::App& app, Context& context) {
  auto options = std::make_shared<ImportOptions>();
  CLI::App* command =
      AddCommand(app, context, "import", "Make a session of an exported file", kImportFooter,
                 [options, &context] { return Import(*options, context); });
  AddServerOption(command, context);
  command->add_option("file", options->path, "File that 'ptychoctl export' has written")
      ->required();
  command->add_option("--session", options->session, "Id of the new session; default: made up");
  command->add_flag("--warm-start", options->warm_start,
                    "Begin anew, with the file's object and probe");
}

}  // namespace ptychoserve::cli
