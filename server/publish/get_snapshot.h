#ifndef PTYCHOSERVE_SERVER_PUBLISH_GET_SNAPSHOT_H_
#define PTYCHOSERVE_SERVER_PUBLISH_GET_SNAPSHOT_H_

#include <memory>

#include "absl/status/statusor.h"
#include "ptychoserve/v1/snapshot.pb.h"
#include "server/publish/push_stream.h"
#include "server/publish/selection.h"
#include "server/publish/snapshot_cursor.h"
#include "server/publish/snapshot_meter.h"

namespace ptychoserve::server {

// One GetSnapshot call: waits for a newer snapshot if asked to (without a thread), sends the one
// snapshot, ends.
class GetSnapshotStream final : public PushStream<v1::SnapshotChunk> {
 public:
  static grpc::ServerWriteReactor<v1::SnapshotChunk>* Start(const Call& call,
                                                            const v1::GetSnapshotRequest& request);

 private:
  GetSnapshotStream(const Call& call, const v1::GetSnapshotRequest& request, Selection selection,
                    std::shared_ptr<Session> session);

  Step Next(v1::SnapshotChunk& chunk) override;
  // Decides what to send: nullopt when the cursor has it, else what to do instead.
  std::optional<Step> Choose(v1::SnapshotChunk& chunk);

  const std::shared_ptr<Session> session_;
  const Selection selection_;
  const std::int64_t version_;
  const std::int64_t not_newer_than_;
  const Clock::time_point give_up_;

  bool chosen_ = false;
  SnapshotMeter meter_;
  SnapshotCursor cursor_;
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_PUBLISH_GET_SNAPSHOT_H_
