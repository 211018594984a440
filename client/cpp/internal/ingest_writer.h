#ifndef PTYCHOSERVE_CLIENT_CPP_INTERNAL_INGEST_WRITER_H_
#define PTYCHOSERVE_CLIENT_CPP_INTERNAL_INGEST_WRITER_H_

#include <grpcpp/alarm.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/client_callback.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "client/cpp/internal/batching.h"
#include "client/cpp/internal/status_conversion.h"
#include "client/cpp/writer_options.h"
#include "engine/base/mutex.h"
#include "ptychoserve/v1/ingest.pb.h"

namespace ptychoserve::client::internal {

// One input stream: a bounded queue on the caller's side, the gRPC callback API on the other.
//
//   opening -> sending       the first acknowledgement has come, with the first credit
//   sending -> closing       Close: what waits is sent, then the half-close
//   any     -> finished      the call has ended; status_ says how
//
// Cancel must have returned before the last reference goes: the owner's thread then takes down call
// and channel. gRPC's own threads must not, for the last channel's end joins them. Thread-safe.
template <class Batching>
class IngestWriter final
    : public grpc::ClientBidiReactor<typename Batching::Message, v1::IngestAck> {
 public:
  using Message = typename Batching::Message;
  using Item = typename Batching::Item;
  using SteadyClock = std::chrono::steady_clock;

  static std::shared_ptr<IngestWriter> Start(std::shared_ptr<grpc::Channel> channel,
                                             const std::string& session, Batching batching,
                                             WriterOptions options) {
    std::shared_ptr<IngestWriter> writer(
        new IngestWriter(std::move(channel), std::move(batching), std::move(options)));
    writer->Begin(session);
    return writer;
  }

  // Errors: kResourceExhausted: the queue is still full at the deadline; kInvalidArgument: larger
  // than the server takes; kFailedPrecondition: closed; that of the call, once it has failed.
  absl::Status Push(Item item, SteadyClock::time_point deadline) {
    const std::size_t bytes = Batching::Payload(item);
    MutexLock lock(mu_);
    for (;;) {
      if (finished_) return EndedLocked();
      if (closing_) return absl::FailedPreconditionError("the writer is closed");
      if (bytes > max_payload_) return TooLargeLocked(bytes);
      if (waiting_bytes_ == 0 || waiting_bytes_ + bytes <= options_.queue_bytes) break;
      if (!WaitUntil(deadline)) {
        return absl::ResourceExhaustedError(absl::StrCat("the queue is full: ", waiting_bytes_,
                                                         " of ", options_.queue_bytes,
                                                         " bytes wait to be sent"));
      }
    }
    report_.items += Batching::Count(item);
    waiting_bytes_ += bytes;
    queued_bytes_ += bytes;
    queue_.push_back(std::move(item));
    MaybeWrite();
    return absl::OkStatus();
  }

  // Returns when all that was pushed has been dealt with by the server.
  // Errors: kDeadlineExceeded; that of the call, once it has failed.
  absl::Status Flush(std::chrono::milliseconds timeout) {
    const auto deadline = SteadyClock::now() + timeout;
    MutexLock lock(mu_);
    urgent_ = true;
    MaybeWrite();
    while (!finished_ && !AllAcknowledged()) {
      if (!WaitUntil(deadline)) {
        return absl::DeadlineExceededError(absl::StrCat(
            "flush: ", queued_bytes_, " bytes wait to be sent, ",
            report_.batches - report_.last_ack.batches(), " messages to be acknowledged"));
      }
    }
    return AllAcknowledged() ? absl::OkStatus() : EndedLocked();
  }

  // Sends the rest, ends the stream, waits for the server's last word. At the deadline the call is
  // cancelled. Errors as Flush.
  absl::StatusOr<WriterReport> Close(std::chrono::milliseconds timeout) {
    const auto deadline = SteadyClock::now() + timeout;
    MutexLock lock(mu_);
    closing_ = true;
    MaybeWrite();
    bool in_time = true;
    while (!finished_) {
      if (in_time && !WaitUntil(deadline)) {
        in_time = false;
        context_.TryCancel();
      } else if (!in_time) {
        cv_.Wait(mu_);
      }
    }
    if (!in_time) {
      return absl::DeadlineExceededError(absl::StrCat(
          "close: ", queued_bytes_, " bytes were not sent, ",
          report_.batches - report_.last_ack.batches(), " messages were not acknowledged"));
    }
    if (!status_.ok()) return status_;
    if (!AllAcknowledged()) return EndedLocked();
    return report_;
  }

  // Ends the call at once and waits until no callback runs any more, that of the alarm included.
  void Cancel() {
    std::unique_ptr<grpc::Alarm> alarm;
    {
      MutexLock lock(mu_);
      if (!finished_) context_.TryCancel();
      while (!finished_) cv_.Wait(mu_);
      alarm = std::move(alarm_);
    }
    alarm
        .reset();  // Has a callback that still waits run at once; without the lock, which it takes.
    MutexLock lock(mu_);
    while (lingering_) cv_.Wait(mu_);
  }

  // The error by which the call has ended; OK while it lives and after a clean Close.
  absl::Status status() const {
    MutexLock lock(mu_);
    return finished_ && !(closing_ && status_.ok()) ? EndedLocked() : absl::OkStatus();
  }

  WriterReport report() const {
    MutexLock lock(mu_);
    return report_;
  }

  // --- Callbacks of gRPC -----------------------------------------------------------------------

  void OnWriteDone(bool ok) override {
    MutexLock lock(mu_);
    writing_ = false;
    message_ = Message();  // Lets go of the frames' memory.
    waiting_bytes_ -= in_flight_bytes_;
    in_flight_bytes_ = 0;
    if (ok) {
      MaybeWrite();
    } else {
      Break();
    }
    cv_.NotifyAll();
  }

  void OnReadDone(bool ok) override {
    if (ok && options_.on_ack) options_.on_ack(ack_);
    MutexLock lock(mu_);
    if (!ok) {
      Break();
      return;
    }
    opened_ = true;
    granted_ = std::max(granted_, ack_.granted_bytes());
    if (ack_.max_message_bytes() > kItemOverhead) {
      const std::size_t allowed = ack_.max_message_bytes() - kItemOverhead;
      const bool less = allowed < max_payload_;
      max_payload_ = allowed;
      if (less) CheckQueue();
    }
    report_.last_ack = ack_;
    MaybeWrite();
    cv_.NotifyAll();
    this->StartRead(&ack_);
  }

  void OnDone(const grpc::Status& status) override {
    MutexLock lock(mu_);
    status_ = refused_.ok() ? FromGrpc(status) : refused_;
    finished_ = true;
    cv_.NotifyAll();
  }

 private:
  // Room in a message of one item for all that is not payload. Messages of many items stay below
  // half of what is allowed: ids and sizes never take more than the other half.
  static constexpr std::size_t kItemOverhead = 4096;

  IngestWriter(std::shared_ptr<grpc::Channel> channel, Batching batching, WriterOptions options)
      : stub_(std::move(channel)), batching_(std::move(batching)), options_(std::move(options)) {}

  void Begin(const std::string& session) {
    MutexLock lock(mu_);
    stub_.PrepareBidiStreamingCall(&context_, Batching::kMethod, {}, this);
    message_ = Batching::Open(session);
    writing_ = true;
    held_ = true;
    this->AddHold();  // Writes are started outside of callbacks, too.
    this->StartRead(&ack_);
    this->StartWrite(&message_);
    this->StartCall();
  }

  // No more writes; lets the call finish.
  void Break() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (!held_) return;
    held_ = false;
    this->RemoveHold();
  }

