// Whole reconstructions of a simulated scan on the CPU: how they stream, and what comes out.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "engine/scan/orientation.h"
#include "tests/unit/engine/solver/phantom.h"

namespace ptychoserve {
namespace {

// 13 x 13 frames of 64 x 64, as small as shows what is tested.
const Phantom& SmallPhantom() {
  static const Phantom phantom(
      {.points = 169, .frame_side = 64, .overlap = 0.75, .photons = 1e6, .seed = 3});
  return phantom;
}

std::vector<StageConfig> DmThenMl(int dm) {
  StageConfig first{.algorithm = DifferenceMapConfig{}};
  first.iterations = dm;
  return {first, {.algorithm = MlGradientConfig{}}};
}

float LargestAmplitude(const ComplexStack& image) {
  float largest = 0;
  for (const Complex64 v : image.data) largest = std::max(largest, std::abs(v));
  return largest;
}

TEST(Streaming, ColdStartWithDifferenceMapThenGradientFindsTheObject) {
  const Phantom& phantom = SmallPhantom();
  ReconstructionConfig config = phantom.Config();
  config.schedule = DmThenMl(60);
  config.run.it_ends_after = 100;
  const auto session = phantom.Run(config);
  ASSERT_EQ(session->progress().state, SessionState::kCompleted) << session->progress().failure;
  EXPECT_LE(phantom.ObjectErrorOf(*session), 0.1);
  EXPECT_THAT(session->progress().warnings, ::testing::IsEmpty());
}

TEST(Streaming, GradientAloneFromABeamInFocusIsReportedAsStalled) {
  const Phantom& phantom = SmallPhantom();
  ReconstructionConfig config = phantom.Config();
  config.probe.propagation_distance_m = 0;  // Far from true.
  config.schedule = {{.algorithm = MlGradientConfig{}}};
  config.run.it_ends_after = 100;
  const auto session = phantom.Run(config);
  EXPECT_GT(phantom.ObjectErrorOf(*session), 0.3);
  EXPECT_THAT(session->progress().warnings, ::testing::Contains(::testing::HasSubstr("stalled")));
}

TEST(Streaming, AProbeThatIsFarTooWeakIsWarnedOf) {
  const Phantom& phantom = SmallPhantom();
  for (const float scale : {1.0f, 0.01f}) {
    ReconstructionConfig config = phantom.Config();
    config.probe.initial = phantom.simulation.probe();
    for (Complex64& p : config.probe.initial.data) p *= scale;
    config.run.it_ends_after = 1;
    const auto session = phantom.Run(config);
    if (scale < 1) {
      EXPECT_THAT(session->progress().warnings,
                  ::testing::Contains(::testing::HasSubstr("probe.initial carries")));
    } else {
      EXPECT_THAT(session->progress().warnings, ::testing::IsEmpty());
    }
  }
}

TEST(Streaming, RowsThatArriveWhileItIteratesEndNearTheAllAtOnceResult) {
  const Phantom& phantom = SmallPhantom();
  const int line = phantom.simulation.fast_axis_points();
  for (const bool frozen : {true, false}) {
    ReconstructionConfig config = phantom.Config();
    config.schedule = DmThenMl(60);
    config.run.it_ends_after = 100;
    if (frozen) {
      config.probe.initial = phantom.simulation.probe();
      config.probe.frozen = true;
    }
    const double all_at_once = phantom.ObjectErrorOf(*phantom.Run(config));

    auto session = phantom.Open(config);
    float largest = 0;
    for (int first = 0; first < phantom.simulation.points(); first += line) {
      phantom.Send(*session, first, line);
      for (int turn = 0; turn < 3; ++turn) session->RunTurn();
      if (const auto s = session->latest_snapshot()) {
        largest = std::max(largest, LargestAmplitude(s->object));
      }
    }
    while (session->RunTurn()) {
    }
    ASSERT_EQ(session->progress().state, SessionState::kCompleted);
    const double streamed = phantom.ObjectErrorOf(*session);
    EXPECT_LE(streamed, 1.1 * all_at_once + 0.005) << "frozen probe: " << frozen;
    // A free probe may trade its scale with the object's.
    if (frozen) {
      EXPECT_LE(largest, 2.0f) << "the fringe of the scan blew up";
    }
  }
}

TEST(Streaming, TheResultDoesNotDependOnTheOrderOfArrival) {
  const Phantom& phantom = SmallPhantom();
  ReconstructionConfig config = phantom.Config();
  config.run.it_ends_after = 10;
  const double extent_m = 200 * phantom.simulation.pixel_size().x_m;  // One canvas for both.
  config.scan.bounds = ScanBounds{-extent_m, extent_m, -extent_m, extent_m};
  const auto forward = phantom.Run(config);
  auto session = phantom.Open(config);
  for (int j = phantom.simulation.points() - 1; j >= 0; --j) phantom.Send(*session, j, 1);
  while (session->RunTurn()) {
  }
  EXPECT_EQ(forward->latest_snapshot()->object.data, session->latest_snapshot()->object.data);
  EXPECT_EQ(forward->latest_snapshot()->probe.data, session->latest_snapshot()->probe.data);
}

TEST(Streaming, SessionsOnOneDeviceDoNotChangeEachOthersNumbers) {
  const Phantom& phantom = SmallPhantom();
  ReconstructionConfig dm = phantom.Config(), pie = phantom.Config();
  dm.run.it_ends_after = 8;
  pie.run.it_ends_after = 8;
  pie.schedule = {{.algorithm = EpieConfig{}}};
  const auto dm_alone = phantom.Run(dm);
  const auto pie_alone = phantom.Run(pie);

  auto a = phantom.Open(dm);
  auto b = phantom.Open(pie);
  phantom.Send(*a, 0, phantom.simulation.points());
  phantom.Send(*b, 0, phantom.simulation.points());
  for (bool more = true; more;) {
    const bool more_a = a->RunTurn();
    const bool more_b = b->RunTurn();
    more = more_a || more_b;
  }
  EXPECT_EQ(a->latest_snapshot()->object.data, dm_alone->latest_snapshot()->object.data);
  EXPECT_EQ(b->latest_snapshot()->object.data, pie_alone->latest_snapshot()->object.data);
}

TEST(Streaming, TheFinalSnapshotIsTheStateThatTheFitDescribes) {
  const Phantom& phantom = SmallPhantom();
  ReconstructionConfig config = phantom.Config();
  config.run.it_ends_after = 7;
  config.snapshots.every_iterations = 1;
  config.snapshots.history = 64;
  const auto session = phantom.Run(config);
  const auto final = session->latest_snapshot();
  const auto before = session->snapshot(final->version - 1);
  ASSERT_TRUE(final->final);
  ASSERT_NE(before, nullptr);
  ASSERT_EQ(before->iteration, final->iteration);
  EXPECT_EQ(before->object.data, final->object.data);
  EXPECT_EQ(before->probe.data, final->probe.data);
}

TEST(Streaming, ADeadBeamAndBrokenFramesLeaveTheSessionHealthy) {
  const Phantom& phantom = SmallPhantom();
  const int side = phantom.simulation.config().frame_side;
  ReconstructionConfig config = phantom.Config();
  config.detector.dtype = DataType::kF32;
  config.run.it_ends_after = 20;
  auto session = phantom.Open(config);
  for (int j = 0; j < phantom.simulation.points(); ++j) {
    std::vector<float> pixels(phantom.frames[static_cast<std::size_t>(j)].begin(),
                              phantom.frames[static_cast<std::size_t>(j)].end());
    if (j % 40 == 7) pixels[100] = std::numeric_limits<float>::infinity();
    if (j % 40 == 11) std::fill(pixels.begin(), pixels.end(), 0.0f);
    FrameBatch batch;
    batch.first_frame_id = j;
    batch.frames = 1;
    batch.dtype = DataType::kF32;
    batch.shape = {side, side};
    batch.data = std::as_bytes(std::span(pixels));
    ASSERT_TRUE(session->AddFrames(batch, 0).ok());
  }
  ASSERT_TRUE(
      session->AddPositions({.x_m = phantom.simulation.x_m(), .y_m = phantom.simulation.y_m()})
          .ok());
  ASSERT_TRUE(session->FinishScan(std::nullopt).ok());
  while (session->RunTurn()) {
  }
  const Progress p = session->progress();
  EXPECT_EQ(p.state, SessionState::kCompleted) << p.failure;
  EXPECT_EQ(p.frames.rejected[static_cast<std::size_t>(Reject::kNonFinite)], 5);
  EXPECT_EQ(p.empty_frames, 4);
  EXPECT_EQ(p.active_points, 169 - 9);
  for (const Complex64 v : session->latest_snapshot()->object.data) {
    ASSERT_TRUE(std::isfinite(v.real()) && std::isfinite(v.imag()));
  }
}

TEST(Streaming, AStepThatIsFarTooLargeEndsCleanlyOrStaysFinite) {
  const Phantom& phantom = SmallPhantom();
  ReconstructionConfig config = phantom.Config();
  EpieConfig wild{.object_step = 2.0, .probe_step = 2.0};
  config.schedule = {{.algorithm = wild}};
  config.run.it_ends_after = 60;
  const auto session = phantom.Run(config);
  const Progress p = session->progress();
  EXPECT_TRUE(p.state == SessionState::kCompleted || p.state == SessionState::kFailed);
  if (p.state == SessionState::kFailed) {
    EXPECT_THAT(p.failure, ::testing::HasSubstr("diverged"));
  }
  const auto s = session->latest_snapshot();
  ASSERT_NE(s, nullptr);
  for (const Complex64 v : s->object.data) {
    ASSERT_TRUE(std::isfinite(v.real()) && std::isfinite(v.imag()));
  }
}

// R after a few iterations under a declared geometry; data as simulated.
double RFor(Orientation orientation, int y_sign, int x_sign) {
  const Phantom& phantom = SmallPhantom();
  ReconstructionConfig config = phantom.Config();
  config.detector.orientation = orientation;
  config.scan.y_sign = y_sign;
  config.scan.x_sign = x_sign;
  config.run.it_ends_after = 60;
  config.schedule = {{.algorithm = DifferenceMapConfig{}}};
  const auto session = phantom.Run(config);
  return session->progress().final_fit->r_factor;
}

TEST(Conventions, OneWrongAxisSignIsWorseAndBothWrongAreTheTwin) {
  const double right = RFor(Orientation::kIdentity, 1, 1);
  EXPECT_GT(RFor(Orientation::kIdentity, -1, 1), 1.2 * right);
  EXPECT_GT(RFor(Orientation::kIdentity, 1, -1), 1.2 * right);
  EXPECT_NEAR(RFor(Orientation::kIdentity, -1, -1), right, 0.1 * right);
}

TEST(Conventions, TheTrueOrientationOrItsTwinHasTheLowestR) {
  double true_r = 1, twin_r = 1, best_wrong = 1;
  for (const Orientation o : kAllOrientations) {
    const double r = RFor(o, 1, 1);
    if (o == Orientation::kIdentity) {
      true_r = r;
    } else if (o == Orientation::kRot180) {
      twin_r = r;
    } else {
      best_wrong = std::min(best_wrong, r);
    }
  }
  EXPECT_LT(std::min(true_r, twin_r), best_wrong);
}

TEST(Conventions, DataWithTheBeamElsewhereFitFarWorse) {
  const Phantom& phantom = SmallPhantom();
  ReconstructionConfig config = phantom.Config();
  config.run.it_ends_after = 60;
  // A free probe could hide the shift by half the detector in a phase of -1 every other pixel.
  config.probe.initial = phantom.simulation.probe();
  config.probe.frozen = true;
  const double right = phantom.Run(config)->progress().final_fit->fourier_error;
  config.detector.beam_at_corner = true;
  const double wrong = phantom.Run(config)->progress().final_fit->fourier_error;
  EXPECT_GT(wrong, 5 * right);
}

}  // namespace
}  // namespace ptychoserve
