#include "client/cli/interrupt.h"

#include <unistd.h>
#include <csignal>

#include <atomic>

#include "client/cli/exit_codes.h"

namespace ptychoserve::cli {
namespace {

std::atomic<bool> interrupted = false;
static_assert(std::atomic<bool>::is_always_lock_free);  // Or a signal handler must not touch it.

void OnSignal(int) {
  if (interrupted.exchange(true)) _exit(kExitInterrupted);
}

}  // namespace

void CatchInterrupts() {
  struct sigaction action = {};
  action.sa_handler = OnSignal;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

bool Interrupted() { return interrupted; }

}  // namespace ptychoserve::cli
