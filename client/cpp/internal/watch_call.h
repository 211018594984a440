#ifndef PTYCHOSERVE_CLIENT_CPP_INTERNAL_WATCH_CALL_H_
#define PTYCHOSERVE_CLIENT_CPP_INTERNAL_WATCH_CALL_H_

#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>

#include <functional>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "client/cpp/internal/status_conversion.h"
#include "client/cpp/watch.h"
#include "engine/base/mutex.h"

namespace ptychoserve::client::internal {

// A server stream whose messages go to a callback. An error that the callback returns ends the
// call and becomes its status.
template <class Message>
class WatchCall final : public Watch, private grpc::ClientReadReactor<Message> {
 public:
  using Reactor = grpc::ClientReadReactor<Message>;
  using OnMessage = std::function<absl::Status(const Message&)>;
  using OnDoneFn = std::function<void(const absl::Status&)>;

  // `start` begins the call with this context and reactor.
  WatchCall(const std::function<void(grpc::ClientContext*, Reactor*)>& start, OnMessage on_message,
            OnDoneFn on_done)
      : on_message_(std::move(on_message)), on_done_(std::move(on_done)) {
    start(&context_, this);
    this->StartRead(&message_);
    this->StartCall();
  }
  ~WatchCall() override {
    context_.TryCancel();
    MutexLock lock(mu_);
    while (!done_) cv_.Wait(mu_);
  }
  void Cancel() override { context_.TryCancel(); }

 private:
  void OnReadDone(bool ok) override {
    if (!ok) return;
    if (absl::Status status = on_message_(message_); !status.ok()) {
      local_error_ = std::move(status);
      context_.TryCancel();
      return;
    }
    this->StartRead(&message_);
  }
  void OnDone(const grpc::Status& status) override {
    if (on_done_) on_done_(local_error_.ok() ? FromGrpc(status) : local_error_);
    MutexLock lock(mu_);
    done_ = true;
    cv_.NotifyAll();
  }

  grpc::ClientContext context_;
  const OnMessage on_message_;
  const OnDoneFn on_done_;
  Message message_;
  absl::Status local_error_;  // Touched by callbacks only, which follow each other.
  Mutex mu_;
  CondVar cv_;
  bool done_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace ptychoserve::client::internal

#endif  // PTYCHOSERVE_CLIENT_CPP_INTERNAL_WATCH_CALL_H_
