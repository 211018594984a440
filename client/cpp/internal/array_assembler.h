#ifndef PTYCHOSERVE_CLIENT_CPP_INTERNAL_ARRAY_ASSEMBLER_H_
#define PTYCHOSERVE_CLIENT_CPP_INTERNAL_ARRAY_ASSEMBLER_H_

#include <complex>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "client/cpp/snapshot.h"
#include "google/protobuf/repeated_ptr_field.h"
#include "ptychoserve/v1/snapshot.pb.h"

namespace ptychoserve::client::internal {

// Puts announced arrays together from their pieces. Trusts nothing that a server says. Not
// thread-safe.
class ArrayAssembler {
 public:
  // `what` they are of, for errors.
  explicit ArrayAssembler(absl::string_view what) : what_(what) {}

  // Begins anew. Errors, of all methods: kDataLoss, when something does not fit.
  absl::Status Begin(const google::protobuf::RepeatedPtrField<v1::ArrayInfo>& infos);
  absl::Status Append(const v1::ArrayData& data);
  std::int64_t missing_bytes() const { return missing_bytes_; }

  int size() const { return static_cast<int>(arrays_.size()); }
  const v1::ArrayInfo& info(int k) const { return arrays_[static_cast<std::size_t>(k)].info; }
  // The k-th array, complete, which is to be of that type and so many dimensions.
  template <class T>
  absl::Status Get(int k, int dimensions, SnapshotArray<T>& out) const;

 private:
  struct Array {
    v1::ArrayInfo info;
    std::vector<char> bytes;
  };
  absl::Status CheckInfo(const v1::ArrayInfo& info) const;
  absl::Status CheckType(const v1::ArrayInfo& info, v1::ArrayInfo::Element element,
                         int dimensions) const;
  template <class T>
  static constexpr v1::ArrayInfo::Element ElementOf();

  const std::string what_;
  std::vector<Array> arrays_;
  std::int64_t missing_bytes_ = 0;
};

template <>
constexpr v1::ArrayInfo::Element ArrayAssembler::ElementOf<std::complex<float>>() {
  return v1::ArrayInfo::ELEMENT_COMPLEX64;
}
template <>
constexpr v1::ArrayInfo::Element ArrayAssembler::ElementOf<float>() {
  return v1::ArrayInfo::ELEMENT_FLOAT32;
}
template <>
constexpr v1::ArrayInfo::Element ArrayAssembler::ElementOf<double>() {
  return v1::ArrayInfo::ELEMENT_FLOAT64;
}

template <class T>
absl::Status ArrayAssembler::Get(int k, int dimensions, SnapshotArray<T>& out) const {
  const auto& [info, bytes] = arrays_[static_cast<std::size_t>(k)];
  absl::Status fits = CheckType(info, ElementOf<T>(), dimensions);
  if (!fits.ok()) return fits;
  out.shape.assign(info.shape().begin(), info.shape().end());
  out.values.resize(bytes.size() / sizeof(T));
  if (!bytes.empty()) std::memcpy(out.values.data(), bytes.data(), bytes.size());
  return absl::OkStatus();
}

}  // namespace ptychoserve::client::internal

#endif  // PTYCHOSERVE_CLIENT_CPP_INTERNAL_ARRAY_ASSEMBLER_H_
