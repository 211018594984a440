#include "engine/io/hdf5.h"

#include <algorithm>
#include <filesystem>
#include <limits>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/status_macros.h"

namespace ptychoserve::hdf5 {
namespace {

constexpr int kMaxRank = 8;
// A header may claim any size; nothing that is read as a whole comes near this.
constexpr std::int64_t kMaxElements = std::int64_t{1} << 31;
constexpr unsigned kQuickestDeflate = 1;

// The H5T_NATIVE_ names are calls, not constants.
template <typename T>
hid_t NativeType();
template <>
hid_t NativeType<double>() {
  return H5T_NATIVE_DOUBLE;
}
template <>
hid_t NativeType<float>() {
  return H5T_NATIVE_FLOAT;
}
template <>
hid_t NativeType<std::int32_t>() {
  return H5T_NATIVE_INT32;
}
template <>
hid_t NativeType<std::uint32_t>() {
  return H5T_NATIVE_UINT32;
}
template <>
hid_t NativeType<std::int64_t>() {
  return H5T_NATIVE_INT64;
}

// Complex numbers as h5py and the CXI format have them: a compound of r and i.
Handle ComplexType() {
  Handle type(H5Tcreate(H5T_COMPOUND, sizeof(Complex64)), H5Tclose);
  H5Tinsert(type.id(), "r", 0, H5T_NATIVE_FLOAT);
  H5Tinsert(type.id(), "i", sizeof(float), H5T_NATIVE_FLOAT);
  return type;
}

Handle StringType() {
  Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_size(type.id(), H5T_VARIABLE);
  H5Tset_cset(type.id(), H5T_CSET_UTF8);
  return type;
}

Handle Space(const std::vector<std::int64_t>& dims) {
  if (dims.empty()) return Handle(H5Screate(H5S_SCALAR), H5Sclose);
  const std::vector<hsize_t> sizes(dims.begin(), dims.end());
  return Handle(H5Screate_simple(static_cast<int>(sizes.size()), sizes.data(), nullptr), H5Sclose);
}

absl::Status CannotRead(const std::string& name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(library_mutex) {
  return absl::InvalidArgumentError(absl::StrCat(name, ": cannot be read: ", LastError()));
}
absl::Status CannotWrite(const std::string& name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(library_mutex) {
  return absl::InternalError(absl::StrCat(name, ": cannot be written: ", LastError()));
}

Handle LinkProperties() {
  Handle properties(H5Pcreate(H5P_LINK_CREATE), H5Pclose);
  H5Pset_create_intermediate_group(properties.id(), 1);
  return properties;
}

absl::Status WriteRaw(hid_t file, const std::string& name, hid_t type,
                      const std::vector<std::int64_t>& dims, const void* values,
                      const std::string& units) ABSL_EXCLUSIVE_LOCKS_REQUIRED(library_mutex) {
  const Handle link = LinkProperties();
  const Handle space = Space(dims);
  const Handle dataset(
      H5Dcreate2(file, name.c_str(), type, space.id(), link.id(), H5P_DEFAULT, H5P_DEFAULT),
      H5Dclose);
  if (!dataset.ok()) return CannotWrite(name);
  const bool empty = std::find(dims.begin(), dims.end(), 0) != dims.end();
  if (!empty && H5Dwrite(dataset.id(), type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) < 0) {
    return CannotWrite(name);
  }
  if (units.empty()) return absl::OkStatus();
  const Handle text = StringType();
  const Handle scalar = Space({});
  const Handle attribute(
      H5Acreate2(dataset.id(), "units", text.id(), scalar.id(), H5P_DEFAULT, H5P_DEFAULT),
      H5Aclose);
  const char* pointer = units.c_str();
  if (!attribute.ok() || H5Awrite(attribute.id(), text.id(), &pointer) < 0) {
    return CannotWrite(name);
  }
  return absl::OkStatus();
}

herr_t KeepInnermost(unsigned n, const H5E_error2_t* error, void* text) {
  if (n == 0 && error->desc != nullptr) *static_cast<std::string*>(text) = error->desc;
  return 0;
}

absl::Status CheckSize(const Dataset& dataset) {
  if (dataset.elements() > kMaxElements) {
    return absl::InvalidArgumentError(absl::StrCat(dataset.name, ": shape ", DimsText(dataset.dims),
                                                   " is over the limit of ", kMaxElements,
                                                   " elements"));
  }
  return absl::OkStatus();
}

bool IsReal(const Dataset& dataset) {
  // Booleans are enumerations.
  return dataset.type_class == H5T_INTEGER || dataset.type_class == H5T_FLOAT ||
         dataset.type_class == H5T_ENUM;
}

}  // namespace

LibraryLock::LibraryLock() {
  library_mutex.Lock();
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
}

std::string LastError() {
  std::string text = "unknown reason";
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, KeepInnermost, &text);
  return text;
}

absl::StatusOr<Handle> OpenFile(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) {
    return absl::NotFoundError(absl::StrCat(path, ": no such file"));
  }
  Handle file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
  if (!file.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": cannot be opened as HDF5: ", LastError()));
  }
  return file;
}

