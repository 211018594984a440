#ifndef PTYCHOSERVE_CLIENT_CPP_INTERNAL_SNAPSHOT_ASSEMBLER_H_
#define PTYCHOSERVE_CLIENT_CPP_INTERNAL_SNAPSHOT_ASSEMBLER_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "client/cpp/snapshot.h"
#include "ptychoserve/v1/snapshot.pb.h"

namespace ptychoserve::client::internal {

// Puts the chunks of snapshots together. Trusts nothing that a server says. Not thread-safe.
class SnapshotAssembler {
 public:
  // Takes the next chunk. Errors: kDataLoss when it does not fit to what came before.
  absl::Status Add(const v1::SnapshotChunk& chunk);
  // A snapshot whose arrays are complete; empties the assembler. Unset while bytes are missing.
  std::optional<Snapshot> Take();
  // True between a header and the last byte of its arrays.
  bool in_progress() const { return snapshot_.has_value(); }

 private:
  absl::Status Begin(const v1::SnapshotHeader& header);
  absl::Status Append(const v1::SnapshotChunk::Data& data);
  absl::Status Store(const v1::ArrayInfo& info, const std::vector<char>& bytes);

  std::optional<Snapshot> snapshot_;
  std::vector<std::vector<char>> arrays_;
  std::int64_t missing_bytes_ = 0;
};

}  // namespace ptychoserve::client::internal

#endif  // PTYCHOSERVE_CLIENT_CPP_INTERNAL_SNAPSHOT_ASSEMBLER_H_
