#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/io/cxi.h"
#include "engine/io/cxi_counts.h"
#include "engine/io/cxi_mask.h"
#include "engine/io/cxi_optics.h"
#include "engine/io/cxi_paths.h"
#include "engine/io/hdf5.h"

namespace ptychoserve {
namespace {

// How frames come out: unsigned, of the stored size up to 32 bits, or float.
std::optional<DataType> FrameType(const hdf5::Dataset& frames) {
  if (frames.type_class == H5T_FLOAT) return DataType::kF32;
  if (frames.type_class != H5T_INTEGER) return std::nullopt;
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

// A pixel that the engine does not trust, in every frame type.
void Distrust(DataType type, std::size_t pixel, std::byte* frames) {
  constexpr float kLargestFloat = std::numeric_limits<float>::max();
  if (type == DataType::kF32) {
    std::memcpy(frames + pixel * sizeof(float), &kLargestFloat, sizeof(float));
  } else {
    const std::size_t bytes = PixelBytes(type);
    std::memset(frames + pixel * bytes, 0xff, bytes);
  }
}

std::int64_t FramePixels(const CxiScanInfo& info) { return info.frame_shape.pixels(); }

// The mask of all frames; `frame_mask` instead, when each has its own.
absl::Status ReadMask(hid_t file, CxiScanInfo& info, std::optional<hdf5::Dataset>& frame_mask)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(hdf5::library_mutex) {
  if (!hdf5::Exists(file, cxi::kMask)) return absl::OkStatus();
  PS_ASSIGN_OR_RETURN(hdf5::Dataset mask, hdf5::OpenDataset(file, cxi::kMask));
  const std::vector<std::int64_t> frame = {info.frame_shape.rows, info.frame_shape.cols};
  std::vector<std::int64_t> dims = mask.dims;
  if (dims.size() > 2 && dims[dims.size() - 3] == 1 && mask.elements() == FramePixels(info)) {
    dims = frame;
  }
  if (dims.size() == 3 && dims[0] == info.frames && dims[1] == frame[0] && dims[2] == frame[1]) {
    frame_mask = std::move(mask);
    return absl::OkStatus();
  }
  if (dims != frame) {
    return absl::InvalidArgumentError(absl::StrCat(
        cxi::kMask, ": shape ", hdf5::DimsText(mask.dims), "; must be that of a frame, ",
        hdf5::DimsText(frame), ", or of all ", info.frames, " of them"));
  }
  PS_ASSIGN_OR_RETURN(const std::vector<std::uint32_t> values, hdf5::Read<std::uint32_t>(mask));
  info.bad_pixels.reserve(values.size());
  for (std::uint32_t value : values) info.bad_pixels.push_back(IsBadPixel(value) ? 1 : 0);
  const auto bad = std::count(info.bad_pixels.begin(), info.bad_pixels.end(), 1);
  if (2 * bad > std::ssize(info.bad_pixels)) {
    info.notes.push_back(absl::StrCat(cxi::kMask, " marks ", bad, " of ", FramePixels(info),
                                      " pixels as bad; in CXI, 0 is a good pixel"));
  }
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
  const bool by_frame =
      dims.size() == 2 && dims[0] == info.frames && (dims[1] == 2 || dims[1] == 3);
  const bool by_axis = dims.size() == 2 && dims[0] == 3 && dims[1] == info.frames;
  if (!by_frame && !by_axis) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": shape ", hdf5::DimsText(dims),
                                                   "; must be (", info.frames,
                                                   ", 3): x, y, z of every frame"));
  }
  PS_ASSIGN_OR_RETURN(const std::vector<double> values, hdf5::Read<double>(translation));
  const auto frames = static_cast<std::size_t>(info.frames);
  const std::size_t frame_step = by_frame ? static_cast<std::size_t>(dims[1]) : 1;
  const std::size_t axis_step = by_frame ? 1 : frames;
  for (std::size_t k = 0; k < frames; ++k) {
    info.x_m.push_back(values[k * frame_step]);
    info.y_m.push_back(values[k * frame_step + axis_step]);
  }
  if (!by_frame) {
    info.notes.push_back(absl::StrCat(name, " has the shape ", hdf5::DimsText(dims),
                                      ", read as x, y and z of all frames"));
  }
  const auto finite = [](double value) { return std::isfinite(value); };
  for (const std::vector<double>* axis : {&info.x_m, &info.y_m}) {
    const auto bad = std::find_if_not(axis->begin(), axis->end(), finite);
    if (bad == axis->end()) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": the position of frame ", bad - axis->begin(), " is ", *bad,
                     "; must be finite; leave such frames out of the file"));
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
  std::optional<hdf5::Dataset> frame_mask;  // Where each frame has its own, of their dims.
  CxiScanInfo info;
  CxiChanges changes;

  absl::Status ReadInfo(CxiOptics optics) ABSL_EXCLUSIVE_LOCKS_REQUIRED(hdf5::library_mutex);
  absl::Status OpenFrames() ABSL_EXCLUSIVE_LOCKS_REQUIRED(hdf5::library_mutex);
  // Of `dataset`, which begins with the number of the frame, in memory of `type`.
  absl::Status Read(const hdf5::Dataset& dataset, std::int64_t first, int count, hid_t type,
                    void* out) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(hdf5::library_mutex);
  // Integers that are stored as `Stored`, and do not all fit info.dtype.
  template <typename Stored>
  absl::Status ReadIntegers(std::int64_t first, int count, hid_t type, std::byte* out)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(hdf5::library_mutex);
};

