#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/cli/command.h"
#include "client/cli/exit_codes.h"
#include "client/cli/interrupt.h"
#include "client/cli/output.h"
#include "client/cli/progress_line.h"
#include "client/cli/result_files.h"
#include "client/cli/schedule_flag.h"
#include "client/cli/session_flags.h"
#include "client/cli/session_monitor.h"
#include "client/cli/session_view.h"
#include "client/cli/state_file.h"
#include "engine/base/status_macros.h"

namespace ptychoserve::cli {
namespace {

constexpr char kRerunFooter[] = R"(
All of the file's input is there before the first iteration. With the file's own schedule a session
that had all of its points from its first iteration on (run.min_points_to_start) comes out with the
same bits: on a CPU, and with 'deterministic' on the same kind of GPU.
Examples:
  ptychoctl rerun s1.state --out again.cxi
  ptychoctl rerun s1.state --schedule dm:200,ml_grad:100 --out other.npz)";

struct RerunOptions {
  std::string path;
  std::string session;
  std::string schedule;
  std::optional<std::uint32_t> iterations;
  std::vector<std::string> outputs;
  bool deterministic = false;
  bool warm_start = false;
  bool keep = false;
  bool quiet = false;
};

absl::StatusOr<v1::ImportStart> StartOf(const RerunOptions& options) {
  v1::ImportStart start;
  start.set_session_id(options.session);
  start.set_mode(options.warm_start ? v1::ImportStart::MODE_WARM_START
                                    : v1::ImportStart::MODE_RERUN);
  PS_ASSIGN_OR_RETURN(*start.mutable_config(), ConfigOfState(options.path));
  std::optional<ScheduleFlag> schedule;
  if (!options.schedule.empty()) {
    auto parsed = ParseSchedule(options.schedule);
    if (!parsed.ok()) return BadInput(parsed.status());
    schedule = *std::move(parsed);
  }
  SetSchedule(schedule, options.iterations, *start.mutable_config());
  if (options.deterministic) start.mutable_config()->set_deterministic(true);
  return start;
}

absl::Status Rerun(const RerunOptions& options, Context& context) {
  for (const std::string& path : options.outputs) PS_RETURN_IF_ERROR(CheckResultPath(path));
  PS_ASSIGN_OR_RETURN(const v1::ImportStart start, StartOf(options));
  PS_ASSIGN_OR_RETURN(const std::unique_ptr<client::Client> client, context.Connect());
  CatchInterrupts();
  PS_ASSIGN_OR_RETURN(v1::Session session, LoadState(*client, start, options.path));
  const std::string name = session.name();
  SessionMonitor::Options shown;
  shown.show_progress = !options.quiet;
  shown.expected_frames = session.frames().accepted();
  shown.it_ends_after = session.config().run().it_ends_after();
  SessionMonitor monitor(*client, session, shown);
  // What was exported before the end of its data ends here.
  const absl::Status finished = client->FinishScan(name).status();
  if (!finished.ok() && !absl::IsFailedPrecondition(finished)) return KeptSession(finished, name);
  const absl::Status waited =
      monitor.WaitFor([](const v1::Session& s) { return IsFinal(s.state()); });
  if (!waited.ok()) return KeptSession(waited, name);
  PS_ASSIGN_OR_RETURN(session, monitor.Refresh());
  monitor.StopProgress();
  if (session.snapshot_version() > 0 && !options.outputs.empty()) {
    PS_ASSIGN_OR_RETURN(const client::Snapshot snapshot,
                        client->GetSnapshot(name, FullSelection()));
    for (const std::string& path : options.outputs) {
      PS_RETURN_IF_ERROR(
          KeptSession(BadInput(WriteResult(path, snapshot, session, nullptr)), name));
    }
  }
  if (!options.keep) PS_RETURN_IF_ERROR(client->DeleteSession(name, /*force=*/true));
  if (context.json) {
    Json out = ToJson(session);
    out["written"] = options.outputs;
    PrintLine(out.dump());
  } else {
    PrintSession(session, context);
    for (const std::string& path : options.outputs) PrintLine("wrote " + path);
  }
  if (session.state() == v1::SESSION_STATE_FAILED) {
    std::fprintf(stderr, "ptychoctl: the session has failed: %s\n", session.failure().c_str());
    context.exit_code = kExitSessionFailed;
  }
  return absl::OkStatus();
}

}  // namespace

void AddRerun(CLI::App& app, Context& context) {
  auto options = std::make_shared<RerunOptions>();
  CLI::App* command =
      AddCommand(app, context, "rerun", "Run an exported session once more, from the start",
                 kRerunFooter, [options, &context] { return Rerun(*options, context); });
  AddServerOption(command, context);
  command->add_option("file", options->path, "File that 'ptychoctl export' has written")
      ->required();
  command->add_option("--session", options->session, "Id of the new session; default: made up");
  command->add_option("--schedule", options->schedule,
                      "Another schedule than the file's, as of 'ptychoctl run'");
  command->add_option("--iterations", options->iterations,
                      "Iterations after the end of data, in place of the file's");
  command->add_option("--out,-o", options->outputs,
                      "Where to write the result: .cxi, .npz or .png; repeatable");
  command->add_flag("--deterministic", options->deterministic,
                    "Results repeat bit for bit on a GPU, too");
  command->add_flag("--warm-start", options->warm_start, "Begin with the file's object and probe");
  command->add_flag("--keep", options->keep, "Do not delete the session afterwards");
  command->add_flag("--quiet,-q", options->quiet, "No progress");
}

}  // namespace ptychoserve::cli
