// A cold start finds out how far the beam is out of focus.
#include "engine/solver/defocus.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <optional>
#include <utility>
#include <vector>

#include "engine/fft/fft.h"
#include "engine/simulation/sample.h"
#include "tests/unit/engine/solver/fake_device.h"
#include "tests/unit/engine/solver/phantom.h"

namespace ptychoserve {
namespace {

using ::testing::IsEmpty;

constexpr double kPi = std::numbers::pi;

Phantom MakePhantom() {
  return Phantom({.points = 64, .frame_side = 64, .overlap = 0.75, .photons = 1e6, .seed = 3});
}

// The conjugates of object and probe make these frames, turned by 180 degrees around zero
// frequency: the beam is as far out of focus, on the other side.
void TurnFrames(Phantom& phantom) {
  for (std::vector<std::uint16_t>& frame : phantom.frames) {
    const std::vector<std::uint16_t> old = frame;
    for (std::size_t y = 0; y < 64; ++y) {
      for (std::size_t x = 0; x < 64; ++x) {
        frame[y * 64 + x] = old[(64 - y) % 64 * 64 + (64 - x) % 64];
      }
    }
  }
}

// Distance at which free space has the phase of the simulated zone plate, exp(i c ρ²) with ρ in
// pixels of the detector and c = π / (6 R) at its radius R.
double TrueDefocus_m(const Phantom& phantom, double radius_px) {
  const double window_m = 64 * phantom.simulation.pixel_size().x_m;
  return -window_m * window_m / (6 * radius_px * phantom.simulation.config().wavelength_m);
}

TEST(Defocus, AColdStartFindsItOnEitherSideOfTheFocus) {
  const double radius_px = ZonePlate{}.pupil_radius * 64;
  for (const bool turned : {false, true}) {
    Phantom phantom = MakePhantom();
    if (turned) TurnFrames(phantom);
    const auto session = phantom.Run(phantom.Config());
    const Progress progress = session->progress();
    ASSERT_EQ(progress.state, SessionState::kCompleted) << progress.failure;
    EXPECT_THAT(progress.warnings, IsEmpty());
    const double truth_m = (turned ? -1 : 1) * TrueDefocus_m(phantom, radius_px);
    // As a phase at the edge of the pupil, rad.
    const double rim = radius_px / (64 * phantom.simulation.pixel_size().x_m);
    EXPECT_NEAR((progress.probe_defocus_m.value() - truth_m) * kPi *
                    phantom.simulation.config().wavelength_m * rim * rim,
                0, 1)
        << *progress.probe_defocus_m << " m, in truth " << truth_m;
    EXPECT_LT(progress.final_fit->r_factor, 0.1);
  }
}

// Steps of 4 rad of phase at the radius that holds 90 % of the light, halved twice.
TEST(Defocus, ItIsFoundInQuartersOfAStep) {
  const Phantom phantom = MakePhantom();
  std::vector<std::pair<double, double>> light;  // By radius, pixels.
  for (int y = 0; y < 64; ++y) {
    for (int x = 0; x < 64; ++x) {
      double amplitude = 0;
      for (const auto& frame : phantom.frames) amplitude += std::sqrt(frame[y * 64 + x]);
      light.emplace_back(std::hypot(y - 32, x - 32), amplitude * amplitude);
    }
  }
  std::ranges::sort(light);
  double rim_px = 0, sum = 0, all = 0;
  for (const auto& [radius_px, power] : light) all += power;
  for (const auto& [radius_px, power] : light) {
    if ((sum += power) >= 0.9 * all) {
      rim_px = radius_px;
      break;
    }
  }
  const double rim = rim_px / (64 * phantom.simulation.pixel_size().x_m);
  const double quarter_m = 1 / (kPi * phantom.simulation.config().wavelength_m * rim * rim);
  ReconstructionConfig config = phantom.Config();
  config.run.it_ends_after = 0;
  const double quarters = phantom.Run(config)->progress().probe_defocus_m.value() / quarter_m;
  EXPECT_GT(std::abs(quarters), 3);
  EXPECT_NEAR(quarters, std::round(quarters), 1e-3);
}

TEST(Defocus, ADistanceThatIsGivenIsTaken) {
  const Phantom phantom = MakePhantom();
  ReconstructionConfig config = phantom.Config();
  config.probe.propagation_distance_m = 0;
  config.run.it_ends_after = 0;
  EXPECT_EQ(phantom.Run(config)->progress().probe_defocus_m, std::nullopt);
  config.probe.propagation_distance_m = std::nullopt;
  config.probe.initial = phantom.simulation.initial_probe();
  EXPECT_EQ(phantom.Run(config)->progress().probe_defocus_m, std::nullopt);
}

TEST(Defocus, FewPointsAreNotAsked) {
  const Phantom phantom = MakePhantom();
  ReconstructionConfig config = phantom.Config();
  config.run.it_ends_after = 0;
  for (const int points : {7, 8}) {
    config.scan.expected_points = points;
    const auto session = phantom.Open(config);
    phantom.Send(*session, 0, points);
    while (session->RunTurn()) {
    }
    EXPECT_EQ(session->progress().probe_defocus_m.has_value(), points == 8);
  }
}

TEST(Defocus, AStopEndsTheSearch) {
  const Phantom phantom = MakePhantom();
  const auto session = phantom.Open(phantom.Config());
  phantom.Send(*session, 0, phantom.simulation.points());
  // The first turns load, the next ones try.
  for (int turn = 0; turn < 4; ++turn) ASSERT_TRUE(session->RunTurn());
  EXPECT_EQ(session->progress().iteration, 0);
  ASSERT_TRUE(session->Stop(/*abort=*/false).ok());
  while (session->RunTurn()) {
  }
  EXPECT_EQ(session->progress().state, SessionState::kStopped);
  EXPECT_EQ(session->progress().iteration, 0);
}

// What it tries, with all light of the mean frame in one ring of `radius_px`; 40 points.
class ScriptedSearch {
 public:
  explicit ScriptedSearch(int radius_px) {
    FloatImage mean{kFrame, std::vector<float>(static_cast<std::size_t>(kFrame.pixels()))};
    mean.data[static_cast<std::size_t>(radius_px)] = 1;
    std::vector<PointWindow> points;
    for (int i = 0; i < 40; ++i) points.push_back({.slot = i, .row = i, .col = 3 * i});
    search.emplace(mean, 1, points, kWavelength_m, PixelSize{1.0 / 64, 1.0 / 64});
  }
  void Run() {
    while (!search->done()) ASSERT_TRUE(search->Try(backend).ok());
  }

