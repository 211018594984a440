#ifndef PTYCHOSERVE_TESTS_BENCH_BENCH_SESSION_H_
#define PTYCHOSERVE_TESTS_BENCH_BENCH_SESSION_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "client/cpp/client.h"
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

// Sends all of `simulation` to `session` and waits until it is accepted. Ends the process when the
// server takes no input.
inline void SendScan(client::Client& client, const std::string& session,
                     const Simulation& simulation) {
  constexpr std::chrono::seconds kPatience{60};
  const auto side = static_cast<std::uint32_t>(simulation.config().frame_side);
  auto positions = client.OpenPositionWriter(session);
  auto frames =
      client.OpenFrameWriter(session, {.dtype = v1::DATA_TYPE_U16, .rows = side, .cols = side});
  bool ok = true;
  for (int j = 0; j < simulation.points() && ok; ++j) {
    const auto k = static_cast<std::size_t>(j);
    const std::vector<std::uint16_t> frame = simulation.Frame(j);
    ok = positions->Push(j, simulation.x_m()[k], simulation.y_m()[k]).ok() &&
         frames->Push(j, std::as_bytes(std::span(frame)), kPatience).ok();
  }
  if (!ok || !positions->Close(kPatience).ok() || !frames->Close(kPatience).ok()) {
    std::fprintf(stderr, "the server takes no input\n");
    std::exit(1);
  }
}

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_TESTS_BENCH_BENCH_SESSION_H_
