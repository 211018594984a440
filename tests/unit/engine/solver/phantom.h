#ifndef PTYCHOSERVE_TESTS_UNIT_ENGINE_SOLVER_PHANTOM_H_
#define PTYCHOSERVE_TESTS_UNIT_ENGINE_SOLVER_PHANTOM_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "engine/backend/cpu/cpu_device.h"
#include "engine/simulation/simulation.h"
#include "engine/solver/reconstruction.h"

namespace ptychoserve {

// A simulated scan with all its frames, and sessions that reconstruct it on the CPU.
class Phantom {
 public:
  explicit Phantom(const SimulationConfig& config) : simulation(config) {
    for (int j = 0; j < simulation.points(); ++j) frames.push_back(simulation.Frame(j));
  }

  ReconstructionConfig Config() const {
    const SimulationConfig& s = simulation.config();
    ReconstructionConfig config;
    config.optics = simulation.optics();
    config.detector.frame_shape = {s.frame_side, s.frame_side};
    config.scan.expected_points = simulation.points();
    config.scan.fast_axis_points = simulation.fast_axis_points();
    config.object.max_pixels = 1 << 20;
    config.snapshots.min_interval_ms = 0;
    config.quality.test_orientation = false;
    return config;
  }

  // Sends frames and positions [first, first + count) and does not run anything.
  void Send(Reconstruction& session, int first, int count) const {
    const int side = simulation.config().frame_side;
    for (int j = first; j < first + count; ++j) {
      FrameBatch batch;
      batch.first_frame_id = j;
      batch.frames = 1;
      batch.shape = {side, side};
      batch.data = std::as_bytes(std::span(frames[static_cast<std::size_t>(j)]));
      (void)session.AddFrames(batch, 0).value();
    }
    const auto n = static_cast<std::size_t>(count);
    const auto f = static_cast<std::size_t>(first);
    (void)session.AddPositions({.first_frame_id = first,
                                .x_m = std::span(simulation.x_m()).subspan(f, n),
                                .y_m = std::span(simulation.y_m()).subspan(f, n)});
  }

  std::unique_ptr<Reconstruction> Open(const ReconstructionConfig& config) const {
    return Reconstruction::Create(config, *device, {}).value();
  }

  // The whole scan at once, to its end.
  std::unique_ptr<Reconstruction> Run(const ReconstructionConfig& config) const {
    auto session = Open(config);
    Send(*session, 0, simulation.points());
    while (session->RunTurn()) {
    }
    return session;
  }

  // Error of the last snapshot against the true object over the scanned area, edges left out.
  double ObjectErrorOf(const Reconstruction& session) const {
    constexpr int kBorder = 8;
    const auto snapshot = session.latest_snapshot();
    const Region area = snapshot->scanned;
    const ComplexStack rec = Cut(snapshot->object, area);
    const ComplexStack truth =
        Cut(simulation.object(),
            {snapshot->canvas.row + area.row - simulation.object_row(),
             snapshot->canvas.col + area.col - simulation.object_col(), area.shape});
    return CompareObjects(rec, truth, kBorder).complex_error;
  }

  static ComplexStack Cut(const ComplexStack& image, const Region& area) {
    ComplexStack cut(1, area.shape);
    for (int r = 0; r < area.shape.rows; ++r) {
      const auto from = image.data.begin() +
                        static_cast<std::ptrdiff_t>(area.row + r) * image.shape.cols + area.col;
      std::copy_n(from, area.shape.cols,
                  cut.data.begin() + static_cast<std::ptrdiff_t>(r) * area.shape.cols);
    }
    return cut;
  }

  Simulation simulation;
  std::vector<std::vector<std::uint16_t>> frames;
  std::unique_ptr<Device> device = CreateCpuDevice();
};

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_TESTS_UNIT_ENGINE_SOLVER_PHANTOM_H_
