#include <memory>

#include "client/cli/command.h"
#include "client/cli/output.h"
#include "client/cli/scan_file.h"
#include "client/cli/session_flags.h"
#include "client/cli/session_view.h"
#include "engine/base/status_macros.h"

namespace ptychoserve::cli {
namespace {

constexpr char kCreateFooter[] = R"(
Examples:
  ptychoctl create --session s1 --scan scan.cxi --schedule dm:40,ml_grad
  ptychoctl create --session s1 --config session.textproto
  ptychoctl create --scan scan.cxi --dry-run --json      the effective configuration)";

struct CreateOptions {
  SessionFlags session;
  std::string scan_path;
  bool dry_run = false;
};

absl::Status Create(const CreateOptions& options, const Context& context) {
  std::unique_ptr<CxiScanReader> scan;
  if (!options.scan_path.empty()) {
    PS_ASSIGN_OR_RETURN(scan, OpenScan(options.scan_path, options.session));
  } else if (options.session.config_file.empty()) {
    return absl::InvalidArgumentError("create: --scan or --config must be given");
  }
  PS_ASSIGN_OR_RETURN(const v1::SessionConfig config,
                      BuildConfig(options.session, scan ? &scan->info() : nullptr));
  PS_ASSIGN_OR_RETURN(const std::unique_ptr<client::Client> client, context.Connect());
  PS_ASSIGN_OR_RETURN(const v1::Session session,
                      client->CreateSession(options.session.session_id, config, options.dry_run));
  PrintSession(session, context);
  return absl::OkStatus();
}

}  // namespace

void AddCreate(CLI::App& app, Context& context) {
  auto options = std::make_shared<CreateOptions>();
  CLI::App* command = AddCommand(app, context, "create", "Create a session", kCreateFooter,
                                 [options, &context] { return Create(*options, context); });
  AddServerOption(command, context);
  command->add_option("--scan", options->scan_path,
                      "CXI scan from which optics, frame shape, mask and range are taken");
  command->add_flag("--dry-run", options->dry_run, "Check and plan only");
  AddSessionFlags(command, options->session);
}

}  // namespace ptychoserve::cli
