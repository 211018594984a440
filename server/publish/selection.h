#ifndef PTYCHOSERVE_SERVER_PUBLISH_SELECTION_H_
#define PTYCHOSERVE_SERVER_PUBLISH_SELECTION_H_

#include <memory>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/solver/snapshot.h"
#include "ptychoserve/v1/snapshot.pb.h"
#include "server/publish/arrays.h"

namespace ptychoserve::server {

// What a reader wants of a snapshot, checked and with defaults filled in.
struct Selection {
  std::vector<v1::ArrayKind> arrays = {v1::ARRAY_KIND_OBJECT, v1::ARRAY_KIND_PROBE};
  bool whole_canvas = false;     // Else the scanned area,
  std::optional<Region> region;  // or this one, of the canvas, as far as it lies on it.
  bool uncovered_as_nan = false;
  double coverage_threshold = 0.01;  // Of the coverage's maximum.
  int downsample = 1;

  bool wants(v1::ArrayKind kind) const;
};
// Errors: kInvalidArgument naming each wrong field of `selection`.
absl::StatusOr<Selection> ParseSelection(const v1::SnapshotSelection& selection);

// A snapshot as one reader gets it. Keeps the snapshot alive. Immutable after Prepare.
struct PreparedSnapshot {
  std::shared_ptr<const Snapshot> snapshot;
  v1::SnapshotHeader header;          // All but `state` and `skipped`.
  std::vector<PreparedArray> arrays;  // As header.arrays.
};
// `history` is used when the selection wants it. Uncovered pixels are left out of the means of
// down-sampling when they are to be NaN, and a mean without any pixel is NaN; blocks at the far
// edges may be smaller.
PreparedSnapshot Prepare(std::shared_ptr<const Snapshot> snapshot, const Selection& selection,
                         const std::vector<IterationRecord>& history);

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_PUBLISH_SELECTION_H_
