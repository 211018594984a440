#include "server/signals.h"

#include <pthread.h>
#include <unistd.h>

#include <csignal>
#include <ctime>

#include "server/telemetry/log.h"

namespace ptychoserve::server {
namespace {

constexpr int kSignalExitBase = 128;  // As shells report a process that a signal has ended.
constexpr timespec kPoll{0, 50'000'000};

sigset_t WatchedSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGHUP);
  return set;
}

}  // namespace

SignalWatcher::SignalWatcher(std::chrono::milliseconds timeout) : timeout_(timeout) {
  const sigset_t set = WatchedSignals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);  // A broken connection is an error of a write, no more.
  thread_ = std::jthread([this] { Run(); });
}

SignalWatcher::~SignalWatcher() { Done(); }

void SignalWatcher::Wait(const std::function<void()>& on_hangup) {
  while (true) {
    {
      MutexLock lock(mu_);
      while (!signalled_ && !hung_up_) changed_.Wait(mu_);
      if (signalled_) return;
      hung_up_ = false;
    }
    on_hangup();
  }
}

void SignalWatcher::Raise() {
  MutexLock lock(mu_);
  signalled_ = true;
  changed_.NotifyAll();
}

void SignalWatcher::Done() {
  {
    MutexLock lock(mu_);
    done_ = true;
  }
  if (thread_.joinable()) thread_.join();
}

void SignalWatcher::Run() {
  const sigset_t set = WatchedSignals();
  std::chrono::steady_clock::time_point deadline;
  bool ending = false;
  while (true) {
    const int signal = sigtimedwait(&set, nullptr, &kPoll);
    if (signal == SIGHUP) {
      MutexLock lock(mu_);
      hung_up_ = true;
      changed_.NotifyAll();
      continue;
    }
    if (signal > 0 && ending) {
      Log(LogLevel::kWarning, "another signal, leaving at once");
      _exit(kSignalExitBase + signal);
    }
    if (signal > 0) {
      Log(LogLevel::kInfo, "signal", {{"signal", signal == SIGINT ? "SIGINT" : "SIGTERM"}});
      Raise();
    }
    const auto now = std::chrono::steady_clock::now();
    MutexLock lock(mu_);
    if (done_) return;
    if (signalled_ && !ending) {
      ending = true;
      deadline = now + timeout_;
    }
    if (ending && now > deadline) {
      Log(LogLevel::kError, "the shutdown hangs, leaving at once",
          {{"after_s", std::chrono::duration<double>(timeout_).count()}});
      _exit(kTimeoutExitCode);
    }
  }
}

}  // namespace ptychoserve::server