absl::StatusOr<Handle> CreateFile(const std::string& path) {
  Handle file(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), H5Fclose);
  if (!file.ok()) {
    return absl::InternalError(absl::StrCat(path, ": cannot be created: ", LastError()));
  }
  return file;
}

bool Exists(hid_t file, const std::string& name) {
  // H5Lexists wants every group on the way to exist.
  for (std::size_t end = name.find('/', 1);; end = name.find('/', end + 1)) {
    const std::string part = name.substr(0, end);
    if (H5Lexists(file, part.c_str(), H5P_DEFAULT) <= 0) return false;
    if (H5Oexists_by_name(file, part.c_str(), H5P_DEFAULT) <= 0) return false;
    if (end == std::string::npos) return true;
  }
}

std::int64_t Dataset::elements() const {
  std::int64_t n = 1;
  for (std::int64_t side : dims) {
    if (__builtin_mul_overflow(n, side, &n)) return std::numeric_limits<std::int64_t>::max();
  }
  return n;
}

std::string DimsText(const std::vector<std::int64_t>& dims) {
  return absl::StrCat("(", absl::StrJoin(dims, ", "), dims.size() == 1 ? ",)" : ")");
}

absl::StatusOr<Dataset> OpenDataset(hid_t file, const std::string& name) {
  if (!Exists(file, name)) return absl::InvalidArgumentError(absl::StrCat(name, ": missing"));
  Dataset dataset;
  dataset.name = name;
  dataset.handle = Handle(H5Dopen2(file, name.c_str(), H5P_DEFAULT), H5Dclose);
  if (!dataset.handle.ok()) return CannotRead(name);
  const Handle space(H5Dget_space(dataset.handle.id()), H5Sclose);
  const int rank = H5Sget_simple_extent_ndims(space.id());
  if (rank < 0 || rank > kMaxRank || H5Sget_simple_extent_type(space.id()) == H5S_NULL) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": has no data, or too many dimensions"));
  }
  hsize_t dims[kMaxRank] = {};
  H5Sget_simple_extent_dims(space.id(), dims, nullptr);
  for (int i = 0; i < rank; ++i) {
    if (dims[i] > static_cast<hsize_t>(std::numeric_limits<std::int64_t>::max())) {
      return absl::InvalidArgumentError(absl::StrCat(name, ": dimension ", i, " is too large"));
    }
    dataset.dims.push_back(static_cast<std::int64_t>(dims[i]));
  }
  const Handle type(H5Dget_type(dataset.handle.id()), H5Tclose);
  dataset.type_class = H5Tget_class(type.id());
  dataset.element_size = H5Tget_size(type.id());
  dataset.is_signed = dataset.type_class == H5T_INTEGER && H5Tget_sign(type.id()) == H5T_SGN_2;
  return dataset;
}

template <typename T>
absl::StatusOr<std::vector<T>> Read(const Dataset& dataset) {
  if (!IsReal(dataset)) {
    return absl::InvalidArgumentError(absl::StrCat(dataset.name, ": is not of numbers"));
  }
  PS_RETURN_IF_ERROR(CheckSize(dataset));
  std::vector<T> values(static_cast<std::size_t>(dataset.elements()));
  if (!values.empty() && H5Dread(dataset.handle.id(), NativeType<T>(), H5S_ALL, H5S_ALL,
                                 H5P_DEFAULT, values.data()) < 0) {
    return CannotRead(dataset.name);
  }
  return values;
}

