#include <memory>

#include "client/cli/command.h"
#include "client/cli/session_view.h"
#include "engine/base/status_macros.h"

namespace ptychoserve::cli {
namespace {

constexpr char kGetFooter[] = R"(
Example:
  ptychoctl get s1)";

absl::Status Get(const std::string& id, const Context& context) {
  PS_ASSIGN_OR_RETURN(const std::unique_ptr<client::Client> client, context.Connect());
  PS_ASSIGN_OR_RETURN(const v1::Session session, client->GetSession(id));
  PrintSession(session, context);
  return absl::OkStatus();
}

}  // namespace

void AddGet(CLI::App& app, Context& context) {
  auto id = std::make_shared<std::string>();
  CLI::App* command =
      AddCommand(app, context, "get",
                 "State, counters and metrics of a session; with --json its configuration, too",
                 kGetFooter, [id, &context] { return Get(*id, context); });
  AddServerOption(command, context);
  command->add_option("session", *id, "Id of the session")->required();
}

}  // namespace ptychoserve::cli
