#ifndef PTYCHOSERVE_SERVER_JOURNAL_SNAPSHOT_RECORDS_H_
#define PTYCHOSERVE_SERVER_JOURNAL_SNAPSHOT_RECORDS_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/io/record_file.h"
#include "engine/solver/snapshot.h"

namespace ptychoserve::server {

// Kinds of records in checkpoints and results; see state.proto.
enum class StateKind : std::uint32_t {
  kManifest = 16,
  kResult = 17,
  kSnapshot = 18,  // Followed by its arrays:
  kObject = 19,
  kProbe = 20,
  kCoverage = 21,
};

// A snapshot as records, which look at the snapshot and at this.
class SnapshotRecords {
 public:
  explicit SnapshotRecords(const Snapshot& snapshot);
  const std::vector<Record>& records() const { return records_; }

 private:
  std::string header_;
  std::vector<Record> records_;
};

// Takes a snapshot's records, in any order among others, and puts it together again.
class SnapshotReader {
 public:
  // Errors: kDataLoss when the record contradicts those before.
  absl::Status Take(const Record& record);
  // Null when there was none. Errors: kDataLoss when something is missing.
  absl::StatusOr<std::shared_ptr<const Snapshot>> Finish();

 private:
  std::shared_ptr<Snapshot> snapshot_;  // Its arrays are empty until they come.
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_JOURNAL_SNAPSHOT_RECORDS_H_
