#ifndef PTYCHOSERVE_CLIENT_CLI_COMMAND_H_
#define PTYCHOSERVE_CLIENT_CLI_COMMAND_H_

#include <functional>
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cpp/client.h"

namespace ptychoserve::cli {

// $PTYCHOSERVE_SERVER, else this machine. Not left to CLI11, which would let the environment
// replace what one command was given on behalf of the other commands.
std::string DefaultServer();

// What every command has.
struct Context {
  std::string server = DefaultServer();
  client::Security security = client::Security::FromEnvironment();
  bool json = false;
  int exit_code = 0;

  // To `server`.
  absl::StatusOr<std::unique_ptr<client::Client>> Connect(client::ClientOptions options = {}) const;
};

// Adds a subcommand that runs `body`; its error is reported and sets the exit code. A body that
// has an exit code of its own sets context.exit_code and returns OK.
CLI::App* AddCommand(CLI::App& app, Context& context, const std::string& name,
                     const std::string& description, const std::string& footer,
                     std::function<absl::Status()> body);
// --server and those of TLS and token, for commands that talk to one.
void AddServerOption(CLI::App* command, Context& context);

// One per file, command_NAME.cc.
void AddSimulate(CLI::App& app, Context& context);
void AddRun(CLI::App& app, Context& context);
void AddCreate(CLI::App& app, Context& context);
void AddStream(CLI::App& app, Context& context);
void AddWatch(CLI::App& app, Context& context);
void AddSnapshot(CLI::App& app, Context& context);
void AddFrame(CLI::App& app, Context& context);
void AddList(CLI::App& app, Context& context);
void AddGet(CLI::App& app, Context& context);
void AddFinish(CLI::App& app, Context& context);
void AddStop(CLI::App& app, Context& context);
void AddDelete(CLI::App& app, Context& context);
void AddUpdate(CLI::App& app, Context& context);
void AddExport(CLI::App& app, Context& context);
void AddImport(CLI::App& app, Context& context);
void AddRerun(CLI::App& app, Context& context);
void AddOrient(CLI::App& app, Context& context);
void AddFrc(CLI::App& app, Context& context);
void AddInfo(CLI::App& app, Context& context);
void AddToken(CLI::App& app, Context& context);
void AddExternals(CLI::App& app, Context& context);

}  // namespace ptychoserve::cli

#endif  // PTYCHOSERVE_CLIENT_CLI_COMMAND_H_
