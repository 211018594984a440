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
    client::ClientOptions options) const {
  options.security = security;
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
  constexpr char kGroup[] = "Connection";
  command
      ->add_option("--server,-s", context.server,
                   "Where ptychoserved listens, HOST:PORT or unix:PATH")
      ->capture_default_str()
      ->group(kGroup);
  client::Security& security = context.security;
  command->add_option("--token-file", security.token_file, "File whose first line says who you are")
      ->group(kGroup);
  command->add_flag("--tls", security.tls, "Encrypt; the system knows who has signed the server")
      ->group(kGroup);
  command
      ->add_option("--tls-ca", security.ca_file, "Encrypt; this file, PEM, has who has signed it")
      ->group(kGroup);
  command
      ->add_option("--tls-cert", security.cert_file,
                   "Your own certificate, PEM, where the server wants one")
      ->group(kGroup);
  command->add_option("--tls-key", security.key_file, "Its key, PEM")->group(kGroup);
  command
      ->add_option("--tls-server-name", security.server_name,
                   "Name in the server's certificate, where it is not that of --server")
      ->group(kGroup);
  command
      ->add_option("--tenant", security.tenant,
                   "Whose sessions, where your token is good for those of several")
      ->group(kGroup);
}

}  // namespace ptychoserve::cli
