#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "client/cli/command.h"
#include "client/cli/exit_codes.h"
#include "client/cli/output.h"
#include "client/cli/session_view.h"
#include "engine/base/status_macros.h"

namespace ptychoserve::cli {
namespace {

constexpr char kListFooter[] = R"(
Examples:
  ptychoctl list
  ptychoctl list --json | jq '.sessions[].name'
  ptychoctl list --server node1:50051,node2:50051   of several servers; 1 when one does not answer)";

struct Row {
  std::string server;
  v1::Session session;
};

absl::StatusOr<std::vector<v1::Session>> ListOne(const Context& context,
                                                 const std::string& server) {
  Context one = context;
  one.server = server;
  PS_ASSIGN_OR_RETURN(const std::unique_ptr<client::Client> client, one.Connect());
  return client->ListSessions();
}

void Print(const Context& context, const std::vector<Row>& rows, bool several) {
  if (context.json) {
    Json out;
    out["sessions"] = Json::array();
    for (const Row& row : rows) {
      Json session = ToJson(row.session);
      if (several) session["server"] = row.server;
      out["sessions"].push_back(std::move(session));
    }
    return PrintLine(out.dump());
  }
  // Where they are and whose they are, if that is not the same for all.
  const bool tenants = std::ranges::any_of(
      rows, [&](const Row& row) { return row.session.tenant() != rows.front().session.tenant(); });
  const auto label = [&](const std::string& server, const std::string& tenant) {
    return absl::StrCat(several ? absl::StrFormat("%-24s ", server) : "",
                        tenants ? absl::StrFormat("%-16s ", tenant) : "");
  };
  PrintLine(absl::StrCat(label("SERVER", "TENANT"), SessionRowHeader()));
  for (const Row& row : rows) {
    PrintLine(absl::StrCat(label(row.server, row.session.tenant()), SessionRow(row.session)));
  }
}

absl::Status List(Context& context) {
  const std::vector<std::string> servers = absl::StrSplit(context.server, ',');
  std::vector<Row> rows;
  for (const std::string& server : servers) {
    auto sessions = ListOne(context, server);
    if (!sessions.ok()) {  // The others' are listed all the same.
      if (servers.size() == 1) return sessions.status();
      std::fprintf(stderr, "%s: %s\n", server.c_str(), ErrorLine(sessions.status()).c_str());
      context.exit_code = kExitServerError;
      continue;
    }
    for (v1::Session& session : *sessions) rows.push_back({server, std::move(session)});
  }
  Print(context, rows, servers.size() > 1);
  return absl::OkStatus();
}

}  // namespace

void AddList(CLI::App& app, Context& context) {
  CLI::App* command = AddCommand(app, context, "list", "Sessions on the server", kListFooter,
                                 [&context] { return List(context); });
  AddServerOption(command, context);
}

}  // namespace ptychoserve::cli
