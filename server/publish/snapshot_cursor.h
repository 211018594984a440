#ifndef PTYCHOSERVE_SERVER_PUBLISH_SNAPSHOT_CURSOR_H_
#define PTYCHOSERVE_SERVER_PUBLISH_SNAPSHOT_CURSOR_H_

#include <algorithm>
#include <cstddef>
#include <span>
#include <utility>

#include "ptychoserve/v1/snapshot.pb.h"
#include "server/publish/selection.h"

namespace ptychoserve::server {

// Walks through a prepared snapshot, chunk by chunk: the header, then the bytes of each array.
// Not thread-safe.
class SnapshotCursor {
 public:
  static constexpr std::size_t kMaxDataBytes = 1 << 20;  // Of one chunk.

  SnapshotCursor() = default;  // At the end.
  explicit SnapshotCursor(PreparedSnapshot prepared)
      : prepared_(std::move(prepared)), header_sent_(false) {}

  // Fills in the next chunk; false at the end, when the snapshot has been let go.
  bool Next(v1::SnapshotChunk& chunk) {
    if (!header_sent_) {
      *chunk.mutable_header() = prepared_.header;
      header_sent_ = true;
      return true;
    }
    while (array_ < prepared_.arrays.size()) {
      const std::span<const char> bytes = prepared_.arrays[array_].bytes;
      if (offset_ == bytes.size()) {
        ++array_;
        offset_ = 0;
        continue;
      }
      const std::size_t size = std::min(kMaxDataBytes, bytes.size() - offset_);
      v1::SnapshotChunk::Data& data = *chunk.mutable_data();
      data.set_array(static_cast<std::uint32_t>(array_));
      data.set_offset(static_cast<std::int64_t>(offset_));
      data.mutable_data()->assign(bytes.data() + offset_, size);
      offset_ += size;
      return true;
    }
    prepared_ = {};
    array_ = 0;
    return false;
  }

 private:
  PreparedSnapshot prepared_;
  bool header_sent_ = true;
  std::size_t array_ = 0;
  std::size_t offset_ = 0;
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_PUBLISH_SNAPSHOT_CURSOR_H_
