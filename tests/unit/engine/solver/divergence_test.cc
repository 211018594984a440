// Runs that get out of hand: how that is seen, and what becomes of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/solver/divergence_watch.h"
#include "tests/unit/engine/solver/fake_session.h"
#include "tests/unit/engine/solver/phantom.h"

namespace ptychoserve {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// ---- The watch --------------------------------------------------------------------------------

class DivergenceWatchTest : public ::testing::Test {
 protected:
  // One more iteration with that R; whether it has diverged.
  bool Iterate(double r, bool finite = true, bool may_drift = false) {
    IterationRecord record{.iteration = ++iteration_, .stage = stage_, .active_points = points_};
    record.metrics.r_factor = r;
    record.metrics.finite = finite;
    return watch_.Diverged(record, may_drift);
  }
  void Iterate(int times, double r) {
    for (int i = 0; i < times; ++i) ASSERT_FALSE(Iterate(r)) << r;
  }
  // A snapshot of the last iteration arrives now.
  void Arrive() { Arrive(iteration_); }
  void Arrive(std::int64_t iteration) {
    auto snapshot = std::make_shared<Snapshot>();
    snapshot->iteration = iteration;
    watch_.NoteSnapshot(std::move(snapshot));
  }
  std::int64_t LastGood() { return watch_.last_good() ? watch_.last_good()->iteration : -1; }

