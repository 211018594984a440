#include <memory>

#include "client/cli/command.h"
#include "client/cli/output.h"
#include "client/cli/session_view.h"
#include "engine/base/status_macros.h"

namespace ptychoserve::cli {
namespace {

constexpr char kFooter[] = R"(
Examples:
  ptychoctl list
  ptychoctl list --json | jq '.sessions[].name')";

absl::Status List(const Context& context) {
  PS_ASSIGN_OR_RETURN(const std::unique_ptr<client::Client> client, context.Connect());
  PS_ASSIGN_OR_RETURN(const std::vector<v1::Session> sessions, client->ListSessions());
  if (context.json) {
    Json out;
    out["sessions"] = Json::array();
    for (const v1::Session& session : sessions) out["sessions"].push_back(ToJson(session));
    PrintLine(out.dump());
    return absl::OkStatus();
  }
  PrintLine(SessionRowHeader());
  for (const v1::Session& session : sessions) PrintLine(SessionRow(session));
  return absl::OkStatus();
}

}  // namespace

void AddList(CLI::App& app, Context& context) {
  CLI::App* command = AddCommand(app, context, "list", "Sessions on the server", kFooter,
                                 [&context] { return List(context); });
  AddServerOption(command, context);
}

}  // namespace ptychoserve::cli
