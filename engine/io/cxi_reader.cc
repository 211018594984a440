#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/io/cxi.h"
#include "engine/io/cxi_paths.h"
#include "engine/io/hdf5.h"

namespace ptychoserve {
namespace {

// Longer wavelengths mean that the unit is not what CXI says (SI).
constexpr double kLongestWavelength = 1e-6;

// How frames come out: the stored type when the engine knows it, else the next that holds it.
std::optional<DataType> FrameType(const hdf5::Dataset& frames) {
  if (frames.type_class == H5T_FLOAT) return DataType::kF32;
  if (frames.type_class != H5T_INTEGER) return std::nullopt;
  if (frames.is_signed) return DataType::kU32;
  if (frames.element_size == 1) return DataType::kU8;
  if (frames.element_size == 2) return DataType::kU16;
  return DataType::kU32;
}

hid_t NativeFrameType(DataType type) {
  switch (type) {
    case DataType::kU8:
      return H5T_NATIVE_UINT8;
    case DataType::kU16:
      return H5T_NATIVE_UINT16;
    case DataType::kU32:
      return H5T_NATIVE_UINT32;
    case DataType::kF32:
      break;
  }
  return H5T_NATIVE_FLOAT;
}

std::size_t PixelBytes(DataType type) {
  switch (type) {
    case DataType::kU8:
      return 1;
    case DataType::kU16:
      return 2;
    case DataType::kU32:
    case DataType::kF32:
      break;
  }
  return 4;
}

// Left to itself the library clips what does not fit, silently.
H5T_conv_ret_t StopOnRange(H5T_conv_except_t exception, hid_t, hid_t, void*, void*, void* met) {
  if (exception != H5T_CONV_EXCEPT_RANGE_HI && exception != H5T_CONV_EXCEPT_RANGE_LOW) {
    return H5T_CONV_UNHANDLED;
  }
  *static_cast<bool*>(met) = true;
  return H5T_CONV_ABORT;
}

absl::StatusOr<double> ReadPositive(hid_t file, const char* name)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(hdf5::library_mutex) {
  PS_ASSIGN_OR_RETURN(const double value, hdf5::ReadScalar(file, name));
  if (!std::isfinite(value) || value <= 0) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": ", value, "; must be above 0"));
  }
  return value;
}

absl::StatusOr<double> ReadWavelength(hid_t file)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(hdf5::library_mutex) {
  const char* source = cxi::kWavelength;
  double wavelength = 0;
  if (hdf5::Exists(file, cxi::kWavelength)) {
    PS_ASSIGN_OR_RETURN(wavelength, ReadPositive(file, cxi::kWavelength));
  } else if (hdf5::Exists(file, cxi::kEnergy)) {
    source = cxi::kEnergy;
    PS_ASSIGN_OR_RETURN(const double energy, ReadPositive(file, cxi::kEnergy));
    wavelength = cxi::kPlanckTimesLightSpeed / energy;
  } else {
    return absl::InvalidArgumentError(
        absl::StrCat(cxi::kWavelength, ": missing, and so is ", cxi::kEnergy));
  }
  if (wavelength >= kLongestWavelength) {
    return absl::InvalidArgumentError(absl::StrCat(source, ": means a wavelength of ", wavelength,
                                                   " m; must be below ", kLongestWavelength,
                                                   " m (CXI has metres and joules)"));
  }
  return wavelength;
}

absl::Status ReadMask(hid_t file, CxiScanInfo& info)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(hdf5::library_mutex) {
  if (!hdf5::Exists(file, cxi::kMask)) return absl::OkStatus();
  PS_ASSIGN_OR_RETURN(const hdf5::Dataset mask, hdf5::OpenDataset(file, cxi::kMask));
  const std::vector<std::int64_t> expected = {info.frame_shape.rows, info.frame_shape.cols};
  if (mask.dims != expected) {
    return absl::InvalidArgumentError(absl::StrCat(cxi::kMask, ": shape ",
                                                   hdf5::DimsText(mask.dims),
                                                   "; must be that of a "
                                                   "frame, ",
                                                   hdf5::DimsText(expected)));
  }
  PS_ASSIGN_OR_RETURN(const std::vector<double> values, hdf5::Read<double>(mask));
  info.bad_pixels.reserve(values.size());
  for (double value : values) info.bad_pixels.push_back(value == 0 ? 0 : 1);
  return absl::OkStatus();
}

