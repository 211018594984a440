#ifndef PTYCHOSERVE_CLIENT_CPP_INTERNAL_RESUMING_WATCH_H_
#define PTYCHOSERVE_CLIENT_CPP_INTERNAL_RESUMING_WATCH_H_

#include <chrono>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "client/cpp/internal/alarms.h"
#include "client/cpp/internal/retry.h"
#include "client/cpp/watch.h"
#include "engine/base/mutex.h"

namespace ptychoserve::client::internal {

// A watch whose call is opened again when the connection or the server goes away, until they have
// been away for `give_up_after`.
class ResumingWatch final : public Watch {
 public:
  using OnDone = std::function<void(const absl::Status&)>;
  // Begins a call, which runs `alive` for each message that comes and `done` once, at its end.
  using Open = std::function<std::unique_ptr<Watch>(std::function<void()> alive, OnDone done)>;

  // `on_break` (may be empty) is told why a call has ended that will be opened again; `on_done`
  // once, why there is none any more.
  ResumingWatch(Open open, std::chrono::milliseconds give_up_after, OnDone on_break,
                OnDone on_done);
  ~ResumingWatch() override;
  void Cancel() override;

 private:
  void Start();
  void OnCallDone(const absl::Status& status);
  void Finish(const absl::Status& status);

  const Open open_;
  const std::chrono::milliseconds give_up_after_;
  const OnDone on_break_, on_done_;
  Alarms alarms_;

  // Held while a call is opened, and so not to be taken by what a call runs.
  Mutex call_mu_;
  std::unique_ptr<Watch> call_ ABSL_GUARDED_BY(call_mu_);

  Mutex mu_;
  bool cancelled_ ABSL_GUARDED_BY(mu_) = false;
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
  std::chrono::steady_clock::time_point alive_ ABSL_GUARDED_BY(mu_);
  Backoff backoff_ ABSL_GUARDED_BY(mu_);
};

}  // namespace ptychoserve::client::internal

#endif  // PTYCHOSERVE_CLIENT_CPP_INTERNAL_RESUMING_WATCH_H_