  DivergenceWatch watch_{
      [this](std::shared_ptr<const Snapshot> s) { retired_.push_back(s->iteration); }};
  std::vector<std::int64_t> retired_;
  std::int64_t iteration_ = 0;
  int stage_ = 0;
  std::int64_t points_ = 100;
};

TEST_F(DivergenceWatchTest, SlowRiseIsDivergenceForEpieAloneAndGoesBackToTheBottom) {
  for (const bool epie : {true, false}) {
    stage_ = epie ? 1 : 2;
    double r = 0.2;
    for (int i = 0; i < 12; ++i) ASSERT_FALSE(Iterate(r -= 0.003, true, epie)) << r;
    const std::int64_t bottom = iteration_;
    Arrive();
    int rising = 0;
    while (rising < 40 && !Iterate(r += 0.002, true, epie)) {
      ++rising;
      Arrive();
    }
    EXPECT_EQ(rising, epie ? 8 : 40) << "0.164 up to 0.1804";
    if (epie) {
      EXPECT_EQ(LastGood(), bottom);
      watch_.NoteRollback(iteration_);
      EXPECT_FALSE(Iterate(r, true, epie)) << "judged anew";
    }
  }
}

TEST_F(DivergenceWatchTest, NewPointsMayRaiseTheRFactorOfEpie) {
  for (int i = 0; i < 20; ++i) ASSERT_FALSE(Iterate(0.1, true, true));
  points_ += 5;
  for (int i = 0; i < 20; ++i) ASSERT_FALSE(Iterate(0.15, true, true));
}

TEST_F(DivergenceWatchTest, WhatIsNotFiniteHasDivergedAtOnce) {
  EXPECT_FALSE(Iterate(0.5));
  EXPECT_TRUE(Iterate(0.5, /*finite=*/false));
  EXPECT_TRUE(Iterate(std::numeric_limits<double>::quiet_NaN()));
  EXPECT_TRUE(Iterate(std::numeric_limits<double>::infinity()));
}

TEST_F(DivergenceWatchTest, RHasExplodedAboveThreeTimesTheSmallestAndSevenTenths) {
  Iterate(10, 0.3);
  EXPECT_FALSE(Iterate(0.899));
  EXPECT_TRUE(Iterate(0.901));
  Iterate(1, 0.01);
  EXPECT_FALSE(Iterate(0.699));
  EXPECT_TRUE(Iterate(0.701));
}

TEST_F(DivergenceWatchTest, TheFirstIterationsOfAStageMayFindTheirWay) {
  Iterate(20, 0.1);
  stage_ = 1;
  Iterate(1, 0.1);
  Iterate(9, 5);
  EXPECT_TRUE(Iterate(5));
}

TEST_F(DivergenceWatchTest, NewPointsMayFindTheirWayToo) {
  Iterate(20, 0.1);
  Arrive();
  points_ = 101;
  Iterate(10, 2);
  EXPECT_EQ(watch_.smallest_r(), 0.1);
  EXPECT_EQ(LastGood(), 20) << "the newest there is";
  Arrive();
  Iterate(10, 0.15);
  EXPECT_EQ(LastGood(), 30);
  EXPECT_TRUE(Iterate(2));
}

TEST_F(DivergenceWatchTest, ASnapshotIsGoodUpToTwiceTheSmallestR) {
  Iterate(20, 0.1);
  Arrive();
  Iterate(1, 0.1);
  Iterate(1, 0.201);
  Arrive();
  Iterate(1, 0.201);
  EXPECT_EQ(LastGood(), 20) << "what 22 has left is worse than it was";
  Iterate(1, 0.199);
  EXPECT_EQ(LastGood(), 22);
}

TEST_F(DivergenceWatchTest, AQuarterMorePointsAreMany) {
  Iterate(20, 0.1);
  points_ = 125;
  Iterate(1, 0.2);
  EXPECT_EQ(watch_.smallest_r(), 0.1);
  points_ = 126;
  Iterate(1, 0.2);
  EXPECT_EQ(watch_.smallest_r(), 0.2);
}

TEST_F(DivergenceWatchTest, ManyNewPointsMakeRAnother) {
  Iterate(20, 0.1);
  points_ = 130;
  Iterate(10, 2);
  Iterate(1, 5);
  EXPECT_EQ(watch_.smallest_r(), 2);
  EXPECT_TRUE(Iterate(7));
}

TEST_F(DivergenceWatchTest, ASnapshotIsGoodWhenALaterIterationHasBegunWell) {
  Iterate(3, 0.1);
  EXPECT_EQ(LastGood(), -1);
  Arrive();
  EXPECT_EQ(LastGood(), 3) << "for want of a better one";
  Iterate(1, 0.1);
  Arrive();
  EXPECT_EQ(LastGood(), 3) << "R of iteration 4 is that of its start";
  Iterate(1, 0.1);
  EXPECT_EQ(LastGood(), 4);
  Iterate(4, 0.1);
  Arrive(7);
  EXPECT_EQ(LastGood(), 7) << "came late";
  EXPECT_THAT(retired_, ElementsAre(3, 4));
}

TEST_F(DivergenceWatchTest, ASnapshotOfARunOnItsWayOutReplacesNoGoodOne) {
  Iterate(11, 0.1);
  Arrive();
  Iterate(1, 0.15);
  Arrive();
  Iterate(1, 0.3);
  Arrive();
  Iterate(1, 0.6);
  Arrive();
  EXPECT_TRUE(Iterate(1.2));
  EXPECT_EQ(LastGood(), 11);
  watch_.NoteRollback(iteration_);
  Arrive(14);
  Iterate(1, 0.1);
  EXPECT_EQ(LastGood(), 11) << "begun before the run went back";
  Arrive();
  Iterate(1, 0.1);
  EXPECT_EQ(LastGood(), 16);
}

TEST_F(DivergenceWatchTest, WhatWasGoneBackToIsKeptAndHasTimeToSettle) {
  Iterate(11, 0.1);
  Arrive();
  EXPECT_TRUE(Iterate(1));
  watch_.NoteRollback(iteration_);
  EXPECT_EQ(LastGood(), 11);
  Iterate(10, 1);
  EXPECT_TRUE(Iterate(1));
  EXPECT_EQ(LastGood(), 11);
  EXPECT_THAT(retired_, IsEmpty());
}

TEST_F(DivergenceWatchTest, GivesEverySnapshotBack) {
  Iterate(2, 0.1);
  for (int i = 0; i < 5; ++i) {
    Arrive();
    Iterate(1, 0.1);
  }
  Arrive();
  watch_.Drop();
  EXPECT_THAT(retired_, SizeIs(6));
}

// ---- The session ------------------------------------------------------------------------------

class DivergenceTest : public FakeSessionTest {
 protected:
  ReconstructionConfig Often() {
    ReconstructionConfig config = Config();
    config.run.it_ends_after = 40;
    config.snapshots.every_iterations = 1;
    config.snapshots.history = 64;
    config.schedule = {{.algorithm = MlGradientConfig{}}};
    return config;
  }
  void RunToItsEnd() {
    Send(0, 8);
    ASSERT_TRUE(session_->FinishScan(std::nullopt).ok());
    RunTurns();
  }
  double StepOf(int n) {
    return std::get<MlGradientConfig>(record().algorithms[static_cast<std::size_t>(n)]).step;
  }
};

TEST_F(DivergenceTest, GoesBackToTheLastGoodSnapshotWithHalfTheStepAndSaysSo) {
  record().is_nan = [](int n) { return n == 12; };
  Start(Often());
  RunToItsEnd();
  const Progress p = progress();
  EXPECT_EQ(p.state, SessionState::kCompleted);
  EXPECT_EQ(p.rollbacks, 1);
  EXPECT_EQ(p.iteration, 40) << "numbers go on";
  ASSERT_THAT(p.warnings, SizeIs(1));
  EXPECT_THAT(p.warnings[0], AllOf(HasSubstr("NaN or infinite in iteration 13"),
                                   HasSubstr("snapshot 11, of iteration 11"), HasSubstr("0.5")));
  EXPECT_EQ(record().object.data[0].real(), 11) << "the fake's object is its iteration";
  EXPECT_EQ(record().probe.data[0].real(), 11);
  EXPECT_THAT(record().active_counts, ElementsAre(8, 0, 8));
  EXPECT_EQ(StepOf(12), 1);
  EXPECT_EQ(StepOf(13), 0.5);
  EXPECT_EQ(StepOf(39), 0.5);
  const auto history = session_->history();
  for (std::size_t i = 0; i < history.size(); ++i) {
    EXPECT_EQ(history[i].iteration, static_cast<std::int64_t>(i) + 1);
  }
  EXPECT_EQ(session_->latest_snapshot()->run.rollbacks, 1);
}

TEST_F(DivergenceTest, WhatADeterministicRunGoesBackToDoesNotDependOnTheCadence) {
  for (const int every : {1, 3, 1000}) {
    ReconstructionConfig config = Config();
    config.deterministic = true;
    config.snapshots.every_iterations = every;
    config.run.it_ends_after = 60;
    config.run.max_iterations = 60;
    record().is_nan = [](int n) { return n == 40; };
    Start(config);
    Send(0, 8);
    ASSERT_TRUE(session_->FinishScan(std::nullopt).ok());
    RunTurns();
    EXPECT_THAT(progress().warnings, ElementsAre(HasSubstr("of iteration 33, and")));
    EXPECT_EQ(progress().state, SessionState::kCompleted);
  }
}

TEST_F(DivergenceTest, AnRThatExplodesIsSeenBeforeItIsInfinite) {
  record().r_factor = [](int n) { return n < 20 || n > 23 ? 0.1 : 0.1 * std::pow(2.0, n - 20); };
  Start(Often());
  RunToItsEnd();
  EXPECT_EQ(progress().state, SessionState::kCompleted);
  EXPECT_EQ(progress().rollbacks, 1);
  ASSERT_THAT(progress().warnings, SizeIs(1));
  EXPECT_THAT(progress().warnings[0], AllOf(HasSubstr("R rose to 0.8 in iteration 24, from 0.1"),
                                            HasSubstr("of iteration 21,")));
}

TEST_F(DivergenceTest, TheNextStageHasItsWholeStepAgain) {
  record().is_nan = [](int n) { return n == 12; };
  ReconstructionConfig config = Often();
  StageConfig dm{.algorithm = DifferenceMapConfig{.beta = 0.8}};
  dm.iterations = 20;
  config.schedule = {dm, {.algorithm = MlGradientConfig{}}};
  Start(config);
  RunToItsEnd();
  EXPECT_EQ(std::get<DifferenceMapConfig>(record().algorithms[19]).beta, 0.4);
  EXPECT_EQ(StepOf(20), 1);
}

TEST_F(DivergenceTest, ARunThatIsStoppedRightAfterItHasGoneBackShowsWhatItWentBackTo) {
  record().is_nan = [](int n) { return n == 12; };
  record().r_factor = [](int n) { return n == 12 ? std::nan("") : 0.1; };
  Start(Often());
  Send(0, 8);
  RunTurns(13);
  ASSERT_EQ(progress().rollbacks, 1);
  ASSERT_TRUE(session_->Stop(false).ok());
  RunTurns();
  const auto last = session_->latest_snapshot();
  EXPECT_TRUE(last->final);
  EXPECT_EQ(last->iteration, 13);
  EXPECT_EQ(last->metrics.metrics.r_factor, 0.1);
}

TEST_F(DivergenceTest, WithoutASnapshotToGoBackToTheSessionFails) {
  record().is_nan = [](int n) { return n == 0; };
  Start(Often());
  RunToItsEnd();
  EXPECT_EQ(progress().state, SessionState::kFailed);
  EXPECT_EQ(progress().rollbacks, 0);
  EXPECT_THAT(progress().failure, AllOf(HasSubstr("diverged"), HasSubstr("iteration 1, before")));
}

TEST_F(DivergenceTest, ARestoredRunCanGoBackToWhatItWasRestoredFrom) {
  Start(Often());
  Send(0, 8);
  RunTurns(10);
  auto snapshot = std::make_shared<Snapshot>(*session_->latest_snapshot());
  snapshot->run.rollbacks = 2;
  snapshot->run.step_scale = 0.25;
  record() = FakeRecord();
  record().is_nan = [](int n) { return n == 0; };
  options_.restored = CheckpointOf(snapshot);
  Start(Often());
  RunToItsEnd();
  EXPECT_EQ(progress().state, SessionState::kCompleted);
  EXPECT_EQ(progress().rollbacks, 3);
  EXPECT_EQ(StepOf(0), 0.25);
  EXPECT_EQ(StepOf(1), 0.125);
}

// ---- With arithmetic --------------------------------------------------------------------------

// The CPU's backend, whose object is lost in one iteration.
class FaultyBackend final : public Backend {
 public:
  FaultyBackend(std::unique_ptr<Backend> inner, int fault_at)
      : inner_(std::move(inner)), fault_at_(fault_at) {}

