#include "engine/simulation/simulation.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <limits>
#include <numeric>
#include <thread>
#include <utility>

#include "engine/probe/modes.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ptychoserve {
namespace {

using ::testing::HasSubstr;

SimulationConfig Small() {
  SimulationConfig config;
  config.points = 12;
  config.frame_side = 64;
  config.photons = 1e5;
  return config;
}

TEST(Simulation, SameSeedSameFramesInAnyOrderOnAnyThread) {
  const Simulation a(Small()), b(Small());
  ASSERT_EQ(a.points(), 12);
  std::vector<std::vector<std::uint16_t>> backwards(12);
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      for (int j = 11 - t; j >= 0; j -= 3) backwards[static_cast<std::size_t>(j)] = b.Frame(j);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int j = 0; j < 12; ++j) EXPECT_EQ(a.Frame(j), backwards[static_cast<std::size_t>(j)]) << j;

  SimulationConfig other = Small();
  other.seed = 2;
  EXPECT_NE(Simulation(other).Frame(0), a.Frame(0));
}

// Of every frame: the sample moves, the beam does not.
TEST(Simulation, TheNearFieldShowsTheBeamWhereItStands) {
  SimulationConfig config = Small();
  config.near_field.emplace();
  config.distance_m = 0.01;
  config.detector_pixel_size_m = 0.6e-6;
  config.photons = 1e7;
  ASSERT_TRUE(ValidateSimulation(config).ok());
  const Simulation simulation(config);
  EXPECT_DOUBLE_EQ(simulation.pixel_size().x_m, 0.6e-6);
  double power = 0;
  for (const Complex64 p : simulation.probe().data) power += std::norm(std::complex<double>(p));
  EXPECT_NEAR(power, config.photons, 1e-4 * config.photons);
  for (int j = 0; j < simulation.points(); ++j) {
    const std::vector<std::uint16_t> frame = simulation.Frame(j);
    double sum = 0, y = 0, x = 0;
    for (int i = 0; i < 64 * 64; ++i) {
      const double counts = frame[static_cast<std::size_t>(i)];
      sum += counts;
      y += counts * (i / 64 - 32);
      x += counts * (i % 64 - 32);
    }
    // The object lets 0.36 to 1 of the light through.
    EXPECT_GT(sum, 0.36 * config.photons);
    EXPECT_LT(sum, config.photons);
    EXPECT_LT(std::hypot(y, x) / sum, 4) << j;
  }
}

TEST(Simulation, ModesAreOrthogonalShareTheLightAndBlurTheFrames) {
  const Simulation coherent(Small());
  for (const auto& [modes, coherence] : {std::pair(2, 0.7), {3, 0.5}, {6, 0.9}, {16, 0.2}}) {
    SimulationConfig config = Small();
    config.modes = modes;
    config.coherence = coherence;
    ASSERT_TRUE(ValidateSimulation(config).ok());
    const Simulation simulation(config);
    ComplexStack probe = simulation.probe();
    ASSERT_EQ(probe.modes, modes);
    double power = 0;
    for (const Complex64 p : probe.data) power += std::norm(std::complex<double>(p));
    EXPECT_NEAR(power, config.photons, 1e-4 * config.photons);
    const std::vector<double> powers = OrthogonaliseModes(probe);
    EXPECT_NEAR(powers[0], coherence, 1e-4);
    double difference = 0, norm = 0;  // They were orthogonal.
    for (std::size_t i = 0; i < probe.data.size(); ++i) {
      difference += std::norm(probe.data[i] - simulation.probe().data[i]);
      norm += std::norm(probe.data[i]);
    }
    EXPECT_LT(difference, 1e-8 * norm);
    EXPECT_NE(simulation.Frame(3), coherent.Frame(3));
    EXPECT_EQ(simulation.initial_probe().modes, 1);
  }
}

// A frame is the mean of what each state alone would give.
TEST(Simulation, StatesOfTheSampleShareTheTime) {
  SimulationConfig config = Small();
  config.photons = std::numeric_limits<double>::infinity();
  const Simulation one(config);
  config.object_modes = 2;
  ASSERT_TRUE(ValidateSimulation(config).ok());
  const Simulation two(config);
  ASSERT_EQ(two.object().modes, 2);
  const auto pixels = static_cast<std::size_t>(two.object().shape.pixels());
  double overlap = 0;
  for (std::size_t i = 0; i < pixels; ++i) {
    EXPECT_NEAR(std::abs(two.object().data[i] * std::sqrt(2.0f) - one.object().data[i]), 0, 1e-6);
    overlap += std::abs(two.object().data[i] - two.object().data[pixels + i]);
  }
  EXPECT_GT(overlap / static_cast<double>(pixels), 0.1);
  // Half of the first state's counts and half of the other's.
  const std::vector<std::uint16_t> alone = one.Frame(3), both = two.Frame(3);
  int brighter = 0;
  for (std::size_t i = 0; i < alone.size(); ++i) {
    EXPECT_GE(both[i] + 1, alone[i] / 2);
    brighter += both[i] > alone[i] / 2 + 1 ? 1 : 0;
  }
  EXPECT_GT(brighter, 100);
}

