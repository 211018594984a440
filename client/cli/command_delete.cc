#include <memory>

#include "client/cli/command.h"
#include "client/cli/output.h"
#include "engine/base/status_macros.h"

namespace ptychoserve::cli {
namespace {

constexpr char kDeleteFooter[] = R"(
Examples:
  ptychoctl delete s1
  ptychoctl delete s1 --force    even if it has not ended)";

struct DeleteOptions {
  std::string session;
  bool force = false;
};

absl::Status Delete(const DeleteOptions& options, const Context& context) {
  PS_ASSIGN_OR_RETURN(const std::unique_ptr<client::Client> client, context.Connect());
  PS_RETURN_IF_ERROR(client->DeleteSession(options.session, options.force));
  const std::string name = client::SessionName(options.session);
  PrintLine(context.json ? Json({{"deleted", name}}).dump() : "deleted " + name);
  return absl::OkStatus();
}

}  // namespace

void AddDelete(CLI::App& app, Context& context) {
  auto options = std::make_shared<DeleteOptions>();
  CLI::App* command =
      AddCommand(app, context, "delete", "Forget a session and free its memory", kDeleteFooter,
                 [options, &context] { return Delete(*options, context); });
  AddServerOption(command, context);
  command->add_option("session", options->session, "Id of the session")->required();
  command->add_flag("--force", options->force, "Also when the session has not ended");
}

}  // namespace ptychoserve::cli
