#ifndef PTYCHOSERVE_SERVER_PUBLISH_SNAPSHOT_CURSOR_H_
#define PTYCHOSERVE_SERVER_PUBLISH_SNAPSHOT_CURSOR_H_

#include <memory>
#include <optional>
#include <utility>

#include "ptychoserve/v1/snapshot.pb.h"
#include "server/publish/arrays.h"
#include "server/publish/selection.h"

namespace ptychoserve::server {

// Walks through a prepared snapshot, chunk by chunk: the header, then the bytes of each array.
// Not thread-safe.
class SnapshotCursor {
 public:
  SnapshotCursor() = default;  // At the end.
  explicit SnapshotCursor(PreparedSnapshot prepared)
      : snapshot_(std::move(prepared.snapshot)),
        header_(std::move(prepared.header)),
        arrays_(std::move(prepared.arrays)) {}

  // Fills in the next chunk; false at the end, when the snapshot has been let go.
  bool Next(v1::SnapshotChunk& chunk) {
    if (header_) {
      *chunk.mutable_header() = *std::exchange(header_, std::nullopt);
      return true;
    }
    if (arrays_.Next(*chunk.mutable_data())) return true;
    chunk.clear_data();
    snapshot_.reset();
    return false;
  }

 private:
  std::shared_ptr<const Snapshot> snapshot_;  // The arrays may be views of it.
  std::optional<v1::SnapshotHeader> header_;
  ArrayCursor arrays_;
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_PUBLISH_SNAPSHOT_CURSOR_H_