  absl::Status SetCanvas(const Region& canvas) override {
    canvas_ = canvas;
    return inner_->SetCanvas(canvas);
  }
  absl::Status LoadFrames(std::span<const FrameToLoad> frames) override {
    return inner_->LoadFrames(frames);
  }
  absl::StatusOr<FloatImage> MeanAmplitude(std::span<const std::int32_t> slots) override {
    return inner_->MeanAmplitude(slots);
  }
  absl::StatusOr<FloatImage> ReadFrame(std::int32_t slot) override {
    return inner_->ReadFrame(slot);
  }
  absl::Status SetProbe(const ComplexStack& probe) override { return inner_->SetProbe(probe); }
  absl::Status SetObject(const ComplexStack& object) override { return inner_->SetObject(object); }
  absl::Status SetActivePoints(std::span<const PointWindow> points) override {
    return inner_->SetActivePoints(points);
  }
  absl::Status ClearObject(const Region& region) override { return inner_->ClearObject(region); }
  absl::Status Shift(int rows, int cols) override { return inner_->Shift(rows, cols); }
  absl::Status Rescale(double factor) override { return inner_->Rescale(factor); }
  absl::StatusOr<IterationMetrics> Iterate(const AlgorithmConfig& algorithm,
                                           const IterationOptions& options) override {
    if (iterations_++ == fault_at_) {
      const float nan = std::numeric_limits<float>::quiet_NaN();
      EXPECT_TRUE(inner_->SetObject(ComplexStack(1, canvas_.shape, Complex64(nan))).ok());
    }
    return inner_->Iterate(algorithm, options);
  }
  absl::StatusOr<std::vector<FrameFit>> Evaluate(std::span<const PointWindow> points) override {
    return inner_->Evaluate(points);
  }
  absl::StatusOr<Refinement> Refine(const StageRefinement& which, double step) override {
    return inner_->Refine(which, step);
  }
  absl::StatusOr<ComplexStack> ReadProbeComponents() override {
    return inner_->ReadProbeComponents();
  }
  absl::Status SetProbeComponents(const ComplexStack& components) override {
    return inner_->SetProbeComponents(components);
  }
  absl::StatusOr<FloatImage> ReadBackground() override { return inner_->ReadBackground(); }
  absl::Status SetBackground(const FloatImage& background) override {
    return inner_->SetBackground(background);
  }
  absl::StatusOr<CollectReadback> StartReadback() override { return inner_->StartReadback(); }
  absl::StatusOr<ComplexStack> ReadProbe() override { return inner_->ReadProbe(); }
  absl::StatusOr<ExitWaveState> ReadExitWaves() override { return inner_->ReadExitWaves(); }
  absl::Status SetExitWaves(std::span<const ExitWaveToSet> waves) override {
    return inner_->SetExitWaves(waves);
  }
  absl::StatusOr<std::optional<MomentumState>> ReadMomentum() override {
    return inner_->ReadMomentum();
  }
  absl::Status SetMomentum(const MomentumState& momentum) override {
    return inner_->SetMomentum(momentum);
  }

