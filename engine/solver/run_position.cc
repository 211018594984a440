#include "engine/solver/run_position.h"

#include <algorithm>

namespace ptychoserve {

void EnterStage(int stage, RunPosition& position) {
  position.stage = stage;
  position.stage_iterations = 0;
  position.stage_r.clear();
  position.step_scale = 1;
}

void CountStageIteration(double r_factor, std::size_t most_r, RunPosition& position) {
  ++position.stage_iterations;
  ++position.clock_iterations;
  std::vector<double>& r = position.stage_r;
  r.push_back(r_factor);
  while (r.size() > std::max<std::size_t>(2, most_r)) {
    r[1] = std::min(r[0], r[1]);
    r.erase(r.begin());
  }
}

}  // namespace ptychoserve
