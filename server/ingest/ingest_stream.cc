#include "server/ingest/ingest_stream.h"

#include <grpcpp/impl/codegen/proto_utils.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "server/service/convert.h"
#include "server/service/enums.h"
#include "server/service/errors.h"
#include "server/telemetry/log.h"

namespace ptychoserve::server {
namespace {

constexpr std::size_t kMaxMissingRanges = 10'000;

}  // namespace

IngestStream::IngestStream(const Call& call)
    : core_(call.core),
      context_(call.context),
      tenant_(call.caller.tenant),
      rates_(call.core.access->RatesOf(tenant_)) {}

IngestStream* IngestStream::Launch(std::shared_ptr<IngestStream> stream) {
  stream->self_ = stream;
  {
    MutexLock lock(stream->mu_);
    const std::chrono::milliseconds limit = stream->core_.limits.open_timeout;
    stream->timeout_.After(limit, [weak = stream->weak_from_this(), limit] {
      const auto self = weak.lock();
      if (self == nullptr) return;
      self->OnTimeout(State::kOpening,
                      WithReason(absl::DeadlineExceededError(
                                     absl::StrCat("no OpenStream within ", limit.count(), " ms")),
                                 reason::kFirstMessageTimeout));
    });
    stream->MaybeReadLocked();
  }
  if (!stream->core_.streams.Add(stream)) {
    MutexLock lock(stream->mu_);
    stream->LeaveLocked(StreamLimitReached(stream->core_.streams.most()));
  }
  return stream.get();
}

void IngestStream::MaybeReadLocked() {
  if (reading_ || half_closed_ || state_ > State::kOpen || held_bytes_ >= kReadAheadBytes) return;
  reading_ = true;
  StartRead(&arrived_);
}

void IngestStream::OnReadDone(bool ok) {
  {
    MutexLock lock(mu_);
    reading_ = false;
    if (state_ > State::kOpen) return;
    if (!ok) {  // The client has half-closed or gone away.
      half_closed_ = true;
      if (state_ == State::kOpening) {
        return FinishLocked(InvalidField(reason::kProtocolViolation, "open",
                                         "the stream ended before it; it must be the first "
                                         "message"));
      }
      if (intake_ == Intake::kIdle) CloseWhenDurableLocked();
      return;
    }
    if (state_ == State::kOpening) return OpenLocked();
    held_bytes_ += arrived_.Length();
    inbox_.emplace_back().Swap(&arrived_);
    MaybeReadLocked();
    if (intake_ != Intake::kIdle) return;
    intake_ = Intake::kPosted;
  }
  PostWork();
}

absl::Status IngestStream::CheckOpen() {
  if (!Parse(&arrived_) || open() == nullptr) {
    return InvalidField(reason::kProtocolViolation, "open", "it must be the first message");
  }
  PS_ASSIGN_OR_RETURN(session_, core_.sessions.Get(tenant_, open()->session()));
  // A producer that comes back is told first what the session had got from it.
  if (open()->producer().empty()) return CheckNotEnded();
  return session_->producers().Attach(kind_of_input(), open()->producer(), open()->epoch(),
                                      weak_from_this());
}

absl::Status IngestStream::CheckNotEnded() const {
  const SessionState state = session_->state();
  return IsFinal(state) ? SessionEnded(session_->name(), StateName(state)) : absl::OkStatus();
}

void IngestStream::OpenLocked() {
  timeout_.Cancel();
  const absl::Status opened = CheckOpen();
  Release();
  arrived_.Clear();
  if (!opened.ok()) {
    session_ = nullptr;
    return FinishLocked(opened);
  }
  if (uses_staging()) ++session_->open_frame_streams();
  session_->AddListener(weak_from_this());
  if (session_->deleted()) return FinishLocked(SessionDeleted(session_->name()));
  Log(LogLevel::kDebug, "input stream opened",
      {{"session", session_->id()}, {"peer", context_->peer()}});
  state_ = State::kOpen;
  const absl::Status not_ended = CheckNotEnded();
  if (const auto& journal = session_->journal(); journal != nullptr && not_ended.ok()) {
    durable_batches_ = -1;
    undurable_.push_back(journal->last_sequence());
  }
  WriteAckLocked();
  if (!not_ended.ok()) return CloseLocked(not_ended);
  MaybeReadLocked();
}

void IngestStream::PostWork() {
  core_.ingest.Post([self = shared_from_this()] { self->Work(); });
}

void IngestStream::Work() {
  grpc::ByteBuffer bytes;
  {
    MutexLock lock(mu_);
    if (state_ != State::kOpen) return;
    intake_ = Intake::kPosted;
    if (PauseLocked()) return;
    if (present_bytes_ == 0) {
      bytes.Swap(&inbox_.front());
      inbox_.pop_front();
    }
  }
  // Input that is refused as late must not be taken when it is read back.
  const bool late = session_->reconstruction().input_closed();
  const absl::StatusOr<bool> fed = FeedPresent(&bytes);
  if (const auto& journal = session_->journal(); fed.ok() && *fed && journal != nullptr) {
    grpc::ByteBuffer message = std::exchange(present_, {});
    present_sequence_ = late ? journal->last_sequence()
                             : journal->Append(kind_of_input(), std::move(message), Ids());
  }
  Intake next = Intake::kIdle;
  {
    MutexLock lock(mu_);
    if (state_ != State::kOpen) return;
    next = intake_ = AfterFeedLocked(fed);
  }
  if (next == Intake::kPosted) return PostWork();
  if (next == Intake::kIdle) return;
  auto again = [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->PostWork();
  };
  if (const auto& journal = session_->journal(); journal != nullptr && journal->full()) {
    return journal->NotifyWhenRoom(std::move(again));
  }
  session_->reconstruction().NotifyWhenSpace(std::move(again));
}

bool IngestStream::PauseLocked() {
  if (present_bytes_ > 0) return false;  // What has begun goes on.
  const auto wait = rates_->ingest_bytes.Wait(std::chrono::steady_clock::now());
  if (wait <= std::chrono::steady_clock::duration::zero()) return false;
  core_.metrics.ingest_paused_s.Increment(std::chrono::duration<double>(wait).count());
  intake_ = Intake::kWaiting;
  pause_.After(wait, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->PostWork();
  });
  return true;
}

