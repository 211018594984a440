#include <memory>

#include "client/cli/command.h"
#include "client/cli/session_view.h"
#include "engine/base/status_macros.h"

namespace ptychoserve::cli {
namespace {

constexpr char kStopFooter[] = R"(
Examples:
  ptychoctl stop s1            after the iteration under way, with a last snapshot
  ptychoctl stop s1 --abort    at once; the last snapshot stays as it is)";

struct StopOptions {
  std::string session;
  bool abort = false;
};

absl::Status Stop(const StopOptions& options, const Context& context) {
  PS_ASSIGN_OR_RETURN(const std::unique_ptr<client::Client> client, context.Connect());
  PS_ASSIGN_OR_RETURN(
      const v1::Session session,
      client->StopSession(options.session, options.abort
                                               ? v1::StopSessionRequest::MODE_ABORT
                                               : v1::StopSessionRequest::MODE_AFTER_ITERATION));
  PrintSession(session, context);
  return absl::OkStatus();
}

}  // namespace

void AddStop(CLI::App& app, Context& context) {
  auto options = std::make_shared<StopOptions>();
  CLI::App* command =
      AddCommand(app, context, "stop", "End a session and keep its result", kStopFooter,
                 [options, &context] { return Stop(*options, context); });
  AddServerOption(command, context);
  command->add_option("session", options->session, "Id of the session")->required();
  command->add_flag("--abort", options->abort, "Do not wait for the iteration under way");
}

}  // namespace ptychoserve::cli