absl::Status ReadPositions(hid_t file, CxiScanInfo& info)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(hdf5::library_mutex) {
  const char* name =
      hdf5::Exists(file, cxi::kTranslation) ? cxi::kTranslation : cxi::kTranslationLink;
  if (!hdf5::Exists(file, name)) {
    return absl::InvalidArgumentError(absl::StrCat(cxi::kTranslation, ": missing"));
  }
  PS_ASSIGN_OR_RETURN(const hdf5::Dataset translation, hdf5::OpenDataset(file, name));
  const std::vector<std::int64_t>& dims = translation.dims;
  if (dims.size() != 2 || dims[0] != info.frames || (dims[1] != 2 && dims[1] != 3)) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": shape ", hdf5::DimsText(dims),
                                                   "; must be (", info.frames,
                                                   ", 3): x, y, z of every frame"));
  }
  PS_ASSIGN_OR_RETURN(const std::vector<double> values, hdf5::Read<double>(translation));
  const std::size_t stride = static_cast<std::size_t>(dims[1]);
  for (std::size_t i = 0; i < values.size(); i += stride) {
    info.x_m.push_back(values[i]);
    info.y_m.push_back(values[i + 1]);
  }
  return absl::OkStatus();
}

absl::Status ReadGroundTruth(hid_t file, CxiScanInfo& info)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(hdf5::library_mutex) {
  if (hdf5::Exists(file, cxi::kTrueProbe)) {
    PS_ASSIGN_OR_RETURN(info.true_probe, hdf5::ReadComplex(file, cxi::kTrueProbe));
  }
  if (!hdf5::Exists(file, cxi::kTrueObject)) return absl::OkStatus();
  PS_ASSIGN_OR_RETURN(info.true_object, hdf5::ReadComplex(file, cxi::kTrueObject));
  PS_ASSIGN_OR_RETURN(const hdf5::Dataset dataset, hdf5::OpenDataset(file, cxi::kTrueOrigin));
  if (dataset.elements() != 2) {
    return absl::InvalidArgumentError(absl::StrCat(
        cxi::kTrueOrigin, ": shape ", hdf5::DimsText(dataset.dims), "; must be (2,): row, col"));
  }
  PS_ASSIGN_OR_RETURN(const std::vector<std::int32_t> origin, hdf5::Read<std::int32_t>(dataset));
  info.true_object_row = origin[0];
  info.true_object_col = origin[1];
  return absl::OkStatus();
}

}  // namespace

struct CxiScanReader::Impl {
  std::string path;
  hdf5::Handle file;
  hdf5::Dataset frames;
  CxiScanInfo info;

  absl::Status ReadInfo() ABSL_EXCLUSIVE_LOCKS_REQUIRED(hdf5::library_mutex);
};

absl::Status CxiScanReader::Impl::ReadInfo() {
  const char* name = hdf5::Exists(file.id(), cxi::kFrames) ? cxi::kFrames : cxi::kDataLink;
  if (!hdf5::Exists(file.id(), name)) {
    return absl::InvalidArgumentError(
        absl::StrCat(cxi::kFrames, ": missing, and so is ", cxi::kDataLink));
  }
  PS_ASSIGN_OR_RETURN(frames, hdf5::OpenDataset(file.id(), name));
  constexpr std::int64_t kMaxSide = std::numeric_limits<int>::max();
  const std::vector<std::int64_t>& dims = frames.dims;
  if (dims.size() != 3 || frames.elements() == 0 || dims[1] > kMaxSide || dims[2] > kMaxSide) {
    return absl::InvalidArgumentError(absl::StrCat(
        name, ": shape ", hdf5::DimsText(dims), "; must be (frames, rows, cols), none of them 0"));
  }
  info.frames = dims[0];
  info.frame_shape = {static_cast<int>(dims[1]), static_cast<int>(dims[2])};
  const std::optional<DataType> type = FrameType(frames);
  if (!type) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": is of neither integers nor floating-point numbers"));
  }
  info.dtype = *type;
  PS_ASSIGN_OR_RETURN(info.wavelength_m, ReadWavelength(file.id()));
  PS_ASSIGN_OR_RETURN(info.distance_m, ReadPositive(file.id(), cxi::kDistance));
  PS_ASSIGN_OR_RETURN(info.detector_pixel_size_y_m, ReadPositive(file.id(), cxi::kPixelSizeY));
  PS_ASSIGN_OR_RETURN(info.detector_pixel_size_x_m, ReadPositive(file.id(), cxi::kPixelSizeX));
  PS_RETURN_IF_ERROR(ReadMask(file.id(), info));
  PS_RETURN_IF_ERROR(ReadPositions(file.id(), info));
  if (hdf5::Exists(file.id(), cxi::kTitle)) {
    PS_ASSIGN_OR_RETURN(info.title, hdf5::ReadString(file.id(), cxi::kTitle));
  }
  return ReadGroundTruth(file.id(), info);
}

