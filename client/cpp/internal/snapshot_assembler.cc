#include "client/cpp/internal/snapshot_assembler.h"

#include <complex>
#include <cstddef>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"

namespace ptychoserve::client::internal {
namespace {

constexpr int kPointColumns = 9;  // And one for each component of the probe.

}  // namespace

absl::Status SnapshotAssembler::Add(const v1::SnapshotChunk& chunk) {
  switch (chunk.chunk_case()) {
    case v1::SnapshotChunk::kHeader:
      return Begin(chunk.header());
    case v1::SnapshotChunk::kData:
      return Append(chunk.data());
    default:
      return absl::DataLossError("snapshot: a chunk that is neither header nor data");
  }
}

absl::Status SnapshotAssembler::Begin(const v1::SnapshotHeader& header) {
  if (snapshot_.has_value()) {
    return absl::DataLossError(absl::StrCat("snapshot: a new header while ",
                                            arrays_.missing_bytes(), " bytes are missing"));
  }
  PS_RETURN_IF_ERROR(arrays_.Begin(header.arrays()));
  snapshot_.emplace();
  snapshot_->header = header;
  return absl::OkStatus();
}

absl::Status SnapshotAssembler::Append(const v1::ArrayData& data) {
  if (!snapshot_.has_value()) return absl::DataLossError("snapshot: data without a header");
  PS_RETURN_IF_ERROR(arrays_.Append(data));
  if (arrays_.missing_bytes() > 0) return absl::OkStatus();
  for (int k = 0; k < arrays_.size(); ++k) PS_RETURN_IF_ERROR(Store(k));
  return arrays_.Begin({});
}

absl::Status SnapshotAssembler::Store(int array) {
  switch (arrays_.info(array).kind()) {
    case v1::ARRAY_KIND_OBJECT:
      return arrays_.Get(array, 2, snapshot_->object);
    case v1::ARRAY_KIND_PROBE:
      return arrays_.Get(array, 3, snapshot_->probe);
    case v1::ARRAY_KIND_COVERAGE:
      return arrays_.Get(array, 2, snapshot_->coverage);
    case v1::ARRAY_KIND_HISTORY:
      return arrays_.Get(array, 2, snapshot_->history);
    case v1::ARRAY_KIND_BACKGROUND:
      return arrays_.Get(array, 2, snapshot_->background);
    case v1::ARRAY_KIND_PROBE_COMPONENTS:
      return arrays_.Get(array, 4, snapshot_->probe_components);
    case v1::ARRAY_KIND_OBJECT_MODES:
      return arrays_.Get(array, 3, snapshot_->object_modes);
    case v1::ARRAY_KIND_POINTS: {
      SnapshotArray<double> rows;
      PS_RETURN_IF_ERROR(arrays_.Get(array, 2, rows));
      if (rows.shape[1] < kPointColumns) {
        return absl::DataLossError(absl::StrCat("snapshot: points of ", rows.shape[1], " columns"));
      }
      const auto columns = static_cast<std::size_t>(rows.shape[1]);
      for (std::size_t k = 0; k < rows.values.size(); k += columns) {
        const double* const row = &rows.values[k];
        snapshot_->points.push_back({static_cast<std::int64_t>(row[0]),
                                     row[1],
                                     row[2],
                                     row[3],
                                     row[4],
                                     row[5],
                                     row[6],
                                     row[7],
                                     static_cast<std::int64_t>(row[8]),
                                     {row + kPointColumns, row + columns}});
      }
      return absl::OkStatus();
    }
    default:
      return absl::OkStatus();  // Of a newer server; nobody here has asked for it.
  }
}

std::optional<Snapshot> SnapshotAssembler::Take() {
  if (!snapshot_.has_value() || arrays_.missing_bytes() > 0) return std::nullopt;
  return std::exchange(snapshot_, std::nullopt);
}

}  // namespace ptychoserve::client::internal
