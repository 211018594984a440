#ifndef PTYCHOSERVE_TESTS_BENCH_BENCH_SCAN_H_
#define PTYCHOSERVE_TESTS_BENCH_BENCH_SCAN_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "engine/backend/backend.h"
#include "engine/base/thread_pool.h"
#include "engine/simulation/simulation.h"

namespace ptychoserve {

// 1e7 photons a frame at 256 x 256, a step of a tenth of the frame, jittered by a tenth of a step.
// The beam has `modes`.
SimulationConfig BenchSimulation(int points, int side, int modes, bool integer_positions);

// What a backend is given before its first iteration. The slot of a point is its number.
struct BenchScan {
  int side = 0;
  std::vector<PointWindow> windows;
  // Zero frequency at [0, 0]. Slot i holds frame i modulo their number.
  std::vector<std::vector<std::uint16_t>> frames;
  Region canvas;
  ComplexStack object;  // Start; no modes: the backend's initial object.
  ComplexStack probe;   // Start.
  int object_modes = 1;
  bool deterministic = false;
  bool half_waves = false;

  int points() const { return static_cast<int>(windows.size()); }
  BackendConfig ConfigFor(bool keeps_exit_waves) const;
};

// Frames of `simulation`, all of them, zero frequency at [0, 0].
std::vector<std::vector<std::uint16_t>> SimulateFrames(const Simulation& simulation,
                                                       ThreadPool& pool);

// The whole of `simulation`, to be reconstructed from a flat object and the wrong probe.
BenchScan FullScan(const Simulation& simulation, ThreadPool& pool);

// Most frames that are simulated for a case of which only the time counts.
inline constexpr int kMaxDistinctFrames = 256;

// A scan of `points` points that looks like a full one to the device, but takes little time to
// make: `few` is a simulation of at most kMaxDistinctFrames points, whose `frames` are used again
// and again and whose object covers the canvas like tiles. The canvas has at least `min_side`
// pixels a side.
BenchScan TimingScan(const Simulation& few, std::vector<std::vector<std::uint16_t>> frames,
                     int points, bool integer_positions, int min_side);

// Hands all of `scan` to `backend`, whose canvas and slots are new.
absl::Status Load(const BenchScan& scan, Backend& backend);
// Sets object, probe and exit waves back to those of the start.
absl::Status Restart(const BenchScan& scan, Backend& backend);

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_TESTS_BENCH_BENCH_SCAN_H_
