#ifndef PTYCHOSERVE_ENGINE_SOLVER_FRAME_VIEW_H_
#define PTYCHOSERVE_ENGINE_SOLVER_FRAME_VIEW_H_

#include <cstdint>
#include <functional>
#include <optional>

#include "absl/status/statusor.h"
#include "engine/base/array.h"
#include "engine/propagation/free_space.h"
#include "engine/solver/snapshot.h"

namespace ptychoserve {

// A frame as a session works with it, for people to look at: [frame_shape], zero frequency at
// [rows / 2, cols / 2] in the far field.

struct MeasuredFrame {
  std::int64_t frame_id = 0;
  FloatImage counts;  // NaN where a pixel is not to be trusted.
};
using TakeFrame = std::function<void(absl::StatusOr<MeasuredFrame>)>;

struct ExpectedFrame {
  std::int64_t version = 0;  // Of the snapshot that expects it.
  FloatImage counts;
};

// The counts that `snapshot` expects of the frame of `point`, one of its own: M of
// engine/algorithms/refinement.h. `near_field` is the session's. None when the point's window does
// not lie on the canvas, as may be in a snapshot that comes from a file.
std::optional<FloatImage> ExpectedCounts(const Snapshot& snapshot, const SnapshotPoint& point,
                                         const std::optional<FreeSpace>& near_field);

// `image`, whose zero frequency is at [0, 0], with that at [rows / 2, cols / 2].
FloatImage ZeroFrequencyCentred(const FloatImage& image);

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_SOLVER_FRAME_VIEW_H_
