#ifndef PTYCHOSERVE_SERVER_PUBLISH_WATCH_SNAPSHOTS_H_
#define PTYCHOSERVE_SERVER_PUBLISH_WATCH_SNAPSHOTS_H_

#include <memory>

#include "ptychoserve/v1/snapshot.pb.h"
#include "server/publish/push_stream.h"
#include "server/publish/selection.h"
#include "server/publish/snapshot_cursor.h"
#include "server/publish/snapshot_meter.h"

namespace ptychoserve::server {

// One WatchSnapshots call. Latest wins: while one snapshot is being sent, newer ones replace each
// other, and the next header says how many were passed over.
class WatchSnapshotsStream final : public PushStream<v1::SnapshotChunk> {
 public:
  static grpc::ServerWriteReactor<v1::SnapshotChunk>* Start(
      const Call& call, const v1::WatchSnapshotsRequest& request);

 private:
  WatchSnapshotsStream(const Call& call, const v1::WatchSnapshotsRequest& request,
                       Selection selection, std::shared_ptr<Session> session);

  Step Next(v1::SnapshotChunk& chunk) override;

  const std::shared_ptr<Session> session_;
  const Selection selection_;
  const std::chrono::milliseconds min_interval_;

  std::int64_t sent_version_ = 0;
  bool sent_final_ = false;
  Clock::time_point next_at_{};  // Not before, unless the session has ended.
  SnapshotMeter meter_;
  SnapshotCursor cursor_;
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_PUBLISH_WATCH_SNAPSHOTS_H_