  absl::Status TooLargeLocked(std::size_t bytes) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return absl::InvalidArgumentError(absl::StrCat("an item of ", bytes,
                                                   " bytes; the server takes messages of up to ",
                                                   max_payload_, " bytes of payload"));
  }

  // Ends the call if something was pushed, before the limit was known, that cannot be sent.
  void CheckQueue() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    for (const Item& item : queue_) {
      const std::size_t bytes = Batching::Payload(item);
      if (bytes <= max_payload_) continue;
      refused_ = TooLargeLocked(bytes);
      context_.TryCancel();
      Break();
      return;
    }
  }

  bool AllAcknowledged() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return opened_ && queue_.empty() && !writing_ && report_.last_ack.batches() >= report_.batches;
  }

  absl::Status EndedLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (!status_.ok()) return status_;
    return absl::FailedPreconditionError(
        absl::StrCat("the server has ended the stream; the session is ",
                     v1::SessionState_Name(report_.last_ack.state())));
  }

  // False when the deadline has passed.
  bool WaitUntil(SteadyClock::time_point deadline) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    const auto now = SteadyClock::now();
    if (now >= deadline) return false;
    cv_.WaitFor(mu_, std::chrono::ceil<std::chrono::milliseconds>(deadline - now));
    return true;
  }

  // Starts the next write if there is something to send, credit for it, and no write under way.
  void MaybeWrite() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (writing_ || !held_ || !opened_) return;
    if (queue_.empty()) {
      urgent_ = false;
      if (closing_) {
        this->StartWritesDone();
        Break();
      }
      return;
    }
    const std::size_t target = std::min(options_.message_bytes, max_payload_ / 2);
    if (queued_bytes_ < target && !urgent_ && !closing_ && options_.linger.count() > 0) {
      ArmLinger();
      return;
    }
    const std::size_t first = Batching::Payload(queue_.front());
    const std::size_t wanted = std::max(first, std::min(target, queued_bytes_));
    const auto credit =
        static_cast<std::size_t>(std::max<std::int64_t>(0, granted_ - report_.payload_bytes));
    // Full messages, except when no acknowledgement is due that could bring more credit.
    const bool more_credit_may_come = report_.last_ack.batches() < report_.batches;
    if (credit < (more_credit_may_come ? wanted : first)) return;
    const Filled filled = batching_.Fill(queue_, std::min(credit, target), message_);
    in_flight_bytes_ = filled.payload;
    queued_bytes_ -= in_flight_bytes_;
    report_.payload_bytes += static_cast<std::int64_t>(in_flight_bytes_);
    report_.sent_items += filled.items;
    ++report_.batches;
    writing_ = true;
    this->StartWrite(&message_);
  }

  void ArmLinger() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (lingering_) return;
    lingering_ = true;
    alarm_ = std::make_unique<grpc::Alarm>();
    alarm_->Set(std::chrono::system_clock::now() + options_.linger,
                [this](bool) { OnLinger(); });  // Cancel waits for it.
  }

  void OnLinger() {
    MutexLock lock(mu_);
    lingering_ = false;
    urgent_ = true;
    MaybeWrite();
    cv_.NotifyAll();
  }

  grpc::TemplatedGenericStub<Message, v1::IngestAck> stub_;
  const Batching batching_;
  const WriterOptions options_;
  grpc::ClientContext context_;
  Message message_;    // Of the write under way.
  v1::IngestAck ack_;  // Of the read under way.

  mutable Mutex mu_;
  CondVar cv_;
  std::unique_ptr<grpc::Alarm> alarm_ ABSL_GUARDED_BY(mu_);
  std::deque<Item> queue_ ABSL_GUARDED_BY(mu_);
  std::size_t queued_bytes_ ABSL_GUARDED_BY(mu_) = 0;     // In queue_.
  std::size_t in_flight_bytes_ ABSL_GUARDED_BY(mu_) = 0;  // In message_.
  std::size_t waiting_bytes_ ABSL_GUARDED_BY(mu_) = 0;    // Both; bounded by queue_bytes.
  std::size_t max_payload_ ABSL_GUARDED_BY(mu_) = std::size_t{1} << 31;
  std::int64_t granted_ ABSL_GUARDED_BY(mu_) = 0;
  bool opened_ ABSL_GUARDED_BY(mu_) = false;
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool held_ ABSL_GUARDED_BY(mu_) = false;
  bool urgent_ ABSL_GUARDED_BY(mu_) = false;     // Send without waiting for a full message.
  bool lingering_ ABSL_GUARDED_BY(mu_) = false;  // alarm_ is set.
  bool closing_ ABSL_GUARDED_BY(mu_) = false;
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status refused_ ABSL_GUARDED_BY(mu_);  // Why this side has ended the call, if it did.
  absl::Status status_ ABSL_GUARDED_BY(mu_);
  WriterReport report_ ABSL_GUARDED_BY(mu_);
};

}  // namespace ptychoserve::client::internal

#endif  // PTYCHOSERVE_CLIENT_CPP_INTERNAL_INGEST_WRITER_H_
