#ifndef PTYCHOSERVE_TESTS_INTEGRATION_TEST_SCAN_H_
#define PTYCHOSERVE_TESTS_INTEGRATION_TEST_SCAN_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/simulation/simulation.h"
#include "ptychoserve/v1/config.pb.h"
#include "ptychoserve/v1/ingest.pb.h"

namespace ptychoserve::integration {

namespace v1 = ::ptychoserve::v1;

// A simulated scan, all of it in memory: u16 frames with the beam at the centre.
class TestScan {
 public:
  TestScan(int points, int frame_side, std::uint64_t seed);

  int points() const { return simulation_.points(); }
  int side() const { return simulation_.config().frame_side; }
  std::size_t frame_bytes() const;
  const Simulation& simulation() const { return simulation_; }
  const std::vector<std::uint16_t>& frame(int j) const {
    return frames_[static_cast<std::size_t>(j)];
  }
  double x_m(int j) const { return simulation_.x_m()[static_cast<std::size_t>(j)]; }
  double y_m(int j) const { return simulation_.y_m()[static_cast<std::size_t>(j)]; }

  // Difference map, `iterations` after the end of data, which is when all points have arrived.
  // Nothing is iterated before, so that the result does not depend on how the data arrive.
  v1::SessionConfig Config(int iterations) const;
  // As Config, but it starts with few points and ends on FinishScan only.
  v1::SessionConfig StreamingConfig(int iterations) const;

  // Frames, or positions, [first, first + count) under their own numbers as ids.
  v1::StreamFramesRequest Frames(int first, int count) const;
  v1::StreamPositionsRequest Positions(int first, int count) const;

 private:
  Simulation simulation_;
  std::vector<std::vector<std::uint16_t>> frames_;
};

// 49 points of 32 x 32.
const TestScan& SmallScan();
// Another object, the same size.
const TestScan& OtherScan();
// 100 points of 64 x 64: what they scan is wide enough to compare.
const TestScan& WideScan();

// Bytes of pixels as they travel.
template <typename Pixel>
std::string Bytes(const std::vector<Pixel>& pixels) {
  return {reinterpret_cast<const char*>(pixels.data()), pixels.size() * sizeof(Pixel)};
}

}  // namespace ptychoserve::integration

#endif  // PTYCHOSERVE_TESTS_INTEGRATION_TEST_SCAN_H_
