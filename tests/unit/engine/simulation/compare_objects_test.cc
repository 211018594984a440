#include <cmath>
#include <limits>
#include <numbers>

#include "engine/fft/fft.h"
#include "engine/simulation/random.h"
#include "engine/simulation/sample.h"
#include "engine/simulation/simulation.h"
#include "gtest/gtest.h"

namespace ptychoserve {
namespace {

constexpr int kBorder = 16;
// Odd and uneven sides, as a cut to the scanned area gives.
constexpr Shape kArea{129, 150};

ComplexStack Truth() { return MakeObject(kArea, 5); }

// `image` moved by (dy, dx) pixels, times scale exp(i (py y + px x)).
ComplexStack Distorted(const ComplexStack& image, double dy, double dx, double py, double px,
                       std::complex<double> scale) {
  std::vector<std::complex<double>> data(image.data.begin(), image.data.end());
  const Fft2D<double> fft(image.shape);
  const int rows = image.shape.rows, cols = image.shape.cols;
  const auto frequency = [](int i, int n) {
    return static_cast<double>(i <= n / 2 ? i : i - n) / n;
  };
  fft.Forward(data.data());
  for (int i = 0; i < rows * cols; ++i) {
    const double turns = frequency(i / cols, rows) * dy + frequency(i % cols, cols) * dx;
    data[static_cast<std::size_t>(i)] *= std::polar(1.0, -2 * std::numbers::pi * turns);
  }
  fft.Inverse(data.data());
  ComplexStack out(1, image.shape);
  for (int i = 0; i < rows * cols; ++i) {
    const double phase = py * (i / cols) + px * (i % cols);
    out.data[static_cast<std::size_t>(i)] =
        Complex64(data[static_cast<std::size_t>(i)] * scale * std::polar(1.0, phase));
  }
  return out;
}

TEST(CompareObjects, SameObjectHasNoError) {
  const ObjectError error = CompareObjects(Truth(), Truth(), kBorder);
  EXPECT_LT(error.complex_error, 1e-3);
  EXPECT_LT(error.phase_rms_rad, 1e-3);
}

TEST(CompareObjects, ScalePhaseRampAndShiftDoNotCount) {
  const ComplexStack truth = Truth();
  for (const auto& [dy, dx] : {std::pair{0.0, 0.0}, {0.3, -0.2}, {2.6, -4.3}}) {
    const ComplexStack seen = Distorted(truth, dy, dx, 0.02, -0.013, std::polar(3.0, 1.0));
    const ObjectError error = CompareObjects(seen, truth, kBorder);
    EXPECT_LT(error.complex_error, 0.02) << dy << " " << dx;
    EXPECT_LT(error.phase_rms_rad, 0.02) << dy << " " << dx;
  }
}

TEST(CompareObjects, SteepRampBeyondOneTurnIsRemoved) {
  const ComplexStack truth = Truth();
  const ComplexStack seen = Distorted(truth, 0, 0, 0.4, -0.7, 1.0);
  EXPECT_LT(CompareObjects(seen, truth, kBorder).complex_error, 0.02);
}

// Any mixture of modes is the same sample.
TEST(CompareObjects, MixturesOfTheModesDoNotCount) {
  const ComplexStack a = Truth(), b = MakeObject(kArea, 6);
  ComplexStack truth(2, kArea), seen(2, kArea);
  const std::complex<float> u(0.6f, 0.3f), v(0.2f, -0.7f);
  for (std::size_t i = 0; i < a.data.size(); ++i) {
    truth.data[i] = a.data[i];
    truth.data[a.data.size() + i] = b.data[i];
    seen.data[i] = u * a.data[i] + v * b.data[i];
    seen.data[a.data.size() + i] = std::conj(v) * a.data[i] - std::conj(u) * b.data[i];
  }
  EXPECT_LT(CompareObjects(seen, truth, kBorder).complex_error, 1e-3);
  // One alone leaves out what the other has beside it.
  EXPECT_GT(CompareObjects(a, truth, kBorder).complex_error, 0.2);
  EXPECT_LT(CompareObjects(seen, a, kBorder).complex_error, 0.3);
}

TEST(CompareObjects, NoiseCountsAsMuchAsThereIs) {
  ComplexStack seen = Truth();
  Random random(9, 0);
  double noise = 0, power = 0;
  for (std::size_t i = 0; i < seen.data.size(); ++i) {
    power += std::norm(seen.data[i]);
    const Complex64 extra(static_cast<float>(0.1 * random.Normal()),
                          static_cast<float>(0.1 * random.Normal()));
    noise += std::norm(extra);
    seen.data[i] += extra;
  }
  const double expected = std::sqrt(noise / power);
  EXPECT_NEAR(CompareObjects(seen, Truth(), kBorder).complex_error, expected, 0.1 * expected);
}

TEST(CompareObjects, FlatAndForeignObjectsAreFarOff) {
  EXPECT_GT(CompareObjects(ComplexStack(1, kArea, 1.f), Truth(), kBorder).complex_error, 0.15);
  EXPECT_GT(CompareObjects(MakeObject(kArea, 6), Truth(), kBorder).complex_error, 0.15);
}

TEST(CompareObjects, WhatCannotBeComparedIsNotANumber) {
  const ComplexStack truth = Truth();
  ComplexStack bad = truth;
  bad.data[10] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(std::isnan(CompareObjects(bad, truth, kBorder).complex_error));
  EXPECT_TRUE(std::isnan(CompareObjects(bad, truth, kBorder).phase_rms_rad));
  EXPECT_TRUE(std::isnan(CompareObjects(MakeObject({128, 128}, 1), truth, kBorder).complex_error));
  EXPECT_TRUE(std::isnan(CompareObjects(truth, truth, 65).complex_error));
  const ComplexStack small = MakeObject({16, 64}, 1);
  EXPECT_TRUE(std::isnan(CompareObjects(small, small, 2).complex_error));
}

}  // namespace
}  // namespace ptychoserve
