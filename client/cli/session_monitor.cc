#include "client/cli/session_monitor.h"

#include <unistd.h>

#include <cstdio>
#include <utility>

#include "client/cli/interrupt.h"
#include "client/cli/progress_line.h"

namespace ptychoserve::cli {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kDrawTerminal{200};
constexpr milliseconds kDrawFile{2'000};
constexpr milliseconds kWatchInterval{100};
constexpr milliseconds kWaitSlice{100};
constexpr char kClearLine[] = "\r\033[K";

}  // namespace

SessionMonitor::SessionMonitor(client::Client& client, const v1::Session& session,
                               const Options& options)
    : client_(client),
      name_(session.name()),
      options_(options),
      terminal_(isatty(STDERR_FILENO) == 1),
      latest_(session) {
  if (options_.poll.count() == 0) {
    watch_ = client_.WatchSession(
        name_, kWatchInterval, [this](const v1::SessionEvent& event) { Update(event.session()); },
        [this](const absl::Status& status) {
          MutexLock lock(mu_);
          watch_status_ = status;
          cv_.NotifyAll();
        },
        [this](const absl::Status& status) { SayBroken(status); });
  }
  thread_ = std::thread([this] { Loop(); });
}

SessionMonitor::~SessionMonitor() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
    cv_.NotifyAll();
  }
  thread_.join();
  watch_.reset();
}

v1::Session SessionMonitor::latest() const {
  MutexLock lock(mu_);
  return latest_;
}

absl::StatusOr<v1::Session> SessionMonitor::Refresh() {
  absl::StatusOr<v1::Session> session = client_.GetSession(name_);
  if (session.ok()) Update(*session);
  return session;
}

absl::Status SessionMonitor::WaitFor(const std::function<bool(const v1::Session&)>& done) {
  MutexLock lock(mu_);
  while (!done(latest_)) {
    if (Interrupted()) return absl::CancelledError("interrupted");
    if (!watch_status_.ok()) return watch_status_;
    cv_.WaitFor(mu_, kWaitSlice);
  }
  return absl::OkStatus();
}

void SessionMonitor::StopProgress() {
  Draw(/*last=*/true);
  MutexLock lock(mu_);
  drawing_ = false;
}

// Events may pass each other; a session goes back with a restart of its server only.
void SessionMonitor::Update(const v1::Session& session) {
  if (session.name() != name_) return;
  MutexLock lock(mu_);
  if (session.restarts() < latest_.restarts()) return;
  if (session.restarts() == latest_.restarts() &&
      (session.state() < latest_.state() || session.iteration() < latest_.iteration() ||
       session.frames().received() < latest_.frames().received())) {
    return;
  }
  latest_ = session;
  cv_.NotifyAll();
}

void SessionMonitor::SayBroken(const absl::Status& status) {
  MutexLock lock(mu_);
  if (!options_.show_progress || !drawing_) return;
  std::fprintf(stderr, "%sno connection to the server (%s); trying again\n",
               terminal_ ? kClearLine : "", std::string(status.message()).c_str());
}

// Polls and draws until the end.
void SessionMonitor::Loop() {
  const milliseconds draw_every = terminal_ ? kDrawTerminal : kDrawFile;
  auto next_draw = steady_clock::now() + draw_every;
  auto next_poll = steady_clock::now();
  for (;;) {
    const auto now = steady_clock::now();
    if (options_.poll.count() > 0 && now >= next_poll) {
      if (absl::Status status = Refresh().status(); !status.ok()) {
        MutexLock lock(mu_);
        watch_status_ = status;
      }
      next_poll = now + options_.poll;
    }
    if (now >= next_draw) {
      Draw(/*last=*/false);
      next_draw = now + draw_every;
    }
    MutexLock lock(mu_);
    if (stopping_) return;
    cv_.WaitFor(mu_, kWaitSlice);
    if (stopping_) return;
  }
}

void SessionMonitor::Draw(bool last) {
  MutexLock lock(mu_);
  if (!options_.show_progress || !drawing_) return;
  std::string line = ProgressLine(latest_, options_.expected_frames, options_.it_ends_after);
  if (terminal_) {
    std::fprintf(stderr, "%s%s%s", kClearLine, line.c_str(), last ? "\n" : "");
  } else if (line != last_line_) {
    std::fprintf(stderr, "%s\n", line.c_str());
  }
  std::fflush(stderr);
  last_line_ = std::move(line);
}

}  // namespace ptychoserve::cli
