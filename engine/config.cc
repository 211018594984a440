#include "engine/config.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <limits>

#include "engine/scan/orientation.h"

namespace ptychoserve {
namespace {

constexpr int kDefaultCapacity = 8192;
constexpr int kMinPointsToStart = 16;
constexpr int kFastLinesToStart = 2;
// LSQ-ML finds the solution, the Gaussian gradient averages over all frames, and the last one or
// two iterations fit the pixels of few counts. More of these take the strong pixels away from their
// best.
constexpr double kDefaultLsqMl = 0.7;
constexpr double kDefaultGaussian = 0.9875 - kDefaultLsqMl;

// The largest value of an integer dtype; nullopt for float.
std::optional<std::uint32_t> LargestValue(DataType dtype) {
  switch (dtype) {
    case DataType::kU8:
      return std::numeric_limits<std::uint8_t>::max();
    case DataType::kU16:
      return std::numeric_limits<std::uint16_t>::max();
    case DataType::kU32:
      return std::numeric_limits<std::uint32_t>::max();
    case DataType::kF32:
      break;
  }
  return std::nullopt;
}

}  // namespace

ReconstructionConfig Resolve(ReconstructionConfig config) {
  DetectorConfig& detector = config.detector;
  if (!detector.crop.has_value() && !detector.auto_centre.has_value()) {
    detector.crop = Region{0, 0, OrientedShape(detector.frame_shape, detector.orientation)};
  }
  if (!detector.saturation_counts.has_value()) {
    if (const auto largest = LargestValue(detector.dtype)) detector.saturation_counts = *largest;
  }
  if (config.scan.capacity == 0) {
    config.scan.capacity =
        config.scan.expected_points > 0 ? config.scan.expected_points : kDefaultCapacity;
  }
  if (config.run.min_points_to_start == 0) {
    config.run.min_points_to_start =
        std::max(kFastLinesToStart * config.scan.fast_axis_points, kMinPointsToStart);
  }
  if (config.schedule.empty()) {
    const MlGradientConfig gaussian{.likelihood = Likelihood::kGaussian};
    config.schedule = {{.algorithm = LsqMlConfig{}, .fraction = kDefaultLsqMl},
                       {.algorithm = gaussian, .fraction = kDefaultGaussian},
                       {.algorithm = MlGradientConfig{}}};
  }
  for (std::size_t k = config.schedule.size() > 1 ? 1 : 0; k < config.schedule.size(); ++k) {
    config.schedule[k].refine.Add(config.refinement.later_stages);
  }
  // Half of it lies in front of the first window.
  config.object.padding_px = std::max(config.object.padding_px, 2 * ShiftMarginPx(config));
  return config;
}

int ShiftMarginPx(const ReconstructionConfig& config) {
  const bool refines = std::ranges::any_of(
      config.schedule, [](const StageConfig& stage) { return stage.refine.positions; });
  // And one for the interpolation.
  return refines ? static_cast<int>(std::ceil(config.refinement.max_shift_px)) + 1 : 0;
}

int ProbeComponents(const ReconstructionConfig& config) {
  const bool refines = std::ranges::any_of(
      config.schedule, [](const StageConfig& stage) { return stage.refine.variation; });
  return refines ? config.refinement.probe_components : 0;
}

Complex64 InitialObject(const ObjectConfig& object) {
  return std::polar(static_cast<float>(object.initial_amplitude),
                    static_cast<float>(object.initial_phase_rad));
}

int WavesPerPoint(const ReconstructionConfig& config) {
  return config.object.modes * config.probe.modes;
}

std::uint32_t LargestTrustedCount(const DetectorConfig& detector) {
  const std::uint32_t largest =
      LargestValue(detector.dtype).value_or(std::numeric_limits<std::uint32_t>::max());
  double trusted = std::ceil(detector.saturation_counts.value_or(largest)) - 1;
  if (detector.hot_pixel_counts.has_value()) {
    trusted = std::min(trusted, std::floor(*detector.hot_pixel_counts));
  }
  return static_cast<std::uint32_t>(std::clamp(trusted, 0.0, static_cast<double>(largest)));
}

FrameStorage StorageFor(const DetectorConfig& detector) {
  const bool fits =
      detector.dtype != DataType::kF32 && LargestTrustedCount(detector) < kUnmeasuredU16;
  return fits ? FrameStorage::kU16 : FrameStorage::kF32;
}

int StorageBytes(FrameStorage storage) { return storage == FrameStorage::kU16 ? 2 : 4; }

int DataTypeBytes(DataType dtype) {
  switch (dtype) {
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

Shape EngineFrameShape(const DetectorConfig& detector) {
  if (detector.crop.has_value()) return detector.crop->shape;
  if (detector.auto_centre.has_value()) return detector.auto_centre->crop_shape;
  return OrientedShape(detector.frame_shape, detector.orientation);
}

}  // namespace ptychoserve
