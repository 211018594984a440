// Of c P and O / c, which no frame tells apart, the run keeps one.
#include <gtest/gtest.h>

#include <cmath>
#include <complex>

#include "tests/unit/engine/solver/fake_session.h"
#include "tests/unit/engine/solver/phantom.h"

namespace ptychoserve {
namespace {

double PowerOf(const ComplexStack& probe) {
  double power = 0;
  for (const Complex64 p : probe.data) power += std::norm(std::complex<double>(p));
  return power;
}

class ScaleTest : public FakeSessionTest {
 protected:
  // After each iteration the probe has so many times the power of the initial one.
  void RunWithPower(const ReconstructionConfig& config, std::vector<double> ratios) {
    const double power = PowerOf(Spot());
    record().probe_power = [=](int iteration) {
      const auto k = static_cast<std::size_t>(iteration);
      return power * (k < ratios.size() ? ratios[k] : 1);
    };
    Start(config);
    Send(0, 8);
    RunTurns(12);
  }
};

TEST_F(ScaleTest, ThePowerOfTheProbeStaysThatOfTheInitialOne) {
  RunWithPower(Config(), {1, 1, 1, 1.21, 1.009, 0.991, 0.64});
  ASSERT_EQ(record().rescaled.size(), 2U);
  EXPECT_NEAR(record().rescaled[0], 1 / 1.1, 1e-9);
  EXPECT_NEAR(record().rescaled[1], 1 / 0.8, 1e-9);
  EXPECT_NEAR(session_->latest_snapshot()->probe_power, PowerOf(Spot()), 1e-6);
}

// The fake's frames hold 256 counts in the mean.
TEST_F(ScaleTest, AnImpossiblePowerIsNotKept) {
  ReconstructionConfig config = Config();
  for (Complex64& p : config.probe.initial.data) p *= 0.01f;
  RunWithPower(config, {1, 1, 1});
  EXPECT_NEAR(session_->latest_snapshot()->probe_power, kSide * kSide, 1e-4);
  EXPECT_NEAR(record().rescaled[0], std::sqrt(kSide * kSide / PowerOf(Spot())), 1e-6);
}

TEST_F(ScaleTest, APercentIsTolerated) {
  RunWithPower(Config(), {1, 1, 1, std::exp(0.00998), std::exp(-0.00998)});
  EXPECT_TRUE(record().rescaled.empty());
  record() = FakeRecord();
  RunWithPower(Config(), {1, 1, 1, std::exp(0.01003), std::exp(-0.01003)});
  EXPECT_EQ(record().rescaled.size(), 2U);
}

TEST_F(ScaleTest, TenTimesTheCountsIsPossible) {
  for (const double times : {9.97, 10.03}) {
    record() = FakeRecord();
    ReconstructionConfig config = Config();
    const double counts = kSide * kSide, factor = std::sqrt(times * counts / PowerOf(Spot()));
    for (Complex64& p : config.probe.initial.data) p *= static_cast<float>(factor);
    RunWithPower(config, {});
    const bool possible = times < 10;
    EXPECT_NEAR(session_->latest_snapshot()->probe_power / (possible ? times * counts : counts), 1,
                1e-5);
    EXPECT_EQ(progress().warnings.empty(), possible);
  }
}

TEST_F(ScaleTest, NothingIsRescaledThatIsNotUpdated) {
  ReconstructionConfig config = Config();
  config.probe.start_update = 2;
  config.object.start_update = 4;
  RunWithPower(config, {2, 2, 2, 2, 1.1025});
  ASSERT_EQ(record().rescaled.size(), 1U);
  EXPECT_NEAR(record().rescaled[0], 1 / 1.05, 1e-9);
}

TEST_F(ScaleTest, AFrozenProbeFixesIt) {
  ReconstructionConfig config = Config();
  config.probe.frozen = true;
  RunWithPower(config, {2, 2, 2, 2, 2});
  EXPECT_TRUE(record().rescaled.empty());
}

TEST_F(ScaleTest, SoDoLimitsOfTheAmplitude) {
  ReconstructionConfig config = Config();
  config.object.amplitude_limits = AmplitudeLimits{0, 1};
  RunWithPower(config, {2, 2, 2, 2, 2});
  EXPECT_TRUE(record().rescaled.empty());
}

TEST_F(ScaleTest, AProbeWithoutPowerIsLeftAlone) {
  RunWithPower(Config(), {1, 1, 1, 0, std::nan("")});
  EXPECT_TRUE(record().rescaled.empty());
}

TEST(ScaleOfAPhantomTest, TheDifferenceMapKeepsIt) {
  const Phantom phantom(
      {.points = 100, .frame_side = 64, .overlap = 0.75, .photons = 1e5, .seed = 3});
  ReconstructionConfig config = phantom.Config();
  config.schedule = {{.algorithm = DifferenceMapConfig{}}};
  config.run.it_ends_after = 150;
  config.probe.initial = phantom.simulation.initial_probe();
  const auto snapshot = phantom.Run(config)->latest_snapshot();
  const double initial = PowerOf(config.probe.initial);
  EXPECT_NEAR(PowerOf(snapshot->probe) / initial, 1, 0.011);
  EXPECT_NEAR(snapshot->probe_power / initial, 1, 1e-6);
}

}  // namespace
}  // namespace ptychoserve
