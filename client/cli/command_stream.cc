#include <memory>
#include <numeric>

#include "client/cli/command.h"
#include "client/cli/feeder.h"
#include "client/cli/interrupt.h"
#include "client/cli/output.h"
#include "client/cli/scan_file.h"
#include "client/cli/session_view.h"
#include "engine/base/status_macros.h"

namespace ptychoserve::cli {
namespace {

constexpr char kStreamFooter[] = R"(
Examples:
  ptychoctl stream s1 scan.cxi --rate 200
  ptychoctl stream s1 scan.cxi --positions-only
  ptychoctl stream s1 scan.cxi --frames-only --streams 2 --finish
  ptychoctl stream s1 scan.cxi --producer eiger --spool-dir /var/spool/scan --spool-always

With --producer, the same command once more sends only what the session does not have yet: after a
kill, or just to be sure.)";

struct StreamOptions {
  std::string session;
  std::string scan_path;
  FeedOptions feed;
  bool frames_only = false;
  bool positions_only = false;
  bool finish = false;
};

absl::Status Stream(StreamOptions options, const Context& context) {
  auto scan = CxiScanReader::Open(options.scan_path, CxiOptics::kOptional);
  if (!scan.ok()) return BadInput(scan.status());
  PS_ASSIGN_OR_RETURN(const std::unique_ptr<client::Client> client, context.Connect());
  CatchInterrupts();
  options.feed.frames = !options.positions_only;
  options.feed.positions = !options.frames_only;
  PS_ASSIGN_OR_RETURN(const std::unique_ptr<Feeder> feeder,
                      Feeder::Open(*client, options.session, **scan, options.feed));
  std::vector<std::int64_t> ids(static_cast<std::size_t>((*scan)->info().frames));
  std::iota(ids.begin(), ids.end(), 0);
  PS_RETURN_IF_ERROR(feeder->Send(ids));
  PS_RETURN_IF_ERROR(feeder->Close());
  const FeedReport report = feeder->report();
  absl::StatusOr<v1::Session> session =
      options.finish ? client->FinishScan(options.session) : client->GetSession(options.session);
  PS_RETURN_IF_ERROR(session.status());
  PrintChanges(**scan);
  if (context.json) {
    Json out = ToJson(*session);
    out.erase("config");
    out["sent"] = ToJson(report);
    out["scan_file"] = NotesJson(**scan);
    PrintLine(out.dump());
  } else {
    PrintSession(*session, context);
  }
  return absl::OkStatus();
}

}  // namespace

void AddStream(CLI::App& app, Context& context) {
  auto options = std::make_shared<StreamOptions>();
  CLI::App* command =
      AddCommand(app, context, "stream", "Stream a scan file to a session that exists",
                 kStreamFooter, [options, &context] { return Stream(*options, context); });
  AddServerOption(command, context);
  command->add_option("session", options->session, "Id of the session")->required();
  command->add_option("scan", options->scan_path, "Scan to stream, CXI")->required();
  CLI::Option* frames = command->add_flag("--frames-only", options->frames_only, "No positions");
  command->add_flag("--positions-only", options->positions_only, "No frames")->excludes(frames);
  command->add_flag("--finish", options->finish, "Declare the end of data afterwards");
  AddFeedFlags(command, options->feed);
}

}  // namespace ptychoserve::cli
