#include "engine/backend/input_checks.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/str_format.h"

namespace ptychoserve {
namespace {

std::string Describe(const Region& r) {
  return absl::StrFormat("rows %d..%d, columns %d..%d", r.row, r.row + r.shape.rows - 1, r.col,
                         r.col + r.shape.cols - 1);
}

}  // namespace

absl::Status CheckBackendConfig(const BackendConfig& config) {
  const Shape frame = config.frame_shape;
  if (frame.rows >= 1 && frame.cols >= 1 && config.capacity >= 1 && config.probe_modes >= 1 &&
      config.object_modes >= 1 && config.object_modes <= kMaxObjectModes &&
      config.probe_components >= 0 && config.probe_components <= kMaxProbeComponents) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrFormat(
      "a backend needs frames of at least 1 x 1, a capacity and probe modes of at least 1, object "
      "modes from 1 to %d, and components of the probe from 0 to %d; got %d x %d, %d, %d, %d and "
      "%d",
      kMaxObjectModes, kMaxProbeComponents, frame.rows, frame.cols, config.capacity,
      config.probe_modes, config.object_modes, config.probe_components));
}

std::optional<Accelerated> AcceleratedBy(const AlgorithmConfig& algorithm) {
  if (const auto* gradient = std::get_if<MlGradientConfig>(&algorithm)) {
    if (gradient->momentum > 0) return Accelerated::kMlGradient;
  }
  if (const auto* lsq = std::get_if<LsqMlConfig>(&algorithm)) {
    if (lsq->momentum > 0) return Accelerated::kLsqMl;
  }
  return std::nullopt;
}

absl::Status CheckProbeFits(const ComplexStack& probe, const BackendConfig& config) {
  if (probe.modes == config.probe_modes && probe.shape == config.frame_shape) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrFormat("a probe of %d x %d x %d does not fit %d modes and frames of %d x %d",
                      probe.modes, probe.shape.rows, probe.shape.cols, config.probe_modes,
                      config.frame_shape.rows, config.frame_shape.cols));
}

absl::Status CheckObjectFits(const ComplexStack& object, const BackendConfig& config,
                             const Shape& canvas) {
  if (object.modes == config.object_modes && object.shape == canvas) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrFormat(
      "an object of %d x %d x %d does not fit %d modes and a canvas of %d x %d", object.modes,
      object.shape.rows, object.shape.cols, config.object_modes, canvas.rows, canvas.cols));
}

absl::Status CheckInside(std::span<const PointWindow> points, const Shape& frame_shape,
                         const Region& canvas) {
  for (const PointWindow& p : points) {
    // One pixel beyond the far edges takes part in the interpolation.
    if (p.row >= canvas.row && p.col >= canvas.col &&
        std::int64_t{p.row} + frame_shape.rows + 1 <=
            std::int64_t{canvas.row} + canvas.shape.rows &&
        std::int64_t{p.col} + frame_shape.cols + 1 <=
            std::int64_t{canvas.col} + canvas.shape.cols) {
      continue;
    }
    return absl::InvalidArgumentError(absl::StrFormat(
        "the window of slot %d (%s) and one pixel beyond it must lie inside the canvas (%s)",
        p.slot, Describe({p.row, p.col, frame_shape}), Describe(canvas)));
  }
  return absl::OkStatus();
}

absl::Status CheckToEvaluate(std::span<const PointWindow> points, const BackendConfig& config,
                             const Region& canvas) {
  if (std::ssize(points) > config.capacity) {
    return absl::InvalidArgumentError(
        absl::StrFormat("the fit of %d frames was asked for, but there are %d slots", points.size(),
                        config.capacity));
  }
  return CheckInside(points, config.frame_shape, canvas);
}

absl::Status CheckSlotsDiffer(std::span<const PointWindow> points) {
  // Asked for all points whenever some are added, so without sorting them.
  std::vector<bool> seen;
  for (const PointWindow& point : points) {
    const auto slot = static_cast<std::size_t>(point.slot);
    if (slot >= seen.size()) seen.resize(std::max(slot + 1, 2 * seen.size()));
    if (seen[slot]) {
      return absl::InvalidArgumentError(absl::StrFormat("slot %d is given twice", point.slot));
    }
    seen[slot] = true;
  }
  return absl::OkStatus();
}

absl::Status CheckFactor(double factor) {
  if (std::isfinite(factor) && factor > 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("the probe cannot be rescaled by %g; it must be finite and above 0", factor));
}

absl::Status CheckKeepsExitWaves(const BackendConfig& config) {
  if (config.keeps_exit_waves) return absl::OkStatus();
  return absl::FailedPreconditionError("this backend keeps no exit waves");
}

absl::Status CheckExitWavesToSet(std::span<const ExitWaveToSet> waves, const BackendConfig& config,
                                 absl::FunctionRef<bool(std::int32_t)> is_active) {
  for (const ExitWaveToSet& wave : waves) {
    if (wave.slot >= 0 && wave.slot < config.capacity && is_active(wave.slot)) continue;
    return absl::InvalidArgumentError(
        absl::StrFormat("exit waves are given for slot %d, which is not active", wave.slot));
  }
  return CheckKeepsExitWaves(config);
}

absl::Status CheckVariation(std::span<const PointWindow> points, const BackendConfig& config) {
  for (const PointWindow& p : points) {
    for (std::size_t k = config.probe_components; k < p.variation.size(); ++k) {
      if (p.variation[k] == 0) continue;
      return absl::InvalidArgumentError(
          absl::StrFormat("slot %d has a coefficient of component %d of the probe, of which there "
                          "are %d",
                          p.slot, k, config.probe_components));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckComponentsFit(const ComplexStack& components, const BackendConfig& config) {
  const int images = config.probe_components * config.probe_modes;
  if (components.modes == images && components.shape == config.frame_shape) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrFormat(
      "probe components of %d x %d x %d do not fit %d of %d modes and frames of %d x %d",
      components.modes, components.shape.rows, components.shape.cols, config.probe_components,
      config.probe_modes, config.frame_shape.rows, config.frame_shape.cols));
}

absl::Status CheckBackgroundFits(const FloatImage& background, const BackendConfig& config) {
  const Shape shape = background.shape, frame = config.frame_shape;
  if (shape == frame && std::ssize(background.data) == frame.pixels()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("a background of %d x %d with %d values does not fit frames of %d x %d",
                      shape.rows, shape.cols, background.data.size(), frame.rows, frame.cols));
}

absl::Status CheckMomentumFits(const MomentumState& momentum, const BackendConfig& config,
                               const Shape& canvas) {
  const ComplexStack& object = momentum.object_velocity;
  const ComplexStack& probe = momentum.probe_velocity;
  if (object.modes == config.object_modes && object.shape == canvas &&
      probe.modes == config.probe_modes && probe.shape == config.frame_shape &&
      momentum.iterations >= 0) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrFormat(
      "velocities of %d x %d x %d and %d x %d x %d after %d iterations do not fit %d canvases of "
      "%d x %d and %d modes of %d x %d",
      object.modes, object.shape.rows, object.shape.cols, probe.modes, probe.shape.rows,
      probe.shape.cols, momentum.iterations, config.object_modes, canvas.rows, canvas.cols,
      config.probe_modes, config.frame_shape.rows, config.frame_shape.cols));
}

}  // namespace ptychoserve