TEST(Simulation, RasterHasFullLinesTheStepOfItsOverlapAndBoundedJitter) {
  SimulationConfig config = Small();
  config.points = 23;  // 5 a line, 4 full lines.
  const Simulation simulation(config);
  EXPECT_EQ(simulation.points(), 20);
  EXPECT_EQ(simulation.fast_axis_points(), 5);
  const double step = 0.3 * config.frame_side / 3.0;
  double largest = 0;
  for (int j = 0; j < 20; ++j) {
    const double y = simulation.y_m()[static_cast<std::size_t>(j)] / simulation.pixel_size().y_m;
    const double x = simulation.x_m()[static_cast<std::size_t>(j)] / simulation.pixel_size().x_m;
    largest =
        std::max({largest, std::abs(y / step - (j / 5 - 1.5)), std::abs(x / step - (j % 5 - 2))});
  }
  EXPECT_LE(largest, 0.1 + 1e-9);
  EXPECT_GE(largest, 0.05);
}

TEST(Simulation, SpiralHasTheDensityOfTheRaster) {
  SimulationConfig config = Small();
  config.points = 200;
  config.pattern = ScanPattern::kFermatSpiral;
  const Simulation simulation(config);
  EXPECT_EQ(simulation.points(), 200);
  EXPECT_EQ(simulation.fast_axis_points(), 0);
  const double step = 0.3 * config.frame_side / 3.0 * simulation.pixel_size().y_m;
  double radius2 = 0, nearest = std::numeric_limits<double>::max();
  for (std::size_t j = 0; j < 200; ++j) {
    const double y = simulation.y_m()[j], x = simulation.x_m()[j];
    radius2 = std::max(radius2, y * y + x * x);
    for (std::size_t k = 0; k < j; ++k) {
      nearest = std::min(nearest, std::hypot(y - simulation.y_m()[k], x - simulation.x_m()[k]));
    }
  }
  EXPECT_NEAR(3.14159265 * radius2 / (200 * step * step), 1, 0.01);
  EXPECT_GT(nearest, 0.6 * step);
}

TEST(Simulation, PixelSizeFollowsFromTheGeometry) {
  const SimulationConfig config = Small();
  const Simulation simulation(config);
  EXPECT_DOUBLE_EQ(simulation.pixel_size().y_m, 0.137146e-9 * 2.05 / (64 * 75e-6));
  EXPECT_EQ(simulation.pixel_size().x_m, simulation.pixel_size().y_m);
}

TEST(Simulation, ObjectHoldsEveryWindowAndStaysInItsRange) {
  SimulationConfig config = Small();
  config.pattern = ScanPattern::kFermatSpiral;
  config.points = 50;
  const Simulation simulation(config);
  const ComplexStack& object = simulation.object();
  for (std::size_t j = 0; j < 50; ++j) {
    const double row =
        simulation.y_m()[j] / simulation.pixel_size().y_m - 32 - simulation.object_row();
    const double col =
        simulation.x_m()[j] / simulation.pixel_size().x_m - 32 - simulation.object_col();
    EXPECT_GE(row, 1);
    EXPECT_GE(col, 1);
    EXPECT_LE(row + 64 + 1, object.shape.rows);
    EXPECT_LE(col + 64 + 1, object.shape.cols);
  }
  double low = 2, high = 0, phase = 0;
  for (const Complex64& value : object.data) {
    low = std::min<double>(low, std::abs(value));
    high = std::max<double>(high, std::abs(value));
    phase = std::max<double>(phase, std::abs(std::arg(value)));
  }
  EXPECT_GE(low, 0.6 - 1e-6);
  EXPECT_LE(high, 1 + 1e-6);
  EXPECT_LE(phase, 1 + 1e-6);
  EXPECT_GT(high - low, 0.3);
  EXPECT_GT(phase, 0.8);
}

