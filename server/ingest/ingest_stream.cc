#include "server/ingest/ingest_stream.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "server/service/convert.h"
#include "server/service/enums.h"
#include "server/service/errors.h"
#include "server/telemetry/log.h"

namespace ptychoserve::server {

template <typename Request>
IngestStream<Request>::IngestStream(Core& core, grpc::CallbackServerContext* context)
    : core_(core), context_(context) {}

template <typename Request>
IngestStream<Request>* IngestStream<Request>::Launch(std::shared_ptr<IngestStream> stream) {
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
    stream->ReadLocked();
  }
  stream->core_.streams.Add(stream);
  return stream.get();
}

template <typename Request>
void IngestStream<Request>::ReadLocked() {
  request_.Clear();  // Keeps the payload's memory for the next one.
  this->StartRead(&request_);
}

template <typename Request>
void IngestStream<Request>::OnReadDone(bool ok) {
  {
    MutexLock lock(mu_);
    if (state_ != State::kOpening && state_ != State::kReading) return;
    if (!ok) {  // The client has half-closed or gone away.
      if (state_ == State::kOpening) {
        return FinishLocked(InvalidField(reason::kProtocolViolation, "open",
                                         "the stream ended before it; it must be the first "
                                         "message"));
      }
      return CloseLocked(absl::OkStatus());
    }
    if (state_ == State::kOpening) return OpenLocked();
    state_ = State::kWorking;
  }
  PostWork();
}

template <typename Request>
absl::Status IngestStream<Request>::CheckOpen() {
  if (request_.message_case() != Request::kOpen) {
    return InvalidField(reason::kProtocolViolation, "open", "it must be the first message");
  }
  PS_ASSIGN_OR_RETURN(session_, core_.sessions.Get(request_.open().session()));
  if (const SessionState state = session_->state(); IsFinal(state)) {
    return SessionEnded(session_->name(), StateName(state));
  }
  return absl::OkStatus();
}

template <typename Request>
void IngestStream<Request>::OpenLocked() {
  timeout_.Cancel();
  if (const absl::Status opened = CheckOpen(); !opened.ok()) {
    session_ = nullptr;
    return FinishLocked(opened);
  }
  if (uses_staging()) ++session_->open_frame_streams();
  session_->AddListener(this->weak_from_this());
  if (session_->deleted()) return FinishLocked(SessionDeleted(session_->name()));
  Log(LogLevel::kDebug, "input stream opened",
      {{"session", session_->id()}, {"peer", context_->peer()}});
  state_ = State::kReading;
  WriteAckLocked();
  ReadLocked();
}

template <typename Request>
void IngestStream<Request>::PostWork() {
  core_.ingest.Post([self = this->shared_from_this()] { self->Work(); });
}

template <typename Request>
void IngestStream<Request>::Work() {
  {
    MutexLock lock(mu_);
    if (state_ == State::kWaiting) state_ = State::kWorking;
    if (state_ != State::kWorking) return;
  }
  const absl::StatusOr<bool> fed = Feed(session_->reconstruction(), request_);
  bool wait = false;
  {
    MutexLock lock(mu_);
    if (state_ == State::kWorking) wait = AfterFeedLocked(fed);
  }
  if (!wait) return;
  session_->reconstruction().NotifyWhenSpace([weak = this->weak_from_this()] {
    if (const auto self = weak.lock()) self->PostWork();
  });
}

template <typename Request>
bool IngestStream<Request>::AfterFeedLocked(const absl::StatusOr<bool>& fed) {
  if (session_->deleted()) {
    CloseLocked(SessionDeleted(session_->name()));
    return false;
  }
  if (!fed.ok()) {
    CloseLocked(absl::IsFailedPrecondition(fed.status()) && ReasonOf(fed.status()).empty()
                    ? SessionEnded(session_->name(), StateName(session_->state()))
                    : fed.status());
    return false;
  }
  const bool done = *fed;
  if (done) {
    ++batches_;
    acks_.Add(PayloadBytes(request_));
  }
  if (draining_) {
    CloseLocked(Draining());
    return false;
  }
  if (!done) {
    state_ = State::kWaiting;
    return true;
  }
  OweAckLocked();
  state_ = State::kReading;
  ReadLocked();
  return false;
}

