#include <chrono>
#include <memory>

#include "absl/strings/str_cat.h"
#include "client/cli/command.h"
#include "client/cli/output.h"
#include "client/cli/result_files.h"
#include "engine/base/status_macros.h"

namespace ptychoserve::cli {
namespace {

constexpr char kSnapshotFooter[] = R"(
Examples:
  ptychoctl snapshot s1 --out now.png
  ptychoctl snapshot s1 --out now.npz --out now.cxi
  ptychoctl snapshot s1 --newer-than 12 --wait 5000 --json     the header only)";

struct SnapshotOptions {
  std::string session;
  std::vector<std::string> outputs;
  std::int64_t newer_than = 0;
  int wait_ms = 0;
};

absl::Status Fetch(const SnapshotOptions& options, const Context& context) {
  for (const std::string& path : options.outputs) PS_RETURN_IF_ERROR(CheckResultPath(path));
  PS_ASSIGN_OR_RETURN(const std::unique_ptr<client::Client> client, context.Connect());
  PS_ASSIGN_OR_RETURN(const client::Snapshot snapshot,
                      client->GetSnapshot(options.session, FullSelection(), options.newer_than,
                                          std::chrono::milliseconds(options.wait_ms)));
  PS_ASSIGN_OR_RETURN(const v1::Session session, client->GetSession(options.session));
  const v1::SnapshotHeader& header = snapshot.header;
  if (header.version() == 0) {
    return absl::NotFoundError(
        absl::StrCat(session.name(), " has no snapshot yet (hint: --wait MILLISECONDS)"));
  }
  if (!header.unchanged()) {
    for (const std::string& path : options.outputs) {
      PS_RETURN_IF_ERROR(BadInput(WriteResult(path, snapshot, session, nullptr)));
    }
  }
  if (context.json) {
    Json out = ToJson(header);
    out["written"] = header.unchanged() ? std::vector<std::string>() : options.outputs;
    PrintLine(out.dump());
    return absl::OkStatus();
  }
  PrintLine(absl::StrCat("version ", header.version(), ", iteration ", header.iteration(),
                         header.unchanged() ? ", unchanged" : "", header.final() ? ", final" : "",
                         ", R ", header.metrics().r_factor()));
  for (const std::string& path : options.outputs) {
    if (!header.unchanged()) PrintLine("wrote " + path);
  }
  return absl::OkStatus();
}

}  // namespace

void AddSnapshot(CLI::App& app, Context& context) {
  auto options = std::make_shared<SnapshotOptions>();
  CLI::App* command =
      AddCommand(app, context, "snapshot", "Fetch object and probe as they are now",
                 kSnapshotFooter, [options, &context] { return Fetch(*options, context); });
  AddServerOption(command, context);
  command->add_option("session", options->session, "Id of the session")->required();
  command->add_option("--out,-o", options->outputs,
                      "File to write: .npz, .cxi or .png; repeatable");
  command->add_option("--newer-than", options->newer_than, "Nothing when no version is newer");
  command->add_option("--wait", options->wait_ms, "Milliseconds to wait for a newer one")
      ->check(CLI::Range(0, 60'000));
}

}  // namespace ptychoserve::cli
