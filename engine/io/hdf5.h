#ifndef PTYCHOSERVE_ENGINE_IO_HDF5_H_
#define PTYCHOSERVE_ENGINE_IO_HDF5_H_

#include <hdf5.h>

#include <complex>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/array.h"
#include "engine/base/mutex.h"

// The little of the HDF5 C library that the CXI files need, with owned handles and statuses.
// Private to engine/io: no other code sees the library's types.
namespace ptychoserve::hdf5 {

// The library as the distributions build it is not thread-safe, whatever the file: every call,
// also the closing of a handle, is made under this one mutex.
inline constinit Mutex library_mutex;

// Holds library_mutex and keeps the library from printing its error stack.
class ABSL_SCOPED_LOCKABLE LibraryLock {
 public:
  LibraryLock() ABSL_EXCLUSIVE_LOCK_FUNCTION(library_mutex);
  ~LibraryLock() ABSL_UNLOCK_FUNCTION() { library_mutex.Unlock(); }
  LibraryLock(const LibraryLock&) = delete;
  LibraryLock& operator=(const LibraryLock&) = delete;
};

// Owns one identifier. Must be destroyed under library_mutex.
class Handle {
 public:
  using Close = herr_t (*)(hid_t);
  Handle() = default;
  Handle(hid_t id, Close close) : id_(id), close_(close) {}
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(id_, other.id_);
    std::swap(close_, other.close_);
    return *this;
  }
  ~Handle() {
    if (ok()) close_(id_);
  }
  bool ok() const { return id_ >= 0; }
  hid_t id() const { return id_; }
  // Closes now, for handles whose closing may fail (files: the last data are written then).
  bool CloseNow() { return !ok() || close_(std::exchange(id_, -1)) >= 0; }

 private:
  hid_t id_ = -1;
  Close close_ = nullptr;
};

// What the library said about the call that has just failed, innermost cause.
std::string LastError() ABSL_EXCLUSIVE_LOCKS_REQUIRED(library_mutex);

// Errors: kNotFound (no such file), kInvalidArgument (not HDF5, truncated, ...).
absl::StatusOr<Handle> OpenFile(const std::string& path)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(library_mutex);
// Replaces what is there. Errors: kInternal.
absl::StatusOr<Handle> CreateFile(const std::string& path)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(library_mutex);

// --- Reading. `name` is a path from the root. Errors: kInvalidArgument naming the dataset -------

// True when the link and what it points to exist.
bool Exists(hid_t file, const std::string& name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(library_mutex);

struct Dataset {
  Handle handle;
  std::string name;
  std::vector<std::int64_t> dims;
  H5T_class_t type_class = H5T_NO_CLASS;
  std::size_t element_size = 0;  // As stored.
  bool is_signed = false;        // Of integers.
  std::int64_t elements() const;
};
absl::StatusOr<Dataset> OpenDataset(hid_t file, const std::string& name)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(library_mutex);
// "(3, 4)", for messages.
std::string DimsText(const std::vector<std::int64_t>& dims);

template <typename T>  // double, std::int32_t, std::uint32_t, std::int64_t or float.
absl::StatusOr<std::vector<T>> Read(const Dataset& dataset)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(library_mutex);
// One number, of shape () or (1,).
absl::StatusOr<double> ReadScalar(hid_t file, const std::string& name)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(library_mutex);
absl::StatusOr<std::string> ReadString(hid_t file, const std::string& name)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(library_mutex);
// (rows, cols) or (modes, rows, cols), compound {r, i} or real.
absl::StatusOr<ComplexStack> ReadComplex(hid_t file, const std::string& name)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(library_mutex);
// Array of strings of an attribute of a dataset; empty when there is none.
absl::StatusOr<std::vector<std::string>> ReadStringsAttribute(const Dataset& dataset,
                                                              const std::string& attribute)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(library_mutex);

// --- Writing. Groups on the way are created. Errors: kInternal naming the dataset ---------------

template <typename T>
absl::Status Write(hid_t file, const std::string& name, const std::vector<std::int64_t>& dims,
                   const std::vector<T>& values, const std::string& units = "")
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(library_mutex);
absl::Status WriteScalar(hid_t file, const std::string& name, double value,
                         const std::string& units) ABSL_EXCLUSIVE_LOCKS_REQUIRED(library_mutex);
absl::Status WriteString(hid_t file, const std::string& name, const std::string& value)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(library_mutex);
// (rows, cols) when `keep_modes` is false (of the first mode), else (modes, rows, cols).
absl::Status WriteComplex(hid_t file, const std::string& name, const ComplexStack& stack,
                          bool keep_modes, const std::string& units)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(library_mutex);
absl::Status WriteStringsAttribute(hid_t file, const std::string& dataset,
                                   const std::string& attribute,
                                   const std::vector<std::string>& values)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(library_mutex);
// Frames, one chunk each, byte-shuffled and deflated at the quickest level.
absl::StatusOr<Handle> CreateFrames(hid_t file, const std::string& name, hid_t type,
                                    const std::vector<std::int64_t>& dims)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(library_mutex);
absl::Status LinkTo(hid_t file, const std::string& name, const std::string& target)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(library_mutex);

}  // namespace ptychoserve::hdf5

#endif  // PTYCHOSERVE_ENGINE_IO_HDF5_H_
