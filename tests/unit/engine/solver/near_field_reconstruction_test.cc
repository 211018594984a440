// A near-field scan through the engine, from nothing but its frames and positions.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/engine/solver/phantom.h"

namespace ptychoserve {
namespace {

// 100 frames of a cone beam that magnifies by 21.
SimulationConfig NearFieldScan() {
  SimulationConfig config;
  config.points = 100;
  config.frame_side = 64;
  config.overlap = 0.8;
  config.near_field = NearFieldConfig{.source_to_sample_m = 0.05};
  config.distance_m = 1;
  config.detector_pixel_size_m = 13e-6;
  return config;
}

TEST(NearFieldReconstruction, FindsTheObjectOfAHundredFrames) {
  const Phantom phantom(NearFieldScan());
  ReconstructionConfig config = phantom.Config();
  config.schedule = {
      {.algorithm = DifferenceMapConfig{}, .iterations = 100},
      {.algorithm = MlGradientConfig{.likelihood = Likelihood::kGaussian}, .iterations = 60},
      {.algorithm = MlGradientConfig{}},
  };
  config.run.it_ends_after = 200;
  const auto session = phantom.Run(config);
  EXPECT_LT(phantom.ObjectErrorOf(*session), 0.035);
}

// The same frames taken for a far field fit nothing.
TEST(NearFieldReconstruction, IsNotAFarField) {
  const Phantom phantom(NearFieldScan());
  ReconstructionConfig config = phantom.Config();
  config.optics.near_field.reset();
  // Object pixels of the same size, so that the positions mean the same.
  const double pixel_m = phantom.simulation.pixel_size().x_m;
  config.optics.distance_m =
      pixel_m * 64 * config.optics.detector_pixel_size_x_m / config.optics.wavelength_m;
  const auto session = phantom.Run(config);
  EXPECT_GT(phantom.ObjectErrorOf(*session), 0.2);
}

}  // namespace
}  // namespace ptychoserve
