#include "tests/integration/test_scan.h"

namespace ptychoserve::integration {
namespace {

constexpr int kSmallPoints = 49;
constexpr int kSmallSide = 32;

SimulationConfig Simulated(int points, int frame_side, std::uint64_t seed) {
  SimulationConfig config;
  config.points = points;
  config.frame_side = frame_side;
  config.photons = 1e6;
  config.seed = seed;
  return config;
}

}  // namespace

TestScan::TestScan(int points, int frame_side, std::uint64_t seed)
    : simulation_(Simulated(points, frame_side, seed)) {
  for (int j = 0; j < simulation_.points(); ++j) frames_.push_back(simulation_.Frame(j));
}

std::size_t TestScan::frame_bytes() const {
  return frames_.front().size() * sizeof(frames_.front()[0]);
}

v1::SessionConfig TestScan::Config(int iterations) const {
  v1::SessionConfig config;
  v1::Optics& optics = *config.mutable_optics();
  optics.set_wavelength_m(simulation_.config().wavelength_m);
  optics.set_distance_m(simulation_.config().distance_m);
  optics.set_detector_pixel_size_y_m(simulation_.config().detector_pixel_size_m);
  v1::Detector& detector = *config.mutable_detector();
  detector.mutable_frame_shape()->set_rows(static_cast<std::uint32_t>(side()));
  detector.mutable_frame_shape()->set_cols(static_cast<std::uint32_t>(side()));
  detector.set_dtype(v1::DATA_TYPE_U16);
  config.mutable_scan()->set_expected_points(static_cast<std::uint32_t>(points()));
  config.mutable_object()->set_max_pixels(std::uint64_t{1} << 18);
  v1::ComplexArray& probe = *config.mutable_probe()->mutable_initial();
  probe.set_modes(1);
  *probe.mutable_shape() = detector.frame_shape();
  probe.set_data(Bytes(simulation_.initial_probe().data));
  config.add_schedule()->mutable_difference_map();
  v1::RunRules& run = *config.mutable_run();
  run.set_min_points_to_start(static_cast<std::uint32_t>(points()) + 1);
  run.set_it_ends_after(static_cast<std::uint32_t>(iterations));
  config.mutable_snapshots()->set_every_iterations(1);
  config.mutable_snapshots()->set_min_interval_ms(0);
  return config;
}

v1::SessionConfig TestScan::StreamingConfig(int iterations) const {
  v1::SessionConfig config = Config(iterations);
  config.mutable_scan()->set_expected_points(0);
  config.mutable_scan()->set_capacity(static_cast<std::uint32_t>(points()));
  constexpr std::uint32_t kFewPoints = 8;
  config.mutable_run()->set_min_points_to_start(kFewPoints);
  return config;
}

v1::StreamFramesRequest TestScan::Frames(int first, int count) const {
  v1::StreamFramesRequest request;
  v1::FrameBatch& batch = *request.mutable_batch();
  batch.set_first_frame_id(first);
  batch.set_count(static_cast<std::uint32_t>(count));
  batch.set_dtype(v1::DATA_TYPE_U16);
  batch.set_rows(static_cast<std::uint32_t>(side()));
  batch.set_cols(static_cast<std::uint32_t>(side()));
  batch.set_encoding(v1::ENCODING_RAW);
  for (int j = first; j < first + count; ++j) batch.mutable_data()->append(Bytes(frame(j)));
  return request;
}

v1::StreamPositionsRequest TestScan::Positions(int first, int count) const {
  v1::StreamPositionsRequest request;
  v1::PositionBatch& batch = *request.mutable_batch();
  batch.set_first_frame_id(first);
  for (int j = first; j < first + count; ++j) {
    batch.add_x_m(x_m(j));
    batch.add_y_m(y_m(j));
  }
  return request;
}

const TestScan& SmallScan() {
  static const TestScan scan(kSmallPoints, kSmallSide, 1);
  return scan;
}

const TestScan& OtherScan() {
  static const TestScan scan(kSmallPoints, kSmallSide, 2);
  return scan;
}

const TestScan& WideScan() {
  static const TestScan scan(100, 64, 3);
  return scan;
}

}  // namespace ptychoserve::integration
