#ifndef PTYCHOSERVE_CLIENT_CPP_INTERNAL_SNAPSHOT_ASSEMBLER_H_
#define PTYCHOSERVE_CLIENT_CPP_INTERNAL_SNAPSHOT_ASSEMBLER_H_

#include <optional>

#include "absl/status/status.h"
#include "client/cpp/internal/array_assembler.h"
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
  absl::Status Append(const v1::ArrayData& data);
  absl::Status Store(int array);

  std::optional<Snapshot> snapshot_;
  ArrayAssembler arrays_{"snapshot"};
};

}  // namespace ptychoserve::client::internal

#endif  // PTYCHOSERVE_CLIENT_CPP_INTERNAL_SNAPSHOT_ASSEMBLER_H_
