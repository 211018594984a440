#ifndef PTYCHOSERVE_SERVER_JOURNAL_SNAPSHOT_RECORDS_H_
#define PTYCHOSERVE_SERVER_JOURNAL_SNAPSHOT_RECORDS_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/io/record_file.h"
#include "engine/solver/checkpoint.h"
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
  // And of a checkpoint:
  kExactProbe = 22,
  kExitWave = 23,  // One for each point; the sequence is its place among the points.
  kEnd = 24,       // Of a state file.
  // Of a checkpoint, too:
  kObjectVelocity = 25,
  kProbeVelocity = 26,
  // Of a snapshot:
  kBackground = 27,
  kProbeComponents = 28,
  // Of a checkpoint:
  kExactProbeComponents = 29,
  kExactObject = 30,
};

// A message as a record, which looks at `bytes`.
Record MessageRecord(StateKind kind, const std::string& bytes);

// A snapshot, or a checkpoint, as records, which look at it and at this.
class SnapshotRecords {
 public:
  explicit SnapshotRecords(const Snapshot& snapshot);
  explicit SnapshotRecords(const Checkpoint& checkpoint);
  const std::vector<Record>& records() const { return records_; }

 private:
  SnapshotRecords(const Snapshot& snapshot, const Checkpoint* checkpoint);

  std::string header_;
  std::vector<Record> records_;
};

// Takes the records of a snapshot or a checkpoint, among others, and puts it together again.
class SnapshotReader {
 public:
  // Errors: kDataLoss when the record contradicts those before.
  absl::Status Take(const Record& record);
  // Null when there was none; of a snapshot alone, CheckpointOf it. Errors: kDataLoss when
  // something is missing.
  absl::StatusOr<std::shared_ptr<const Checkpoint>> Finish();

 private:
  absl::Status TakeHeader(const Record& record);
  absl::Status TakeExitWave(const Record& record);
  absl::Status TakeVelocity(const Record& record, StateKind kind);
  int WavesPerPoint() const { return snapshot_->object.modes * exact_probe_.modes; }
  absl::Status TakeComponents(const Record& record, ComplexStack* components) const;

  // Arrays are empty until they come.
  std::shared_ptr<Snapshot> snapshot_;
  ComplexStack exact_probe_, exact_object_;
  FloatImage background_;
  int component_count_ = 0;  // Of the probe's variation.
  ComplexStack components_, exact_components_;
  std::optional<ExitWaveState> exit_waves_;
  std::optional<MomentumState> momentum_;
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_JOURNAL_SNAPSHOT_RECORDS_H_
