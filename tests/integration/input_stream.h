#ifndef PTYCHOSERVE_TESTS_INTEGRATION_INPUT_STREAM_H_
#define PTYCHOSERVE_TESTS_INTEGRATION_INPUT_STREAM_H_

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "engine/base/mutex.h"
#include "tests/integration/api.h"

namespace ptychoserve::integration {

// One StreamFrames or StreamPositions call, for tests that misbehave: sends whatever it is told
// to, whatever credit it has, and keeps every acknowledgement. One thread sends.
template <typename Request>
class InputStream {
 public:
  explicit InputStream(Api& api) : context_(Context()) {
    if constexpr (std::is_same_v<Request, v1::StreamFramesRequest>) {
      call_ = api.stub().StreamFrames(context_.get());
    } else {
      call_ = api.stub().StreamPositions(context_.get());
    }
    reader_ = std::thread([this] { ReadAll(); });
  }
  // Opened for `session`.
  InputStream(Api& api, const std::string& session) : InputStream(api) { Open(session); }
  ~InputStream() {
    if (!reader_.joinable()) return;
    Cancel();
    Finish();
  }

  bool Open(const std::string& session, const std::string& producer = "", std::uint64_t epoch = 0) {
    Request request;
    request.mutable_open()->set_session(session);
    request.mutable_open()->set_producer(producer);
    request.mutable_open()->set_epoch(epoch);
    return Send(request);
  }
  // False when the call has ended.
  bool Send(const Request& request) { return call_->Write(request); }
  void HalfClose() { call_->WritesDone(); }
  void Cancel() { context_->TryCancel(); }
  // Half-closes, takes the last acknowledgements and returns the status. Once.
  grpc::Status Finish() {
    HalfClose();
    return Status();
  }
  // Waits for the server to end the call.
  grpc::Status Status() {
    reader_.join();
    return call_->Finish();
  }

  std::vector<v1::IngestAck> acks() const {
    MutexLock lock(mu_);
    return acks_;
  }
  v1::IngestAck last_ack() const {
    MutexLock lock(mu_);
    return acks_.empty() ? v1::IngestAck() : acks_.back();
  }
  // Until an acknowledgement satisfies `done`; false when the call ends without.
  bool AwaitAck(const std::function<bool(const v1::IngestAck&)>& done) {
    MutexLock lock(mu_);
    while (acks_.empty() || !done(acks_.back())) {
      if (ended_) return false;
      changed_.Wait(mu_);
    }
    return true;
  }
  // Until so many batches have been dealt with.
  bool AwaitBatches(std::int64_t batches) {
    return AwaitAck([batches](const v1::IngestAck& ack) { return ack.batches() >= batches; });
  }

 private:
  void ReadAll() {
    v1::IngestAck ack;
    while (call_->Read(&ack)) {
      MutexLock lock(mu_);
      acks_.push_back(ack);
      changed_.NotifyAll();
    }
    MutexLock lock(mu_);
    ended_ = true;
    changed_.NotifyAll();
  }

  const std::unique_ptr<grpc::ClientContext> context_;
  std::unique_ptr<grpc::ClientReaderWriterInterface<Request, v1::IngestAck>> call_;
  mutable Mutex mu_;
  CondVar changed_;
  std::vector<v1::IngestAck> acks_ ABSL_GUARDED_BY(mu_);
  bool ended_ ABSL_GUARDED_BY(mu_) = false;
  std::thread reader_;
};

using FrameInput = InputStream<v1::StreamFramesRequest>;
using PositionInput = InputStream<v1::StreamPositionsRequest>;

}  // namespace ptychoserve::integration

#endif  // PTYCHOSERVE_TESTS_INTEGRATION_INPUT_STREAM_H_
