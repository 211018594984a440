#ifndef PTYCHOSERVE_TESTS_BENCH_BENCH_SESSION_H_
#define PTYCHOSERVE_TESTS_BENCH_BENCH_SESSION_H_

#include <utility>

#include "engine/simulation/simulation.h"
#include "ptychoserve/v1/config.pb.h"

namespace ptychoserve {

// A session for all points of `simulation` that iterates until it is deleted, with `stage` alone.
inline v1::SessionConfig EndlessSession(const Simulation& simulation, v1::Stage stage) {
  const SimulationConfig& s = simulation.config();
  v1::SessionConfig config;
  config.mutable_optics()->set_wavelength_m(s.wavelength_m);
  config.mutable_optics()->set_distance_m(s.distance_m);
  config.mutable_optics()->set_detector_pixel_size_y_m(s.detector_pixel_size_m);
  config.mutable_detector()->mutable_frame_shape()->set_rows(s.frame_side);
  config.mutable_detector()->mutable_frame_shape()->set_cols(s.frame_side);
  config.mutable_detector()->set_dtype(v1::DATA_TYPE_U16);
  config.mutable_scan()->set_expected_points(simulation.points());
  *config.add_schedule() = std::move(stage);
  config.mutable_run()->set_it_ends_after(100'000'000);
  return config;
}

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_TESTS_BENCH_BENCH_SESSION_H_
