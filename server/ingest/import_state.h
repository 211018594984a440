#ifndef PTYCHOSERVE_SERVER_INGEST_IMPORT_STATE_H_
#define PTYCHOSERVE_SERVER_INGEST_IMPORT_STATE_H_

#include <grpcpp/support/server_callback.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "engine/base/mutex.h"
#include "ptychoserve/v1/state.pb.h"
#include "server/base/timer.h"
#include "server/journal/replay.h"
#include "server/service/call.h"
#include "server/service/stream_set.h"

namespace ptychoserve::server {

// One ImportState call: the file goes to disk, where it is checked as a whole before anything is
// made of it, and then becomes a session. All of it on the imports pool. Owns itself until OnDone.
class ImportStateStream final : public grpc::ServerReadReactor<v1::ImportStateRequest>,
                                public Drainable,
                                public std::enable_shared_from_this<ImportStateStream> {
 public:
  static constexpr std::chrono::seconds kReadTimeout{60};  // Between two parts.

  static ImportStateStream* Start(const Call& call, v1::Session* response);
  ~ImportStateStream() override;

  void OnReadDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override { self_.reset(); }
  Kind kind() const override { return Kind::kIngest; }
  void Drain() override;

 private:
  ImportStateStream(const Call& call, v1::Session* response)
      : core_(call.core), tenant_(call.caller.tenant), response_(response) {}

  void Read() ABSL_LOCKS_EXCLUDED(mu_);
  // The part that has come; `last` when there is none any more.
  void Take(bool last) ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status Append();
  absl::Status OpenFile();
  absl::Status Import();
  // Gives the session, which is held, what the file has; all of it is on disk then, or is not going
  // to get there, and the session says so.
  absl::Status Fill(Session& session, const std::string& path, const Checkpoint* restored,
                    Replay& replay);
  void End(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mu_);

  Core& core_;
  const std::string tenant_;
  v1::Session* const response_;              // gRPC's, valid until the call is finished.
  std::shared_ptr<ImportStateStream> self_;  // Released in OnDone.
  v1::ImportStateRequest message_;           // gRPC's while a read is outstanding.
  v1::ImportStart start_;
  v1::Session imported_;
  int fd_ = -1;  // A file without a name: it is gone with this, or with the process.
  std::atomic<bool> drained_ = false;
  std::atomic<bool> cancelled_ = false;

  Mutex mu_;
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
  Timer timeout_ ABSL_GUARDED_BY(mu_);
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_INGEST_IMPORT_STATE_H_