absl::Status CxiScanReader::Impl::OpenFrames() {
  const char* name = hdf5::Exists(file.id(), cxi::kFrames) ? cxi::kFrames : cxi::kDataLink;
  if (!hdf5::Exists(file.id(), name)) {
    return absl::InvalidArgumentError(
        absl::StrCat(cxi::kFrames, ": missing, and so is ", cxi::kDataLink,
                     hdf5::Exists(file.id(), cxi::kEntry)
                         ? ""
                         : "; there is no /entry_1 at all: this is no CXI file"));
  }
  PS_ASSIGN_OR_RETURN(frames, hdf5::OpenDataset(file.id(), name));
  constexpr std::int64_t kMaxSide = std::numeric_limits<int>::max();
  const std::vector<std::int64_t>& dims = frames.dims;
  const std::size_t rank = dims.size();
  if (rank == 4 && dims[1] > 1) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": shape ", hdf5::DimsText(dims), ", ", dims[1],
                     " modules of a detector; must be (frames, rows, cols): put the modules "
                     "together into one image first"));
  }
  if ((rank != 3 && rank != 4) || frames.elements() == 0 || dims[rank - 2] > kMaxSide ||
      dims[rank - 1] > kMaxSide) {
    return absl::InvalidArgumentError(absl::StrCat(
        name, ": shape ", hdf5::DimsText(dims), "; must be (frames, rows, cols), none of them 0"));
  }
  info.frames = dims[0];
  info.frame_shape = {static_cast<int>(dims[rank - 2]), static_cast<int>(dims[rank - 1])};
  const std::optional<DataType> type = FrameType(frames);
  if (!type) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": is of neither integers nor floating-point numbers"));
  }
  info.dtype = *type;
  return absl::OkStatus();
}

absl::Status CxiScanReader::Impl::ReadInfo(CxiOptics optics) {
  PS_RETURN_IF_ERROR(OpenFrames());
  PS_RETURN_IF_ERROR(cxi::ReadOptics(file.id(), optics, info));
  PS_RETURN_IF_ERROR(ReadMask(file.id(), info, frame_mask));
  PS_RETURN_IF_ERROR(ReadPositions(file.id(), info));
  if (hdf5::Exists(file.id(), cxi::kTitle)) {
    PS_ASSIGN_OR_RETURN(info.title, hdf5::ReadString(file.id(), cxi::kTitle));
  }
  if (hdf5::Exists(file.id(), cxi::kNextEntry)) {
    info.notes.push_back("the file has more than one entry; only /entry_1 is read");
  }
  if (hdf5::Exists(file.id(), cxi::kDark)) {
    info.notes.push_back(
        absl::StrCat(cxi::kDark, " is there and is not subtracted from the frames"));
  }
  return ReadGroundTruth(file.id(), info);
}

absl::Status CxiScanReader::Impl::Read(const hdf5::Dataset& dataset, std::int64_t first, int count,
                                       hid_t type, void* out) const {
  std::vector<hsize_t> start(dataset.dims.size());
  std::vector<hsize_t> size(dataset.dims.begin(), dataset.dims.end());
  start[0] = static_cast<hsize_t>(first);
  size[0] = static_cast<hsize_t>(count);
  const hid_t id = dataset.handle.id();
  const hdf5::Handle file_space(H5Dget_space(id), H5Sclose);
  const hdf5::Handle memory_space(
      H5Screate_simple(static_cast<int>(size.size()), size.data(), nullptr), H5Sclose);
  H5Sselect_hyperslab(file_space.id(), H5S_SELECT_SET, start.data(), nullptr, size.data(), nullptr);
  if (H5Dread(id, type, memory_space.id(), file_space.id(), H5P_DEFAULT, out) >= 0) {
    return absl::OkStatus();
  }
  return absl::InternalError(absl::StrCat(path, ": ", dataset.name, ": frames [", first, ", ",
                                          first + count, ") cannot be read: ", hdf5::LastError()));
}