absl::StatusOr<bool> IngestStream::FeedPresent(grpc::ByteBuffer* next) {
  if (present_bytes_ == 0) {
    present_bytes_ = next->Length();
    if (session_->journal() != nullptr) present_ = *next;  // Shares its memory.
    if (!Parse(next)) {
      return InvalidField(reason::kProtocolViolation, "message",
                          "its bytes are not a message of this stream; use stubs made from the "
                          "server's proto files");
    }
  }
  return Feed(session_->reconstruction());
}

IngestStream::Intake IngestStream::AfterFeedLocked(const absl::StatusOr<bool>& fed) {
  const bool done = fed.ok() && *fed;
  if (done) {
    ++batches_;
    if (session_->journal() != nullptr) undurable_.push_back(present_sequence_);
    acks_.Add(PayloadBytes());
    core_.metrics.ingest_bytes.Increment(static_cast<double>(PayloadBytes()));
    rates_->ingest_bytes.Take(static_cast<double>(PayloadBytes()),
                              std::chrono::steady_clock::now());
    held_bytes_ -= std::exchange(present_bytes_, 0);
    Release();
  }
  if (session_->deleted()) {
    CloseLocked(SessionDeleted(session_->name()));
  } else if (leave_) {
    // Before what the message met: a server that shuts down ends its sessions as well, and a client
    // is to hear of the cause.
    CloseLocked(*leave_);
  } else if (!fed.ok()) {
    CloseLocked(absl::IsFailedPrecondition(fed.status()) && ReasonOf(fed.status()).empty()
                    ? SessionEnded(session_->name(), StateName(session_->state()))
                    : fed.status());
  } else if (!done) {
    return Intake::kWaiting;
  } else if (half_closed_ && inbox_.empty()) {
    CloseWhenDurableLocked();
  } else {
    OweAckLocked();
    MaybeReadLocked();
    if (inbox_.empty()) return Intake::kIdle;
    const auto& journal = session_->journal();
    return journal != nullptr && journal->full() ? Intake::kWaiting : Intake::kPosted;
  }
  return Intake::kIdle;
}

