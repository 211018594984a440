#include <chrono>
#include <cstdio>
#include <memory>
#include <string>

#include "client/cli/command.h"
#include "client/cli/exit_codes.h"
#include "client/cli/interrupt.h"
#include "client/cli/output.h"
#include "client/cli/progress_line.h"
#include "engine/base/mutex.h"
#include "engine/base/status_macros.h"

namespace ptychoserve::cli {
namespace {

constexpr char kWatchFooter[] = R"(
Examples:
  ptychoctl watch s1
  ptychoctl watch s1 --json | jq .session.metrics.r_factor

Ends with the session; the exit code is 3 when it has failed.)";

constexpr std::chrono::milliseconds kInterruptCheck{100};

struct WatchOptions {
  std::string session;
  int interval_ms = 500;
};

// Prints events as they come; knows how it ended.
class EventPrinter {
 public:
  explicit EventPrinter(bool json) : json_(json) {}

  void OnEvent(const v1::SessionEvent& event) {
    if (json_) {
      PrintLine(ToJson(event).dump());
    } else if (event.kind() == v1::SessionEvent::KIND_WARNING) {
      PrintLine("warning: " + event.warning());
    } else if (event.kind() == v1::SessionEvent::KIND_DELETED) {
      PrintLine("the session was deleted");
    } else {
      PrintLine(ProgressLine(event.session(), 0, 0));
    }
    MutexLock lock(mu_);
    failed_ = event.session().state() == v1::SESSION_STATE_FAILED;
  }
  void OnDone(const absl::Status& status) {
    MutexLock lock(mu_);
    done_ = true;
    status_ = status;
    cv_.NotifyAll();
  }
  absl::Status Wait() {
    MutexLock lock(mu_);
    while (!done_) {
      if (Interrupted()) return absl::CancelledError("interrupted");
      cv_.WaitFor(mu_, kInterruptCheck);
    }
    return status_;
  }
  bool failed() const {
    MutexLock lock(mu_);
    return failed_;
  }

 private:
  const bool json_;
  mutable Mutex mu_;
  CondVar cv_;
  bool done_ ABSL_GUARDED_BY(mu_) = false;
  bool failed_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mu_);
};

absl::Status WatchEvents(const WatchOptions& options, Context& context) {
  PS_ASSIGN_OR_RETURN(const std::unique_ptr<client::Client> client, context.Connect());
  CatchInterrupts();
  EventPrinter printer(context.json);
  const std::unique_ptr<client::Watch> watch = client->WatchSession(
      options.session, std::chrono::milliseconds(options.interval_ms),
      [&](const v1::SessionEvent& event) { printer.OnEvent(event); },
      [&](const absl::Status& status) { printer.OnDone(status); },
      [](const absl::Status& status) {
        std::fprintf(stderr, "no connection to the server (%s); trying again\n",
                     std::string(status.message()).c_str());
      });
  PS_RETURN_IF_ERROR(printer.Wait());
  if (printer.failed()) context.exit_code = kExitSessionFailed;
  return absl::OkStatus();
}

}  // namespace

void AddWatch(CLI::App& app, Context& context) {
  auto options = std::make_shared<WatchOptions>();
  CLI::App* command =
      AddCommand(app, context, "watch", "Print what happens to a session until it ends",
                 kWatchFooter, [options, &context] { return WatchEvents(*options, context); });
  AddServerOption(command, context);
  command->add_option("session", options->session, "Id of the session")->required();
  command->add_option("--interval", options->interval_ms, "Least milliseconds between two lines")
      ->check(CLI::Range(10, 60'000))
      ->capture_default_str();
}

}  // namespace ptychoserve::cli