TEST(Simulation, ProbeHasItsPhotonsInTheMiddleAndTheStartIsAnother) {
  const Simulation simulation(Small());
  const ComplexStack& probe = simulation.probe();
  double photons = 0, start_photons = 0, inner = 0, cy = 0, cx = 0;
  std::complex<double> overlap = 0;
  for (int y = 0; y < 64; ++y) {
    for (int x = 0; x < 64; ++x) {
      const std::size_t i = static_cast<std::size_t>(64 * y + x);
      const double p = std::norm(probe.data[i]);
      photons += p;
      start_photons += std::norm(simulation.initial_probe().data[i]);
      overlap +=
          std::complex<double>(std::conj(probe.data[i]) * simulation.initial_probe().data[i]);
      cy += p * (y - 32);
      cx += p * (x - 32);
      // Within the diameter of a third of the frame, and a little.
      if (std::hypot(y - 32, x - 32) < 64 / 6.0 + 3) inner += p;
    }
  }
  EXPECT_NEAR(photons, 1e5, 1);
  EXPECT_NEAR(start_photons, 1e5, 1);
  EXPECT_NEAR(cy / photons, 0, 1e-3);
  EXPECT_NEAR(cx / photons, 0, 1e-3);
  EXPECT_GT(inner / photons, 0.9);
  EXPECT_LT(std::abs(overlap) / photons, 0.99);
  EXPECT_GT(std::abs(overlap) / photons, 0.5);
}

TEST(Simulation, CountsScatterAboutTheIntensityAsPoissonNumbersDo) {
  SimulationConfig config = Small();
  config.photons = 1e7;
  const Simulation noisy(config);
  config.photons = std::numeric_limits<double>::infinity();  // The same scale.
  const std::vector<std::uint16_t> mean = Simulation(config).Frame(5), counts = noisy.Frame(5);
  double chi2 = 0, n = 0;
  for (std::size_t i = 0; i < mean.size(); ++i) {
    if (mean[i] < 100 || mean[i] > 60000) continue;
    chi2 += std::pow(static_cast<double>(counts[i]) - mean[i], 2) / mean[i];
    n += 1;
  }
  ASSERT_GT(n, 200);
  EXPECT_NEAR(chi2 / n, 1, 5 * std::sqrt(2 / n));
}

TEST(Simulation, DeadPixelsAreStuckAndListed) {
  SimulationConfig config = Small();
  config.dead_pixel_fraction = 0.02;
  const Simulation simulation(config);
  const std::vector<std::uint8_t>& bad = simulation.bad_pixels();
  ASSERT_EQ(bad.size(), 64u * 64u);
  const int count = std::accumulate(bad.begin(), bad.end(), 0);
  EXPECT_NEAR(count, 82, 45);  // Five standard deviations.
  const std::vector<std::uint16_t> first = simulation.Frame(0), last = simulation.Frame(11);
  const std::vector<std::uint16_t> intact = Simulation(Small()).Frame(0);
  int at_zero = 0, at_largest = 0;
  for (std::size_t i = 0; i < bad.size(); ++i) {
    if (bad[i] == 0) {
      EXPECT_EQ(first[i], intact[i]);
      continue;
    }
    EXPECT_EQ(first[i], last[i]);
    at_zero += first[i] == 0 ? 1 : 0;
    at_largest += first[i] == 65535 ? 1 : 0;
  }
  EXPECT_EQ(at_zero + at_largest, count);
  EXPECT_GT(at_zero, 0);
  EXPECT_GT(at_largest, 0);
  EXPECT_TRUE(Simulation(Small()).bad_pixels().empty());
}

TEST(Simulation, ConfigOutsideOfItsRangesIsRefusedByField) {
  EXPECT_TRUE(ValidateSimulation(Small()).ok());
  const auto refused = [](const char* field, auto change) {
    SimulationConfig config = Small();
    change(config);
    const absl::Status status = ValidateSimulation(config);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << field;
    EXPECT_THAT(std::string(status.message()), HasSubstr(field));
  };
  constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
  refused("points", [](SimulationConfig& c) { c.points = 0; });
  refused("frame_side", [](SimulationConfig& c) { c.frame_side = 65; });
  refused("overlap", [](SimulationConfig& c) { c.overlap = 1; });
  refused("overlap", [](SimulationConfig& c) { c.overlap = kNaN; });
  refused("photons", [](SimulationConfig& c) { c.photons = 0; });
  refused("dead_pixel_fraction", [](SimulationConfig& c) { c.dead_pixel_fraction = 1; });
  refused("wavelength_m", [](SimulationConfig& c) { c.wavelength_m = -1; });
  refused("distance_m", [](SimulationConfig& c) { c.distance_m = kNaN; });
  refused("near_field.source_to_sample_m",
          [](SimulationConfig& c) { c.near_field = NearFieldConfig{.source_to_sample_m = -1}; });
  refused("detector_pixel_size_m", [](SimulationConfig& c) { c.detector_pixel_size_m = 0; });
}

}  // namespace
}  // namespace ptychoserve
