#include <memory>

#include "client/cli/command.h"
#include "client/cli/session_view.h"
#include "engine/base/status_macros.h"

namespace ptychoserve::cli {
namespace {

constexpr char kFinishFooter[] = R"(
Example:
  ptychoctl finish s1)";

absl::Status Finish(const std::string& id, const Context& context) {
  PS_ASSIGN_OR_RETURN(const std::unique_ptr<client::Client> client, context.Connect());
  PS_ASSIGN_OR_RETURN(const v1::Session session, client->FinishScan(id));
  PrintSession(session, context);
  return absl::OkStatus();
}

}  // namespace

void AddFinish(CLI::App& app, Context& context) {
  auto id = std::make_shared<std::string>();
  CLI::App* command = AddCommand(app, context, "finish", "Declare the end of data of a session",
                                 kFinishFooter, [id, &context] { return Finish(*id, context); });
  AddServerOption(command, context);
  command->add_option("session", *id, "Id of the session")->required();
}

}  // namespace ptychoserve::cli