std::int64_t IngestStream::Window() const {
  // Room for one more batch of any size in any case, so that a client always may go on.
  const std::int64_t least = core_.limits.max_message_bytes;
  if (!uses_staging()) return least;
  const int streams = std::max(1, session_->open_frame_streams().load());
  return std::max(least, session_->reconstruction().free_staging_bytes() / streams);
}

void IngestStream::OweAckLocked() {
  acks_.Owe();
  if (writing_) return;
  const auto now = std::chrono::steady_clock::now();
  const auto until = acks_.WaitUntil(now);
  if (!until.has_value()) return WriteAckLocked();
  if (std::exchange(ack_timer_set_, true)) return;
  ack_timer_.After(*until - now, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->OnAckTimer();
  });
}

void IngestStream::OnAckTimer() {
  MutexLock lock(mu_);
  ack_timer_set_ = false;
  if (acks_.owed() && !writing_ && state_ < State::kClosing) WriteAckLocked();
}

void IngestStream::WriteAckLocked() {
  const Progress progress = session_->reconstruction().progress();
  acks_.Sent(std::chrono::steady_clock::now(), Window());
  told_end_ = told_end_ || IsFinal(progress.state);
  v1::IngestAck ack;
  ack.set_batches(batches_);
  ack.set_payload_bytes(acks_.payload_bytes());
  ack.set_granted_bytes(acks_.granted_bytes());
  *ack.mutable_counters() = CountersToProto(Counters(progress));
  ack.set_max_message_bytes(static_cast<std::uint64_t>(core_.limits.max_message_bytes));
  ack.set_state(ToProto(progress.state));
  TellDurabilityLocked(ack);
  if (std::exchange(first_ack_, false)) {
    const MissingIds missing = Missing(session_->reconstruction(), kMaxMissingRanges);
    for (const auto& [first, last] : missing.ranges) {
      v1::IdRange& range = *ack.add_missing();
      range.set_first(first);
      range.set_last(last);
    }
    ack.set_known_up_to(missing.known_up_to);
  }
  bool own = false;
  ack_.Clear();
  const grpc::Status serialised =
      grpc::SerializationTraits<v1::IngestAck>::Serialize(ack, &ack_, &own);
  if (!serialised.ok()) return FinishLocked(absl::InternalError(serialised.error_message()));
  writing_ = true;
  StartWrite(&ack_);
}

void IngestStream::OnWriteDone(bool ok) {
  MutexLock lock(mu_);
  writing_ = false;
  if (state_ == State::kFinished) return;
  if (!ok) return FinishLocked(absl::CancelledError("the client is gone"));
  if (state_ == State::kClosing) {
    if (last_ack_written_) return FinishLocked(close_status_);
    last_ack_written_ = true;
    return WriteAckLocked();
  }
  if (acks_.owed()) OweAckLocked();
}

void IngestStream::CountDurableLocked() {
  const std::uint64_t durable = session_->journal()->durable_sequence();
  while (!undurable_.empty() && undurable_.front() <= durable) {
    undurable_.pop_front();
    ++durable_batches_;
  }
}

void IngestStream::TellDurabilityLocked(v1::IngestAck& ack) {
  const auto& journal = session_->journal();
  const std::int64_t first_id = session_->first_frame_id();
  if (journal == nullptr) {
    ack.set_durability(v1::DURABILITY_MEMORY);
    ack.set_durable_watermark(first_id - 1);
    return;
  }
  CountDurableLocked();
  ack.set_durability(journal->lost() ? v1::DURABILITY_LOST : v1::DURABILITY_JOURNAL);
  ack.set_durable_batches(durable_batches_);
  ack.set_durable_watermark(journal->durable_watermark(kind_of_input(), first_id));
}