template <typename Stored>
absl::Status CxiScanReader::Impl::ReadIntegers(std::int64_t first, int count, hid_t type,
                                               std::byte* out) {
  std::vector<Stored> stored(static_cast<std::size_t>(count * FramePixels(info)));
  PS_RETURN_IF_ERROR(Read(frames, first, count, type, stored.data()));
  const std::span<const Stored> values(stored);
  switch (info.dtype) {
    case DataType::kU8:
      ToCounts(values, reinterpret_cast<std::uint8_t*>(out), changes);
      break;
    case DataType::kU16:
      ToCounts(values, reinterpret_cast<std::uint16_t*>(out), changes);
      break;
    case DataType::kU32:
    case DataType::kF32:
      ToCounts(values, reinterpret_cast<std::uint32_t*>(out), changes);
      break;
  }
  return absl::OkStatus();
}

CxiScanReader::CxiScanReader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

CxiScanReader::~CxiScanReader() {
  hdf5::LibraryLock lock;
  impl_.reset();
}

absl::StatusOr<std::unique_ptr<CxiScanReader>> CxiScanReader::Open(const std::string& path,
                                                                   CxiOptics optics) {
  hdf5::LibraryLock lock;
  auto impl = std::make_unique<Impl>();
  impl->path = path;
  PS_ASSIGN_OR_RETURN(impl->file, hdf5::OpenFile(path));
  const absl::Status status = impl->ReadInfo(optics);
  if (!status.ok()) {
    return absl::Status(status.code(), absl::StrCat(path, ": ", status.message()));
  }
  return std::unique_ptr<CxiScanReader>(new CxiScanReader(std::move(impl)));
}

const CxiScanInfo& CxiScanReader::info() const { return impl_->info; }

const CxiChanges& CxiScanReader::changes() const { return impl_->changes; }

absl::Status CxiScanReader::ReadFrames(std::int64_t first, int count, std::span<std::byte> out) {
  Impl& impl = *impl_;
  const CxiScanInfo& info = impl.info;
  if (first < 0 || count < 1 || first > info.frames - count) {
    return absl::OutOfRangeError(
        absl::StrCat(impl.path, ": frames [", first, ", ", first + count, ") of ", info.frames));
  }
  const auto pixels = static_cast<std::size_t>(count * FramePixels(info));
  if (out.size() != pixels * PixelBytes(info.dtype)) {
    return absl::OutOfRangeError(absl::StrCat(count, " frames are ",
                                              pixels * PixelBytes(info.dtype),
                                              " bytes; the buffer has ", out.size()));
  }
  hdf5::LibraryLock lock;
  if (impl.frames.is_signed) {
    PS_RETURN_IF_ERROR(impl.ReadIntegers<std::int64_t>(first, count, H5T_NATIVE_INT64, out.data()));
  } else if (info.dtype == DataType::kU32 && impl.frames.element_size > sizeof(std::uint32_t)) {
    PS_RETURN_IF_ERROR(
        impl.ReadIntegers<std::uint64_t>(first, count, H5T_NATIVE_UINT64, out.data()));
  } else {
    PS_RETURN_IF_ERROR(
        impl.Read(impl.frames, first, count, NativeFrameType(info.dtype), out.data()));
  }
  if (info.dtype == DataType::kF32) {
    auto* const counts = reinterpret_cast<float*>(out.data());
    ToCounts(std::span<const float>(counts, pixels), counts, impl.changes);
  }
  if (!impl.frame_mask.has_value()) return absl::OkStatus();
  std::vector<std::uint32_t> mask(pixels);
  PS_RETURN_IF_ERROR(impl.Read(*impl.frame_mask, first, count, H5T_NATIVE_UINT32, mask.data()));
  for (std::size_t i = 0; i < pixels; ++i) {
    if (IsBadPixel(mask[i])) Distrust(info.dtype, i, out.data());
  }
  return absl::OkStatus();
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
