#include "client/cli/command.h"

#include <cstdlib>
#include <utility>

#include "client/cli/output.h"

namespace ptychoserve::cli {

std::string DefaultServer() {
  const char* server = std::getenv("PTYCHOSERVE_SERVER");
  return server != nullptr && *server != '\0' ? server : "127.0.0.1:50051";
}

absl::StatusOr<std::unique_ptr<client::Client>> Context::Connect(
    const client::ClientOptions& options) const {
  return client::Client::Connect(server, options);
}

CLI::App* AddCommand(CLI::App& app, Context& context, const std::string& name,
                     const std::string& description, const std::string& footer,
                     std::function<absl::Status()> body) {
  CLI::App* command = app.add_subcommand(name, description);
  command->footer(footer);
  command->add_flag("--json", context.json,
                    "Machine-readable output on stdout: one JSON object, or one a line");
  command->callback([&context, body = std::move(body)] {
    const absl::Status status = body();
    if (!status.ok()) context.exit_code = ReportError(status, context.json);
  });
  return command;
}

void AddServerOption(CLI::App* command, Context& context) {
  command->add_option("--server,-s", context.server, "Where ptychoserved listens, HOST:PORT")
      ->capture_default_str();
}

}  // namespace ptychoserve::cli
