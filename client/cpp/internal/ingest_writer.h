#ifndef PTYCHOSERVE_CLIENT_CPP_INTERNAL_INGEST_WRITER_H_
#define PTYCHOSERVE_CLIENT_CPP_INTERNAL_INGEST_WRITER_H_

#include <grpcpp/channel.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "client/cpp/internal/alarms.h"
#include "client/cpp/internal/backlog.h"
#include "client/cpp/internal/batching.h"
#include "client/cpp/internal/ingest_call.h"
#include "client/cpp/internal/known_ids.h"
#include "client/cpp/internal/retry.h"
#include "client/cpp/internal/spool.h"
#include "client/cpp/writer_options.h"
#include "engine/base/mutex.h"
#include "engine/base/status_macros.h"
#include "ptychoserve/v1/ingest.pb.h"

namespace ptychoserve::client::internal {

// An input that outlives its connections: a bounded queue on the caller's side, one call after the
// other on gRPC's.
//
//   connecting -> sending    the first acknowledgement has come: what it knows is not sent again
//   sending -> waiting       the call has ended with an error that is worth retrying
//   connecting -> waiting    likewise
//   waiting -> connecting    the pause before the next attempt is over
//   any     -> finished      closed, cancelled, or an error that ends it all; status_ says how
//
// What was sent stays in the backlog until the server has it safe, and goes out again when a new
// call finds that the session does not have it.
//
// Cancel must have returned before the last reference goes: the owner's thread then takes down call
// and channel. gRPC's own threads must not, for the last channel's end joins them. Thread-safe.
template <class Batching>
class IngestWriter final : private IngestCallListener {
 public:
  using Message = typename Batching::Message;
  using Item = typename Batching::Item;
  using SteadyClock = std::chrono::steady_clock;

  static std::shared_ptr<IngestWriter> Start(std::shared_ptr<grpc::Channel> channel,
                                             std::shared_ptr<const Identity> identity,
                                             const std::string& session, Batching batching,
                                             WriterOptions options) {
    const bool named = !options.producer.empty();
    if (!named) options.producer = RandomProducer();
    std::shared_ptr<IngestWriter> writer(new IngestWriter(std::move(channel), std::move(identity),
                                                          session, std::move(batching),
                                                          std::move(options), named));
    writer->Begin();
    return writer;
  }

  // Errors: kResourceExhausted: the queue is still full at the deadline; kInvalidArgument: larger
  // than the server takes; kFailedPrecondition: closed; that of the writer, once it has failed.
  absl::Status Push(Item item, SteadyClock::time_point deadline) {
    const std::size_t bytes = Batching::Payload(item);
    MutexLock lock(mu_);
    for (;;) {
      if (finished_) return EndedLocked();
      if (!stopped_.ok()) return stopped_;
      if (closing_) return absl::FailedPreconditionError("the writer is closed");
      if (bytes > max_payload_) return TooLargeLocked(bytes);
      PS_ASSIGN_OR_RETURN(const bool taken, Take(item));
      if (taken) break;
      if (!WaitUntil(deadline)) return FullLocked();
    }
    MaybeWrite();
    return absl::OkStatus();
  }

  // Returns when all that was pushed has been dealt with by the server, be it on its disk or not.
  // Errors: kDeadlineExceeded; that of the writer, once it has failed.
  absl::Status Flush(std::chrono::milliseconds timeout) {
    const auto deadline = SteadyClock::now() + timeout;
    MutexLock lock(mu_);
    urgent_ = true;
    MaybeWrite();
    while (!finished_ && !AllAcknowledged()) {
      if (!WaitUntil(deadline)) {
        return absl::DeadlineExceededError(
            absl::StrCat("flush: ", backlog_.waiting_payload(), " bytes wait to be sent, ",
                         batches_ - acked_, " messages to be acknowledged", ConnectionWords()));
      }
    }
    return AllAcknowledged() ? absl::OkStatus() : EndedLocked();
  }