void IngestStream::CloseWhenDurableLocked() {
  const auto& journal = session_->journal();
  if (journal == nullptr) return CloseLocked(absl::OkStatus());
  // Not from here: it may answer at once.
  core_.ingest.Post([self = shared_from_this(), journal, last = journal->last_sequence()] {
    journal->WhenDurable(last, [self](const absl::Status&) {  // The acknowledgement tells which.
      MutexLock lock(self->mu_);
      if (self->state_ == State::kOpen) self->CloseLocked(absl::OkStatus());
    });
  });
}

void IngestStream::OnSessionChange() {
  const bool ended = session_->ended();
  if (!ended && session_->journal() == nullptr) return;  // Iterations and snapshots, mostly.
  MutexLock lock(mu_);
  if (state_ >= State::kClosing) return;
  if (!ended) {
    if (state_ != State::kOpen) return;
    const std::int64_t before = durable_batches_;
    CountDurableLocked();
    if (durable_batches_ != before) OweAckLocked();
    return;
  }
  if (session_->deleted()) {
    // A message under way is finished first; see AfterFeedLocked.
    if (intake_ != Intake::kPosted) CloseLocked(SessionDeleted(session_->name()));
    return;
  }
  if (told_end_) return;
  told_end_ = true;
  acks_.Owe();
  if (!writing_) WriteAckLocked();
}

void IngestStream::Drain() {
  MutexLock lock(mu_);
  LeaveLocked(Draining());
}

void IngestStream::Fence(std::uint64_t by_epoch) {
  MutexLock lock(mu_);
  LeaveLocked(ProducerFenced(by_epoch));
}

void IngestStream::LeaveLocked(absl::Status why) {
  if (leave_ || state_ >= State::kClosing) return;
  leave_ = std::move(why);
  if (state_ == State::kOpening) return FinishLocked(*leave_);
  // A message under way is finished first; see AfterFeedLocked.
  if (intake_ != Intake::kPosted) CloseLocked(*leave_);
}

void IngestStream::CloseLocked(absl::Status status) {
  state_ = State::kClosing;
  inbox_.clear();
  close_status_ = std::move(status);
  ack_timer_.Cancel();
  timeout_.After(kLastAckTimeout, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) {
      self->OnTimeout(State::kClosing,
                      absl::CancelledError("the client does not take the last acknowledgement"));
    }
  });
  if (writing_) return;  // OnWriteDone goes on.
  last_ack_written_ = true;
  WriteAckLocked();
}

void IngestStream::OnTimeout(State in, const absl::Status& status) {
  MutexLock lock(mu_);
  if (state_ != in) return;
  // A write may be stuck behind a client that reads nothing: finishing alone would not end it.
  if (writing_) context_->TryCancel();
  FinishLocked(status);
}

void IngestStream::OnCancel() {
  MutexLock lock(mu_);
  if (state_ != State::kFinished) FinishLocked(absl::CancelledError("the call was cancelled"));
}

void IngestStream::FinishLocked(const absl::Status& status) {
  state_ = State::kFinished;
  inbox_.clear();
  timeout_.Cancel();
  ack_timer_.Cancel();
  pause_.Cancel();
  if (session_ != nullptr) {
    if (uses_staging()) --session_->open_frame_streams();
    Log(LogLevel::kDebug, "input stream closed",
        {{"session", session_->id()},
         {"batches", batches_},
         {"payload_bytes", acks_.payload_bytes()},
         {"status", absl::StatusCodeToString(status.code())}});
  }
  core_.streams.Leave(weak_from_this());
  Finish(ToGrpcStatus(status));
}

void IngestStream::OnDone() { self_.reset(); }

}  // namespace ptychoserve::server
