#ifndef PTYCHOSERVE_SERVER_PUBLISH_PUSH_STREAM_H_
#define PTYCHOSERVE_SERVER_PUBLISH_PUSH_STREAM_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "engine/base/mutex.h"
#include "server/base/timer.h"
#include "server/service/call.h"
#include "server/service/errors.h"
#include "server/service/refused.h"
#include "server/service/stream_set.h"
#include "server/session/session.h"

namespace ptychoserve::server {

// The longest interval between messages that a reader may ask for.
inline constexpr std::uint32_t kMaxIntervalMs = 60'000;

// Common part of the calls that send messages to a reader for as long as it likes.
//
// Everything that happens (a write is done, the session has changed, a timer fires, the call is
// cancelled, the server drains) only wakes the stream; woken, it takes its turn on the publish
// pool, where it either writes the next message, waits, or finishes. So a turn is the only place
// where the state of a stream changes, at most one write is in flight, a slow reader is asked
// again when it has taken the last message, and nobody who wakes a stream waits for it.
//
// Calls end: a cancelled or drained stream finishes at its next turn, and a write that the reader
// does not take within kWriteTimeout cancels the call. Owns itself until OnDone.
template <typename Message>
class PushStream : public grpc::ServerWriteReactor<Message>,
                   public SessionListener,
                   public Drainable,
                   public std::enable_shared_from_this<PushStream<Message>> {
 public:
  static constexpr std::chrono::seconds kWriteTimeout{60};

  void OnWriteDone(bool ok) final {
    write_failed_ = write_failed_ || !ok;
    writing_ = false;
    Wake();
  }
  void OnCancel() final {
    cancelled_ = true;
    Wake();
  }
  void OnDone() final { self_.reset(); }
  void OnSessionChange() final { Wake(); }
  Kind kind() const final { return Kind::kPublish; }
  void Drain() final {
    drained_ = true;
    Wake();
  }

 protected:
  using Clock = std::chrono::steady_clock;

  explicit PushStream(const Call& call) : core_(call.core), context_(call.context) {}

  // To be called once, by the factory of the derived class.
  template <typename Derived>
  static Derived* Launch(std::shared_ptr<Derived> stream) {
    stream->self_ = stream;
    stream->refused_ = !stream->core_.streams.Add(stream);
    stream->Wake();
    return stream.get();
  }

  // What to do next.
  struct Step {
    enum Kind { kWrite, kWait, kFinish } kind = kWait;
    std::optional<Clock::time_point> wake_at;  // For kWait: also without a change.
    absl::Status status;                       // For kFinish.

    static Step Write() { return {kWrite, std::nullopt, absl::OkStatus()}; }
    static Step Wait() { return {kWait, std::nullopt, absl::OkStatus()}; }
    static Step WaitUntil(Clock::time_point t) { return {kWait, t, absl::OkStatus()}; }
    static Step Finish(absl::Status status) { return {kFinish, std::nullopt, std::move(status)}; }
  };
  // Runs on the publish pool while no write is in flight, never twice at a time. Fills in
  // `message` (empty) when it answers kWrite.
  virtual Step Next(Message& message) = 0;

  Core& core_;

 private:
  void Wake() {
    if (wakes_.fetch_add(1) == 0) PostTurn();
  }

  // One turn for all that has been noted until it begins, and another one if more comes meanwhile:
  // a long turn holds one thread of the pool, however often the stream is woken.
  void PostTurn() {
    core_.publish.Post([self = this->shared_from_this()] {
      const std::uint64_t seen = self->wakes_;
      self->Turn();
      if (self->wakes_.fetch_sub(seen) != seen) self->PostTurn();
    });
  }

  void WakeAfter(std::chrono::nanoseconds delay) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    timer_.After(delay, [weak = this->weak_from_this()] {
      if (const auto self = weak.lock()) self->Wake();
    });
  }

  void Turn() ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(mu_);
    if (finished_) return;
    if (cancelled_) return FinishLocked(absl::CancelledError("the call was cancelled"));
    if (refused_) return FinishLocked(StreamLimitReached(core_.streams.most()));
    if (writing_) {
      const auto left = write_deadline_ - Clock::now();
      if (left > Clock::duration::zero()) return WakeAfter(left);
      context_->TryCancel();
      return FinishLocked(absl::CancelledError("the reader takes nothing"));
    }
    if (write_failed_) return FinishLocked(absl::CancelledError("the reader is gone"));
    message_.Clear();
    Step step = Next(message_);
    switch (step.kind) {
      case Step::kWrite:
        writing_ = true;
        write_deadline_ = Clock::now() + kWriteTimeout;
        WakeAfter(kWriteTimeout);
        this->StartWrite(&message_);
        break;
      case Step::kWait:
        if (drained_) return FinishLocked(Draining());
        if (step.wake_at.has_value()) {
          WakeAfter(*step.wake_at - Clock::now());
        } else {
          timer_.Cancel();
        }
        break;
      case Step::kFinish:
        FinishLocked(step.status);
        break;
    }
  }

  void FinishLocked(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    finished_ = true;
    timer_.Cancel();
    core_.streams.Leave(this->weak_from_this());
    this->Finish(ToGrpcStatus(status));
  }

  grpc::CallbackServerContext* const context_;  // Valid until OnDone.
  std::shared_ptr<PushStream> self_;            // Released in OnDone.
  std::atomic<std::uint64_t> wakes_ = 0;        // Not yet dealt with; a turn is due while > 0.
  std::atomic<bool> writing_ = false;
  std::atomic<bool> write_failed_ = false;
  std::atomic<bool> cancelled_ = false;
  std::atomic<bool> drained_ = false;
  bool refused_ = false;  // Set before the first turn: there are too many streams.

  Mutex mu_;         // Held during a turn; not by gRPC's call-backs.
  Message message_;  // Read by gRPC while a write is in flight.
  Timer timer_ ABSL_GUARDED_BY(mu_);
  Clock::time_point write_deadline_ ABSL_GUARDED_BY(mu_);
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
};

template <typename Message>
using RefusedStream = Refused<grpc::ServerWriteReactor<Message>>;

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_PUBLISH_PUSH_STREAM_H_
