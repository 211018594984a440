#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/io/cxi.h"
#include "engine/io/cxi_paths.h"
#include "engine/io/hdf5.h"
#include "engine/io/replaced_file.h"

namespace ptychoserve {
namespace {

hid_t StoredType(DataType type) {
  switch (type) {
    case DataType::kU8:
      return H5T_STD_U8LE;
    case DataType::kU16:
      return H5T_STD_U16LE;
    case DataType::kU32:
      return H5T_STD_U32LE;
    case DataType::kF32:
      break;
  }
  return H5T_IEEE_F32LE;
}

absl::Status CheckInfo(const CxiScanInfo& info) {
  const std::size_t frames = static_cast<std::size_t>(info.frames);
  if (info.frames < 1 || info.frame_shape.rows < 1 || info.frame_shape.cols < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat(info.frames, " frames of ", info.frame_shape.rows, " x ",
                     info.frame_shape.cols, " pixels; a scan has at least one of each"));
  }
  if (info.x_m.size() != frames || info.y_m.size() != frames) {
    return absl::InvalidArgumentError(
        absl::StrCat(info.x_m.size(), " x and ", info.y_m.size(), " y for ", frames, " frames"));
  }
  if (!info.bad_pixels.empty() &&
      static_cast<std::int64_t>(info.bad_pixels.size()) != info.frame_shape.pixels()) {
    return absl::InvalidArgumentError(absl::StrCat(info.bad_pixels.size(),
                                                   " values in the mask for frames of ",
                                                   info.frame_shape.pixels(), " pixels"));
  }
  return absl::OkStatus();
}

std::vector<double> Translation(const std::vector<double>& x_m, const std::vector<double>& y_m) {
  std::vector<double> translation;
  translation.reserve(3 * x_m.size());
  for (std::size_t i = 0; i < x_m.size(); ++i) {
    translation.insert(translation.end(), {x_m[i], y_m[i], 0.0});
  }
  return translation;
}

absl::Status WriteTruth(hid_t file, const CxiScanInfo& info)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(hdf5::library_mutex) {
  if (info.true_probe) {
    PS_RETURN_IF_ERROR(hdf5::WriteComplex(file, cxi::kTrueProbe, *info.true_probe,
                                          /*keep_modes=*/true, "sqrt(photons)"));
  }
  if (info.true_object) {
    PS_RETURN_IF_ERROR(hdf5::WriteComplex(file, cxi::kTrueObject, *info.true_object,
                                          /*keep_modes=*/info.true_object->modes > 1, ""));
    PS_RETURN_IF_ERROR(hdf5::Write<std::int32_t>(
        file, cxi::kTrueOrigin, {2}, {info.true_object_row, info.true_object_col}, "pixels"));
  }
  if (!info.true_x_m.empty()) {
    PS_RETURN_IF_ERROR(hdf5::Write<double>(file, cxi::kTrueTranslation, {info.frames, 3},
                                           Translation(info.true_x_m, info.true_y_m), "m"));
  }
  if (!info.true_intensity.empty()) {
    PS_RETURN_IF_ERROR(
        hdf5::Write<double>(file, cxi::kTrueIntensity, {info.frames}, info.true_intensity));
  }
  if (!info.true_variation.empty()) {
    PS_RETURN_IF_ERROR(
        hdf5::Write<double>(file, cxi::kTrueVariation, {info.frames, 2}, info.true_variation));
  }
  if (info.true_background.empty()) return absl::OkStatus();
  return hdf5::Write<double>(file, cxi::kTrueBackground,
                             {info.frame_shape.rows, info.frame_shape.cols}, info.true_background,
                             "counts");
}

absl::Status WriteInfo(hid_t file, const CxiScanInfo& info)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(hdf5::library_mutex) {
  PS_RETURN_IF_ERROR(hdf5::Write<std::int32_t>(file, cxi::kVersion, {}, {cxi::kFormatVersion}));
  PS_RETURN_IF_ERROR(hdf5::WriteString(file, cxi::kTitle, info.title));
  PS_RETURN_IF_ERROR(hdf5::WriteScalar(file, cxi::kDistance, info.distance_m, "m"));
  PS_RETURN_IF_ERROR(hdf5::WriteScalar(file, cxi::kPixelSizeX, info.detector_pixel_size_x_m, "m"));
  PS_RETURN_IF_ERROR(hdf5::WriteScalar(file, cxi::kPixelSizeY, info.detector_pixel_size_y_m, "m"));
  const Shape shape = info.frame_shape;
  // Beam at pixel [rows/2, cols/2].
  PS_RETURN_IF_ERROR(
      hdf5::Write<double>(file, cxi::kCorner, {3},
                          {MiddlePixel(shape.cols) * info.detector_pixel_size_x_m,
                           MiddlePixel(shape.rows) * info.detector_pixel_size_y_m, info.distance_m},
                          "m"));
  // Rows run down, columns to the right: see OrientationOfBasis.
  PS_RETURN_IF_ERROR(hdf5::Write<double>(
      file, cxi::kBasisVectors, {2, 3},
      {0, -info.detector_pixel_size_y_m, 0, -info.detector_pixel_size_x_m, 0, 0}, "m"));
  if (info.near_field.has_value()) {
    PS_RETURN_IF_ERROR(hdf5::WriteScalar(
        file, cxi::kSourceToSample,
        info.near_field->source_to_sample_m.value_or(std::numeric_limits<double>::infinity()),
        "m"));
  }
  PS_RETURN_IF_ERROR(hdf5::WriteScalar(file, cxi::kWavelength, info.wavelength_m, "m"));
  PS_RETURN_IF_ERROR(
      hdf5::WriteScalar(file, cxi::kEnergy, cxi::kPlanckTimesLightSpeed / info.wavelength_m, "J"));
  if (!info.bad_pixels.empty()) {
    PS_RETURN_IF_ERROR(hdf5::Write<std::uint32_t>(
        file, cxi::kMask, {shape.rows, shape.cols},
        std::vector<std::uint32_t>(info.bad_pixels.begin(), info.bad_pixels.end())));
  }
  PS_RETURN_IF_ERROR(hdf5::Write<double>(file, cxi::kTranslation, {info.frames, 3},
                                         Translation(info.x_m, info.y_m), "m"));
  PS_RETURN_IF_ERROR(hdf5::LinkTo(file, cxi::kDataLink, cxi::kFrames));
  PS_RETURN_IF_ERROR(hdf5::LinkTo(file, cxi::kTranslationLink, cxi::kTranslation));
  return WriteTruth(file, info);
}

}  // namespace