  // Sends the rest, has it made safe, ends the stream, waits for the server's last word. At the
  // deadline the writer is cancelled. Errors as Flush.
  absl::StatusOr<WriterReport> Close(std::chrono::milliseconds timeout) {
    const auto deadline = SteadyClock::now() + timeout;
    MutexLock lock(mu_);
    closing_ = true;
    if (!active_ && NothingLeft()) FinishLocked(absl::OkStatus());
    Refill();
    MaybeWrite();
    while (!finished_) {
      if (WaitUntil(deadline)) continue;
      CancelLocked(absl::DeadlineExceededError(
          absl::StrCat("close: ", backlog_.waiting_payload(), " bytes were not sent, ",
                       batches_ - acked_, " messages were not acknowledged", ConnectionWords())));
      while (!finished_) cv_.Wait(mu_);
    }
    if (!status_.ok()) return status_;
    return ReportLocked();
  }

  // Ends the writer at once and waits until no callback runs any more.
  void Cancel() {
    {
      MutexLock lock(mu_);
      CancelLocked(absl::CancelledError("the writer was cancelled"));
      while (!finished_) cv_.Wait(mu_);
    }
    alarms_.Stop();  // Without the lock, which they take.
  }

  // The error by which the writer has ended; OK while it lives and after a clean Close.
  absl::Status status() const {
    MutexLock lock(mu_);
    return status_;
  }

  WriterReport report() const {
    MutexLock lock(mu_);
    return ReportLocked();
  }

 private:
  using Call = IngestCall<Message>;
  using Milliseconds = std::chrono::milliseconds;

  // Room in a message of one item for all that is not payload. Messages of many items stay below
  // half of what is allowed: ids and sizes never take more than the other half.
  static constexpr std::size_t kItemOverhead = 4096;
  // A connection that has lived so long, or over which something was acknowledged, counts as made:
  // the next break begins its own time.
  static constexpr std::chrono::seconds kSettled{10};

  IngestWriter(std::shared_ptr<grpc::Channel> channel, std::shared_ptr<const Identity> identity,
               std::string session, Batching batching, WriterOptions options, bool named)
      : identity_(std::move(identity)),
        session_(std::move(session)),
        batching_(std::move(batching)),
        options_(std::move(options)),
        named_(named),
        stub_(std::move(channel)),
        backoff_(options_.retry_initial, options_.retry_max) {}

  void Begin() {
    MutexLock lock(mu_);
    broken_since_ = SteadyClock::now();
    if (const absl::Status ready = Prepare(); !ready.ok()) return FinishLocked(ready);
    StartCall();
  }

  absl::Status Prepare() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    PS_RETURN_IF_ERROR(CheckProducer(options_.producer));
    if (options_.spool_dir.empty()) return absl::OkStatus();
    // Every character that a session's name may have, but for the slash.
    std::string name = session_.substr(session_.rfind('/') + 1);
    absl::StrAppend(&name, "-", options_.producer, ".", Batching::kNoun);
    PS_ASSIGN_OR_RETURN(spool_, Spool::Open({.directory = options_.spool_dir,
                                             .name = std::move(name),
                                             .format = batching_.Format(),
                                             .max_bytes = options_.spool_bytes}));
    report_.torn_records = static_cast<std::int64_t>(spool_->torn());
    return absl::OkStatus();
  }

  // --- One call after the other ----------------------------------------------------------------

