#ifndef PTYCHOSERVE_ENGINE_BACKEND_INPUT_CHECKS_H_
#define PTYCHOSERVE_ENGINE_BACKEND_INPUT_CHECKS_H_

#include <span>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "engine/backend/backend.h"
#include "engine/base/array.h"

// What every backend asks of what it is given; kInvalidArgument otherwise.
namespace ptychoserve {

// Frames, slots and modes: at least one of each, and no more modes of the object than there may be.
absl::Status CheckBackendConfig(const BackendConfig& config);

// The probe has the modes and the shape that `config` says.
absl::Status CheckProbeFits(const ComplexStack& probe, const BackendConfig& config);

// The windows, one object pixel beyond their far edges included, lie inside `canvas`.
absl::Status CheckInside(std::span<const PointWindow> points, const Shape& frame_shape,
                         const Region& canvas);

// There are at most as many points as slots, and their windows lie inside `canvas`.
absl::Status CheckToEvaluate(std::span<const PointWindow> points, const BackendConfig& config,
                             const Region& canvas);

// No slot, all of which are >= 0, is given twice.
absl::Status CheckSlotsDiffer(std::span<const PointWindow> points);

// The factor is finite and above 0.
absl::Status CheckFactor(double factor);

// The backend keeps exit waves; kFailedPrecondition otherwise.
absl::Status CheckKeepsExitWaves(const BackendConfig& config);

// It does, and all slots, asked about one by one if they are within the capacity, are active.
absl::Status CheckExitWavesToSet(std::span<const ExitWaveToSet> waves, const BackendConfig& config,
                                 absl::FunctionRef<bool(std::int32_t)> is_active);

// No point has a coefficient of a component that there is not.
absl::Status CheckVariation(std::span<const PointWindow> points, const BackendConfig& config);

// The object has the modes that `config` says, and fills a canvas of this shape.
absl::Status CheckObjectFits(const ComplexStack& object, const BackendConfig& config,
                             const Shape& canvas);

// There are as many components of the probe as `config` says, of its modes and shape.
absl::Status CheckComponentsFit(const ComplexStack& components, const BackendConfig& config);

// The background has the frame's shape.
absl::Status CheckBackgroundFits(const FloatImage& background, const BackendConfig& config);

// The velocities are those of a canvas of this shape and of the probe.
absl::Status CheckMomentumFits(const MomentumState& momentum, const BackendConfig& config,
                               const Shape& canvas);

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_BACKEND_INPUT_CHECKS_H_
