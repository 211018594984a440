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

IngestStream::IngestStream(Core& core, grpc::CallbackServerContext* context)
    : core_(core), context_(context) {}

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
  stream->core_.streams.Add(stream);
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
      if (intake_ == Intake::kIdle) CloseLocked(absl::OkStatus());
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
  PS_ASSIGN_OR_RETURN(session_, core_.sessions.Get(open()->session()));
  if (const SessionState state = session_->state(); IsFinal(state)) {
    return SessionEnded(session_->name(), StateName(state));
  }
  return absl::OkStatus();
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
  WriteAckLocked();
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
    if (present_bytes_ == 0) {
      bytes.Swap(&inbox_.front());
      inbox_.pop_front();
    }
  }
  const absl::StatusOr<bool> fed = FeedPresent(&bytes);
  Intake next = Intake::kIdle;
  {
    MutexLock lock(mu_);
    if (state_ != State::kOpen) return;
    next = intake_ = AfterFeedLocked(fed);
  }
  if (next == Intake::kPosted) return PostWork();
  if (next == Intake::kIdle) return;
  session_->reconstruction().NotifyWhenSpace([weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->PostWork();
  });
}

absl::StatusOr<bool> IngestStream::FeedPresent(grpc::ByteBuffer* next) {
  if (present_bytes_ == 0) {
    present_bytes_ = next->Length();
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
    acks_.Add(PayloadBytes());
    held_bytes_ -= std::exchange(present_bytes_, 0);
    Release();
  }
  if (session_->deleted()) {
    CloseLocked(SessionDeleted(session_->name()));
  } else if (!fed.ok()) {
    CloseLocked(absl::IsFailedPrecondition(fed.status()) && ReasonOf(fed.status()).empty()
                    ? SessionEnded(session_->name(), StateName(session_->state()))
                    : fed.status());
  } else if (draining_) {
    CloseLocked(Draining());
  } else if (!done) {
    return Intake::kWaiting;
  } else if (half_closed_ && inbox_.empty()) {
    CloseLocked(absl::OkStatus());
  } else {
    OweAckLocked();
    MaybeReadLocked();
    return inbox_.empty() ? Intake::kIdle : Intake::kPosted;
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

void IngestStream::OnSessionChange() {
  if (!session_->ended()) return;
  MutexLock lock(mu_);
  if (state_ >= State::kClosing) return;
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
  if (draining_ || state_ >= State::kClosing) return;
  draining_ = true;
  if (state_ == State::kOpening) return FinishLocked(Draining());
  // A message under way is finished first; see AfterFeedLocked.
  if (intake_ != Intake::kPosted) CloseLocked(Draining());
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
  if (session_ != nullptr) {
    if (uses_staging()) --session_->open_frame_streams();
    Log(LogLevel::kDebug, "input stream closed",
        {{"session", session_->id()},
         {"batches", batches_},
         {"payload_bytes", acks_.payload_bytes()},
         {"status", absl::StatusCodeToString(status.code())}});
  }
  Finish(ToGrpcStatus(status));
}

void IngestStream::OnDone() { self_.reset(); }

}  // namespace ptychoserve::server
