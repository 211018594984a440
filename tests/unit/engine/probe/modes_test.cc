#include "engine/probe/modes.h"

#include <cmath>
#include <complex>
#include <cstddef>
#include <numeric>
#include <random>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/engine/backend/reference_data.h"

namespace ptychoserve {
namespace {

using ::testing::ElementsAre;

// A Gaussian beam off the middle of the frame with a curved phase, wider along x.
ComplexStack Beam(Shape shape) {
  ComplexStack probe(1, shape);
  for (int y = 0; y < shape.rows; ++y) {
    for (int x = 0; x < shape.cols; ++x) {
      const double v = (y - 0.4 * shape.rows) / (0.08 * shape.rows);
      const double u = (x - 0.55 * shape.cols) / (0.12 * shape.cols);
      probe.data[static_cast<std::size_t>(y) * shape.cols + x] =
          Complex64(std::polar(30 * std::exp(-(u * u + v * v) / 4), 0.3 * (u * u + v * v)));
    }
  }
  return probe;
}

ComplexStack RandomModes(int modes, Shape shape) {
  std::mt19937 rng(3);
  std::normal_distribution<float> normal;
  ComplexStack probe(modes, shape);
  for (Complex64& value : probe.data) value = {normal(rng), normal(rng)};
  return probe;
}

std::complex<double> Inner(const ComplexStack& probe, int a, int b) {
  const std::int64_t pixels = probe.shape.pixels();
  std::complex<double> sum = 0;
  for (std::int64_t i = 0; i < pixels; ++i) {
    sum += std::conj(std::complex<double>(probe.data[a * pixels + i])) *
           std::complex<double>(probe.data[b * pixels + i]);
  }
  return sum;
}

double Power(const ComplexStack& probe, int mode) { return Inner(probe, mode, mode).real(); }

double TotalPower(const ComplexStack& probe) {
  double power = 0;
  for (int mode = 0; mode < probe.modes; ++mode) power += Power(probe, mode);
  return power;
}

// Σ_m P_m(r) P_m*(r'), on which alone intensities depend; for some r' out of all.
std::vector<std::complex<double>> MutualIntensity(const ComplexStack& probe) {
  constexpr std::int64_t kEvery = 17;
  const std::int64_t pixels = probe.shape.pixels();
  std::vector<std::complex<double>> mutual;
  for (std::int64_t i = 0; i < pixels; ++i) {
    for (std::int64_t j = 0; j < pixels; j += kEvery) {
      std::complex<double> sum = 0;
      for (int m = 0; m < probe.modes; ++m) {
        sum += std::complex<double>(probe.data[m * pixels + i]) *
               std::conj(std::complex<double>(probe.data[m * pixels + j]));
      }
      mutual.push_back(sum);
    }
  }
  return mutual;
}

TEST(WithModesTest, AddsOrthogonalModesOfTheDocumentedPower) {
  for (const Shape shape : {Shape{33, 47}, Shape{64, 32}}) {
    const ComplexStack beam = Beam(shape);
    const ComplexStack probe = WithModes(beam, 7);
    ASSERT_EQ(probe.modes, 7);
    const double total = Power(beam, 0);
    EXPECT_NEAR(TotalPower(probe), total, 1e-5 * total);
    for (int a = 1; a < 7; ++a) {
      EXPECT_NEAR(Power(probe, a), 0.5 * Power(probe, a - 1), 1e-6 * total);
      for (int b = 0; b < a; ++b) EXPECT_LT(std::abs(Inner(probe, a, b)), 1e-6 * total);
    }
    // The first is the beam, less bright.
    const auto factor = static_cast<float>(std::sqrt(Power(probe, 0) / total));
    for (std::size_t i = 0; i < beam.data.size(); ++i) {
      EXPECT_LT(std::abs(probe.data[i] - factor * beam.data[i]), 1e-4f);
    }
  }
}

TEST(WithModesTest, OfAGaussianBeamTheyAreHermites) {
  const Shape shape{64, 64};
  const ComplexStack probe = WithModes(Beam(shape), 3);
  // x P, then y P: odd about the centre of the beam along one axis, even along the other.
  const auto at = [&](int mode, double y, double x) {
    return probe.data[static_cast<std::size_t>(mode * shape.pixels() + y * shape.cols + x)];
  };
  const int row = 26, col = 35;  // Beside the centre, (25.6, 35.2).
  EXPECT_LT(std::real(at(1, row, col - 6) / at(0, row, col - 6)), -0.1);
  EXPECT_GT(std::real(at(1, row, col + 6) / at(0, row, col + 6)), 0.1);
  EXPECT_LT(std::real(at(2, row - 4, col) / at(0, row - 4, col)), -0.1);
  EXPECT_GT(std::real(at(2, row + 4, col) / at(0, row + 4, col)), 0.1);
}

TEST(WithModesTest, GivenModesKeepTheirShares) {
  ComplexStack given = RandomModes(2, {12, 15});
  for (std::size_t i = 0; i < given.data.size() / 2; ++i) given.data[i] *= 3;
  const ComplexStack probe = WithModes(given, 4);
  EXPECT_NEAR(Power(probe, 2) / Power(probe, 1), 0.5, 1e-5);
  EXPECT_NEAR(Power(probe, 1) / Power(probe, 0), Power(given, 1) / Power(given, 0), 1e-5);
  EXPECT_NEAR(TotalPower(probe), TotalPower(given), 1e-5 * TotalPower(given));
  EXPECT_EQ(WithModes(given, 2).data, given.data);
}

TEST(WithModesTest, LightInOnePixelLeavesNoFurtherMode) {
  ComplexStack spot(1, {9, 9});
  spot.data[40] = {3, 4};
  const ComplexStack probe = WithModes(spot, 3);
  EXPECT_EQ(Power(probe, 0), 25);
  EXPECT_EQ(Power(probe, 1), 0);
  EXPECT_EQ(Power(probe, 2), 0);
}

TEST(OrthogonaliseModesTest, IsTheSameBeamInOrthogonalModesByFallingPower) {
  for (const int modes : {2, 3, 4, 16}) {
    const ComplexStack before = RandomModes(modes, {13, 17});
    ComplexStack probe = before;
    const std::vector<double> powers = OrthogonaliseModes(probe);
    ASSERT_EQ(powers.size(), static_cast<std::size_t>(modes));
    EXPECT_NEAR(std::accumulate(powers.begin(), powers.end(), 0.0), 1, 1e-12);
    const double total = TotalPower(before);
    for (int a = 0; a < modes; ++a) {
      EXPECT_NEAR(Power(probe, a), powers[a] * total, 1e-6 * total);
      if (a > 0) {
        EXPECT_LE(powers[a], powers[a - 1]);
      }
      for (int b = 0; b < a; ++b) EXPECT_LT(std::abs(Inner(probe, a, b)), 1e-6 * total);
    }
    EXPECT_LT(RelativeError(MutualIntensity(probe), MutualIntensity(before)), 1e-6);
  }
}

TEST(OrthogonaliseModesTest, LeavesOrthogonalModesAndOneModeAsTheyAre) {
  const ComplexStack orthogonal = WithModes(Beam({40, 40}), 2);
  ComplexStack probe = orthogonal;
  EXPECT_NEAR(OrthogonaliseModes(probe)[1], kNewModePower / (1 + kNewModePower), 1e-6);
  EXPECT_LT(RelativeError(probe.data, orthogonal.data), 1e-6);

  const ComplexStack one = RandomModes(1, {8, 9});
  probe = one;
  EXPECT_THAT(OrthogonaliseModes(probe), ElementsAre(1));
  EXPECT_EQ(probe.data, one.data);
}

TEST(OrthogonaliseModesTest, EqualAndEmptyModesMakeOne) {
  const ComplexStack beam = Beam({16, 24});
  ComplexStack probe(3, beam.shape);
  std::copy(beam.data.begin(), beam.data.end(), probe.data.begin());
  std::copy(beam.data.begin(), beam.data.end(), probe.data.begin() + 2 * beam.shape.pixels());
  const std::vector<double> powers = OrthogonaliseModes(probe);
  EXPECT_NEAR(powers[0], 1, 1e-12);
  EXPECT_NEAR(powers[1], 0, 1e-12);
  EXPECT_NEAR(Power(probe, 0), 2 * Power(beam, 0), 1e-5 * Power(beam, 0));
  ComplexStack dark(2, {4, 4});
  EXPECT_THAT(OrthogonaliseModes(dark), ElementsAre(0, 0));
}

}  // namespace
}  // namespace ptychoserve
