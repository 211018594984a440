#include <cstdint>
#include <memory>
#include <optional>

#include "client/cli/command.h"
#include "client/cli/output.h"
#include "client/cli/session_view.h"
#include "engine/base/status_macros.h"

namespace ptychoserve::cli {
namespace {

constexpr char kUpdateFooter[] = R"(
Examples:
  ptychoctl update s1 --iterations 200
  ptychoctl update s1 --snapshot-every 1 --snapshot-interval 0)";

struct UpdateOptions {
  std::string session;
  std::optional<std::uint32_t> iterations, max_iterations;
  std::optional<std::uint32_t> snapshot_every, snapshot_interval_ms, snapshot_history;
  std::optional<bool> clear_region;
  std::optional<double> min_pixels_per_point;
};

absl::Status Update(const UpdateOptions& options, const Context& context) {
  v1::SessionConfig config;
  std::vector<std::string> paths;
  if (options.iterations) {
    config.mutable_run()->set_it_ends_after(*options.iterations);
    paths.push_back("config.run.it_ends_after");
  }
  if (options.max_iterations) {
    config.mutable_run()->set_max_iterations(*options.max_iterations);
    paths.push_back("config.run.max_iterations");
  }
  if (options.snapshot_every) {
    config.mutable_snapshots()->set_every_iterations(*options.snapshot_every);
    paths.push_back("config.snapshots.every_iterations");
  }
  if (options.snapshot_interval_ms) {
    config.mutable_snapshots()->set_min_interval_ms(*options.snapshot_interval_ms);
    paths.push_back("config.snapshots.min_interval_ms");
  }
  if (options.snapshot_history) {
    config.mutable_snapshots()->set_history(*options.snapshot_history);
    paths.push_back("config.snapshots.history");
  }
  if (options.clear_region) {
    config.mutable_clear_region()->set_enabled(*options.clear_region);
    paths.push_back("config.clear_region.enabled");
  }
  if (options.min_pixels_per_point) {
    config.mutable_clear_region()->set_min_pixels_per_point(*options.min_pixels_per_point);
    paths.push_back("config.clear_region.min_pixels_per_point");
  }
  if (paths.empty()) {
    return absl::InvalidArgumentError("update: nothing to change; see ptychoctl update --help");
  }
  PS_ASSIGN_OR_RETURN(const std::unique_ptr<client::Client> client, context.Connect());
  PS_ASSIGN_OR_RETURN(const v1::Session session,
                      client->UpdateSession(options.session, config, paths));
  PrintSession(session, context);
  return absl::OkStatus();
}

}  // namespace

void AddUpdate(CLI::App& app, Context& context) {
  auto options = std::make_shared<UpdateOptions>();
  CLI::App* command =
      AddCommand(app, context, "update", "Change a session while it runs", kUpdateFooter,
                 [options, &context] { return Update(*options, context); });
  AddServerOption(command, context);
  command->add_option("session", options->session, "Id of the session")->required();
  command->add_option("--iterations", options->iterations, "Iterations after the end of data");
  command->add_option("--max-iterations", options->max_iterations, "Cap on all; 0: none");
  command->add_option("--snapshot-every", options->snapshot_every, "Iterations between snapshots");
  command->add_option("--snapshot-interval", options->snapshot_interval_ms,
                      "Least milliseconds between snapshots");
  command->add_option("--snapshot-history", options->snapshot_history, "Snapshots kept");
  command->add_option("--clear-region", options->clear_region, "true or false");
  command->add_option("--clear-region-min-pixels", options->min_pixels_per_point,
                      "Scanned pixels per point above which it acts");
}

}  // namespace ptychoserve::cli