CxiScanReader::CxiScanReader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

CxiScanReader::~CxiScanReader() {
  hdf5::LibraryLock lock;
  impl_.reset();
}

absl::StatusOr<std::unique_ptr<CxiScanReader>> CxiScanReader::Open(const std::string& path) {
  hdf5::LibraryLock lock;
  auto impl = std::make_unique<Impl>();
  impl->path = path;
  PS_ASSIGN_OR_RETURN(impl->file, hdf5::OpenFile(path));
  const absl::Status status = impl->ReadInfo();
  if (!status.ok()) {
    return absl::Status(status.code(), absl::StrCat(path, ": ", status.message()));
  }
  return std::unique_ptr<CxiScanReader>(new CxiScanReader(std::move(impl)));
}

const CxiScanInfo& CxiScanReader::info() const { return impl_->info; }

absl::Status CxiScanReader::ReadFrames(std::int64_t first, int count, std::span<std::byte> out) {
  const CxiScanInfo& info = impl_->info;
  if (first < 0 || count < 1 || first > info.frames - count) {
    return absl::OutOfRangeError(
        absl::StrCat(impl_->path, ": frames [", first, ", ", first + count, ") of ", info.frames));
  }
  const std::size_t bytes = static_cast<std::size_t>(count) *
                            static_cast<std::size_t>(info.frame_shape.pixels()) *
                            PixelBytes(info.dtype);
  if (out.size() != bytes) {
    return absl::OutOfRangeError(
        absl::StrCat(count, " frames are ", bytes, " bytes; the buffer has ", out.size()));
  }
  hdf5::LibraryLock lock;
  const hsize_t start[3] = {static_cast<hsize_t>(first), 0, 0};
  const hsize_t size[3] = {static_cast<hsize_t>(count), static_cast<hsize_t>(info.frame_shape.rows),
                           static_cast<hsize_t>(info.frame_shape.cols)};
  const hid_t dataset = impl_->frames.handle.id();
  const hdf5::Handle file_space(H5Dget_space(dataset), H5Sclose);
  const hdf5::Handle memory_space(H5Screate_simple(3, size, nullptr), H5Sclose);
  const hdf5::Handle transfer(H5Pcreate(H5P_DATASET_XFER), H5Pclose);
  bool does_not_fit = false;
  H5Pset_type_conv_cb(transfer.id(), StopOnRange, &does_not_fit);
  H5Sselect_hyperslab(file_space.id(), H5S_SELECT_SET, start, nullptr, size, nullptr);
  if (H5Dread(dataset, NativeFrameType(info.dtype), memory_space.id(), file_space.id(),
              transfer.id(), out.data()) >= 0) {
    return absl::OkStatus();
  }
  const std::string where = absl::StrCat(impl_->path, ": ", impl_->frames.name, ": frames [", first,
                                         ", ", first + count, ")");
  if (does_not_fit) {
    return absl::OutOfRangeError(
        absl::StrCat(where, " have values outside of [0, 4294967295], or of the range of float"));
  }
  return absl::InternalError(absl::StrCat(where, " cannot be read: ", hdf5::LastError()));
}

absl::StatusOr<ComplexStack> ReadHdf5Complex(const std::string& path, const std::string& dataset) {
  hdf5::LibraryLock lock;
  PS_ASSIGN_OR_RETURN(const hdf5::Handle file, hdf5::OpenFile(path));
  // "entry_1/x" and "/entry_1/x" are the same.
  const std::string name = absl::StrCat(dataset.rfind('/', 0) == 0 ? "" : "/", dataset);
  absl::StatusOr<ComplexStack> stack = hdf5::ReadComplex(file.id(), name);
  if (!stack.ok()) {
    return absl::Status(stack.status().code(), absl::StrCat(path, ": ", stack.status().message()));
  }
  return stack;
}

}  // namespace ptychoserve
