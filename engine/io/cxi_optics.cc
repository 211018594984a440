#include "engine/io/cxi_optics.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/io/cxi_basis.h"
#include "engine/io/cxi_paths.h"
#include "engine/scan/orientation.h"

namespace ptychoserve::cxi {
namespace {

// Other wavelengths mean that the unit is not what CXI says (SI).
constexpr double kLongestWavelength = 1e-6, kShortestWavelength = 1e-13;
// Of values that ought to be the same for all frames.
constexpr double kMostSpread = 1e-3;

absl::Status Wrong(const std::string& name, const std::string& problem) {
  return absl::InvalidArgumentError(absl::StrCat(name, ": ", problem));
}

// A number, or the mean of one for each frame that are all the same but for noise.
absl::StatusOr<double> ReadCommon(hid_t file, const std::string& name)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(hdf5::library_mutex) {
  PS_ASSIGN_OR_RETURN(const hdf5::Dataset dataset, hdf5::OpenDataset(file, name));
  PS_ASSIGN_OR_RETURN(const std::vector<double> values, hdf5::Read<double>(dataset));
  if (values.empty()) return Wrong(name, "is empty; one number is needed");
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  if (*high - *low > kMostSpread * std::abs(*high)) {
    return Wrong(name, absl::StrCat("shape ", hdf5::DimsText(dataset.dims), ", with values from ",
                                    *low, " to ", *high, "; one number for all frames is needed"));
  }
  double sum = 0;
  for (double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

absl::StatusOr<double> ReadPositive(hid_t file, const std::string& name)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(hdf5::library_mutex) {
  PS_ASSIGN_OR_RETURN(const double value, ReadCommon(file, name));
  if (!std::isfinite(value) || value <= 0) {
    return Wrong(name, absl::StrCat(value, "; must be above 0"));
  }
  return value;
}

// What a number in the wrong unit may have been meant as.
std::string OtherUnit(double value, bool is_energy) {
  if (is_energy && value >= 10 && value < 1e6) {
    return absl::StrCat("; if it is in eV, give --photon-energy-ev ", value);
  }
  if (is_energy && value > 0.01 && value < 1000) {
    return absl::StrCat("; if it is in keV, give --photon-energy-ev ", value * 1000);
  }
  return "; give --wavelength-m";
}

absl::Status ReadWavelength(hid_t file, CxiScanInfo& info)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(hdf5::library_mutex) {
  std::string name = kWavelength;
  bool is_energy = false;
  if (!hdf5::Exists(file, name)) {
    is_energy = true;
    name = hdf5::Exists(file, kEnergy) ? kEnergy : kBeamEnergy;
    if (!hdf5::Exists(file, name)) {
      return Wrong(kWavelength, absl::StrCat("missing, and so are ", kEnergy, " and ", kBeamEnergy,
                                             "; give --wavelength-m or --photon-energy-ev"));
    }
  }
  PS_ASSIGN_OR_RETURN(const double value, ReadPositive(file, name));
  const double wavelength = is_energy ? kPlanckTimesLightSpeed / value : value;
  if (!(wavelength < kLongestWavelength && wavelength > kShortestWavelength)) {
    return Wrong(name,
                 absl::StrCat(value, " means a wavelength of ", wavelength, " m; must be below ",
                              kLongestWavelength, " m and above ", kShortestWavelength,
                              " m (CXI has metres and joules)", OtherUnit(value, is_energy)));
  }
  info.wavelength_m = wavelength;
  return absl::OkStatus();
}

absl::Status ReadDistance(hid_t file, CxiScanInfo& info)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(hdf5::library_mutex) {
  double distance = 0;
  const char* name = kDistance;
  if (hdf5::Exists(file, kDistance)) {
    PS_ASSIGN_OR_RETURN(distance, ReadCommon(file, kDistance));
  } else if (hdf5::Exists(file, kCorner)) {
    name = kCorner;
    PS_ASSIGN_OR_RETURN(const hdf5::Dataset corner, hdf5::OpenDataset(file, kCorner));
    PS_ASSIGN_OR_RETURN(const std::vector<double> values, hdf5::Read<double>(corner));
    if (values.size() < 3 || corner.dims.back() != 3) {
      return Wrong(kCorner, absl::StrCat("shape ", hdf5::DimsText(corner.dims),
                                         "; must be (3,): x, y, z; or give --distance-m"));
    }
    distance = values[2];
    info.notes.push_back(absl::StrCat(kDistance, " is missing; the distance is that of ", kCorner,
                                      ", ", std::abs(distance), " m"));
  } else {
    return Wrong(kDistance, "missing; give --distance-m");
  }
  if (!std::isfinite(distance) || distance == 0) {
    return Wrong(name, absl::StrCat(distance, "; must not be 0; give --distance-m"));
  }
  if (distance < 0) {
    info.notes.push_back(absl::StrCat(name, " is ", distance, " m; taken as positive"));
  }
  info.distance_m = std::abs(distance);
  return absl::OkStatus();
}

// Where one is missing, the other one stands for both.
absl::StatusOr<double> ReadPixelSize(hid_t file, const char* name, const char* other,
                                     CxiScanInfo& info)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(hdf5::library_mutex) {
  if (hdf5::Exists(file, name)) return ReadPositive(file, name);
  if (!hdf5::Exists(file, other)) {
    return Wrong(name, absl::StrCat("missing, and so is ", other, "; give --pixel-size-m"));
  }
  info.notes.push_back(absl::StrCat(name, " is missing; it is taken to be ", other));
  return ReadPositive(file, other);
}

absl::Status ReadPixelSizes(hid_t file, CxiScanInfo& info)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(hdf5::library_mutex) {
  PS_ASSIGN_OR_RETURN(info.detector_pixel_size_y_m,
                      ReadPixelSize(file, kPixelSizeY, kPixelSizeX, info));
  PS_ASSIGN_OR_RETURN(info.detector_pixel_size_x_m,
                      ReadPixelSize(file, kPixelSizeX, kPixelSizeY, info));
  return absl::OkStatus();
}

absl::Status ReadOrientation(hid_t file, CxiScanInfo& info)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(hdf5::library_mutex) {
  if (!hdf5::Exists(file, kBasisVectors)) return absl::OkStatus();
  PS_ASSIGN_OR_RETURN(const hdf5::Dataset basis, hdf5::OpenDataset(file, kBasisVectors));
  PS_ASSIGN_OR_RETURN(const std::vector<double> values, hdf5::Read<double>(basis));
  const std::size_t rank = basis.dims.size();
  const bool in_rows = rank >= 2 && basis.dims[rank - 2] == 2 && basis.dims[rank - 1] == 3;
  const bool in_columns = rank == 2 && basis.dims[0] == 3 && basis.dims[1] == 2;
  if (values.empty() || !(in_rows || in_columns)) {
    info.notes.push_back(absl::StrCat(kBasisVectors, " has the shape ", hdf5::DimsText(basis.dims),
                                      ", not (2, 3), and is not heeded; set detector.orientation"));
    return absl::OkStatus();
  }
  // Those of the first frame are those of all.
  const auto vector = [&](std::size_t k) -> CxiVector {
    if (in_rows) return {values[3 * k], values[3 * k + 1], values[3 * k + 2]};
    return {values[k], values[2 + k], values[4 + k]};
  };
  const CxiVector rows = vector(0), cols = vector(1);
  const std::optional<Orientation> orientation = OrientationOfBasis(rows, cols);
  if (!orientation.has_value()) {
    info.notes.push_back(absl::StrCat(kBasisVectors, ", rows (", rows[0], ", ", rows[1],
                                      ") and columns (", cols[0], ", ", cols[1],
                                      "), are not along x and y, and are not heeded; set "
                                      "detector.orientation"));
    return absl::OkStatus();
  }
  info.orientation = *orientation;
  if (*orientation != Orientation::kIdentity) {
    info.notes.push_back(
        absl::StrCat(kBasisVectors, " say that a step down the rows is (", rows[0], ", ", rows[1],
                     ") m and one along the columns (", cols[0], ", ", cols[1],
                     ") m in CXI's (x, y): frames are turned by detector.orientation ",
                     OrientationName(*orientation), "; another one in --config overrides it"));
  }
  return absl::OkStatus();
}

absl::Status ReadNearField(hid_t file, CxiScanInfo& info)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(hdf5::library_mutex) {
  if (!hdf5::Exists(file, kSourceToSample)) return absl::OkStatus();
  PS_ASSIGN_OR_RETURN(const double distance, hdf5::ReadScalar(file, kSourceToSample));
  if (!(distance > 0)) {
    return Wrong(kSourceToSample, absl::StrCat(distance, "; must be above 0, or infinite"));
  }
  info.near_field.emplace();
  if (std::isfinite(distance)) info.near_field->source_to_sample_m = distance;
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadOptics(hid_t file, CxiOptics need, CxiScanInfo& info) {
  const auto read = [&](auto function) ABSL_EXCLUSIVE_LOCKS_REQUIRED(hdf5::library_mutex) {
    const absl::Status status = function(file, info);
    if (status.ok() || need == CxiOptics::kNeeded) return status;
    info.notes.push_back(std::string(status.message()));
    return absl::OkStatus();
  };
  PS_RETURN_IF_ERROR(read(ReadWavelength));
  PS_RETURN_IF_ERROR(read(ReadDistance));
  PS_RETURN_IF_ERROR(read(ReadPixelSizes));
  PS_RETURN_IF_ERROR(read(ReadOrientation));
  return ReadNearField(file, info);
}

}  // namespace ptychoserve::cxi