absl::StatusOr<double> ReadScalar(hid_t file, const std::string& name) {
  PS_ASSIGN_OR_RETURN(const Dataset dataset, OpenDataset(file, name));
  if (dataset.elements() != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": shape ", DimsText(dataset.dims), "; one number is needed"));
  }
  PS_ASSIGN_OR_RETURN(const std::vector<double> values, Read<double>(dataset));
  return values[0];
}

absl::StatusOr<std::string> ReadString(hid_t file, const std::string& name) {
  PS_ASSIGN_OR_RETURN(const Dataset dataset, OpenDataset(file, name));
  if (dataset.type_class != H5T_STRING || dataset.elements() != 1) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": is not a string"));
  }
  const Handle type(H5Dget_type(dataset.handle.id()), H5Tclose);
  if (H5Tis_variable_str(type.id()) > 0) {
    char* text = nullptr;
    if (H5Dread(dataset.handle.id(), type.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, &text) < 0) {
      return CannotRead(name);
    }
    std::string value = text == nullptr ? "" : text;
    H5free_memory(text);
    return value;
  }
  std::string value(dataset.element_size, '\0');
  if (H5Dread(dataset.handle.id(), type.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, value.data()) < 0) {
    return CannotRead(name);
  }
  value.resize(std::min(value.find('\0'), value.size()));
  return value;
}

absl::StatusOr<ComplexStack> ReadComplex(hid_t file, const std::string& name) {
  PS_ASSIGN_OR_RETURN(const Dataset dataset, OpenDataset(file, name));
  const std::size_t rank = dataset.dims.size();
  if (rank != 2 && rank != 3) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": shape ", DimsText(dataset.dims),
                                                   "; (rows, cols) or (modes, rows, cols) is "
                                                   "needed"));
  }
  PS_RETURN_IF_ERROR(CheckSize(dataset));
  if (dataset.elements() == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": shape ", DimsText(dataset.dims), " is empty"));
  }
  ComplexStack stack(
      rank == 3 ? static_cast<int>(dataset.dims[0]) : 1,
      {static_cast<int>(dataset.dims[rank - 2]), static_cast<int>(dataset.dims[rank - 1])});
  if (IsReal(dataset)) {
    PS_ASSIGN_OR_RETURN(const std::vector<float> values, Read<float>(dataset));
    std::copy(values.begin(), values.end(), stack.data.begin());
    return stack;
  }
  const Handle stored(H5Dget_type(dataset.handle.id()), H5Tclose);
  if (dataset.type_class != H5T_COMPOUND || H5Tget_member_index(stored.id(), "r") < 0 ||
      H5Tget_member_index(stored.id(), "i") < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": is neither complex (a compound of r and i) nor real"));
  }
  const Handle type = ComplexType();
  if (H5Dread(dataset.handle.id(), type.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, stack.data.data()) <
      0) {
    return CannotRead(name);
  }
  return stack;
}

absl::StatusOr<std::vector<std::string>> ReadStringsAttribute(const Dataset& dataset,
                                                              const std::string& attribute) {
  std::vector<std::string> values;
  if (H5Aexists(dataset.handle.id(), attribute.c_str()) <= 0) return values;
  const Handle handle(H5Aopen(dataset.handle.id(), attribute.c_str(), H5P_DEFAULT), H5Aclose);
  const Handle space(H5Aget_space(handle.id()), H5Sclose);
  const Handle type(H5Aget_type(handle.id()), H5Tclose);
  const hssize_t count = H5Sget_simple_extent_npoints(space.id());
  if (count < 0 || count > kMaxElements || H5Tis_variable_str(type.id()) <= 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(dataset.name, ": attribute ", attribute, " is not an array of strings"));
  }
  std::vector<char*> texts(static_cast<std::size_t>(count), nullptr);
  if (H5Aread(handle.id(), type.id(), texts.data()) < 0) {
    return CannotRead(absl::StrCat(dataset.name, "@", attribute));
  }
  for (char* text : texts) {
    values.emplace_back(text == nullptr ? "" : text);
    H5free_memory(text);
  }
  return values;
}

template <typename T>
absl::Status Write(hid_t file, const std::string& name, const std::vector<std::int64_t>& dims,
                   const std::vector<T>& values, const std::string& units) {
  std::int64_t elements = 1;
  for (std::int64_t side : dims) elements *= side;
  if (elements != static_cast<std::int64_t>(values.size())) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": ", values.size(), " values for shape ", DimsText(dims)));
  }
  return WriteRaw(file, name, NativeType<T>(), dims, values.data(), units);
}

