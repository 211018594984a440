#include "client/cpp/internal/snapshot_assembler.h"

#include <algorithm>
#include <complex>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"

namespace ptychoserve::client::internal {
namespace {

// No single array is larger: a canvas has at most 2^30 pixels of 8 bytes, in 4 modes.
constexpr std::int64_t kMaxArrayBytes = std::int64_t{1} << 35;
// Announced sizes are believed only so far before the bytes arrive.
constexpr std::int64_t kMaxReserveBytes = std::int64_t{1} << 26;
constexpr int kPointColumns = 8;  // And one for each component of the probe.

std::int64_t ElementBytes(v1::ArrayInfo::Element element) {
  switch (element) {
    case v1::ArrayInfo::ELEMENT_COMPLEX64:
    case v1::ArrayInfo::ELEMENT_FLOAT64:
      return 8;
    case v1::ArrayInfo::ELEMENT_FLOAT32:
      return 4;
    default:
      return 0;
  }
}

absl::Status CheckInfo(const v1::ArrayInfo& info) {
  std::int64_t bytes = ElementBytes(info.element());
  for (const std::int64_t side : info.shape()) {
    if (side < 0 || (side > 0 && bytes > kMaxArrayBytes / side)) {
      return absl::DataLossError(absl::StrCat("snapshot: array side ", side, " is not possible"));
    }
    bytes *= side;
  }
  if (bytes != info.bytes()) {
    return absl::DataLossError(
        absl::StrCat("snapshot: array of ", info.bytes(), " bytes, but its shape needs ", bytes));
  }
  return absl::OkStatus();
}

template <class T>
SnapshotArray<T> Convert(const v1::ArrayInfo& info, const std::vector<char>& bytes) {
  SnapshotArray<T> out;
  out.shape.assign(info.shape().begin(), info.shape().end());
  out.values.resize(bytes.size() / sizeof(T));
  if (!bytes.empty()) std::memcpy(out.values.data(), bytes.data(), bytes.size());
  return out;
}

absl::Status Expect(const v1::ArrayInfo& info, v1::ArrayInfo::Element element, int dimensions) {
  if (info.element() == element && info.shape_size() == dimensions) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("snapshot: ", v1::ArrayKind_Name(info.kind()),
                                          " came as ", v1::ArrayInfo::Element_Name(info.element()),
                                          " of ", info.shape_size(), " dimensions"));
}

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
    return absl::DataLossError(
        absl::StrCat("snapshot: a new header while ", missing_bytes_, " bytes are missing"));
  }
  missing_bytes_ = 0;
  arrays_.clear();
  for (const v1::ArrayInfo& info : header.arrays()) {
    PS_RETURN_IF_ERROR(CheckInfo(info));
    arrays_.emplace_back();
    arrays_.back().reserve(static_cast<std::size_t>(std::min(info.bytes(), kMaxReserveBytes)));
    missing_bytes_ += info.bytes();
  }
  snapshot_.emplace();
  snapshot_->header = header;
  return absl::OkStatus();
}

absl::Status SnapshotAssembler::Append(const v1::SnapshotChunk::Data& data) {
  if (!snapshot_.has_value()) return absl::DataLossError("snapshot: data without a header");
  if (data.array() >= arrays_.size()) {
    return absl::DataLossError(
        absl::StrCat("snapshot: data of array ", data.array(), " of ", arrays_.size()));
  }
  std::vector<char>& array = arrays_[data.array()];
  const std::int64_t size = snapshot_->header.arrays(static_cast<int>(data.array())).bytes();
  const auto have = static_cast<std::int64_t>(array.size());
  const auto more = static_cast<std::int64_t>(data.data().size());
  if (data.offset() != have || more > size - have) {
    return absl::DataLossError(absl::StrCat("snapshot: array ", data.array(), ": ", more,
                                            " bytes at ", data.offset(), ", expected at ", have,
                                            " of ", size));
  }
  array.insert(array.end(), data.data().begin(), data.data().end());
  missing_bytes_ -= more;
  if (missing_bytes_ > 0) return absl::OkStatus();
  for (std::size_t k = 0; k < arrays_.size(); ++k) {
    PS_RETURN_IF_ERROR(Store(snapshot_->header.arrays(static_cast<int>(k)), arrays_[k]));
  }
  arrays_.clear();
  return absl::OkStatus();
}

absl::Status SnapshotAssembler::Store(const v1::ArrayInfo& info, const std::vector<char>& bytes) {
  switch (info.kind()) {
    case v1::ARRAY_KIND_OBJECT:
      PS_RETURN_IF_ERROR(Expect(info, v1::ArrayInfo::ELEMENT_COMPLEX64, 2));
      snapshot_->object = Convert<std::complex<float>>(info, bytes);
      return absl::OkStatus();
    case v1::ARRAY_KIND_PROBE:
      PS_RETURN_IF_ERROR(Expect(info, v1::ArrayInfo::ELEMENT_COMPLEX64, 3));
      snapshot_->probe = Convert<std::complex<float>>(info, bytes);
      return absl::OkStatus();
    case v1::ARRAY_KIND_COVERAGE:
      PS_RETURN_IF_ERROR(Expect(info, v1::ArrayInfo::ELEMENT_FLOAT32, 2));
      snapshot_->coverage = Convert<float>(info, bytes);
      return absl::OkStatus();
    case v1::ARRAY_KIND_HISTORY:
      PS_RETURN_IF_ERROR(Expect(info, v1::ArrayInfo::ELEMENT_FLOAT64, 2));
      snapshot_->history = Convert<double>(info, bytes);
      return absl::OkStatus();
    case v1::ARRAY_KIND_BACKGROUND:
      PS_RETURN_IF_ERROR(Expect(info, v1::ArrayInfo::ELEMENT_FLOAT32, 2));
      snapshot_->background = Convert<float>(info, bytes);
      return absl::OkStatus();
    case v1::ARRAY_KIND_PROBE_COMPONENTS:
      PS_RETURN_IF_ERROR(Expect(info, v1::ArrayInfo::ELEMENT_COMPLEX64, 4));
      snapshot_->probe_components = Convert<std::complex<float>>(info, bytes);
      return absl::OkStatus();
    case v1::ARRAY_KIND_OBJECT_MODES:
      PS_RETURN_IF_ERROR(Expect(info, v1::ArrayInfo::ELEMENT_COMPLEX64, 3));
      snapshot_->object_modes = Convert<std::complex<float>>(info, bytes);
      return absl::OkStatus();
    case v1::ARRAY_KIND_POINTS: {
      PS_RETURN_IF_ERROR(Expect(info, v1::ArrayInfo::ELEMENT_FLOAT64, 2));
      if (info.shape(1) < kPointColumns) {
        return absl::DataLossError(absl::StrCat("snapshot: points of ", info.shape(1), " columns"));
      }
      const SnapshotArray<double> rows = Convert<double>(info, bytes);
      const auto columns = static_cast<std::size_t>(info.shape(1));
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
                                     {row + kPointColumns, row + columns}});
      }
      return absl::OkStatus();
    }
    default:
      return absl::OkStatus();  // Of a newer server; nobody here has asked for it.
  }
}

std::optional<Snapshot> SnapshotAssembler::Take() {
  if (!snapshot_.has_value() || missing_bytes_ > 0) return std::nullopt;
  return std::exchange(snapshot_, std::nullopt);
}

}  // namespace ptychoserve::client::internal