template <typename Request>
std::int64_t IngestStream<Request>::Window() const {
  // Room for one more batch of any size in any case, so that a client always may go on.
  const std::int64_t least = core_.limits.max_message_bytes;
  if (!uses_staging()) return least;
  const int streams = std::max(1, session_->open_frame_streams().load());
  return std::max(least, session_->reconstruction().free_staging_bytes() / streams);
}

template <typename Request>
void IngestStream<Request>::OweAckLocked() {
  acks_.Owe();
  if (writing_) return;
  const auto now = std::chrono::steady_clock::now();
  const auto until = acks_.WaitUntil(now);
  if (!until.has_value()) return WriteAckLocked();
  ack_timer_.After(*until - now, [weak = this->weak_from_this()] {
    if (const auto self = weak.lock()) self->OnAckTimer();
  });
}

template <typename Request>
void IngestStream<Request>::OnAckTimer() {
  MutexLock lock(mu_);
  if (acks_.owed() && !writing_ && state_ < State::kClosing) WriteAckLocked();
}

template <typename Request>
void IngestStream<Request>::WriteAckLocked() {
  const Progress progress = session_->reconstruction().progress();
  acks_.Sent(std::chrono::steady_clock::now(), Window());
  told_end_ = told_end_ || IsFinal(progress.state);
  ack_.Clear();
  ack_.set_batches(batches_);
  ack_.set_payload_bytes(acks_.payload_bytes());
  ack_.set_granted_bytes(acks_.granted_bytes());
  *ack_.mutable_counters() = CountersToProto(Counters(progress));
  ack_.set_max_message_bytes(static_cast<std::uint64_t>(core_.limits.max_message_bytes));
  ack_.set_state(ToProto(progress.state));
  writing_ = true;
  this->StartWrite(&ack_);
}

template <typename Request>
void IngestStream<Request>::OnWriteDone(bool ok) {
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

template <typename Request>
void IngestStream<Request>::OnSessionChange() {
  if (!session_->ended()) return;
  MutexLock lock(mu_);
  if (state_ >= State::kClosing) return;
  if (session_->deleted()) {
    // A batch under way is finished first; see AfterFeedLocked.
    if (state_ != State::kWorking) CloseLocked(SessionDeleted(session_->name()));
    return;
  }
  if (told_end_) return;
  told_end_ = true;
  acks_.Owe();
  if (!writing_) WriteAckLocked();
}

template <typename Request>
void IngestStream<Request>::Drain() {
  MutexLock lock(mu_);
  if (draining_ || state_ >= State::kClosing) return;
  draining_ = true;
  if (state_ == State::kOpening) return FinishLocked(Draining());
  // A batch under way is finished first; see AfterFeedLocked.
  if (state_ != State::kWorking) CloseLocked(Draining());
}

template <typename Request>
void IngestStream<Request>::CloseLocked(absl::Status status) {
  state_ = State::kClosing;
  close_status_ = std::move(status);
  ack_timer_.Cancel();
  timeout_.After(kLastAckTimeout, [weak = this->weak_from_this()] {
    if (const auto self = weak.lock()) {
      self->OnTimeout(State::kClosing,
                      absl::CancelledError("the client does not take the last acknowledgement"));
    }
  });
  if (writing_) return;  // OnWriteDone goes on.
  last_ack_written_ = true;
  WriteAckLocked();
}

template <typename Request>
void IngestStream<Request>::OnTimeout(State in, const absl::Status& status) {
  MutexLock lock(mu_);
  if (state_ != in) return;
  // A write may be stuck behind a client that reads nothing: finishing alone would not end it.
  if (writing_) context_->TryCancel();
  FinishLocked(status);
}

template <typename Request>
void IngestStream<Request>::OnCancel() {
  MutexLock lock(mu_);
  if (state_ != State::kFinished) FinishLocked(absl::CancelledError("the call was cancelled"));
}

template <typename Request>
void IngestStream<Request>::FinishLocked(const absl::Status& status) {
  state_ = State::kFinished;
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
  this->Finish(ToGrpcStatus(status));
}

template <typename Request>
void IngestStream<Request>::OnDone() {
  self_.reset();
}

template class IngestStream<v1::StreamFramesRequest>;
template class IngestStream<v1::StreamPositionsRequest>;

}  // namespace ptychoserve::server