 private:
  const std::unique_ptr<Backend> inner_;
  const int fault_at_;
  int iterations_ = 0;
  Region canvas_;
};

class FaultyDevice final : public Device {
 public:
  explicit FaultyDevice(int fault_at) : fault_at_(fault_at) {}
  std::string name() const override { return "faulty"; }
  std::string description() const override { return "the CPU, with a fault"; }
  std::int64_t EstimateBytes(const BackendConfig& c) const override {
    return inner_->EstimateBytes(c);
  }
  std::int64_t total_bytes() const override { return inner_->total_bytes(); }
  std::int64_t usable_bytes() const override { return inner_->usable_bytes(); }
  absl::StatusOr<std::unique_ptr<Backend>> CreateBackend(const BackendConfig& config) override {
    auto backend = inner_->CreateBackend(config);
    if (!backend.ok()) return backend.status();
    return std::make_unique<FaultyBackend>(*std::move(backend), fault_at_);
  }

 private:
  const std::unique_ptr<Device> inner_ = CreateCpuDevice();
  const int fault_at_;
};

// The canvas grows with the lines, so that the snapshot gone back to may be of a smaller one.
TEST(Divergence, ARunWhoseObjectIsLostEndsAsWellAsOneThatHadNoFault) {
  const Phantom phantom(
      {.points = 100, .frame_side = 64, .overlap = 0.75, .photons = 1e6, .seed = 5});
  ReconstructionConfig config = phantom.Config();
  StageConfig dm{.algorithm = DifferenceMapConfig{}};
  dm.iterations = 80;
  config.schedule = {dm, {.algorithm = MlGradientConfig{}}};
  config.probe.initial = phantom.simulation.initial_probe();
  config.run.it_ends_after = 180;
  const double healthy = phantom.Run(config)->progress().final_fit->r_factor;
  for (const int fault_at : {13, 30, 120, 200}) {  // 5 iterations a line; refined from 50 on.
    FaultyDevice device(fault_at);
    const auto session = Reconstruction::Create(config, device, {}).value();
    for (int first = 0; first < phantom.simulation.points(); first += 10) {
      phantom.Send(*session, first, 10);
      for (int turn = 0; turn < 5; ++turn) session->RunTurn();
    }
    while (session->RunTurn()) {
    }
    const Progress p = session->progress();
    ASSERT_EQ(p.state, SessionState::kCompleted) << p.failure;
    EXPECT_EQ(p.rollbacks, 1) << fault_at;
    EXPECT_LT(p.final_fit->r_factor, 1.01 * healthy) << fault_at;
  }
}

TEST(Divergence, HealthyRunsAreLeftAloneWhateverTheyStartFrom) {
  const Phantom phantom(
      {.points = 100, .frame_side = 32, .overlap = 0.75, .photons = 1e5, .seed = 5});
  for (const double relaxation : {0.0, 0.8}) {
    for (const float probe_scale : {0.0f, 0.01f, 1.0f, 30.0f}) {
      ReconstructionConfig config = phantom.Config();
      StageConfig dm{.algorithm = DifferenceMapConfig{.relaxation = relaxation}};
      dm.iterations = 100;
      config.schedule = {dm, {.algorithm = MlGradientConfig{}}};
      config.run.it_ends_after = 200;
      if (probe_scale > 0) {
        config.probe.initial = phantom.simulation.initial_probe();
        for (Complex64& p : config.probe.initial.data) p *= probe_scale;
      }
      for (const int lines : {1, 10}) {
        auto session = phantom.Open(config);
        for (int first = 0; first < phantom.simulation.points(); first += 10 * lines) {
          phantom.Send(*session, first, 10 * lines);
          for (int turn = 0; turn < 12; ++turn) session->RunTurn();
        }
        while (session->RunTurn()) {
        }
        EXPECT_EQ(session->progress().state, SessionState::kCompleted);
        EXPECT_EQ(session->progress().rollbacks, 0)
            << "relaxation " << relaxation << ", probe " << probe_scale << ", lines " << lines
            << ": " << ::testing::PrintToString(session->progress().warnings);
      }
    }
  }
}

TEST(Divergence, AGradientWithTooLargeAStepFindsTheObjectAllTheSame) {
  const Phantom phantom(
      {.points = 100, .frame_side = 64, .overlap = 0.75, .photons = 1e6, .seed = 5});
  ReconstructionConfig config = phantom.Config();
  config.probe.initial = phantom.simulation.initial_probe();
  config.run.it_ends_after = 150;
  config.schedule = {{.algorithm = MlGradientConfig{}}};
  const double healthy = phantom.Run(config)->progress().final_fit->r_factor;
  config.schedule = {{.algorithm = MlGradientConfig{.step = 2}}};
  const auto session = phantom.Run(config);
  const Progress p = session->progress();
  EXPECT_EQ(p.state, SessionState::kCompleted) << p.failure;
  EXPECT_GE(p.rollbacks, 1);
  EXPECT_LT(p.final_fit->r_factor, 1.1 * healthy);
}

}  // namespace
}  // namespace ptychoserve
