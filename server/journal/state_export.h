#ifndef PTYCHOSERVE_SERVER_JOURNAL_STATE_EXPORT_H_
#define PTYCHOSERVE_SERVER_JOURNAL_STATE_EXPORT_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "engine/solver/checkpoint.h"
#include "ptychoserve/state/v1/state.pb.h"
#include "server/journal/journal_reader.h"
#include "server/journal/snapshot_records.h"

namespace ptychoserve::server {

// A session as the bytes of a state file, part by part: its manifest, where its run is, its input,
// and a record that says that this is all.
class StateExport {
 public:
  // `checkpoint` may be null, `journal` too; of the journal, records up to number `last`.
  StateExport(const state::v1::Manifest& manifest, std::shared_ptr<const Checkpoint> checkpoint,
              std::unique_ptr<JournalReader> journal, std::uint64_t last);

  // Puts the next part, of at most `most` bytes, into `out`; empty at the end. Errors: kDataLoss
  // when the journal is damaged.
  absl::Status Next(std::size_t most, std::string* out);

 private:
  // The record after the present one; nullopt at the end.
  absl::StatusOr<std::optional<Record>> NextRecord();

  const std::string manifest_;
  const std::shared_ptr<const Checkpoint> checkpoint_;
  std::optional<SnapshotRecords> checkpoint_records_;
  const std::unique_ptr<JournalReader> journal_;
  const std::uint64_t last_;
  std::string end_;
  std::size_t next_ = 0;  // Of the manifest and the records of the checkpoint.
  bool ended_ = false;
  std::int64_t records_ = 0;
  std::uint64_t input_records_ = 0;  // Of records_, those of the journal.
  // Not yet handed out:
  std::string head_;
  std::span<const std::byte> payload_;
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_JOURNAL_STATE_EXPORT_H_
