#ifndef PTYCHOSERVE_TESTS_UNIT_ENGINE_SOLVER_ORIENTATION_CONFORMANCE_H_
#define PTYCHOSERVE_TESTS_UNIT_ENGINE_SOLVER_ORIENTATION_CONFORMANCE_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "tests/unit/engine/solver/phantom.h"

namespace ptychoserve {

// A run that is asked for its orientation goes on as if nothing had been: it ends with the same
// bits, whatever its algorithm keeps between iterations. On the device of `phantom`.
inline void ExpectTestLeavesRunAsItWas(const Phantom& phantom) {
  const MlGradientConfig gaussian{.likelihood = Likelihood::kGaussian};
  const std::vector<AlgorithmConfig> algorithms = {LsqMlConfig{}, DifferenceMapConfig{}, gaussian,
                                                   EpieConfig{}};
  for (const AlgorithmConfig& algorithm : algorithms) {
    std::vector<std::shared_ptr<const Snapshot>> results;
    for (const bool tested : {false, true}) {
      ReconstructionConfig config = phantom.Config();
      config.deterministic = true;
      config.probe.initial = phantom.simulation.initial_probe();
      config.probe.modes = 2;
      config.object.modes = 2;
      StageConfig stage{.algorithm = algorithm};
      stage.refine.positions = true;
      stage.refine.variation = true;
      config.schedule = {stage};
      config.run.it_ends_after = 6;
      const auto session = phantom.Open(config);
      phantom.Send(*session, 0, phantom.simulation.points());
      std::optional<OrientationRanking> found;
      while (session->RunTurn()) {
        if (tested && session->progress().iteration == 3 && !found) {
          found.emplace();
          session->TestOrientation([&found](absl::StatusOr<OrientationRanking> ranking) {
            found = *std::move(ranking);
          });
        }
      }
      EXPECT_EQ(session->progress().state, SessionState::kCompleted) << session->progress().failure;
      if (tested) {
        ASSERT_TRUE(found.has_value());
        EXPECT_THAT(found->trials, testing::SizeIs(8));
        EXPECT_TRUE(IsConfirmed(*found));
      }
      results.push_back(session->latest_snapshot());
    }
    EXPECT_EQ(results[0]->object.data, results[1]->object.data);
    EXPECT_EQ(results[0]->probe.data, results[1]->probe.data);
    EXPECT_EQ(results[0]->probe_components->data, results[1]->probe_components->data);
    EXPECT_EQ(results[0]->metrics.metrics.r_factor, results[1]->metrics.metrics.r_factor);
  }
}

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_TESTS_UNIT_ENGINE_SOLVER_ORIENTATION_CONFORMANCE_H_
