#ifndef PTYCHOSERVE_ENGINE_SOLVER_FRAME_LOADER_H_
#define PTYCHOSERVE_ENGINE_SOLVER_FRAME_LOADER_H_

#include <cstdint>
#include <limits>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/base/mutex.h"
#include "engine/store/frame_store.h"

namespace ptychoserve {

// Sends staged frames on their way to the device, and gives their memory back when they are there:
// all of a session's work on the device that need not wait for the end of an iteration. Where the
// backend allows it, whoever has staged frames calls it, besides the device worker. Thread-safe.
// Errors of every method: those of Backend; the first one is returned ever after.
class FrameLoader {
 public:
  // Both outlive the loader, or its Close.
  FrameLoader(Backend& backend, FrameStore& store);

  // Whether others than the device worker may call it.
  bool runs_beside() const { return runs_beside_; }
  // Sends all that is staged; with `wait` returns when it is there. False when there was nothing
  // to do.
  absl::StatusOr<bool> Run(bool wait) ABSL_LOCKS_EXCLUDED(mu_);
  // As Run; waits for half of what is under way when there is no free staging memory. False when
  // there still is none, because nothing is under way.
  absl::StatusOr<bool> MakeSpace() ABSL_LOCKS_EXCLUDED(mu_);
  // From now on nothing is done. Waits for calls under way.
  void Close() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  static constexpr std::int64_t kAnyNumber = std::numeric_limits<std::int64_t>::max();
  // Waits until at most `most_under_way` frames are still being copied.
  absl::StatusOr<bool> RunLocked(std::int64_t most_under_way) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  Mutex mu_;
  Backend* backend_ ABSL_GUARDED_BY(mu_);  // Null after Close.
  std::int64_t under_way_ ABSL_GUARDED_BY(mu_) = 0;
  absl::Status failure_ ABSL_GUARDED_BY(mu_);
  FrameStore& store_;
  const bool runs_beside_;
};

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_SOLVER_FRAME_LOADER_H_
