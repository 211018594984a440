#ifndef PTYCHOSERVE_CLIENT_CPP_SNAPSHOT_H_
#define PTYCHOSERVE_CLIENT_CPP_SNAPSHOT_H_

#include <array>
#include <complex>
#include <cstdint>
#include <limits>
#include <vector>

#include "ptychoserve/v1/frame.pb.h"
#include "ptychoserve/v1/snapshot.pb.h"

namespace ptychoserve::client {

// An array with its shape, slowest index first. Empty when it was not asked for.
template <class T>
struct SnapshotArray {
  std::vector<std::int64_t> shape;
  std::vector<T> values;
  bool empty() const { return values.empty(); }
};

// A frame's window in the object.
struct SnapshotPoint {
  std::int64_t frame_id = 0;
  double row = 0;  // Corner of the window in pixels of the object array at full resolution.
  double col = 0;
  double shift_row = 0;  // How far refinement has moved it, of `row` and `col`.
  double shift_col = 0;
  double intensity = 1;  // The frame's light, of the mean's.
  // Of this frame, in header.metrics.evaluation; NaN if it came later, or without counts.
  double r_factor = std::numeric_limits<double>::quiet_NaN();
  double poisson_nll = std::numeric_limits<double>::quiet_NaN();
  std::int64_t arrival = 0;       // The frame's number in the order of arrival.
  std::vector<double> variation;  // Coefficients of the probe's components, if it varies.
};

// Object, probe and what belongs to them, all of one iteration.
struct Snapshot {
  v1::SnapshotHeader header;
  SnapshotArray<std::complex<float>> object;  // [rows, cols]; of several modes, the strongest.
  SnapshotArray<std::complex<float>> probe;   // [modes, rows, cols]
  SnapshotArray<float> coverage;              // [rows, cols]
  std::vector<SnapshotPoint> points;
  // One row an iteration; the columns are kHistoryColumns.
  SnapshotArray<double> history;
  // [frame rows, frame cols], counts, the far field's zero frequency at [0, 0]; empty, too, when
  // none was refined.
  SnapshotArray<float> background;
  // Of the probe's variation, [components, modes, rows, cols]; empty, too, when none was refined.
  SnapshotArray<std::complex<float>> probe_components;
  // [modes, rows, cols], the strongest first; empty, too, when there is one.
  SnapshotArray<std::complex<float>> object_modes;
};

// A frame of the detector as the session works with it, [rows, cols], zero frequency at
// [rows / 2, cols / 2] in the far field.
struct FrameView {
  v1::FrameHeader header;
  SnapshotArray<float> counts;    // Measured; NaN where a pixel is not to be trusted.
  SnapshotArray<float> expected;  // Of the snapshot header.version; empty when there is none.
};

inline constexpr std::array<const char*, 10> kHistoryColumns = {
    "iteration",    "active_points", "r_factor",  "fourier_error", "object_change",
    "probe_change", "step",          "elapsed_s", "poisson_nll",   "held_out_poisson_nll"};

}  // namespace ptychoserve::client

#endif  // PTYCHOSERVE_CLIENT_CPP_SNAPSHOT_H_
