#include "engine/probe/probe.h"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/engine/backend/reference_data.h"

namespace ptychoserve {
namespace {

using ::testing::HasSubstr;

ComplexStack Spot(Shape shape, int row, int col) {
  ComplexStack probe(1, shape);
  // Three pixels, wrapping around the edges.
  for (int d = -1; d <= 1; ++d) {
    const int y = (row + d + shape.rows) % shape.rows;
    probe.data[y * shape.cols + col] += Complex64(d == 0 ? 2 : 1, d);
  }
  return probe;
}

FloatImage MeanAmplitude() {
  const TestScan scan = ReferenceScan();
  FloatImage mean;
  mean.shape = scan.frame_shape;
  const std::vector<double> values = ReferenceReals("probe/mean");
  mean.data.assign(values.begin(), values.end());
  return mean;
}

TEST(ColdStartTest, IsTheCentredWaveWithTheMeanSpectrum) {
  const FloatImage mean = MeanAmplitude();
  const ComplexStack probe = ProbeFromMeanAmplitude(mean);
  EXPECT_EQ(probe.shape, mean.shape);
  EXPECT_LT(RelativeError(probe.data, ReferenceComplex("probe/cold")), 1e-6);

  double energy = 0;
  double expected_energy = 0;
  for (const Complex64 value : probe.data) energy += std::norm(value);
  for (const float value : mean.data) expected_energy += double(value) * value;
  EXPECT_NEAR(energy, expected_energy, 1e-6 * expected_energy);
}

TEST(ColdStartTest, SmoothSpectrumGivesASpotAtTheCentre) {
  FloatImage mean;
  mean.shape = {9, 14};
  mean.data.assign(mean.shape.pixels(), 2.0f);
  const ComplexStack probe = ProbeFromMeanAmplitude(mean);
  for (int i = 0; i < mean.shape.pixels(); ++i) {
    const bool centre = i == 9 / 2 * 14 + 14 / 2;
    EXPECT_NEAR(std::abs(probe.data[i]), centre ? 2 * std::sqrt(9.0 * 14) : 0, 1e-5);
  }
}

TEST(PropagationTest, EqualsNumPyWithEvanescentWaves) {
  const TestScan scan = ReferenceScan();
  const std::vector<double> o = ReferenceReals("probe/optics");
  ASSERT_EQ(o.size(), 4U);
  const ComplexStack result = PropagateAngularSpectrum(scan.probe, o[3], o[0], {o[1], o[2]});
  EXPECT_LT(RelativeError(result.data, ReferenceComplex("probe/propagated")), 1e-6);
}

TEST(PropagationTest, DistanceZeroIsIdentityAndBackUndoesForth) {
  const ComplexStack probe = ReferenceScan().probe;
  const double wavelength = 0.137e-9;
  const PixelSize pixel{14.6e-9, 10e-9};
  EXPECT_EQ(PropagateAngularSpectrum(probe, 0, wavelength, pixel).data, probe.data);
  const ComplexStack there = PropagateAngularSpectrum(probe, 50e-6, wavelength, pixel);
  EXPECT_GT(RelativeError(there.data, probe.data), 0.1);
  const ComplexStack back = PropagateAngularSpectrum(there, -50e-6, wavelength, pixel);
  EXPECT_LT(RelativeError(back.data, probe.data), 1e-5);
}

TEST(CentreTest, CountsPixelsToTheCentreTheShortWayRound) {
  const Shape shape{16, 21};
  for (const int row : {0, 1, 7, 8, 9, 15}) {
    for (const int col : {0, 4, 10, 11, 20}) {
      const CentreOffset offset = OffsetToCentre(Spot(shape, row, col));
      // Half a turn may be either way.
      EXPECT_EQ((row + offset.rows + shape.rows) % shape.rows, shape.rows / 2) << row;
      EXPECT_EQ((col + offset.cols + shape.cols) % shape.cols, shape.cols / 2) << col;
      EXPECT_LE(std::abs(offset.rows), shape.rows / 2);
      EXPECT_LE(std::abs(offset.cols), shape.cols / 2);
    }
  }
  const CentreOffset none = OffsetToCentre(ComplexStack(1, shape));
  EXPECT_EQ(none.rows, 0);
  EXPECT_EQ(none.cols, 0);
}

TEST(CheckProbeTest, NamesWhatIsWrong) {
  const Shape shape{4, 6};
  const auto message = [&](const ComplexStack& probe) {
    const absl::Status status = CheckProbe(probe, shape);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  EXPECT_TRUE(CheckProbe(ComplexStack(1, shape, 1), shape).ok());
  EXPECT_THAT(message(ComplexStack(2, shape, 1)), HasSubstr("2 modes"));
  EXPECT_THAT(message(ComplexStack(1, {6, 4}, 1)), HasSubstr("6 x 4"));
  EXPECT_THAT(message(ComplexStack(1, shape)), HasSubstr("zero"));
  ComplexStack probe(1, shape, 1);
  probe.data[8] = {0, std::numeric_limits<float>::quiet_NaN()};
  EXPECT_THAT(message(probe), HasSubstr("row 1, column 2"));
  probe = ComplexStack(1, shape, 1);
  probe.data.pop_back();
  EXPECT_THAT(message(probe), HasSubstr("23 values"));
}

}  // namespace
}  // namespace ptychoserve