struct CxiScanWriter::Impl {
  explicit Impl(const std::string& path) : target(path) {}
  ReplacedFile target;  // Before the handles: they are closed first.
  hdf5::Handle file;
  hdf5::Handle frames;
  Shape shape;
  DataType dtype = DataType::kU16;
  std::int64_t expected = 0;
  std::int64_t written = 0;
};

CxiScanWriter::CxiScanWriter(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

CxiScanWriter::~CxiScanWriter() {
  hdf5::LibraryLock lock;
  impl_.reset();
}

absl::StatusOr<std::unique_ptr<CxiScanWriter>> CxiScanWriter::Create(const std::string& path,
                                                                     const CxiScanInfo& info) {
  PS_RETURN_IF_ERROR(CheckInfo(info));
  hdf5::LibraryLock lock;
  auto impl = std::make_unique<Impl>(path);
  impl->shape = info.frame_shape;
  impl->dtype = info.dtype;
  impl->expected = info.frames;
  PS_ASSIGN_OR_RETURN(impl->file, hdf5::CreateFile(impl->target.part()));
  PS_RETURN_IF_ERROR(WriteInfo(impl->file.id(), info));
  PS_ASSIGN_OR_RETURN(
      impl->frames,
      hdf5::CreateFrames(impl->file.id(), cxi::kFrames, StoredType(info.dtype),
                         {info.frames, info.frame_shape.rows, info.frame_shape.cols}));
  return std::unique_ptr<CxiScanWriter>(new CxiScanWriter(std::move(impl)));
}

absl::Status CxiScanWriter::Append(std::span<const std::byte> frames, int count) {
  if (!impl_->file.ok()) return absl::FailedPreconditionError("the file has been closed");
  if (count < 1 || count > impl_->expected - impl_->written) {
    return absl::OutOfRangeError(
        absl::StrCat(count, " frames after ", impl_->written, " of ", impl_->expected));
  }
  hdf5::LibraryLock lock;
  const hid_t type = StoredType(impl_->dtype);
  const std::size_t bytes = static_cast<std::size_t>(count) *
                            static_cast<std::size_t>(impl_->shape.pixels()) * H5Tget_size(type);
  if (frames.size() != bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(count, " frames are ", bytes, " bytes, not ", frames.size()));
  }
  const hsize_t start[3] = {static_cast<hsize_t>(impl_->written), 0, 0};
  const hsize_t size[3] = {static_cast<hsize_t>(count), static_cast<hsize_t>(impl_->shape.rows),
                           static_cast<hsize_t>(impl_->shape.cols)};
  const hdf5::Handle file_space(H5Dget_space(impl_->frames.id()), H5Sclose);
  const hdf5::Handle memory_space(H5Screate_simple(3, size, nullptr), H5Sclose);
  H5Sselect_hyperslab(file_space.id(), H5S_SELECT_SET, start, nullptr, size, nullptr);
  if (H5Dwrite(impl_->frames.id(), type, memory_space.id(), file_space.id(), H5P_DEFAULT,
               frames.data()) < 0) {
    return absl::InternalError(
        absl::StrCat(impl_->target.path(), ": cannot be written: ", hdf5::LastError()));
  }
  impl_->written += count;
  return absl::OkStatus();
}

absl::Status CxiScanWriter::WriteInitialProbe(const ComplexStack& probe) {
  if (!impl_->file.ok()) return absl::FailedPreconditionError("the file has been closed");
  hdf5::LibraryLock lock;
  return hdf5::WriteComplex(impl_->file.id(), cxi::kInitialProbe, probe, /*keep_modes=*/true,
                            "sqrt(photons)");
}

absl::Status CxiScanWriter::Close() {
  if (!impl_->file.ok()) return absl::FailedPreconditionError("the file has been closed");
  hdf5::LibraryLock lock;
  const bool closed = impl_->frames.CloseNow() && impl_->file.CloseNow();
  if (!closed) {
    return absl::InternalError(
        absl::StrCat(impl_->target.path(), ": cannot be closed: ", hdf5::LastError()));
  }
  if (impl_->written != impl_->expected) {
    return absl::FailedPreconditionError(absl::StrCat(impl_->target.path(), ": ", impl_->written,
                                                      " of ", impl_->expected,
                                                      " frames were written"));
  }
  return impl_->target.Commit();
}

}  // namespace ptychoserve
