#ifndef PTYCHOSERVE_SERVER_INGEST_INGEST_STREAM_H_
#define PTYCHOSERVE_SERVER_INGEST_INGEST_STREAM_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/mutex.h"
#include "ptychoserve/v1/ingest.pb.h"
#include "server/base/timer.h"
#include "server/ingest/ack_policy.h"
#include "server/journal/session_journal.h"
#include "server/service/call.h"
#include "server/service/stream_set.h"
#include "server/session/producers.h"
#include "server/session/session.h"

namespace ptychoserve::server {

// Common part of StreamFrames and StreamPositions. Messages come as the bytes that they are: what
// becomes of them is decided on the ingest pool. Life of a stream, forward only:
//   kOpening -> kOpen       OpenStream named a session that takes input
//   any -> kClosing         the client has half-closed, an error, or the server drains: the last
//                           acknowledgement goes out, then the call is finished
//   any -> kFinished        cancelled, or the last acknowledgement is out
// While it is open, messages are read ahead of the one that is being taken in, up to
// kReadAheadBytes, and taken in one after the other:
//   kIdle -> kPosted        a message is there; the ingest pool takes it in
//   kPosted -> kPosted      it has been taken in (or refused and counted), and so is the next one
//   kPosted -> kIdle        it was the last one
//   kPosted -> kWaiting     the session's staging memory is full, or its journal is behind, or its
//                           tenant has sent more than it may; soon nothing is read any more, so
//                           that HTTP/2 flow control stops the client
//   kWaiting -> kPosted     it goes on
//
// With a journal, a message goes into it as it came once it has been taken in, and a client that
// has half-closed gets its last acknowledgement when all of its messages are on disk.
//
// One read is outstanding at most, and one write. Calls end whatever the client does: OnCancel
// finishes, a client that opens nothing is timed out, Drain and Fence close, and a last
// acknowledgement that is not taken cancels the call. Owns itself until OnDone.
class IngestStream : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
                     public SessionListener,
                     public Drainable,
                     public Fenceable,
                     public std::enable_shared_from_this<IngestStream> {
 public:
  static constexpr std::chrono::seconds kLastAckTimeout{10};
  // A message is received while the one before is taken in, but a stream holds no more than this
  // and one message.
  static constexpr std::size_t kReadAheadBytes = 4 << 20;

  ~IngestStream() override = default;

  void OnReadDone(bool ok) final ABSL_LOCKS_EXCLUDED(mu_);
  void OnWriteDone(bool ok) final ABSL_LOCKS_EXCLUDED(mu_);
  void OnCancel() final ABSL_LOCKS_EXCLUDED(mu_);
  void OnDone() final;
  void OnSessionChange() final ABSL_LOCKS_EXCLUDED(mu_);
  Kind kind() const final { return Kind::kIngest; }
  void Drain() final ABSL_LOCKS_EXCLUDED(mu_);
  void Fence(std::uint64_t by_epoch) final ABSL_LOCKS_EXCLUDED(mu_);

 protected:
  explicit IngestStream(const Call& call);

  // To be called once, by the factory of the derived class.
  static IngestStream* Launch(std::shared_ptr<IngestStream> stream);

  // The rest is called for one message at a time, on the ingest pool, but for the first message.
  // Makes `bytes` the present message. False when they are not one.
  virtual bool Parse(grpc::ByteBuffer* bytes) = 0;
  // Of the present message; null when it is another one.
  virtual const v1::OpenStream* open() const = 0;
  // Takes in what is left of the present message, which is not an OpenStream; false when the
  // session has no space for all of it now. Errors end the call: kInvalidArgument for a violation
  // of the protocol, kFailedPrecondition when the session has ended.
  virtual absl::StatusOr<bool> Feed(Reconstruction& reconstruction) = 0;
  // Bytes of the present message that count towards the grant.
  virtual std::int64_t PayloadBytes() const = 0;
  // The present message is done with.
  virtual void Release() = 0;
  // Its kind in the journal.
  virtual RecordKind kind_of_input() const = 0;
  // Ids that the present message accounts for.
  virtual std::vector<ClosedRange> Ids() const = 0;
  // What is missing of the kind of input that this stream carries.
  virtual MissingIds Missing(const Reconstruction& reconstruction, std::size_t limit) const = 0;
  // Totals of the kind of input that this stream carries.
  virtual const IngestCounters& Counters(const Progress& progress) const = 0;
  // Whether this stream uses staging memory.
  virtual bool uses_staging() const = 0;

 private:
  enum class State { kOpening, kOpen, kClosing, kFinished };
  enum class Intake { kIdle, kPosted, kWaiting };

  void OpenLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status CheckOpen() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status CheckNotEnded() const;
  // Starts a read unless one is outstanding, or enough is there.
  void MaybeReadLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void PostWork();
  void Work() ABSL_LOCKS_EXCLUDED(mu_);
  // The server ends the call once the present message is dealt with.
  void LeaveLocked(absl::Status why) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Ends the call of a client that has half-closed, when its input is as durable as it gets.
  void CloseWhenDurableLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // How many batches are on disk by now.
  void CountDurableLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void TellDurabilityLocked(v1::IngestAck& ack) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Whether the next message has to wait until the tenant may send more; then it will.
  bool PauseLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Goes on with the present message; begins with `next` when there is none.
  absl::StatusOr<bool> FeedPresent(grpc::ByteBuffer* next);
  // What follows from the result of Feed.
  Intake AfterFeedLocked(const absl::StatusOr<bool>& fed) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // An acknowledgement is due: now, or with the next ones.
  void OweAckLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void WriteAckLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void OnAckTimer() ABSL_LOCKS_EXCLUDED(mu_);
  // Ends the call with `status` after a last acknowledgement.
  void CloseLocked(absl::Status status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void FinishLocked(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Ends a call whose client has not done something in time.
  void OnTimeout(State in, const absl::Status& status) ABSL_LOCKS_EXCLUDED(mu_);
  // Bytes that the client may have under way on this stream.
  std::int64_t Window() const;

  Core& core_;
  grpc::CallbackServerContext* const context_;  // Valid until OnDone.
  const std::string tenant_;
  const std::shared_ptr<TenantRates> rates_;
  std::shared_ptr<IngestStream> self_;  // Released in OnDone.
  std::shared_ptr<Session> session_;    // Set once, when leaving kOpening.
  grpc::ByteBuffer arrived_;            // gRPC's while a read is outstanding.
  grpc::ByteBuffer ack_;                // gRPC's while a write is in flight.
  std::size_t present_bytes_ = 0;       // The pool's; 0 when there is no present message.
  grpc::ByteBuffer present_;            // The pool's; as it came, with a journal only.
  std::uint64_t present_sequence_ = 0;  // The pool's; its number in the journal.

  // gRPC 1.51 runs reactions on its own threads, never inside Start*() or Finish(), so operations
  // may be started with the lock held. OnDone takes none.
  Mutex mu_;
  State state_ ABSL_GUARDED_BY(mu_) = State::kOpening;
  Intake intake_ ABSL_GUARDED_BY(mu_) = Intake::kIdle;
  std::deque<grpc::ByteBuffer> inbox_ ABSL_GUARDED_BY(mu_);
  std::size_t held_bytes_ ABSL_GUARDED_BY(mu_) = 0;  // In inbox_ and of the present message.
  bool reading_ ABSL_GUARDED_BY(mu_) = false;
  bool half_closed_ ABSL_GUARDED_BY(mu_) = false;
  std::optional<absl::Status> leave_ ABSL_GUARDED_BY(mu_);  // Why the server wants to end the call.
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool last_ack_written_ ABSL_GUARDED_BY(mu_) = false;
  bool told_end_ ABSL_GUARDED_BY(mu_) = false;  // An ack has told that the session has ended.
  absl::Status close_status_ ABSL_GUARDED_BY(mu_);
  AckPolicy acks_ ABSL_GUARDED_BY(mu_);
  std::int64_t batches_ ABSL_GUARDED_BY(mu_) = 0;
  std::int64_t durable_batches_ ABSL_GUARDED_BY(mu_) = 0;
  // Numbers in the journal of what is not known to be on disk: the last one before the stream was
  // opened, then those of its batches.
  std::deque<std::uint64_t> undurable_ ABSL_GUARDED_BY(mu_);
  bool first_ack_ ABSL_GUARDED_BY(mu_) = true;
  Timer timeout_ ABSL_GUARDED_BY(mu_);
  Timer ack_timer_ ABSL_GUARDED_BY(mu_);
  Timer pause_ ABSL_GUARDED_BY(mu_);  // Until the tenant may send more.
  bool ack_timer_set_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_INGEST_INGEST_STREAM_H_
