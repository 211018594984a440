#include <memory>

#include "absl/strings/str_format.h"
#include "client/cli/command.h"
#include "client/cli/output.h"
#include "engine/base/status_macros.h"

namespace ptychoserve::cli {
namespace {

constexpr char kInfoFooter[] = R"(
Example:
  ptychoctl info --server beamline:50051)";

constexpr double kMebi = 1 << 20;

absl::Status Info(const Context& context) {
  PS_ASSIGN_OR_RETURN(const std::unique_ptr<client::Client> client, context.Connect());
  PS_ASSIGN_OR_RETURN(const v1::ServerInfo info, client->GetServerInfo());
  if (context.json) {
    PrintLine(ToJson(info).dump());
    return absl::OkStatus();
  }
  PrintLine(
      absl::StrFormat("ptychoserved %s (%s), up %.0f s, at most %d sessions, messages up to "
                      "%.1f MiB",
                      info.version(), info.build(), info.uptime_s(), info.max_sessions(),
                      static_cast<double>(info.max_message_bytes()) / kMebi));
  PrintLine(absl::StrFormat(
      "at most %d open streams, %d of a connection; %.0f of %.0f MiB of host memory reserved for "
      "frames under way",
      info.max_streams(), info.max_streams_per_connection(),
      static_cast<double>(info.host_memory_reserved_bytes()) / kMebi,
      static_cast<double>(info.host_memory_bytes()) / kMebi));
  for (const v1::Device& device : info.devices()) {
    PrintLine(absl::StrFormat("%-8s %s: %.0f of %.0f MiB reserved by %d sessions, %d active",
                              device.name(), device.description(),
                              static_cast<double>(device.reserved_bytes()) / kMebi,
                              static_cast<double>(device.usable_bytes()) / kMebi, device.sessions(),
                              device.active_sessions()));
  }
  return absl::OkStatus();
}

}  // namespace

void AddInfo(CLI::App& app, Context& context) {
  CLI::App* command = AddCommand(app, context, "info", "Version, devices and limits of the server",
                                 kInfoFooter, [&context] { return Info(context); });
  AddServerOption(command, context);
}

}  // namespace ptychoserve::cli