absl::Status WriteScalar(hid_t file, const std::string& name, double value,
                         const std::string& units) {
  return WriteRaw(file, name, H5T_NATIVE_DOUBLE, {}, &value, units);
}

absl::Status WriteString(hid_t file, const std::string& name, const std::string& value) {
  const Handle type = StringType();
  const char* pointer = value.c_str();
  return WriteRaw(file, name, type.id(), {}, &pointer, "");
}

absl::Status WriteComplex(hid_t file, const std::string& name, const ComplexStack& stack,
                          bool keep_modes, const std::string& units) {
  const std::int64_t modes = keep_modes ? stack.modes : 1;
  if (stack.data.empty() ||
      static_cast<std::int64_t>(stack.data.size()) != stack.modes * stack.shape.pixels()) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": ", stack.data.size(), " values for shape ",
                     DimsText({stack.modes, stack.shape.rows, stack.shape.cols})));
  }
  std::vector<std::int64_t> dims = {modes, stack.shape.rows, stack.shape.cols};
  if (!keep_modes) dims.erase(dims.begin());
  const Handle type = ComplexType();
  return WriteRaw(file, name, type.id(), dims, stack.data.data(), units);
}

absl::Status WriteStringsAttribute(hid_t file, const std::string& dataset,
                                   const std::string& attribute,
                                   const std::vector<std::string>& values) {
  const Handle type = StringType();
  const Handle space = Space({static_cast<std::int64_t>(values.size())});
  std::vector<const char*> pointers;
  pointers.reserve(values.size());
  for (const std::string& value : values) pointers.push_back(value.c_str());
  const Handle handle(H5Acreate_by_name(file, dataset.c_str(), attribute.c_str(), type.id(),
                                        space.id(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT),
                      H5Aclose);
  if (!handle.ok() || H5Awrite(handle.id(), type.id(), pointers.data()) < 0) {
    return CannotWrite(absl::StrCat(dataset, "@", attribute));
  }
  return absl::OkStatus();
}

absl::StatusOr<Handle> CreateFrames(hid_t file, const std::string& name, hid_t type,
                                    const std::vector<std::int64_t>& dims) {
  const Handle link = LinkProperties();
  const Handle space = Space(dims);
  const Handle properties(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  std::vector<hsize_t> chunk(dims.begin(), dims.end());
  chunk[0] = 1;
  if (H5Pset_chunk(properties.id(), static_cast<int>(chunk.size()), chunk.data()) < 0 ||
      H5Pset_shuffle(properties.id()) < 0 ||
      H5Pset_deflate(properties.id(), kQuickestDeflate) < 0) {
    return CannotWrite(name);
  }
  Handle dataset(
      H5Dcreate2(file, name.c_str(), type, space.id(), link.id(), properties.id(), H5P_DEFAULT),
      H5Dclose);
  if (!dataset.ok()) return CannotWrite(name);
  return dataset;
}

absl::Status LinkTo(hid_t file, const std::string& name, const std::string& target) {
  const Handle link = LinkProperties();
  if (H5Lcreate_soft(target.c_str(), file, name.c_str(), link.id(), H5P_DEFAULT) < 0) {
    return CannotWrite(name);
  }
  return absl::OkStatus();
}

template absl::StatusOr<std::vector<double>> Read(const Dataset&);
template absl::StatusOr<std::vector<float>> Read(const Dataset&);
template absl::StatusOr<std::vector<std::int32_t>> Read(const Dataset&);
template absl::StatusOr<std::vector<std::uint32_t>> Read(const Dataset&);
template absl::StatusOr<std::vector<std::int64_t>> Read(const Dataset&);
template absl::Status Write(hid_t, const std::string&, const std::vector<std::int64_t>&,
                            const std::vector<double>&, const std::string&);
template absl::Status Write(hid_t, const std::string&, const std::vector<std::int64_t>&,
                            const std::vector<float>&, const std::string&);
template absl::Status Write(hid_t, const std::string&, const std::vector<std::int64_t>&,
                            const std::vector<std::int32_t>&, const std::string&);
template absl::Status Write(hid_t, const std::string&, const std::vector<std::int64_t>&,
                            const std::vector<std::uint32_t>&, const std::string&);
template absl::Status Write(hid_t, const std::string&, const std::vector<std::int64_t>&,
                            const std::vector<std::int64_t>&, const std::string&);

}  // namespace ptychoserve::hdf5
