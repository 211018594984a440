#ifndef PTYCHOSERVE_CLIENT_CLI_RESULT_FILES_H_
#define PTYCHOSERVE_CLIENT_CLI_RESULT_FILES_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cpp/snapshot.h"
#include "engine/io/cxi.h"
#include "engine/simulation/simulation.h"
#include "ptychoserve/v1/session.pb.h"

namespace ptychoserve::cli {

// All arrays, the whole canvas.
v1::SnapshotSelection FullSelection();

// Corner of a frame's window in pixels of the object array, how far refinement has shifted it, and
// the frame's light, of the mean's.
struct WindowCorner {
  double row = 0;
  double col = 0;
  double shift_row = 0;
  double shift_col = 0;
  double intensity = 1;
  std::vector<double> variation;  // As in client::SnapshotPoint.
};
// Corners for all frames of `scan`, in file order: those of the snapshot's points, and for frames
// that took no part, where they would have been. Without `scan`: the snapshot's points.
std::vector<WindowCorner> WindowCorners(const client::Snapshot& snapshot,
                                        const v1::Session& session, const CxiScanInfo* scan);

// What stands in the way of writing to `path`: nothing for .cxi, .h5, .npz and .png.
absl::Status CheckResultPath(const std::string& path);
// What stands in the way of writing into the directory `path` ("" is the working directory), as
// kInvalidArgument naming `option`.
absl::Status CheckDirectory(const std::string& option, const std::string& path);
// Writes a result in the format of the extension: .cxi or .h5 everything, .npz the arrays obj,
// probe, pos and coverage, .png the object. `scan` may be null.
absl::Status WriteResult(const std::string& path, const client::Snapshot& snapshot,
                         const v1::Session& session, const CxiScanInfo* scan);
// Writes STEM_object.png (amplitude and phase side by side, of the scanned area) and
// STEM_probe.png. Returns their paths.
absl::StatusOr<std::vector<std::string>> WritePictures(const std::string& stem,
                                                       const client::Snapshot& snapshot);

// Of a simulated scan: the error of the object on the scanned area. Unset when there is no truth
// or the area is too small.
std::optional<ObjectError> ErrorAgainstTruth(const client::Snapshot& snapshot,
                                             const CxiScanInfo& scan);

}  // namespace ptychoserve::cli

#endif  // PTYCHOSERVE_CLIENT_CLI_RESULT_FILES_H_
