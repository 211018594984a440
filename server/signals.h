#ifndef PTYCHOSERVE_SERVER_SIGNALS_H_
#define PTYCHOSERVE_SERVER_SIGNALS_H_

#include <chrono>
#include <functional>
#include <thread>

#include "engine/base/mutex.h"

namespace ptychoserve::server {

// SIGINT and SIGTERM, and SIGHUP, taken by a thread of their own instead of a handler, so that what
// follows may do anything. Created before any other thread: the signals are blocked from then on.
//
// The thread is also the watchdog: after the first signal it ends the process when another one
// comes, or when `timeout` has passed and nobody has called Done.
class SignalWatcher {
 public:
  static constexpr int kTimeoutExitCode = 3;

  explicit SignalWatcher(std::chrono::milliseconds timeout);
  // As Done().
  ~SignalWatcher();
  SignalWatcher(const SignalWatcher&) = delete;
  SignalWatcher& operator=(const SignalWatcher&) = delete;

  // Returns after the first signal to end, and runs `on_hangup` after each SIGHUP until then, on
  // the thread of the caller.
  void Wait(const std::function<void()>& on_hangup);
  // As if the first signal had come, if none has. Thread-safe.
  void Raise();
  // The shutdown has succeeded: call the watchdog off.
  void Done();

 private:
  void Run();

  const std::chrono::milliseconds timeout_;
  Mutex mu_;
  CondVar changed_;
  bool signalled_ ABSL_GUARDED_BY(mu_) = false;
  bool hung_up_ ABSL_GUARDED_BY(mu_) = false;
  bool done_ ABSL_GUARDED_BY(mu_) = false;
  std::jthread thread_;
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_SIGNALS_H_
