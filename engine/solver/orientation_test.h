#ifndef PTYCHOSERVE_ENGINE_SOLVER_ORIENTATION_TEST_H_
#define PTYCHOSERVE_ENGINE_SOLVER_ORIENTATION_TEST_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/base/array.h"
#include "engine/config.h"
#include "engine/scan/optics.h"
#include "engine/scan/orientation_ranking.h"
#include "engine/solver/defocus.h"

namespace ptychoserve {

// Frames that a test looks at.
inline constexpr std::size_t kOrientationPoints = 32;

// Whether the best orientation is so much better than the others that it is the right one.
bool IsClear(const OrientationRanking& ranking);
// Whether the declared one is.
bool IsConfirmed(const OrientationRanking& ranking);
// In words, for one that is clear and does not confirm what is declared.
std::string OrientationWarning(const OrientationRanking& ranking);

// Takes what a test has found, or why there was none.
using TakeOrientation = std::function<void(absl::StatusOr<OrientationRanking>)>;

// Which way frames and positions belong together, told by short reconstructions of some
// neighbouring frames. Frames stay as they are, and the positions are turned instead, which is the
// same; see OrientationClass.
class OrientationTest {
 public:
  // Where the trials begin. With a beam of known shape from `probe`. For a cold start, with
  // `mean_amplitude`, each orientation looks for its own focus, since a wrong one finds a wrong
  // one.
  struct Start {
    ComplexStack probe;
    std::optional<FloatImage> mean_amplitude;
    double wavelength_m = 0;
    PixelSize pixel_size;
    // Each orientation has a trial of its own: the probe is given, or there are no twins.
    bool each = false;
    bool twins = true;  // There are some.
  };
  // `points`, at least one, as they were measured, are those of the session.
  OrientationTest(Orientation declared, std::span<const PointWindow> points, Start start);

  // The largest canvas that a trial needs, in pixels.
  std::int64_t canvas_pixels() const;
  // What is left to be done, in iterations of one frame. Before the first trial.
  std::int64_t frame_iterations() const;
  bool done() const { return next_ == candidates_.size(); }
  // One trial, or a step of one. Canvas, probe, object and active points of the backend are its own
  // afterwards. Not done. Errors: those of Backend.
  absl::Status Try(Backend& backend);
  // Done.
  OrientationRanking ranking() const;

 private:
  struct Candidate {
    OrientationTrial trial;
    std::vector<PointWindow> points;
  };

  // Of a cold start.
  DefocusSearch SearchFor(const Candidate& candidate) const;

  const Orientation declared_;
  const Start start_;
  std::vector<Candidate> candidates_;
  std::size_t next_ = 0;
  std::optional<DefocusSearch> search_;  // Of the next candidate, under way.
};

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_SOLVER_ORIENTATION_TEST_H_