  static constexpr Shape kFrame{64, 64};
  static constexpr double kWavelength_m = 1e-3;
  FakeRecord record;
  FakeBackend backend{{.frame_shape = kFrame, .capacity = 40}, record};
  std::optional<DefocusSearch> search;
};

// 0.8 of the window is 0.314 steps for each pixel of the radius: 5.03 and 5.97 here.
TEST(DefocusSearch, GoesAsFarAsTheBlurFillsTheWindowAndHalvesItsStepTwice) {
  for (const int radius_px : {16, 19}) {
    ScriptedSearch scripted(radius_px);
    const int iterations = scripted.search->iterations();
    scripted.Run();
    EXPECT_EQ(scripted.record.evaluations, 1 + 2 * 5 + 2 * 2) << radius_px;
    EXPECT_EQ(std::ssize(scripted.record.algorithms), iterations) << radius_px;
  }
}

TEST(DefocusSearch, ATrialIsFiveIterationsOnTheThirtyTwoPointsInTheMiddle) {
  ScriptedSearch scripted(16);
  ASSERT_TRUE(scripted.search->Try(scripted.backend).ok());
  ASSERT_EQ(scripted.record.options.size(), 5U);
  for (std::size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(scripted.record.options[i].update_probe, i >= 2);
    EXPECT_EQ(scripted.record.algorithms[i], AlgorithmConfig(LsqMlConfig{}));
  }
  EXPECT_EQ(scripted.record.active.size(), 32U);
  for (const PointWindow& point : scripted.record.active) {
    EXPECT_GE(point.slot, 4);
    EXPECT_LT(point.slot, 36);
  }
  EXPECT_EQ(scripted.record.canvas, (Region{4, 12, {32 + 64, 31 * 3 + 1 + 64}}));
}

TEST(DefocusSearch, LeavesTheFocusOnlyForSomethingClearlyBetter) {
  for (const double better : {0.0199, 0.0201}) {
    ScriptedSearch scripted(16);
    scripted.record.evaluated_r = [better](int trial) {
      return trial == 2 ? 0.5 * (1 - better) : 0.5;
    };
    scripted.Run();
    const double step_m = 4 / (kPi * ScriptedSearch::kWavelength_m * 16 * 16);
    EXPECT_NEAR(scripted.search->distance_m(), better < 0.02 ? 0 : -step_m, 1e-9) << better;
  }
}

// Frames of a spot, which is its own focus.
TEST(Defocus, ABeamInFocusStaysThere) {
  constexpr int kSide = 32;
  constexpr Shape kFrame{kSide, kSide};
  const ComplexStack probe = MakeProbe(kSide, 1e6, {.pupil_radius = 0.3, .defocus = 0});
  const ComplexStack object = MakeObject({64, 64}, 5);
  std::vector<PointWindow> points;
  std::vector<std::vector<float>> frames;
  FloatImage mean{kFrame, std::vector<float>(kFrame.pixels())};
  const Fft2D<double> fft(kFrame);
  for (int i = 0; i < 64; ++i) {
    const int row = 2 * (i / 8), col = 2 * (i % 8);
    std::vector<std::complex<double>> wave(kFrame.pixels());
    for (int y = 0; y < kSide; ++y) {
      for (int x = 0; x < kSide; ++x) {
        wave[y * kSide + x] = std::complex<double>(probe.data[y * kSide + x]) *
                              std::complex<double>(object.data[(row + y) * 64 + col + x]);
      }
    }
    fft.Forward(wave.data());
    std::vector<float>& frame = frames.emplace_back();
    for (std::size_t q = 0; q < wave.size(); ++q) {
      frame.push_back(static_cast<float>(std::norm(wave[q])));
      mean.data[q] += static_cast<float>(std::abs(wave[q]) / 64);
    }
    points.push_back({.slot = i, .row = row, .col = col});
  }
  const auto device = CreateCpuDevice();
  const auto backend = device
                           ->CreateBackend({.frame_shape = kFrame,
                                            .storage = FrameStorage::kF32,
                                            .capacity = 64,
                                            .probe_modes = 2,
                                            .max_object_pixels = 64 * 64})
                           .value();
  for (int i = 0; i < 64; ++i) {
    const FrameToLoad load{i, reinterpret_cast<const std::byte*>(frames[i].data())};
    ASSERT_TRUE(backend->LoadFrames({&load, 1}).ok());
  }
  ASSERT_EQ(backend->FramesBeingCopied(0).value(), 0);
  DefocusSearch search(mean, 2, points, 1e-10, {1e-8, 1e-8});
  int trials = 0;
  for (; !search.done(); ++trials) ASSERT_TRUE(search.Try(*backend).ok());
  EXPECT_EQ(search.distance_m(), 0);
  EXPECT_GT(trials, 4);
}

}  // namespace
}  // namespace ptychoserve
