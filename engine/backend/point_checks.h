#ifndef PTYCHOSERVE_ENGINE_BACKEND_POINT_CHECKS_H_
#define PTYCHOSERVE_ENGINE_BACKEND_POINT_CHECKS_H_

#include <span>

#include "absl/status/status.h"
#include "engine/backend/backend.h"
#include "engine/base/array.h"

// What every backend asks of the points it is given; kInvalidArgument otherwise.
namespace ptychoserve {

// The windows, one object pixel beyond their far edges included, lie inside `canvas`.
absl::Status CheckInside(std::span<const PointWindow> points, const Shape& frame_shape,
                         const Region& canvas);

// No slot, all of which are >= 0, is given twice.
absl::Status CheckSlotsDiffer(std::span<const PointWindow> points);

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_BACKEND_POINT_CHECKS_H_
