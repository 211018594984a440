#ifndef PTYCHOSERVE_CLIENT_CPP_INTERNAL_INGEST_CALL_H_
#define PTYCHOSERVE_CLIENT_CPP_INTERNAL_INGEST_CALL_H_

#include <grpcpp/client_context.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/client_callback.h>

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "client/cpp/internal/identity.h"
#include "client/cpp/internal/status_conversion.h"
#include "engine/base/mutex.h"
#include "ptychoserve/v1/ingest.pb.h"

namespace ptychoserve::client::internal {

// What an input stream tells its owner, on gRPC's threads and without a lock of the call.
class IngestCallListener {
 public:
  // One at a time, and none after OnEnd.
  virtual void OnAck(const v1::IngestAck& ack) = 0;
  // The message has been handed on; the next one may be written.
  virtual void OnWritten() = 0;
  // The last call of all. The stream does not touch itself any more: it may be destroyed.
  virtual void OnEnd(const absl::Status& status) = 0;

 protected:
  ~IngestCallListener() = default;
};

// One input stream, from its first message to its status, with the message and the acknowledgement
// that are under way. Start, Write, HalfClose and Cancel are called with a lock of the owner's that
// OnEnd takes, so that the stream is there until they have returned.
template <class Message>
class IngestCall final : public grpc::ClientBidiReactor<Message, v1::IngestAck> {
 public:
  using Stub = grpc::TemplatedGenericStub<Message, v1::IngestAck>;

  explicit IngestCall(IngestCallListener* listener) : listener_(listener) {}

  // Begins the stream into `session`; `open` is its first message.
  void Start(Stub& stub, const char* method, const Identity& identity, const std::string& session,
             Message open) {
    identity.AddTo(context_, session);
    stub.PrepareBidiStreamingCall(&context_, method, {}, this);
    message_ = std::move(open);
    this->AddHold();  // Writes are started outside of callbacks, too.
    this->StartRead(&ack_);
    this->StartWrite(&message_);
    this->StartCall();
  }

  // Not before the last one has been written. Goes nowhere when the stream is broken: OnEnd
  // follows.
  void Write(Message message) {
    MutexLock lock(mu_);
    if (!held_) return;
    message_ = std::move(message);
    this->StartWrite(&message_);
  }

  // No more messages: the server will end the stream. Not before the last one has been written.
  void HalfClose() {
    MutexLock lock(mu_);
    if (!held_) return;
    this->StartWritesDone();
    ReleaseLocked();
  }

  // Ends the stream at once.
  void Cancel() {
    context_.TryCancel();
    Release();
  }

 private:
  void OnWriteDone(bool ok) override {
    message_ = Message();  // Lets go of its memory.
    if (!ok) return Release();
    listener_->OnWritten();
  }
  void OnReadDone(bool ok) override {
    if (!ok) return Release();
    listener_->OnAck(ack_);
    this->StartRead(&ack_);
  }
  void OnDone(const grpc::Status& status) override { listener_->OnEnd(FromGrpc(status)); }

  // Lets the call end once what is under way has ended.
  void Release() {
    MutexLock lock(mu_);
    ReleaseLocked();
  }
  void ReleaseLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (!std::exchange(held_, false)) return;
    this->RemoveHold();
  }

  IngestCallListener* const listener_;
  grpc::ClientContext context_;
  Message message_;    // gRPC's while a write is under way.
  v1::IngestAck ack_;  // gRPC's while a read is under way.
  Mutex mu_;
  bool held_ ABSL_GUARDED_BY(mu_) = true;
};

}  // namespace ptychoserve::client::internal

#endif  // PTYCHOSERVE_CLIENT_CPP_INTERNAL_INGEST_CALL_H_
