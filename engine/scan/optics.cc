#include "engine/scan/optics.h"

#include <cmath>
#include <utility>

#include "engine/scan/orientation.h"

namespace ptychoserve {
namespace {

// SI defining constants (exact), and the electron's rest energy (CODATA 2018).
constexpr double kPlanck = 6.62607015e-34;             // J s
constexpr double kLightSpeed = 299792458.0;            // m / s
constexpr double kElementaryCharge = 1.602176634e-19;  // C
constexpr double kElectronRestEnergyEv = 510998.95;

constexpr double kHcEvM = kPlanck * kLightSpeed / kElementaryCharge;

}  // namespace

double WavelengthFromPhotonEnergy(double energy_ev) { return kHcEvM / energy_ev; }

double WavelengthFromElectronEnergy(double kinetic_energy_ev) {
  return kHcEvM / std::sqrt(kinetic_energy_ev * (kinetic_energy_ev + 2 * kElectronRestEnergyEv));
}

double Magnification(const OpticsConfig& optics) {
  if (!optics.near_field.has_value() || !optics.near_field->source_to_sample_m) return 1;
  return 1 + optics.distance_m / *optics.near_field->source_to_sample_m;
}

PixelSize ObjectPixelSize(const OpticsConfig& optics, const DetectorConfig& detector) {
  double pitch_y = optics.detector_pixel_size_y_m;
  double pitch_x = optics.detector_pixel_size_x_m;
  if (SwapsAxes(detector.orientation)) std::swap(pitch_y, pitch_x);
  if (optics.near_field.has_value()) {
    return {pitch_y / Magnification(optics), pitch_x / Magnification(optics)};
  }
  const Shape frame = EngineFrameShape(detector);
  const double lambda_z = optics.wavelength_m * optics.distance_m;
  return {lambda_z / (frame.rows * pitch_y), lambda_z / (frame.cols * pitch_x)};
}

}  // namespace ptychoserve
