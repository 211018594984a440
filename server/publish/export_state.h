#ifndef PTYCHOSERVE_SERVER_PUBLISH_EXPORT_STATE_H_
#define PTYCHOSERVE_SERVER_PUBLISH_EXPORT_STATE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "engine/solver/checkpoint.h"
#include "ptychoserve/v1/state.pb.h"
#include "server/journal/state_export.h"
#include "server/publish/push_stream.h"

namespace ptychoserve::server {

// One ExportState call: waits, without a thread, until the run has a checkpoint and its input is on
// disk, then sends the file.
class ExportStateStream final : public PushStream<v1::ExportStateResponse> {
 public:
  static grpc::ServerWriteReactor<v1::ExportStateResponse>* Start(
      const Call& call, const v1::ExportStateRequest& request);

 private:
  ExportStateStream(const Call& call, std::shared_ptr<Session> session,
                    const v1::ExportStateRequest& request);

  Step Next(v1::ExportStateResponse& response) override;
  // Each asks for something that comes later, on another thread. First the checkpoint, then the
  // input, so that this has all points that the checkpoint shows.
  void AskForCheckpoint();
  void AskForInput();
  // Takes an answer, which the stream waits for from now on.
  template <typename T>
  std::function<void(T)> AwaitInto(T ExportStateStream::*answer) ABSL_LOCKS_EXCLUDED(answer_mu_);
  absl::Status Begin();
  bool waiting() ABSL_LOCKS_EXCLUDED(answer_mu_);

  const std::shared_ptr<Session> session_;
  const v1::ExportStateRequest request_;
  enum class Stage { kCreated, kCheckpoint, kInput, kSending } stage_ = Stage::kCreated;
  std::uint64_t last_sequence_ = 0;
  std::optional<StateExport> export_;

  Mutex answer_mu_;
  bool waiting_ ABSL_GUARDED_BY(answer_mu_) = false;  // For an answer.
  std::shared_ptr<const Checkpoint> checkpoint_ ABSL_GUARDED_BY(answer_mu_);
  absl::Status durable_ ABSL_GUARDED_BY(answer_mu_);
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_PUBLISH_EXPORT_STATE_H_
