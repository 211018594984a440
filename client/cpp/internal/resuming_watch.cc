#include "client/cpp/internal/resuming_watch.h"

#include <utility>

namespace ptychoserve::client::internal {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kFirstWatchPause{100};
constexpr milliseconds kLongestWatchPause{2'000};

}  // namespace

ResumingWatch::ResumingWatch(Open open, milliseconds give_up_after, OnDone on_break, OnDone on_done)
    : open_(std::move(open)),
      give_up_after_(give_up_after),
      on_break_(std::move(on_break)),
      on_done_(std::move(on_done)),
      alive_(steady_clock::now()),
      backoff_(kFirstWatchPause, kLongestWatchPause) {
  Start();
}

ResumingWatch::~ResumingWatch() {
  Cancel();
  alarms_.Stop();
  {
    MutexLock lock(call_mu_);
    call_.reset();
  }
  Finish(absl::CancelledError("the watch was ended"));  // Between two calls.
}

void ResumingWatch::Cancel() {
  {
    MutexLock lock(mu_);
    cancelled_ = true;
  }
  MutexLock lock(call_mu_);
  if (call_ != nullptr) call_->Cancel();
}

void ResumingWatch::Start() {
  MutexLock lock(call_mu_);
  bool cancelled = false;
  {
    MutexLock state(mu_);
    cancelled = cancelled_;
  }
  if (cancelled) return Finish(absl::CancelledError("the watch was ended"));
  call_ = open_(
      [this] {
        MutexLock state(mu_);
        alive_ = steady_clock::now();
        backoff_.Reset();
      },
      [this](const absl::Status& status) { OnCallDone(status); });
}

void ResumingWatch::OnCallDone(const absl::Status& status) {
  bool again = false;
  milliseconds pause{0};
  {
    MutexLock lock(mu_);
    pause = backoff_.Next();
    again = !cancelled_ && WorthRetrying(status) &&
            steady_clock::now() + pause - alive_ < give_up_after_;
  }
  if (!again) return Finish(status);
  if (on_break_) on_break_(status);
  alarms_.After(pause, [this] { Start(); });
}

void ResumingWatch::Finish(const absl::Status& status) {
  {
    MutexLock lock(mu_);
    if (std::exchange(finished_, true)) return;
  }
  if (on_done_) on_done_(status);
}

}  // namespace ptychoserve::client::internal
