#ifndef PTYCHOSERVE_ENGINE_SOLVER_SNAPSHOT_H_
#define PTYCHOSERVE_ENGINE_SOLVER_SNAPSHOT_H_

#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include "engine/backend/backend.h"
#include "engine/base/array.h"
#include "engine/solver/progress.h"
#include "engine/solver/refinement.h"
#include "engine/solver/run_position.h"

namespace ptychoserve {

// One active point as the snapshot's iteration used it.
struct SnapshotPoint {
  std::int64_t frame_id = 0;
  double row = 0;  // Corner of the window in pixels of the snapshot's object array,
  double col = 0;  // interpolated bilinearly between pixels.
  PointRefinement refined;
  PointFit fit;
  // The frame's number in the order of arrival, from 0: its slot. That of a frame that was refused
  // after all is used again.
  std::int32_t arrival = 0;
};

// Object, probe and coverage of one iteration. Immutable once published; shared by readers.
struct Snapshot {
  std::int64_t version = 0;    // 1, 2, ... within the session.
  std::int64_t iteration = 0;  // Iterations done.
  std::chrono::system_clock::time_point time;
  bool final = false;  // Of the finished run.
  Region canvas;       // Object array on the absolute lattice.
  Region scanned;      // Area spanned by the probe centres, relative to the object array.
  double pixel_size_y_m = 0;
  double pixel_size_x_m = 0;
  // [modes, canvas.shape], finite. Orthogonal under the light of `coverage`, by falling power.
  ComplexStack object;
  // [modes, frame_shape], finite, centred. Orthogonal, by falling power, unless the probe is
  // frozen.
  ComplexStack probe;
  // Σ |P|², photons, that the run keeps the probe at while it updates it; see
  // engine/solver/solver.h. The probe's own is within a percent of it.
  double probe_power = 0;
  FloatImage coverage;                // canvas.shape, Σ |P|², photons per pixel.
  std::vector<SnapshotPoint> points;  // In frame-id order.
  // Of the probe's variation, [components * modes, frame_shape]; the modes are mixed as those of
  // the probe are. Null when none has been refined.
  std::shared_ptr<const ComplexStack> probe_components;
  // frame_shape, zero frequency at [0, 0], counts; null when none has been refined.
  std::shared_ptr<const FloatImage> background;
  IterationRecord metrics;
  RunPosition run;  // Of the moment when the snapshot was begun.
};

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_SOLVER_SNAPSHOT_H_
