#ifndef PTYCHOSERVE_ENGINE_SOLVER_CHECKPOINT_H_
#define PTYCHOSERVE_ENGINE_SOLVER_CHECKPOINT_H_

#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "engine/backend/backend.h"
#include "engine/base/array.h"
#include "engine/solver/snapshot.h"

namespace ptychoserve {

// With its configuration and its input, all that a run needs to go on in another process as if
// nothing had happened.
struct Checkpoint {
  std::shared_ptr<const Snapshot> snapshot;  // Never null.
  // As the iterations use it, [modes, frame_shape]: the snapshot's has its modes orthogonalised.
  ComplexStack probe;
  // Likewise, [object modes, canvas.shape]; no modes: the snapshot's is the one.
  ComplexStack object;
  // Likewise, of the probe's variation; null when none has been refined.
  std::shared_ptr<const ComplexStack> probe_components;
  // Of the snapshot's points in their order, when the run is in a difference map. None: they start
  // as P O, as they do at the beginning of such a stage.
  std::optional<ExitWaveState> exit_waves;
  // When the run is in an algorithm that has one. None: it begins anew.
  std::optional<MomentumState> momentum;
};

using TakeCheckpoint = std::function<void(std::shared_ptr<const Checkpoint>)>;

// A run can start from any snapshot; one that was in a difference map, or had a momentum, takes
// another path to its end then.
inline std::shared_ptr<const Checkpoint> CheckpointOf(std::shared_ptr<const Snapshot> snapshot) {
  auto checkpoint = std::make_shared<Checkpoint>();
  checkpoint->probe = snapshot->probe;
  checkpoint->probe_components = snapshot->probe_components;
  checkpoint->snapshot = std::move(snapshot);
  return checkpoint;
}

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_SOLVER_CHECKPOINT_H_
