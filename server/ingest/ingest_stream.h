#ifndef PTYCHOSERVE_SERVER_INGEST_INGEST_STREAM_H_
#define PTYCHOSERVE_SERVER_INGEST_INGEST_STREAM_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/mutex.h"
#include "ptychoserve/v1/ingest.pb.h"
#include "server/base/timer.h"
#include "server/ingest/ack_policy.h"
#include "server/service/core.h"
#include "server/service/stream_set.h"
#include "server/session/session.h"

namespace ptychoserve::server {

// Common part of StreamFrames and StreamPositions. Life of a stream, forward only:
//   kOpening -> kReading    OpenStream named a session that takes input
//   kReading -> kWorking    a batch has arrived; the ingest pool takes it in
//   kWorking -> kReading    it has been taken in (or refused and counted)
//   kWorking -> kWaiting    the session's staging memory is full; nothing is read meanwhile, so
//                           HTTP/2 flow control stops the client
//   kWaiting -> kWorking    there is space again
//   any -> kClosing         the client has half-closed, an error, or the server drains: the last
//                           acknowledgement goes out, then the call is finished
//   any -> kFinished        cancelled, or the last acknowledgement is out
//
// One read is outstanding at most, and only in kOpening and kReading; one write at most. Calls end
// whatever the client does: OnCancel finishes, a client that opens nothing is timed out, Drain
// closes, and a last acknowledgement that is not taken cancels the call. Owns itself until OnDone.
template <typename Request>
class IngestStream : public grpc::ServerBidiReactor<Request, v1::IngestAck>,
                     public SessionListener,
                     public Drainable,
                     public std::enable_shared_from_this<IngestStream<Request>> {
 public:
  static constexpr std::chrono::seconds kLastAckTimeout{10};

  ~IngestStream() override = default;

  void OnReadDone(bool ok) final ABSL_LOCKS_EXCLUDED(mu_);
  void OnWriteDone(bool ok) final ABSL_LOCKS_EXCLUDED(mu_);
  void OnCancel() final ABSL_LOCKS_EXCLUDED(mu_);
  void OnDone() final;
  void OnSessionChange() final ABSL_LOCKS_EXCLUDED(mu_);
  Kind kind() const final { return Kind::kIngest; }
  void Drain() final ABSL_LOCKS_EXCLUDED(mu_);

 protected:
  IngestStream(Core& core, grpc::CallbackServerContext* context);

  // To be called once, by the factory of the derived class.
  static IngestStream* Launch(std::shared_ptr<IngestStream> stream);

  // The rest is called on the ingest pool, for one request at a time. `request` is not an
  // OpenStream.
  // Takes in what is left of `request`; false when the session has no space for all of it now.
  // Errors end the call: kInvalidArgument for a violation of the protocol, kFailedPrecondition
  // when the session has ended.
  virtual absl::StatusOr<bool> Feed(Reconstruction& reconstruction, const Request& request) = 0;
  // Bytes that count towards the grant.
  virtual std::int64_t PayloadBytes(const Request& request) const = 0;
  // Totals of the kind of input that this stream carries.
  virtual const IngestCounters& Counters(const Progress& progress) const = 0;
  // Whether this stream uses staging memory.
  virtual bool uses_staging() const = 0;

 private:
  enum class State { kOpening, kReading, kWorking, kWaiting, kClosing, kFinished };

  void OpenLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status CheckOpen() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ReadLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void PostWork() ABSL_LOCKS_EXCLUDED(mu_);
  void Work() ABSL_LOCKS_EXCLUDED(mu_);
  // What follows from the result of Feed; true when the stream waits for space.
  bool AfterFeedLocked(const absl::StatusOr<bool>& fed) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
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
  std::shared_ptr<IngestStream> self_;          // Released in OnDone.
  std::shared_ptr<Session> session_;            // Set once, when leaving kOpening.
  Request request_;    // gRPC's while a read is outstanding, the pool's in kWorking.
  v1::IngestAck ack_;  // gRPC's while a write is in flight.

  // gRPC 1.51 runs reactions on its own threads, never inside Start*() or Finish(), so operations
  // may be started with the lock held. OnDone takes none.
  Mutex mu_;
  State state_ ABSL_GUARDED_BY(mu_) = State::kOpening;
  bool draining_ ABSL_GUARDED_BY(mu_) = false;
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool last_ack_written_ ABSL_GUARDED_BY(mu_) = false;
  bool told_end_ ABSL_GUARDED_BY(mu_) = false;  // An ack has told that the session has ended.
  absl::Status close_status_ ABSL_GUARDED_BY(mu_);
  AckPolicy acks_ ABSL_GUARDED_BY(mu_);
  std::int64_t batches_ ABSL_GUARDED_BY(mu_) = 0;
  Timer timeout_ ABSL_GUARDED_BY(mu_);
  Timer ack_timer_ ABSL_GUARDED_BY(mu_);
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_INGEST_INGEST_STREAM_H_
