#include "client/cpp/internal/array_assembler.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"

namespace ptychoserve::client::internal {
namespace {

// No single array is larger: a canvas has at most 2^30 pixels of 8 bytes, in 4 modes.
constexpr std::int64_t kMaxArrayBytes = std::int64_t{1} << 35;
// Announced sizes are believed only so far before the bytes arrive.
constexpr std::int64_t kMaxReserveBytes = std::int64_t{1} << 26;

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

}  // namespace

absl::Status ArrayAssembler::CheckInfo(const v1::ArrayInfo& info) const {
  std::int64_t bytes = ElementBytes(info.element());
  for (const std::int64_t side : info.shape()) {
    if (side < 0 || (side > 0 && bytes > kMaxArrayBytes / side)) {
      return absl::DataLossError(absl::StrCat(what_, ": array side ", side, " is not possible"));
    }
    bytes *= side;
  }
  if (bytes != info.bytes()) {
    return absl::DataLossError(
        absl::StrCat(what_, ": array of ", info.bytes(), " bytes, but its shape needs ", bytes));
  }
  return absl::OkStatus();
}

absl::Status ArrayAssembler::CheckType(const v1::ArrayInfo& info, v1::ArrayInfo::Element element,
                                       int dimensions) const {
  if (info.element() == element && info.shape_size() == dimensions) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(what_, ": ", v1::ArrayKind_Name(info.kind()), " came as ",
                                          v1::ArrayInfo::Element_Name(info.element()), " of ",
                                          info.shape_size(), " dimensions"));
}

absl::Status ArrayAssembler::Begin(const google::protobuf::RepeatedPtrField<v1::ArrayInfo>& infos) {
  arrays_.clear();
  missing_bytes_ = 0;
  for (const v1::ArrayInfo& info : infos) {
    PS_RETURN_IF_ERROR(CheckInfo(info));
    arrays_.push_back({info, {}});
    arrays_.back().bytes.reserve(
        static_cast<std::size_t>(std::min(info.bytes(), kMaxReserveBytes)));
    missing_bytes_ += info.bytes();
  }
  return absl::OkStatus();
}

absl::Status ArrayAssembler::Append(const v1::ArrayData& data) {
  if (data.array() >= arrays_.size()) {
    return absl::DataLossError(
        absl::StrCat(what_, ": data of array ", data.array(), " of ", arrays_.size()));
  }
  auto& [info, bytes] = arrays_[data.array()];
  const auto have = static_cast<std::int64_t>(bytes.size());
  const auto more = static_cast<std::int64_t>(data.data().size());
  if (data.offset() != have || more > info.bytes() - have) {
    return absl::DataLossError(absl::StrCat(what_, ": array ", data.array(), ": ", more,
                                            " bytes at ", data.offset(), ", expected at ", have,
                                            " of ", info.bytes()));
  }
  bytes.insert(bytes.end(), data.data().begin(), data.data().end());
  missing_bytes_ -= more;
  return absl::OkStatus();
}

}  // namespace ptychoserve::client::internal
