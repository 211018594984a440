#include <algorithm>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "engine/base/status_macros.h"
#include "engine/base/version.h"
#include "engine/io/cxi.h"
#include "engine/io/cxi_paths.h"
#include "engine/io/hdf5.h"
#include "engine/io/replaced_file.h"
#include "engine/quality/frc.h"

namespace ptychoserve {
namespace {

std::int64_t Size(const std::vector<double>& values) {
  return static_cast<std::int64_t>(values.size());
}

absl::Status CheckResult(const CxiResult& r) {
  if (r.object.modes < 1 ||
      static_cast<std::int64_t>(r.object.data.size()) != r.object.modes * r.object.shape.pixels()) {
    return absl::InvalidArgumentError(
        absl::StrCat(cxi::kImage, ": ", r.object.data.size(), " values for an object of ",
                     r.object.modes, " x ", r.object.shape.rows, " x ", r.object.shape.cols));
  }
  const std::size_t frames = r.frame_ids.size();
  if (r.window_row.size() != frames || r.window_col.size() != frames) {
    return absl::InvalidArgumentError(absl::StrCat(r.window_row.size(), " window rows and ",
                                                   r.window_col.size(), " columns for ", frames,
                                                   " frame ids"));
  }
  if (frames * static_cast<std::size_t>(r.probe_components.modes) !=
      r.variation.size() * static_cast<std::size_t>(r.probe.modes)) {
    return absl::InvalidArgumentError(absl::StrCat(
        r.variation.size(), " coefficients of ", frames, " frames for ", r.probe_components.modes,
        " images of the components of ", r.probe.modes, " modes"));
  }
  const std::size_t columns = r.metric_names.size();
  if (columns == 0 ? !r.metrics.empty() : r.metrics.size() % columns != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(r.metrics.size(), " metrics in rows of ", columns));
  }
  if (!r.coverage.data.empty() && r.coverage.shape != r.object.shape) {
    return absl::InvalidArgumentError(
        absl::StrCat("coverage of ", r.coverage.shape.rows, " x ", r.coverage.shape.cols,
                     " pixels for an object of ", r.object.shape.rows, " x ", r.object.shape.cols));
  }
  return absl::OkStatus();
}

// Where something of image_1 is in the image with another number.
std::string InImage(int number, const char* in_first) {
  const std::string first = absl::StrCat(cxi::kImageGroup, 1);
  return absl::StrCat(cxi::kImageGroup, number, std::string(in_first).substr(first.size()));
}

ComplexStack ModeOf(const ComplexStack& stack, int mode) {
  ComplexStack one(1, stack.shape);
  std::copy_n(stack.data.begin() + mode * stack.shape.pixels(), stack.shape.pixels(),
              one.data.begin());
  return one;
}

absl::Status WriteObjectMode(hid_t file, const CxiResult& r, int mode)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(hdf5::library_mutex) {
  const auto in = [mode](const char* in_first) { return InImage(mode + 1, in_first); };
  PS_RETURN_IF_ERROR(hdf5::WriteComplex(file, in(cxi::kImage), ModeOf(r.object, mode),
                                        /*keep_modes=*/false, ""));
  PS_RETURN_IF_ERROR(hdf5::WriteString(file, in(cxi::kImageSpace), "real"));
  PS_RETURN_IF_ERROR(hdf5::WriteScalar(file, in(cxi::kImagePixelSizeX), r.pixel_size_x_m, "m"));
  PS_RETURN_IF_ERROR(hdf5::WriteScalar(file, in(cxi::kImagePixelSizeY), r.pixel_size_y_m, "m"));
  return hdf5::Write<double>(file, in(cxi::kImageOrigin), {2}, {r.origin_x_m, r.origin_y_m}, "m");
}

absl::Status WriteImages(hid_t file, const CxiResult& r)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(hdf5::library_mutex) {
  for (int mode = 0; mode < r.object.modes; ++mode) {
    PS_RETURN_IF_ERROR(WriteObjectMode(file, r, mode));
  }
  PS_RETURN_IF_ERROR(hdf5::LinkTo(file, cxi::kDataLink, cxi::kImage));
  if (!r.object_mode_powers.empty()) {
    PS_RETURN_IF_ERROR(hdf5::Write<double>(file, cxi::kObjectModePowers,
                                           {Size(r.object_mode_powers)}, r.object_mode_powers));
  }
  if (r.coverage.data.empty()) return absl::OkStatus();
  return hdf5::Write<float>(file, cxi::kCoverage, {r.coverage.shape.rows, r.coverage.shape.cols},
                            r.coverage.data, "photons");
}

absl::Status WritePositions(hid_t file, const CxiResult& r)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(hdf5::library_mutex) {
  const std::int64_t frames = Size(r.window_row);
  std::vector<double> corners, translation;
  for (std::size_t i = 0; i < r.window_row.size(); ++i) {
    corners.insert(corners.end(), {r.window_row[i], r.window_col[i]});
    // Where the beam's centre, pixel [rows/2, cols/2] of the window, was on the sample.
    translation.insert(
        translation.end(),
        {r.origin_x_m + (r.window_col[i] + MiddlePixel(r.probe.shape.cols)) * r.pixel_size_x_m,
         r.origin_y_m + (r.window_row[i] + MiddlePixel(r.probe.shape.rows)) * r.pixel_size_y_m,
         0.0});
  }
  PS_RETURN_IF_ERROR(hdf5::Write<double>(file, cxi::kWindowCorner, {frames, 2}, corners, "pixels"));
  PS_RETURN_IF_ERROR(hdf5::Write<double>(file, cxi::kTranslation, {frames, 3}, translation, "m"));
  PS_RETURN_IF_ERROR(hdf5::LinkTo(file, cxi::kTranslationLink, cxi::kTranslation));
  if (!r.r_factor.empty()) {
    PS_RETURN_IF_ERROR(hdf5::Write<double>(file, cxi::kFrameRFactor, {frames}, r.r_factor));
    PS_RETURN_IF_ERROR(hdf5::Write<double>(file, cxi::kFramePoissonNll, {frames}, r.poisson_nll));
  }
  return hdf5::Write<std::int64_t>(file, cxi::kFrameIds, {frames}, r.frame_ids);
}

absl::Status WriteRefined(hid_t file, const CxiResult& r)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(hdf5::library_mutex) {
  std::vector<double> shift;
  for (std::size_t i = 0; i < r.shift_row.size(); ++i) {
    shift.insert(shift.end(), {r.shift_row[i], r.shift_col[i]});
  }
  PS_RETURN_IF_ERROR(
      hdf5::Write<double>(file, cxi::kShift, {Size(r.shift_row), 2}, shift, "pixels"));
  PS_RETURN_IF_ERROR(hdf5::Write<double>(file, cxi::kIntensity, {Size(r.intensity)}, r.intensity));
  if (!r.variation.empty()) {
    const std::int64_t frames = Size(r.intensity);
    PS_RETURN_IF_ERROR(hdf5::Write<double>(file, cxi::kVariation,
                                           {frames, Size(r.variation) / frames}, r.variation));
    PS_RETURN_IF_ERROR(hdf5::WriteComplex(file, cxi::kProbeComponents, r.probe_components,
                                          /*keep_modes=*/true, "sqrt(photons)"));
  }
  if (r.background.data.empty()) return absl::OkStatus();
  return hdf5::Write<float>(file, cxi::kBackground,
                            {r.background.shape.rows, r.background.shape.cols}, r.background.data,
                            "counts");
}

absl::Status WriteProcess(hid_t file, const CxiResult& r)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(hdf5::library_mutex) {
  PS_RETURN_IF_ERROR(hdf5::WriteString(file, cxi::kProgram, "ptychoserve"));
  PS_RETURN_IF_ERROR(hdf5::WriteString(file, cxi::kProgramVersion, kVersion));
  PS_RETURN_IF_ERROR(hdf5::WriteString(
      file, cxi::kDate, absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", absl::Now(), absl::UTCTimeZone())));
  PS_RETURN_IF_ERROR(hdf5::WriteString(file, cxi::kConfiguration, r.config_json));
  PS_RETURN_IF_ERROR(hdf5::WriteString(file, cxi::kSession, r.session_json));
  if (r.metric_names.empty()) return absl::OkStatus();
  const std::int64_t columns = static_cast<std::int64_t>(r.metric_names.size());
  PS_RETURN_IF_ERROR(
      hdf5::Write<double>(file, cxi::kMetrics, {Size(r.metrics) / columns, columns}, r.metrics));
  return hdf5::WriteStringsAttribute(file, cxi::kMetrics, cxi::kMetricColumns, r.metric_names);
}

absl::Status WriteQuality(hid_t file, const CxiResult& r)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(hdf5::library_mutex) {
  const std::int64_t rings = Size(r.ring_correlation);
  const RingThresholds thresholds = ThresholdsOf(static_cast<int>(2 * rings));
  std::vector<double> rows;
  for (std::size_t k = 0; k < r.ring_correlation.size(); ++k) {
    rows.insert(rows.end(), {static_cast<double>(k) / static_cast<double>(rings),
                             r.ring_correlation[k], thresholds.half_bit[k], thresholds.one_bit[k]});
  }
  PS_RETURN_IF_ERROR(hdf5::Write<double>(file, cxi::kRingCorrelation, {rings, 4}, rows));
  PS_RETURN_IF_ERROR(hdf5::WriteStringsAttribute(
      file, cxi::kRingCorrelation, cxi::kMetricColumns,
      {"frequency_of_nyquist", "correlation", "half_bit_threshold", "one_bit_threshold"}));
  return hdf5::WriteScalar(file, cxi::kHalfBitResolution, r.half_bit_resolution_m, "m");
}

absl::Status WriteAll(hid_t file, const CxiResult& r)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(hdf5::library_mutex) {
  PS_RETURN_IF_ERROR(hdf5::Write<std::int32_t>(file, cxi::kVersion, {}, {cxi::kFormatVersion}));
  PS_RETURN_IF_ERROR(WriteImages(file, r));
  PS_RETURN_IF_ERROR(
      hdf5::WriteComplex(file, cxi::kIllumination, r.probe, /*keep_modes=*/true, "sqrt(photons)"));
  if (!r.mode_powers.empty()) {
    PS_RETURN_IF_ERROR(
        hdf5::Write<double>(file, cxi::kModePowers, {Size(r.mode_powers)}, r.mode_powers));
  }
  PS_RETURN_IF_ERROR(hdf5::WriteScalar(file, cxi::kWavelength, r.wavelength_m, "m"));
  if (r.wavelength_m > 0) {
    PS_RETURN_IF_ERROR(
        hdf5::WriteScalar(file, cxi::kEnergy, cxi::kPlanckTimesLightSpeed / r.wavelength_m, "J"));
  }
  PS_RETURN_IF_ERROR(WritePositions(file, r));
  if (!r.shift_row.empty()) PS_RETURN_IF_ERROR(WriteRefined(file, r));
  if (!r.ring_correlation.empty()) PS_RETURN_IF_ERROR(WriteQuality(file, r));
  return WriteProcess(file, r);
}

// A dataset of numbers of a given shape; -1 stands for any length.
template <typename T>
absl::StatusOr<std::vector<T>> ReadShaped(hid_t file, const char* name,
                                          const std::vector<std::int64_t>& shape)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(hdf5::library_mutex) {
  PS_ASSIGN_OR_RETURN(const hdf5::Dataset dataset, hdf5::OpenDataset(file, name));
  bool same = dataset.dims.size() == shape.size();
  for (std::size_t i = 0; same && i < shape.size(); ++i) {
    same = shape[i] < 0 || shape[i] == dataset.dims[i];
  }
  if (!same) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": shape ", hdf5::DimsText(dataset.dims),
                                                   "; must be ", hdf5::DimsText(shape)));
  }
  return hdf5::Read<T>(dataset);
}