  // There is none, or it has ended.
  void StartCall() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    // A later epoch than before in any case, even if the clock was set back.
    epoch_ =
        std::max(epoch_ + 1,
                 static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(
                                                std::chrono::system_clock::now().time_since_epoch())
                                                .count()));
    v1::OpenStream open;
    open.set_session(session_);
    open.set_producer(options_.producer);
    open.set_epoch(epoch_);
    const std::int64_t attempt = ++attempts_;
    active_ = true;
    writing_ = true;
    call_ = std::make_unique<Call>(static_cast<IngestCallListener*>(this));
    call_->Start(stub_, Batching::kMethod, *identity_, session_, Batching::Open(open));
    if (options_.give_up_after.count() > 0) {
      alarms_.After(options_.open_timeout, [this, attempt] { OnOpenTimeout(attempt); });
    }
  }

  void OnOpenTimeout(std::int64_t attempt) {
    MutexLock lock(mu_);
    if (attempt != attempts_ || !active_ || opened_) return;
    unanswered_ = true;
    call_->Cancel();
  }

  void OnPauseOver() {
    std::unique_ptr<Call> ended;  // Goes when the lock has gone.
    MutexLock lock(mu_);
    if (finished_) return;
    ended = std::move(call_);
    StartCall();
  }

  void OnWritten() override {
    MutexLock lock(mu_);
    writing_ = false;
    in_flight_weight_ = 0;
    Refill();
    MaybeWrite();
    cv_.NotifyAll();
  }

  void OnAck(const v1::IngestAck& ack) override {
    bool reconnected = false;
    {
      MutexLock lock(mu_);
      reconnected = !opened_ && told_break_;
      if (reconnected) told_break_ = false;
    }
    if (reconnected && options_.on_connection) options_.on_connection(true, absl::OkStatus());
    if (options_.on_ack) options_.on_ack(ack);
    std::vector<Item> released;  // Their memory goes when the lock has gone.
    MutexLock lock(mu_);
    if (!opened_) Opened(ack);
    granted_ = std::max(granted_, ack.granted_bytes());
    acked_ = std::clamp(ack.batches(), acked_, batches_);
    durability_ = ack.durability();
    safe_ = KeepsJournal() ? std::min(ack.durable_batches(), batches_) : acked_;
    backlog_.Release(safe_, released);
    if (durability_ == v1::DURABILITY_LOST) {
      const std::size_t safe = released.size();
      backlog_.Forget(options_.retain_bytes, acked_, released);
      for (std::size_t k = safe; k < released.size(); ++k) {
        report_.forgotten_items += Batching::Count(released[k]);
      }
    }
    for (const Item& item : released) LetGo(item);
    report_.last_ack = ack;
    if (ack.max_message_bytes() > kItemOverhead) {
      const std::size_t allowed = ack.max_message_bytes() - kItemOverhead;
      const bool less = allowed < max_payload_;
      max_payload_ = allowed;
      if (less) CheckQueue();
    }
    Refill();
    MaybeWrite();
    cv_.NotifyAll();
  }

  // The first acknowledgement of a call is here.
  void Opened(const v1::IngestAck& first_ack) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    opened_ = true;
    opened_at_ = SteadyClock::now();
    known_ = KnownIds(first_ack);
    if (std::exchange(opened_once_, true)) {
      // Only now: until here, the numbers of the last call tell what it has left unacknowledged.
      batches_ = acked_ = payload_ = granted_ = 0;
      ++report_.reconnects;
      urgent_ = true;
    }
    if (MaySpareLocked()) report_.known_items += backlog_.Restart(known_);
  }

  // Whether this writer, or an earlier one of its name, can have sent what the session has.
  bool MaySpareLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return named_ || report_.reconnects > 0;
  }

  void OnEnd(const absl::Status& status) override {
    absl::Status error;
    bool again = false, tell = false;
    {
      MutexLock lock(mu_);
      error = CauseLocked(status);
      const bool was_open = opened_;
      const bool made = was_open && (acked_ > 0 || SteadyClock::now() - opened_at_ >= kSettled);
      opened_ = writing_ = half_closed_ = unanswered_ = false;
      in_flight_weight_ = 0;
      if (made) {
        broken_since_ = SteadyClock::now();
        backoff_.Reset();
        attempts_since_ = 0;
      } else {
        ++attempts_since_;
      }
      if (!stopped_.ok()) {
        error = stopped_;
      } else if (closing_ && NothingLeft()) {
        error = absl::OkStatus();
      } else if (WorthRetrying(error) && options_.give_up_after.count() > 0) {
        again = SteadyClock::now() - broken_since_ < options_.give_up_after;
        if (!again) error = WithWords(error, GaveUpWords());
      }
      // Not what the user has asked for.
      tell = !error.ok() && (stopped_.ok() || absl::IsInvalidArgument(stopped_)) &&
             (!again || !told_break_);
      if (tell) told_break_ = true;
      if (!again && !error.ok()) stopped_ = error = Last(error);  // Nothing is taken any more.
      cv_.NotifyAll();
    }
    if (tell && options_.on_connection) options_.on_connection(false, error);
    MutexLock lock(mu_);
    active_ = false;
    if (!again) {
      FinishLocked(error);
    } else if (!stopped_.ok()) {  // Meanwhile.
      FinishLocked(Last(stopped_));
    } else if (closing_ && NothingLeft()) {
      FinishLocked(absl::OkStatus());
    } else {
      const auto left = std::chrono::ceil<Milliseconds>(broken_since_ + options_.give_up_after -
                                                        SteadyClock::now());
      const Milliseconds pause = std::min(backoff_.Next(), std::max(left, Milliseconds(0)));
      alarms_.After(pause, [this] { OnPauseOver(); });
    }
  }

  // Why the call has ended, given the status with which it has. OK when all went as it should.
  absl::Status CauseLocked(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (unanswered_) {
      return absl::UnavailableError(absl::StrCat("the server has not answered within ",
                                                 options_.open_timeout.count(), " ms"));
    }
    if (!status.ok()) return status;
    const bool all_acknowledged = half_closed_ && AllAcknowledged();
    if (all_acknowledged && (backlog_.empty() || durability_ == v1::DURABILITY_LOST)) return status;
    if (all_acknowledged) {
      // Next time, the stream stays open until the rest is safe.
      close_when_safe_ = true;
      return absl::UnavailableError("the server has ended the stream before all was on its disk");
    }
    return absl::FailedPreconditionError(
        absl::StrCat("the server has ended the stream; the session is ",
                     v1::SessionState_Name(report_.last_ack.state())));
  }

  // The end of it all; no call is active.
  void FinishLocked(absl::Status status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (finished_) return;
    if (status.ok()) {
      report_.forgotten_items += backlog_.Count(acked_).acknowledged;  // The journal was lost.
      for (const Item& item : backlog_.items()) LetGo(item);
      if (report_.damaged_records > 0) {
        status =
            absl::DataLossError(absl::StrCat(report_.damaged_records, " records of the spool in ",
                                             options_.spool_dir, " could not be read again"));
      }
    }
    status_ = std::move(status);
    finished_ = true;
    cv_.NotifyAll();
  }

  // Has this side end it all, with `why`; what has ended stays as it is.
  void CancelLocked(absl::Status why) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (finished_) return;
    if (stopped_.ok()) stopped_ = std::move(why);
    if (!active_) return FinishLocked(Last(stopped_));
    call_->Cancel();
  }

  // The error by which the writer ends, with words about what it leaves behind; that goes to the
  // spool.
  absl::Status Last(const absl::Status& error) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    std::string words = LeftWords();
    if (spool_ == nullptr || error.ok()) return WithWords(error, words);
    absl::Status spooled;
    for (Item& item : backlog_.items()) {
      if (item.standing.ticket != Spool::kNoTicket) continue;
      spooled = Append(item);
      if (!spooled.ok()) break;
      spool_->SkipLast();
    }
    if (spool_->held() > 0) {
      absl::StrAppend(&words, "; ", spool_->held(), " records are in the spool in ",
                      options_.spool_dir, ", for the next writer of producer ", options_.producer);
    }
    if (!spooled.ok()) absl::StrAppend(&words, "; the rest is not: ", spooled.message());
    return WithWords(error, words);
  }

  // --- The spool -------------------------------------------------------------------------------
  // Its files are read and written with the lock held, on whatever thread is there: at the speed of
  // the page cache, and seldom at all.

  std::uint64_t Unread() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return spool_ == nullptr ? 0 : spool_->unread();
  }

  // Takes an item that was pushed, if there is room for it in memory or in the spool.
  absl::StatusOr<bool> Take(Item& item) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    const std::int64_t count = Batching::Count(item);
    if (named_ && opened_ && Batching::KnownTo(known_, item)) {
      if (safe_ < 0 && !HasRoomLocked(Batching::Weight(item))) return false;
      report_.items += count;
      AddKnown(item);
      return true;
    }
    // What is in the spool goes first.
    const bool room = Unread() == 0 && HasRoomLocked(Batching::Weight(item));
    const bool away = Unread() > 0 || !opened_;
    if (spool_ != nullptr && (options_.spool_always || (!room && away))) {
      const absl::Status appended = Append(item);
      if (absl::IsResourceExhausted(appended)) return false;
      PS_RETURN_IF_ERROR(appended);
      report_.spooled_items += count;
      if (room) spool_->SkipLast();
    } else if (!room) {
      return false;
    }
    report_.items += count;
    if (room) {
      backlog_.Add(std::move(item));
    } else {
      unread_items_ += count;
    }
    return true;
  }

  // Writes the item to the spool and notes where it is.
  absl::Status Append(Item& item) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    std::string scratch;
    const Stored stored = Batching::Store(item, scratch);
    PS_ASSIGN_OR_RETURN(item.standing.ticket,
                        spool_->Append(stored.kind, stored.id, stored.payload));
    return absl::OkStatus();
  }

  // The server has the item safe.
  void LetGo(const Item& item) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (item.standing.ticket != Spool::kNoTicket) spool_->Release(item.standing.ticket);
  }

  // Brings back from the spool what there is room for; not before the server has told what it
  // knows.
  void Refill() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    while (opened_ && stopped_.ok() && Unread() > 0 && HasRoomLocked(spool_->next_bytes())) {
      Spool::Read read = spool_->Next();
      std::optional<Item> item;
      if (read.record.has_value()) item = Batching::Load(*std::move(read.record));
      if (!item.has_value()) {
        ++report_.damaged_records;
        if (read.ticket != Spool::kNoTicket) spool_->Release(read.ticket);
        continue;
      }
      item->standing.ticket = read.ticket;
      const std::int64_t count = Batching::Count(*item);
      (read.inherited ? report_.items : unread_items_) += read.inherited ? count : -count;
      const std::size_t bytes = Batching::Payload(*item);
      if ((read.inherited || MaySpareLocked()) && Batching::KnownTo(known_, *item)) {
        AddKnown(*item);
        continue;
      }
      backlog_.Add(*std::move(item));
      if (bytes > max_payload_) CancelLocked(TooLargeLocked(bytes));
    }
  }

  // The session was found to have the item, which is kept only as long as that is not safe.
  void AddKnown(Item& item) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    report_.known_items += Batching::Count(item);
    if (safe_ >= 0) {
      LetGo(item);
    } else {
      backlog_.AddArrived(std::move(item));
    }
  }

  // --- What is there, and what is left ---------------------------------------------------------

  bool KeepsJournal() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return durability_ == v1::DURABILITY_JOURNAL || durability_ == v1::DURABILITY_LOST;
  }

  bool HasRoomLocked(std::size_t weight) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    const std::size_t waiting = backlog_.waiting_weight() + in_flight_weight_;
    const std::size_t all = backlog_.weight();
    return (waiting == 0 || waiting + weight <= options_.queue_bytes) &&
           (all == 0 || all + weight <= options_.queue_bytes + options_.retain_bytes);
  }

  absl::Status FullLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    const std::size_t waiting = backlog_.waiting_weight() + in_flight_weight_;
    const std::size_t kept = backlog_.weight() - waiting;
    return absl::ResourceExhaustedError(absl::StrCat(
        "the queue is full: ", waiting, " of ", options_.queue_bytes, " bytes wait to be sent",
        kept == 0 ? ""
                  : absl::StrCat(", ", kept, " of ", options_.retain_bytes,
                                 " are kept until the server has them safe"),
        spool_ == nullptr
            ? ""
            : absl::StrCat(", the spool has ", spool_->bytes(), " of ", options_.spool_bytes),
        ConnectionWords()));
  }

  absl::Status TooLargeLocked(std::size_t bytes) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return absl::InvalidArgumentError(absl::StrCat("an item of ", bytes,
                                                   " bytes; the server takes messages of up to ",
                                                   max_payload_, " bytes of payload"));
  }

  // Ends the writer if something was pushed, before the limit was known, that cannot be sent.
  void CheckQueue() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    std::size_t largest = 0;
    for (const Item& item : backlog_.items()) {
      largest = std::max(largest, Batching::Payload(item));
    }
    if (largest > max_payload_) CancelLocked(TooLargeLocked(largest));
  }

  bool AllAcknowledged() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    // While the connection is broken, nobody knows whether the server still has what it has
    // acknowledged, unless it is safe.
    return NothingLeft() ||
           (opened_ && backlog_.nothing_waits() && Unread() == 0 && acked_ == batches_);
  }
  // Whether the server has answered, and has all that was pushed safe.
  bool NothingLeft() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return opened_once_ && backlog_.empty() && Unread() == 0;
  }

  absl::Status EndedLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (!status_.ok()) return status_;
    return absl::FailedPreconditionError("the writer is closed");
  }

  std::string GaveUpWords() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    const std::chrono::duration<double> tried = SteadyClock::now() - broken_since_;
    return absl::StrCat("; gave up after ", tried.count(), " s and ", attempts_since_, " attempts");
  }
  // What the end of the writer leaves behind.
  std::string LeftWords() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    const auto counts = backlog_.Count(acked_);
    const std::int64_t unacknowledged = counts.unacknowledged + unread_items_;
    std::string words;
    if (unacknowledged > 0) {
      absl::StrAppend(&words, "; ", unacknowledged, " ", Batching::kNoun, " were not acknowledged");
    }
    if (counts.acknowledged > 0) {
      absl::StrAppend(&words, "; ", counts.acknowledged, " ", Batching::kNoun,
                      " were acknowledged, but are not known to be on the server's disk");
    }
    return words;
  }
  std::string ConnectionWords() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return told_break_ ? "; the connection is broken" : "";
  }

  WriterReport ReportLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    WriterReport report = report_;
    const auto counts = backlog_.Count(acked_);
    report.connected = opened_;
    report.unacknowledged_items = counts.unacknowledged + unread_items_;
    report.spool_records = static_cast<std::int64_t>(Unread());
    report.retained_items = finished_ && status_.ok() ? 0 : counts.acknowledged;
    return report;
  }

  // False when the deadline has passed.
  bool WaitUntil(SteadyClock::time_point deadline) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    const auto now = SteadyClock::now();
    if (now >= deadline) return false;
    cv_.WaitFor(mu_, std::chrono::ceil<Milliseconds>(deadline - now));
    return true;
  }

  // --- Sending ---------------------------------------------------------------------------------

  // Starts the next write if there is something to send, credit for it, and no write under way.
  void MaybeWrite() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (!opened_ || writing_ || half_closed_ || !stopped_.ok()) return;
    if (backlog_.nothing_waits()) {
      urgent_ = false;
      if (Unread() > 0) return;  // They come once what is kept leaves room.
      if (closing_ &&
          !(close_when_safe_ && durability_ == v1::DURABILITY_JOURNAL && !backlog_.empty())) {
        half_closed_ = true;
        call_->HalfClose();
      }
      return;
    }
    const std::size_t waiting = backlog_.waiting_payload();
    const std::size_t target = std::min(options_.message_bytes, max_payload_ / 2);
    if (waiting < target && !urgent_ && !closing_ && options_.linger.count() > 0) {
      ArmLinger();
      return;
    }
    const std::size_t first = Batching::Payload(backlog_.next());
    const std::size_t wanted = std::max(first, std::min(target, waiting));
    const auto credit = static_cast<std::size_t>(std::max<std::int64_t>(0, granted_ - payload_));
    // Full messages, except when no acknowledgement is due that could bring more credit.
    const bool more_credit_may_come = acked_ < batches_;
    if (credit < (more_credit_may_come ? wanted : first)) return;
    Message message;
    const auto sent = backlog_.Fill(batching_, std::min(credit, target), ++batches_, message);
    in_flight_weight_ = sent.weight;
    payload_ += static_cast<std::int64_t>(sent.payload);
    ++report_.batches;
    report_.payload_bytes += static_cast<std::int64_t>(sent.payload);
    report_.sent_items += sent.first_time;
    report_.resent_items += sent.again;
    writing_ = true;
    call_->Write(std::move(message));
  }

  void ArmLinger() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (std::exchange(lingering_, true)) return;
    alarms_.After(options_.linger, [this] { OnLinger(); });
  }

  void OnLinger() {
    MutexLock lock(mu_);
    lingering_ = false;
    urgent_ = true;
    MaybeWrite();
    cv_.NotifyAll();
  }

  const std::shared_ptr<const Identity> identity_;
  const std::string session_;
  const Batching batching_;
  const WriterOptions options_;
  const bool named_;  // By the user, who may have used the name before.
  typename Call::Stub stub_;
  Alarms alarms_;  // Their functions take mu_; set with it.

  mutable Mutex mu_;
  CondVar cv_;
  Backlog<Batching> backlog_ ABSL_GUARDED_BY(mu_);
  std::unique_ptr<Spool> spool_ ABSL_GUARDED_BY(mu_);
  std::int64_t unread_items_ ABSL_GUARDED_BY(mu_) = 0;  // Pushed, and to be read from the spool.
  std::size_t max_payload_ ABSL_GUARDED_BY(mu_) = std::size_t{1} << 31;
  v1::Durability durability_ ABSL_GUARDED_BY(mu_) = v1::DURABILITY_UNSPECIFIED;
  WriterReport report_ ABSL_GUARDED_BY(mu_);
  bool urgent_ ABSL_GUARDED_BY(mu_) = false;           // Send without waiting for a full message.
  bool lingering_ ABSL_GUARDED_BY(mu_) = false;        // An alarm is set for it.
  bool closing_ ABSL_GUARDED_BY(mu_) = false;          // By Close.
  bool close_when_safe_ ABSL_GUARDED_BY(mu_) = false;  // Half-close only when all is on disk.
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status stopped_ ABSL_GUARDED_BY(mu_);  // Why this side has ended it all, if it did.
  absl::Status status_ ABSL_GUARDED_BY(mu_);   // How it has ended.

  // Of the present call, or the last one.
  std::unique_ptr<Call> call_ ABSL_GUARDED_BY(mu_);
  bool active_ ABSL_GUARDED_BY(mu_) = false;  // From its start until OnEnd has returned.
  bool opened_ ABSL_GUARDED_BY(mu_) = false;  // The server has answered; until it ends.
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool half_closed_ ABSL_GUARDED_BY(mu_) = false;
  bool unanswered_ ABSL_GUARDED_BY(mu_) = false;  // Cancelled, as the server did not answer.
  SteadyClock::time_point opened_at_ ABSL_GUARDED_BY(mu_);
  std::size_t in_flight_weight_ ABSL_GUARDED_BY(mu_) = 0;  // Of the write under way.
  std::int64_t batches_ ABSL_GUARDED_BY(mu_) = 0;          // Sent,
  std::int64_t acked_ ABSL_GUARDED_BY(mu_) = 0;            // and of these, dealt with.
  std::int64_t safe_ ABSL_GUARDED_BY(mu_) = -1;            // or safe; -1: not all before it is.
  KnownIds known_ ABSL_GUARDED_BY(mu_);                    // When it was opened.
  std::int64_t payload_ ABSL_GUARDED_BY(mu_) = 0;
  std::int64_t granted_ ABSL_GUARDED_BY(mu_) = 0;

  // Of the break, while there is one.
  Backoff backoff_ ABSL_GUARDED_BY(mu_);
  std::uint64_t epoch_ ABSL_GUARDED_BY(mu_) = 0;
  std::int64_t attempts_ ABSL_GUARDED_BY(mu_) = 0;        // Calls, in all,
  std::int64_t attempts_since_ ABSL_GUARDED_BY(mu_) = 0;  // and since broken_since_.
  SteadyClock::time_point broken_since_ ABSL_GUARDED_BY(mu_);
  bool opened_once_ ABSL_GUARDED_BY(mu_) = false;  // A server has answered.
  bool told_break_ ABSL_GUARDED_BY(mu_) = false;   // on_connection knows that it is broken.
};

}  // namespace ptychoserve::client::internal

#endif  // PTYCHOSERVE_CLIENT_CPP_INTERNAL_INGEST_WRITER_H_