absl::StatusOr<CxiResult> ReadAll(hid_t file) ABSL_EXCLUSIVE_LOCKS_REQUIRED(hdf5::library_mutex) {
  CxiResult r;
  PS_ASSIGN_OR_RETURN(r.object, hdf5::ReadComplex(file, cxi::kImage));
  if (r.object.modes != 1) {
    return absl::InvalidArgumentError(absl::StrCat(cxi::kImage, ": has three dimensions"));
  }
  for (std::string next = InImage(2, cxi::kImage); hdf5::Exists(file, next);
       next = InImage(r.object.modes + 1, cxi::kImage)) {
    PS_ASSIGN_OR_RETURN(const ComplexStack mode, hdf5::ReadComplex(file, next));
    if (mode.modes != 1 || mode.shape != r.object.shape) {
      return absl::InvalidArgumentError(
          absl::StrCat(next, ": is not of the same shape as ", cxi::kImage));
    }
    r.object.data.insert(r.object.data.end(), mode.data.begin(), mode.data.end());
    ++r.object.modes;
  }
  if (hdf5::Exists(file, cxi::kObjectModePowers)) {
    PS_ASSIGN_OR_RETURN(r.object_mode_powers,
                        ReadShaped<double>(file, cxi::kObjectModePowers, {r.object.modes}));
  }
  PS_ASSIGN_OR_RETURN(r.probe, hdf5::ReadComplex(file, cxi::kIllumination));
  if (hdf5::Exists(file, cxi::kModePowers)) {
    PS_ASSIGN_OR_RETURN(r.mode_powers, ReadShaped<double>(file, cxi::kModePowers, {r.probe.modes}));
  }
  if (hdf5::Exists(file, cxi::kCoverage)) {
    r.coverage.shape = r.object.shape;
    PS_ASSIGN_OR_RETURN(
        r.coverage.data,
        ReadShaped<float>(file, cxi::kCoverage, {r.object.shape.rows, r.object.shape.cols}));
  }
  PS_ASSIGN_OR_RETURN(r.pixel_size_x_m, hdf5::ReadScalar(file, cxi::kImagePixelSizeX));
  PS_ASSIGN_OR_RETURN(r.pixel_size_y_m, hdf5::ReadScalar(file, cxi::kImagePixelSizeY));
  PS_ASSIGN_OR_RETURN(const std::vector<double> origin,
                      ReadShaped<double>(file, cxi::kImageOrigin, {2}));
  r.origin_x_m = origin[0];
  r.origin_y_m = origin[1];
  PS_ASSIGN_OR_RETURN(r.wavelength_m, hdf5::ReadScalar(file, cxi::kWavelength));
  PS_ASSIGN_OR_RETURN(r.frame_ids, ReadShaped<std::int64_t>(file, cxi::kFrameIds, {-1}));
  PS_ASSIGN_OR_RETURN(const std::vector<double> corners,
                      ReadShaped<double>(file, cxi::kWindowCorner,
                                         {static_cast<std::int64_t>(r.frame_ids.size()), 2}));
  for (std::size_t i = 0; i < corners.size(); i += 2) {
    r.window_row.push_back(corners[i]);
    r.window_col.push_back(corners[i + 1]);
  }
  const auto frames = static_cast<std::int64_t>(r.frame_ids.size());
  if (hdf5::Exists(file, cxi::kFrameRFactor)) {
    PS_ASSIGN_OR_RETURN(r.r_factor, ReadShaped<double>(file, cxi::kFrameRFactor, {frames}));
    PS_ASSIGN_OR_RETURN(r.poisson_nll, ReadShaped<double>(file, cxi::kFramePoissonNll, {frames}));
  }
  if (hdf5::Exists(file, cxi::kShift)) {
    PS_ASSIGN_OR_RETURN(const std::vector<double> shift,
                        ReadShaped<double>(file, cxi::kShift, {frames, 2}));
    for (std::size_t i = 0; i < shift.size(); i += 2) {
      r.shift_row.push_back(shift[i]);
      r.shift_col.push_back(shift[i + 1]);
    }
    PS_ASSIGN_OR_RETURN(r.intensity, ReadShaped<double>(file, cxi::kIntensity, {frames}));
  }
  if (hdf5::Exists(file, cxi::kVariation)) {
    PS_ASSIGN_OR_RETURN(r.probe_components, hdf5::ReadComplex(file, cxi::kProbeComponents));
    PS_ASSIGN_OR_RETURN(r.variation,
                        ReadShaped<double>(file, cxi::kVariation,
                                           {frames, r.probe_components.modes / r.probe.modes}));
  }
  if (hdf5::Exists(file, cxi::kBackground)) {
    r.background.shape = r.probe.shape;
    PS_ASSIGN_OR_RETURN(
        r.background.data,
        ReadShaped<float>(file, cxi::kBackground, {r.probe.shape.rows, r.probe.shape.cols}));
  }
  if (hdf5::Exists(file, cxi::kRingCorrelation)) {
    PS_ASSIGN_OR_RETURN(const std::vector<double> rows,
                        ReadShaped<double>(file, cxi::kRingCorrelation, {-1, 4}));
    for (std::size_t i = 1; i < rows.size(); i += 4) r.ring_correlation.push_back(rows[i]);
    PS_ASSIGN_OR_RETURN(r.half_bit_resolution_m, hdf5::ReadScalar(file, cxi::kHalfBitResolution));
  }
  PS_ASSIGN_OR_RETURN(r.config_json, hdf5::ReadString(file, cxi::kConfiguration));
  PS_ASSIGN_OR_RETURN(r.session_json, hdf5::ReadString(file, cxi::kSession));
  if (!hdf5::Exists(file, cxi::kMetrics)) return r;
  PS_ASSIGN_OR_RETURN(const hdf5::Dataset metrics, hdf5::OpenDataset(file, cxi::kMetrics));
  PS_ASSIGN_OR_RETURN(r.metric_names, hdf5::ReadStringsAttribute(metrics, cxi::kMetricColumns));
  PS_ASSIGN_OR_RETURN(r.metrics,
                      ReadShaped<double>(file, cxi::kMetrics,
                                         {-1, static_cast<std::int64_t>(r.metric_names.size())}));
  return r;
}

}  // namespace

absl::Status WriteCxiResult(const std::string& path, const CxiResult& result) {
  PS_RETURN_IF_ERROR(CheckResult(result));
  hdf5::LibraryLock lock;
  ReplacedFile target(path);
  PS_ASSIGN_OR_RETURN(hdf5::Handle file, hdf5::CreateFile(target.part()));
  absl::Status status = WriteAll(file.id(), result);
  if (status.ok() && !file.CloseNow()) status = absl::InternalError(hdf5::LastError());
  if (!status.ok()) {
    return absl::Status(status.code(), absl::StrCat(path, ": ", status.message()));
  }
  return target.Commit();
}

absl::StatusOr<CxiResult> ReadCxiResult(const std::string& path) {
  hdf5::LibraryLock lock;
  PS_ASSIGN_OR_RETURN(const hdf5::Handle file, hdf5::OpenFile(path));
  absl::StatusOr<CxiResult> result = ReadAll(file.id());
  if (!result.ok()) {
    return absl::Status(result.status().code(),
                        absl::StrCat(path, ": ", result.status().message()));
  }
  return result;
}

}  // namespace ptychoserve
